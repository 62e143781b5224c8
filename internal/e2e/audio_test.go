package e2e_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/media/opus"
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

// upsample makes 48 kHz of speechRate by linear interpolation, which is good enough to be encoded as wideband again.
func upsample(pcm []int16) []int16 {
	out := make([]int16, 0, len(pcm)*3)
	for i, a := range pcm {
		b := a
		if i+1 < len(pcm) {
			b = pcm[i+1]
		}
		for k := range 3 {
			out = append(out, int16(int(a)+(int(b)-int(a))*k/3)) //nolint:gosec // between two int16
		}
	}
	return out
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

// decode plays a recording at speechRate, with silence where timestamps leave room and concealment where packets are lost.
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
		first = heard[0].Timestamp
	)
	for _, p := range heard {
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

// requireHeard checks that what was said was heard: all of it, first and last syllable included.
func requireHeard(t *testing.T, who string, said, heard []int16) {
	t.Helper()
	v := hearing.Compare(said, heard, speechRate)
	t.Logf("%s: %s", who, v)
	require.True(t, v.OK(), "%s: %s", who, v)
}

// downsample makes speechRate of the handset's 48 kHz: what it decoded holds nothing above 8 kHz.
func downsample(pcm []int16) []int16 {
	out := make([]int16, 0, len(pcm)/3)
	for i := 0; i+2 < len(pcm); i += 3 {
		out = append(out, int16((int(pcm[i])+int(pcm[i+1])+int(pcm[i+2]))/3)) //nolint:gosec // a mean of int16
	}
	return out
}

// length is how long samples at speechRate last.
func length(pcm []int16) time.Duration { return time.Duration(len(pcm)) * time.Second / speechRate }
