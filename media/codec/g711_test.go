package codec

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/g711"
)

func TestG711DecoderKeepsCountOfSamples(t *testing.T) {
	for _, rate := range []int{8000, 16000, 24000, 48000} {
		o := ToPhone()
		o.Rate = rate
		c, err := New(o)
		require.NoError(t, err)
		d := newG711Decoder(law(media.CodecPCMA), c.up)
		ratio := rate / 8000
		pcm := make([]int16, rate*120/1000)
		for _, n := range []int{1, 7, 80, 160, 480, 960} {
			var samples int
			samples, err = d.Samples(make([]byte, n))
			require.NoError(t, err)
			require.Equal(t, n*ratio, samples)
			samples, err = d.Decode(make([]byte, n), pcm)
			require.NoError(t, err)
			require.Equal(t, n*ratio, samples)
		}
		require.NoError(t, d.Conceal(pcm))
		require.NoError(t, d.DecodeFEC([]byte{1}, pcm[:20*ratio]))
		_, err = d.Decode(make([]byte, 961), make([]int16, 961*ratio))
		require.ErrorIs(t, err, g711.ErrBuffer, "longer than 120 ms")
		_, err = d.Decode(make([]byte, 160), pcm[:160*ratio-1])
		require.ErrorIs(t, err, g711.ErrBuffer)
		_, err = d.Decode(nil, pcm)
		require.ErrorIs(t, err, g711.ErrBuffer)
		require.ErrorIs(t, d.Conceal(nil), g711.ErrBuffer)
		if ratio > 1 {
			require.ErrorIs(t, d.Conceal(pcm[:ratio+1]), g711.ErrBuffer)
		}

		e, err := c.NewEncoder(media.CodecPCMU)
		require.NoError(t, err)
		_, err = e.Encode(make([]int16, rate/50), make([]byte, 159))
		require.ErrorIs(t, err, g711.ErrBuffer)
		_, err = e.Encode(nil, make([]byte, 160))
		require.ErrorIs(t, err, g711.ErrBuffer)
		_, err = e.Encode(make([]int16, rate), make([]byte, 8000))
		require.Error(t, err, "a second is no frame")
		n, err := e.Encode(make([]int16, rate/50), make([]byte, 1275))
		require.NoError(t, err)
		require.Equal(t, 160, n)
		require.NoError(t, e.SetExpectedLoss(50))
		e.Close()
	}
}
