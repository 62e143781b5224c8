package handset_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/handset"
)

// stream is what a business sends: audio, and a key in place of some of it.
type stream struct {
	packets []*rtp.Packet
	seq     uint16
	ts      uint32
}

func (s *stream) add(p *rtp.Packet) {
	p.SequenceNumber = s.seq
	s.seq++
	s.packets = append(s.packets, p)
}

func (s *stream) speak(n int) {
	for range n {
		s.add(inbound(0, s.ts, silenceFrame))
		s.ts += 960
	}
}

// press adds a key as RFC 4733 has it: an update every 20 ms, the end three times, with the audio that follows.
func (s *stream) press(code byte, frames int) {
	start := s.ts
	event := func(duration int, end bool) {
		flags := byte(10)
		if end {
			flags |= 0x80
		}
		p := inbound(0, start, binary.BigEndian.AppendUint16([]byte{code, flags}, uint16(duration)))
		p.PayloadType, p.Marker = handset.DefaultDTMFPayloadType, duration == 160
		s.add(p)
	}
	for i := 1; i <= frames; i++ {
		event(160*i, i == frames)
		s.ts += 960
	}
	for range 2 {
		event(160*frames, true)
		s.speak(1)
	}
}

func keyed() *stream {
	s := &stream{seq: 65_490, ts: 4_294_960_000} // both wrap around
	s.speak(10)
	s.press(1, 5)
	s.speak(3)
	s.press(11, 8)
	s.speak(10)
	return s
}

func TestKeysOfTheBusinessAreHeard(t *testing.T) {
	r := answered(t, keyed().packets).Report()
	require.Empty(t, r.Problems())
	require.Equal(t, "1#", handset.Digits(r.Keys))
	first := r.Keys[0]
	require.Equal(t, 100*time.Millisecond, first.Duration)
	require.True(t, first.Ended)
	require.Equal(t, 7, first.Packets)
	require.Equal(t, 3, first.Ends)
	require.Equal(t, 160*time.Millisecond, r.Keys[1].Duration)

	s := &stream{}
	s.speak(5)
	s.press(0, 5)
	r = answered(t, s.packets[:8]).Report()
	require.Empty(t, r.Problems(), "a key that is being held")
	require.Equal(t, "0", handset.Digits(r.Keys))
	require.False(t, r.Keys[0].Ended)
}

// Loss is complained of as loss, and never as what the business did.
func TestLostPacketsOfKeysAreNoFaultOfTheBusiness(t *testing.T) {
	for i := range keyed().packets {
		for n := 1; n <= 4; n++ {
			s := keyed()
			s.packets = slices.Delete(s.packets, i, min(len(s.packets), i+n))
			r := answered(t, s.packets).Report()
			require.Empty(t, r.KeyProblems, "%d packets from %d on", n, i)
			require.Equal(t, "1#", handset.Digits(r.Keys))
		}
	}
}

func TestWrongEventsAreComplainedOf(t *testing.T) {
	// The packets of keyed: 10 of audio, 5 of the first key, two pairs of end and audio.
	const first, last, repeat, after = 10, 14, 15, 16
	event := func(s *stream, i int) []byte { return s.packets[i].Payload }
	for name, test := range map[string]struct {
		spoil   func(s *stream)
		problem string
	}{
		"too short": {func(s *stream) { s.packets[12].Payload = []byte{1, 10, 1} }, "too short"},
		"too long": {
			func(s *stream) { s.packets[12].Payload = append(event(s, 12), 1, 10, 0, 160) }, "longer than one event",
		},
		"reserved bit":     {func(s *stream) { event(s, 12)[1] |= 0x40 }, "reserved bit"},
		"inaudible":        {func(s *stream) { event(s, 12)[1] = 60 }, "too soft"},
		"no marker":        {func(s *stream) { s.packets[first].Marker = false }, "without the marker"},
		"two markers":      {func(s *stream) { s.packets[12].Marker = true }, "in the middle of a key have the marker"},
		"no duration":      {func(s *stream) { event(s, first)[3] = 0 }, "last no time"},
		"a standing clock": {func(s *stream) { copy(event(s, 12), event(s, 11)) }, "do not grow"},
		"a clock that goes back": {
			func(s *stream) { binary.BigEndian.PutUint16(event(s, 12)[2:], 161) }, "shorter duration",
		},
		"no end": {func(s *stream) {
			for _, i := range []int{last, 15, 17} {
				event(s, i)[1] &^= 0x80
			}
		}, "without an end packet"},
		"an end too few": {func(s *stream) {
			s.packets[17].Payload, s.packets[17].PayloadType, s.packets[17].Timestamp = silenceFrame, 111, s.packets[18].Timestamp
		}, "do not say their end 3 times"},
		"ends that differ": {
			func(s *stream) { binary.BigEndian.PutUint16(event(s, repeat)[2:], 801) }, "repeated ends differ",
		},
		"held after the end": {func(s *stream) { event(s, 12)[1] |= 0x80 }, "held after its end"},
		"no key":             {func(s *stream) { eachEvent(s, func(p *rtp.Packet) { p.Payload[0] = 16 }) }, "no keys"},
		"a clock of 48 kHz": {func(s *stream) {
			eachEvent(s, func(p *rtp.Packet) {
				binary.BigEndian.PutUint16(p.Payload[2:], 6*binary.BigEndian.Uint16(p.Payload[2:]))
			})
		}, "not in ticks of 8 kHz"},
		"timestamps of 8 kHz":  {func(s *stream) { eachEvent(s, func(p *rtp.Packet) { p.Timestamp /= 6 }) }, "do not begin where the stream was"},
		"a timestamp each":     {func(s *stream) { s.packets[12].Timestamp += 960 }, "without an end packet"},
		"a hole afterwards":    {func(s *stream) { later(s, after, 960) }, "followed by a hole"},
		"audio that went on":   {func(s *stream) { later(s, after, -4800) }, "last into the audio"},
		"another source":       {func(s *stream) { eachEvent(s, func(p *rtp.Packet) { p.SSRC = 8 }) }, "different SSRCs"},
		"numbers of their own": {func(s *stream) { eachEvent(s, func(p *rtp.Packet) { p.SequenceNumber += 5000 }) }, "sequence numbers are missing"},
	} {
		t.Run(name, func(t *testing.T) {
			s := keyed()
			test.spoil(s)
			problems := answered(t, s.packets).Report().Problems()
			require.True(t, slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, test.problem) }), "%q", problems)
		})
	}
}

func eachEvent(s *stream, change func(p *rtp.Packet)) {
	for _, p := range s.packets {
		if p.PayloadType == handset.DefaultDTMFPayloadType {
			change(p)
		}
	}
}

// later moves the timestamps of all audio from a packet on.
func later(s *stream, from int, ticks int32) {
	for _, p := range s.packets[from:] {
		if p.PayloadType != handset.DefaultDTMFPayloadType {
			p.Timestamp += uint32(ticks)
		}
	}
}
