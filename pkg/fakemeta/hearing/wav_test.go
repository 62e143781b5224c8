package hearing_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

func TestWAVComesBack(t *testing.T) {
	pcm := hearing.Tone(1000, 0.5, 100*time.Millisecond, 8000)
	require.Len(t, pcm, 800)
	var b bytes.Buffer
	require.NoError(t, hearing.WriteWAV(&b, pcm, 8000))
	got, r, err := hearing.ReadWAV(bytes.NewReader(b.Bytes()))
	require.NoError(t, err)
	require.Equal(t, 8000, r)
	require.Equal(t, pcm, got)
}

func TestReadWAVSkipsUnknownChunks(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, hearing.WriteWAV(&b, []int16{1, -2}, 16000))
	file := b.Bytes()
	list := append([]byte("LIST\x03\x00\x00\x00abc\x00"), file[12:]...)
	got, _, err := hearing.ReadWAV(bytes.NewReader(append(file[:12:12], list...)))
	require.NoError(t, err)
	require.Equal(t, []int16{1, -2}, got)
}

func TestReadWAVRefusesOtherFiles(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, hearing.WriteWAV(&b, []int16{1, 2, 3}, 16000))
	stereo := bytes.Clone(b.Bytes())
	stereo[22] = 2
	floating := bytes.Clone(b.Bytes())
	floating[20] = 3
	noRate := bytes.Clone(b.Bytes())
	noRate[24], noRate[25] = 0, 0
	for name, file := range map[string][]byte{
		"stereo": stereo, "float": floating, "no rate": noRate, "not RIFF": []byte("OggS00000000"),
	} {
		_, _, err := hearing.ReadWAV(bytes.NewReader(file))
		require.ErrorIs(t, err, hearing.ErrWAV, name)
	}
	_, _, err := hearing.ReadWAV(bytes.NewReader(b.Bytes()[:20]))
	require.Error(t, err)
}
