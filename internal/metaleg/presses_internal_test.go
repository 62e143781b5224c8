package metaleg

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
)

// opusTicks is how many ticks of Opus' clock one of a duration has.
const opusTicks = 6

// keyed is a press as WhatsApp's relay sends it: an update every 20 ms, then the end three times.
func keyed(key media.Key, timestamp uint32, frames int) []*rtp.Packet {
	var all []*rtp.Packet
	add := func(duration uint16, end bool) {
		flags := byte(10)
		if end {
			flags |= 0x80
		}
		all = append(all, &rtp.Packet{
			Header: rtp.Header{
				Version: 2, PayloadType: eventPayloadType, SSRC: 1, Timestamp: timestamp, Marker: len(all) == 0,
			},
			Payload: binary.BigEndian.AppendUint16([]byte{byte(key), flags}, duration),
		})
	}
	for i := range frames {
		add(uint16(160*(i+1)), false)
	}
	for range 3 {
		add(uint16(160*frames), true)
	}
	return all
}

// hear lets a leg receive packets and returns the keys that it tells of.
func hear(t *testing.T, packets ...*rtp.Packet) string {
	t.Helper()
	l := &Leg{track: newOutgoing(), firstAudio: make(chan struct{})}
	l.payloadTypes.Store(opusPayloadType | eventPayloadType<<8)
	var keys string
	l.SetKeys(func(k media.Key) { keys += k.String() })
	for _, p := range packets {
		raw, err := p.Marshal()
		require.NoError(t, err)
		l.receive(raw)
	}
	return keys
}

func TestAPressIsToldOnceWhateverIsLostOfIt(t *testing.T) {
	all := keyed(5, 4_294_967_000, 4)
	for kept := 1; kept < 1<<len(all); kept++ { // every way to lose some of them
		var came []*rtp.Packet
		for i, p := range all {
			if kept>>i&1 == 1 {
				came = append(came, p)
			}
		}
		require.Equal(t, "5", hear(t, came...), "came: %b", kept)
		slices.Reverse(came)
		require.Equal(t, "5", hear(t, came...), "came backwards: %b", kept)
	}
}

func TestPressesAreToldApart(t *testing.T) {
	const start = 4_294_960_000 // the timestamp wraps around in the second press
	gap := uint32(8 * 160 * opusTicks)
	one, same, other := keyed(1, start, 5), keyed(1, start+gap, 5), keyed(2, start+2*gap, 5)
	long := keyed(7, 1000, 50)
	all := func(parts ...[]*rtp.Packet) []*rtp.Packet { return slices.Concat(parts...) }
	ends := func(p []*rtp.Packet) []*rtp.Packet { return p[len(p)-3:] }
	for name, test := range map[string]struct {
		packets []*rtp.Packet
		keys    string
	}{
		"one after the other":              {all(one, same, other), "112"},
		"the same key, all ends lost":      {all(one[:5], same[:5], other[:5]), "112"},
		"the same key, only ends come":     {all(ends(one), ends(same), ends(other)), "112"},
		"ends overtaken by the next press": {all(one[:5], same[:1], ends(one), same[1:]), "11"},
		"a press overtaken wholly":         {all(other, one, same), "211"},
		"everything twice":                 {all(one, one, same, one, same), "11"},
		"held for a second":                {long, "7"},
		"all keys": {func() (p []*rtp.Packet) {
			for k := range media.Key(16) {
				p = append(p, keyed(k, uint32(k)*gap, 5)...)
			}
			return p
		}(), "0123456789*#ABCD"},
		"a hook flash": {keyed(16, 0, 5), ""},
		"another source with an older clock": {func() []*rtp.Packet {
			p := keyed(1, start-gap, 5)
			for _, each := range p {
				each.SSRC = 2
			}
			return all(one, p)
		}(), "11"},
		"the clock set back by a minute": {all(one, keyed(1, start-60*48000, 5)), "11"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.keys, hear(t, test.packets...)) })
	}
}

