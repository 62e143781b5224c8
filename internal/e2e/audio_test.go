package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/media/opus"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// speechRate is the rate of the speech samples in testdata/audio, in Hz.
const speechRate = 16000

// speech reads a sample of testdata/audio: 16 bit, mono, speechRate.
func speech(t *testing.T, name string) []int16 {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "testdata", "audio", name+".wav"))
	require.NoError(t, err)
	defer f.Close()
	pcm, rate, err := hearing.ReadWAV(f)
	require.NoError(t, err)
	require.Equal(t, speechRate, rate)
	return pcm
}

// says is what a handset says once, with a second of silence before it and for ever after.
func says(pcm []int16) fakemeta.Speech {
	return fakemeta.Speech{Samples: pcm, Rate: speechRate, Before: time.Second}
}

// packets encodes speech as 20 ms Opus packets, as a LiveKit client sends them.
func packets(t *testing.T, pcm []int16) []livekittest.Packet {
	t.Helper()
	enc, err := opus.NewEncoder(opus.EncoderOptions{SampleRate: speechRate, Bitrate: 32000, Complexity: 5})
	require.NoError(t, err)
	const frame = speechRate / 50
	var all []livekittest.Packet
	buf := make([]byte, 1500)
	for ; len(pcm) >= frame; pcm = pcm[frame:] {
		n, err := enc.Encode(pcm[:frame], buf)
		require.NoError(t, err)
		all = append(all, livekittest.Packet{Payload: append([]byte(nil), buf[:n]...), Level: livekittest.Level(pcm[:frame])})
	}
	return all
}

// decode plays a recording at speechRate, as it was said and not as it came: silence where timestamps leave room, packets
// that came late in their place.
func decode(t *testing.T, heard []livekittest.HeardPacket) []int16 {
	t.Helper()
	if len(heard) == 0 {
		return nil
	}
	dec, err := opus.NewDecoder(speechRate)
	require.NoError(t, err)
	var (
		pcm   []int16
		frame = make([]int16, speechRate*120/1000)
	)
	inOrder := slices.Clone(heard)
	slices.SortStableFunc(inOrder, func(a, b livekittest.HeardPacket) int { return int(int32(a.Timestamp - b.Timestamp)) })
	first := inOrder[0].Timestamp
	for _, p := range inOrder {
		at := int(p.Timestamp-first) / (48000 / speechRate)
		if len(p.Payload) == 0 || at > len(pcm)+speechRate*60 {
			continue
		}
		for len(pcm) < at {
			pcm = append(pcm, 0)
		}
		n, err := dec.Decode(p.Payload, frame)
		require.NoError(t, err)
		pcm = append(pcm[:at], frame[:n]...)
	}
	return pcm
}

// maxMoved is how far pauses may make the lag move over what is said once: jitter buffers and DTX need some frames.
const maxMoved = 100 * time.Millisecond

// requireHeard checks that what was said was heard: all of it, first and last syllable included, each word once and in
// its order. Pauses may come out a little longer or shorter.
func requireHeard(t *testing.T, who string, said, heard []int16) {
	t.Helper()
	require.Empty(t, misheard(t, who, said, heard))
}

// misheard says what was not heard as requireHeard has it; empty if all was.
func misheard(t *testing.T, who string, said, heard []int16) (problem string) {
	t.Helper()
	v := hearing.Compare(said, heard, speechRate)
	t.Logf("%s: %s", who, v)
	switch {
	case !v.OK():
		return who + ": " + v.String()
	case v.Moved > maxMoved:
		return fmt.Sprintf("%s: the lag moved by %v: %+v", who, v.Moved, v.Pieces)
	default:
		return ""
	}
}

// handsetHeard is what the phone of a call heard so far, at speechRate.
func handsetHeard(t *testing.T, c *fakemeta.Call) []int16 {
	t.Helper()
	pcm, rate := c.Recording()
	require.Equal(t, speechRate, rate)
	return pcm
}
