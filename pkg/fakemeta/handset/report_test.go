package handset_test

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media/opus"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/handset"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

var silenceFrame = []byte{0xF8, 0xFF, 0xFE}

func inbound(seq uint16, ts uint32, payload []byte) *rtp.Packet {
	return &rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: 111, SequenceNumber: seq, Timestamp: ts, SSRC: 7},
		Payload: payload,
	}
}

// frames codes pcm into packets as a business sends them, with numbers that wrap
// around.
func frames(t *testing.T, pcm []int16) []*rtp.Packet {
	t.Helper()
	enc, err := opus.NewEncoder(opus.EncoderOptions{SampleRate: 16000, Bitrate: 32000, InbandFEC: true, ExpectedLossPercent: 10})
	require.NoError(t, err)
	var out []*rtp.Packet
	for i := uint16(0); len(pcm) >= 320; i++ {
		b := make([]byte, opus.MaxPacketBytes)
		n, err := enc.Encode(pcm[:320], b)
		require.NoError(t, err)
		out = append(out, inbound(65500+i, 4294900000+uint32(i)*960, b[:n]))
		pcm = pcm[320:]
	}
	return out
}

// answered is a phone in a call that is answered and got packets 20 ms apart.
func answered(t *testing.T, packets []*rtp.Packet) *handset.Handset {
	t.Helper()
	h, _ := phone(t, handset.Options{})
	h.MarkAnswered()
	at := time.Unix(1790963543, 0)
	for _, p := range packets {
		h.HandleRTP(p, at)
		at = at.Add(20 * time.Millisecond)
	}
	return h
}

func voice() []int16 { return hearing.Tone(400, 0.4, 2*time.Second, 16000) }

func TestAGoodStreamHasNoProblems(t *testing.T) {
	h := answered(t, frames(t, voice()))
	h.HandleRTCP([]rtcp.Packet{&rtcp.SenderReport{}, &rtcp.SourceDescription{}})
	h.HandleRTCP([]rtcp.Packet{&rtcp.ReceiverReport{}, &rtcp.Goodbye{}})
	r := h.Report()
	require.Empty(t, r.Problems())
	require.Equal(t, 100, r.Packets)
	require.Equal(t, 1, r.SSRCs)
	require.Equal(t, 20*time.Millisecond, r.LongestPause)
	require.Zero(t, r.PausesOver60MS)
	require.InDelta(t, r.Bytes*8/2, r.BitrateBPS, 500)
	require.EqualValues(t, 2, r.RTCPPackets)
	require.EqualValues(t, 1, r.SenderReports)
	require.EqualValues(t, 1, r.ReceiverReports)
	require.EqualValues(t, 1, r.Goodbyes)
	require.Len(t, h.Packets(), 100)

	pcm, rate := h.Recording()
	require.Equal(t, 16000, rate)
	require.Len(t, pcm, 32000)
	marks := h.Timeline()
	require.Len(t, marks, 100)
	require.Equal(t, 320*99, marks[99].Sample)
	require.Equal(t, r.Last, marks[99].Arrived)
}

func TestEveryFaultIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		spoil   func(p []*rtp.Packet) []*rtp.Packet
		problem string
	}{
		"nothing": {
			func([]*rtp.Packet) []*rtp.Packet { return nil },
			"no audio arrived after the answer",
		},
		"another source": {
			func(p []*rtp.Packet) []*rtp.Packet {
				for _, q := range p[50:] {
					q.SSRC = 8
				}
				return p
			},
			"2 different SSRCs, 1 changes: Meta takes one",
		},
		"loss": {
			func(p []*rtp.Packet) []*rtp.Packet {
				return append(append(p[:20:20], p[22:60]...), p[61:]...)
			},
			"3 sequence numbers are missing, in 2 runs",
		},
		"a packet twice": {
			func(p []*rtp.Packet) []*rtp.Packet { return append(p[:21:21], p[20:]...) },
			"1 packets came twice",
		},
		"wrong order": {
			func(p []*rtp.Packet) []*rtp.Packet {
				p[30], p[31] = p[31], p[30]
				return p
			},
			"1 packets came out of order",
		},
		"a pause in RTP time": {
			func(p []*rtp.Packet) []*rtp.Packet {
				for _, q := range p[50:] {
					q.Timestamp += 9600
				}
				return p
			},
			"the timestamp jumps 1 times, first by 9600 ticks",
		},
		"a new timestamp base": {
			func(p []*rtp.Packet) []*rtp.Packet {
				for _, q := range p[50:] {
					q.Timestamp -= 1_000_000
				}
				return p
			},
			"the timestamp jumps 1 times, first by -1000000 ticks",
		},
		"a sequence that skips without loss of time": {
			func(p []*rtp.Packet) []*rtp.Packet {
				for _, q := range p[50:] {
					q.SequenceNumber += 2
				}
				return p
			},
			"the timestamp jumps 1 times, first by -1920 ticks",
		},
		"another payload type": {
			func(p []*rtp.Packet) []*rtp.Packet { p[9].PayloadType = 96; return p },
			"1 packets have a payload type that was not negotiated",
		},
		"header extensions": {
			func(p []*rtp.Packet) []*rtp.Packet { _ = p[9].SetExtension(1, []byte{1}); return p },
			"1 packets carry header extensions: the audio is corrupted",
		},
		"contributing sources": {
			func(p []*rtp.Packet) []*rtp.Packet { p[9].CSRC = []uint32{1}; return p },
			"1 packets name contributing sources",
		},
		"garbage": {
			func(p []*rtp.Packet) []*rtp.Packet { p[9].Payload = []byte{0x03}; return p },
			"1 packets cannot be decoded",
		},
		"10 ms frames": {
			func(p []*rtp.Packet) []*rtp.Packet { p[9].Payload = []byte{0xF0, 0xFF, 0xFE}; return p },
			"1 packets do not last 20 ms",
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, answered(t, c.spoil(frames(t, voice()))).Report().Problems(), c.problem)
		})
	}
}

func TestWhatComesBeforeTheAnswerIsClipped(t *testing.T) {
	h, _ := phone(t, handset.Options{})
	packets := frames(t, voice())
	for _, p := range packets[:10] {
		h.HandleRTP(p, time.Now())
	}
	require.Zero(t, h.Report().Packets)
	h.MarkAnswered()
	for _, p := range packets[10:] {
		h.HandleRTP(p, time.Now())
	}
	r := h.Report()
	require.Equal(t, 10, r.EarlyPackets)
	require.Equal(t, 200*time.Millisecond, r.Clipped)
	require.Equal(t, 90, r.Packets)
	require.Equal(t, []string{"10 packets (200ms) came before the call was answered and were clipped"}, r.Problems())
	pcm, _ := h.Recording()
	require.Len(t, pcm, 90*320)
}

func TestPausesBetweenArrivalsAreMeasured(t *testing.T) {
	h, _ := phone(t, handset.Options{})
	h.MarkAnswered()
	at := time.Unix(1790963543, 0)
	for i, p := range frames(t, voice()) {
		switch i {
		case 20:
			at = at.Add(50 * time.Millisecond)
		case 40:
			at = at.Add(230 * time.Millisecond)
		}
		h.HandleRTP(p, at)
		at = at.Add(20 * time.Millisecond)
	}
	r := h.Report()
	require.Equal(t, 2, r.PausesOver60MS)
	require.Equal(t, 1, r.PausesOver200MS)
	require.Equal(t, 250*time.Millisecond, r.LongestPause)
	require.Empty(t, r.Problems(), "the machine's fault, not the business'")
}

// peak is the largest amplitude of pcm[from:to], in ms.
func peak(pcm []int16, from, to int) (most int16) {
	for _, v := range pcm[from*16 : to*16] {
		most = max(most, v)
	}
	return most
}