// A key that is held for longer than a packet can tell comes in segments (RFC 4733 section 2.5.1.3).
func TestAKeyHeldForTenSecondsIsOnePress(t *testing.T) {
	const segment = longest * opusTicks
	first := keyed(3, 0, 409)[:409] // 8.18 s
	last := keyed(3, 0, 409)[408].Clone()
	binary.BigEndian.PutUint16(last.Payload[2:], longest)
	first = append(first, last)
	second := keyed(3, segment, 90)
	second[0].Marker = false
	require.Equal(t, "3", hear(t, slices.Concat(first, second)...))
	require.Equal(t, "3", hear(t, slices.Concat(first[:380], second[20:])...), "loss at the seam")

	again := keyed(3, segment, 5)
	require.Equal(t, "33", hear(t, slices.Concat(first, again)...), "a marker begins a press")
	ended := keyed(3, 0, 409)
	require.Equal(t, "33", hear(t, slices.Concat(ended, second)...), "what ended does not go on")
}

// Several events in one packet follow each other without a pause (RFC 4733 section 2.5.1.5).
func TestPackedEvents(t *testing.T) {
	p := keyed(1, 1000, 5)[7]
	p.Payload = append(p.Payload, 2, 10, 0, 160)
	require.Equal(t, "12", hear(t, p, p))
}

func TestMalformedEventsAreCounted(t *testing.T) {
	l := &Leg{track: newOutgoing()}
	for _, payload := range [][]byte{nil, {1}, {1, 10, 0}, {1, 10, 0, 160, 2}} {
		l.receiveEvents(&rtp.Packet{Payload: payload})
	}
	require.EqualValues(t, 4, l.Stats().Malformed)
	require.EqualValues(t, 1, l.Stats().Presses, "the last one had a whole event")
}

func TestEventsDoNotAllocate(t *testing.T) {
	l := &Leg{track: newOutgoing()}
	l.payloadTypes.Store(opusPayloadType | eventPayloadType<<8)
	n := 0
	l.SetKeys(func(media.Key) { n++ })
	raw, err := keyed(1, 0, 1)[0].Marshal()
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		raw[3]++
		raw[5]++ // another press
		l.receive(raw)
	}))
	require.NotZero(t, n)
}

// Any mixture of loss, repetition and small reordering yields each press that came, once.
func TestPressesOverABadNetwork(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var sent []*rtp.Packet
		timestamp := random.Uint32()
		for range 12 {
			frames := 2 + random.IntN(6)
			sent = append(sent, keyed(media.Key(random.IntN(12)), timestamp, frames)...)
			timestamp += uint32(frames+2) * 160 * opusTicks
		}
		var came []*rtp.Packet
		for _, p := range sent {
			if random.IntN(4) == 0 {
				continue
			}
			at := max(0, len(came)-random.IntN(3)*random.IntN(2))
			came = slices.Insert(came, at, p)
			if random.IntN(10) == 0 {
				came = append(came, p)
			}
		}
		presses := make(map[uint32]bool)
		for _, p := range came {
			presses[p.Timestamp] = true
		}
		require.Len(t, hear(t, came...), len(presses))
	}
}

func FuzzEvents(f *testing.F) {
	for _, p := range keyed(5, 0, 2) {
		f.Add(p.Payload, uint32(0), true)
	}
	f.Add([]byte{1, 10, 0xFF, 0xFF, 2, 0x8A, 0xFF, 0xFF}, uint32(0xFFFFFFFF), false)
	f.Add([]byte{255, 255, 255, 255, 255}, uint32(7), true)
	f.Fuzz(func(t *testing.T, payload []byte, timestamp uint32, marker bool) {
		l := &Leg{track: newOutgoing()}
		n := 0
		l.SetKeys(func(k media.Key) {
			require.True(t, k.Valid())
			n++
		})
		p := &rtp.Packet{Header: rtp.Header{Timestamp: timestamp, Marker: marker}, Payload: payload}
		l.receiveEvents(p)
		require.LessOrEqual(t, n, len(payload)/4)
		before := n
		l.receiveEvents(p)
		if len(payload)/4 <= pressesKept {
			require.Equal(t, before, n, "a repetition is no press")
		}
	})
}
