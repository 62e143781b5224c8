package media

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"
)

// Whatever is put in, what is kept is the newest of it, whole and in order.
func TestHistoryKeepsTheNewest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var h history
	var want [][]byte
	for i := range 5000 {
		n := 1 + rng.IntN(200)
		if rng.IntN(10) == 0 {
			n = 1 + rng.IntN(1275)
		}
		payload := make([]byte, n)
		for j := range payload {
			payload[j] = byte(rng.Uint32())
		}
		want = append(want, payload)
		h.put(&rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(i), SSRC: 1}, Payload: payload}, 0)
		require.NotZero(t, h.count)
		total := 0
		for k := range h.count {
			require.Equal(t, want[len(want)-h.count+k], h.payload(k))
			total += len(h.payload(k))
		}
		if h.count < historyPackets && len(want) > historyPackets {
			require.Greater(t, total+1275+1275, historyBytes, "forgotten without need")
		}
	}
}

func TestHistoryForgetsWhatHasNothingToDoWithNow(t *testing.T) {
	put := func(h *history, seq uint16, ssrc uint32, at time.Duration) {
		h.put(&rtp.Packet{Header: rtp.Header{SequenceNumber: seq, SSRC: ssrc}, Payload: []byte{1, 2, 3}}, at)
	}
	for name, next := range map[string]func(h *history){
		"another stream":    func(h *history) { put(h, 3, 2, 40*time.Millisecond) },
		"a jump":            func(h *history) { put(h, 300, 1, 40*time.Millisecond) },
		"after a long time": func(h *history) { put(h, 3, 1, 200*time.Millisecond) },
	} {
		var h history
		put(&h, 1, 1, 0)
		put(&h, 2, 1, 20*time.Millisecond)
		next(&h)
		require.Equal(t, 1, h.count, name)
	}
	var h history
	h.put(&rtp.Packet{Payload: make([]byte, 4000)}, 0)
	require.Zero(t, h.count)
}

func TestHistoryIsSortedAndKnowsWhatWasHeard(t *testing.T) {
	var h history
	for _, seq := range []uint16{65534, 0, 65535, 2, 1, 0} {
		h.put(&rtp.Packet{Header: rtp.Header{SequenceNumber: seq}, Payload: []byte{byte(seq)}}, 0)
		if seq == 65535 {
			h.use()
		}
	}
	h.sort()
	require.Equal(t, 5, h.count)
	for i := range h.count {
		require.Equal(t, 65534+uint16(i), h.kept[i].seq)
	}
	require.Equal(t, 2, h.unused())
}

func TestFitness(t *testing.T) {
	var f fitness
	note := func(n, bytes int, proper bool) {
		for range n {
			f.note(proper, bytes, FrameDuration, 64000)
		}
	}
	note(100, 160, true)
	require.True(t, f.fits())
	note(1, 160, false)
	require.False(t, f.fits())
	note(49, 160, true)
	require.False(t, f.fits())
	note(1, 160, true)
	require.True(t, f.fits())
	note(100, 170, true)
	require.False(t, f.fits())
	note(300, 155, true)
	require.False(t, f.fits(), "near the limit nothing changes")
	note(100, 100, true)
	note(50, 170, true)
	note(200, 100, true)
	require.False(t, f.fits(), "above it once more")
	note(100, 100, true)
	require.True(t, f.fits())
	f.note(true, 1e6, rateWindow, -1)
	require.True(t, f.fits(), "no limit")
}

func TestOnset(t *testing.T) {
	const s, n, u = soundSpeech, soundNoise, 99 // u: speech that nobody judged
	tests := map[string]struct {
		heard    []sound
		span     time.Duration
		believed bool
		length   int
	}{
		"one packet":            {[]sound{u}, FrameDuration, false, 1},
		"two":                   {[]sound{u, u}, FrameDuration, true, 2},
		"DTX's own":             {[]sound{n, u}, FrameDuration, false, 1},
		"a long one":            {[]sound{u}, 3 * FrameDuration, true, 1},
		"voice":                 {[]sound{n, s, s, s, s}, FrameDuration, true, 5},
		"voice, one missed":     {[]sound{s, s, n, s}, FrameDuration, false, 4},
		"voice, two missed":     {[]sound{s, n, n, s}, FrameDuration, false, 4},
		"noise after voice":     {[]sound{s, s, s, n}, FrameDuration, false, 4},
		"longer than a backlog": {[]sound{u, u, u, u, u, u, u, u}, FrameDuration, true, 4},
	}
	for name, tt := range tests {
		var o onset
		for _, h := range tt.heard {
			j := judgement{heard: h, sure: true}
			if h == u {
				j = judgement{heard: soundSpeech}
			}
			o.note(j, tt.span, 0)
		}
		require.Equal(t, tt.believed, o.believed(), name)
		require.Equal(t, tt.length, o.length(), name)
	}
}