func TestTheRecordingHonoursTime(t *testing.T) {
	t.Run("one lost packet is concealed", func(t *testing.T) {
		p := frames(t, voice())
		pcm, _ := answered(t, append(p[:50:50], p[51:]...)).Recording()
		require.Len(t, pcm, 32000)
		require.Greater(t, peak(pcm, 1000, 1020), int16(5000))
	})
	t.Run("a long loss is silent after 60 ms", func(t *testing.T) {
		p := frames(t, voice())
		pcm, _ := answered(t, append(p[:50:50], p[60:]...)).Recording()
		require.Len(t, pcm, 32000)
		require.Greater(t, peak(pcm, 1000, 1020), int16(2000))
		require.Zero(t, peak(pcm, 1060, 1200))
		require.Greater(t, peak(pcm, 1220, 1300), int16(5000))
	})
	t.Run("time without packets is silent", func(t *testing.T) {
		p := frames(t, voice())
		for _, q := range p[50:] {
			q.Timestamp += 48000
		}
		pcm, _ := answered(t, p).Recording()
		require.Len(t, pcm, 48000)
		require.Zero(t, peak(pcm, 1000, 2000))
	})
	t.Run("a jump of the timestamp takes no time", func(t *testing.T) {
		p := frames(t, voice())
		for _, q := range p[50:] {
			q.Timestamp += 48000 * 3600
		}
		pcm, _ := answered(t, p).Recording()
		require.Len(t, pcm, 32000)
	})
	t.Run("late and double packets are where they belong", func(t *testing.T) {
		good, _ := answered(t, frames(t, voice())).Recording()
		p := frames(t, voice())
		p[30], p[33] = p[33], p[30]
		p = append(p[:41:41], p[40:]...)
		pcm, _ := answered(t, p).Recording()
		require.Equal(t, good, pcm)
	})
	t.Run("40 ms packets count twice", func(t *testing.T) {
		enc, err := opus.NewEncoder(opus.EncoderOptions{SampleRate: 16000, Bitrate: 32000})
		require.NoError(t, err)
		b := make([]byte, opus.MaxPacketBytes)
		n, err := enc.Encode(voice()[:640], b)
		require.NoError(t, err)
		h := answered(t, []*rtp.Packet{inbound(1, 0, b[:n]), inbound(2, 1920, b[:n])})
		pcm, _ := h.Recording()
		require.Len(t, pcm, 1280)
		require.Zero(t, h.Report().TimestampJumps)
		require.Equal(t, 2, h.Report().NotTwentyMS)
	})
	t.Run("digits are no audio", func(t *testing.T) {
		p := frames(t, voice())
		p[50].PayloadType, p[50].Payload = handset.DefaultDTMFPayloadType, []byte{1, 10, 0, 160}
		h := answered(t, p)
		require.Equal(t, 1, h.Report().Events)
		pcm, _ := h.Recording()
		require.Len(t, pcm, 32000)
	})
}

// TestLostSpeechIsNoticed closes the circle: what the phone records is what
// hearing judges.
func TestLostSpeechIsNoticed(t *testing.T) {
	said := speech(t)
	whole, rate := answered(t, frames(t, said)).Recording()
	require.True(t, hearing.Compare(said, whole, rate).OK(), "%v", hearing.Compare(said, whole, rate))

	p := frames(t, said)
	for i := 20; i < len(p)-20; i += 40 { // 2.5 % single losses are hidden well
		p = append(p[:i:i], p[i+1:]...)
	}
	hidden, _ := answered(t, p).Recording()
	require.True(t, hearing.Compare(said, hidden, rate).OK(), "%v", hearing.Compare(said, hidden, rate))

	p = frames(t, said)
	hole, _ := answered(t, append(p[:100:100], p[112:]...)).Recording()
	require.False(t, hearing.Compare(said, hole, rate).OK(), "%v", hearing.Compare(said, hole, rate))
}
