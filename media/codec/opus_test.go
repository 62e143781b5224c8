package codec_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/codec"
)

// count is the mean bitrate of payloads of 20 ms, and the share of them with FEC.
func count(payloads [][]byte) (bitrate, fec float64) {
	for _, p := range payloads {
		bitrate += float64(len(p)) * 8 * 50
		if media.OpusHasFEC(p) {
			fec++
		}
	}
	n := float64(len(payloads))
	return bitrate / n, fec / n
}

// Meta asks for an average of 20 kb/s, wideband and FEC.
func TestThePhoneGetsWhatItAskedFor(t *testing.T) {
	c := newCodecs(t, codec.ToPhone())
	pcm := speech(t)
	for _, k := range []struct {
		loss int
		fec  bool
	}{{0, false}, {2, false}, {3, true}, {5, true}, {20, true}, {100, true}} {
		e := newEncoder(t, c, media.CodecOpus)
		require.NoError(t, e.SetExpectedLoss(k.loss))
		payloads := encode(t, e, pcm, codec.PhoneRate)
		bitrate, fec := count(payloads)
		require.Less(t, bitrate, 21_000.0, "%d %%", k.loss)
		require.Greater(t, bitrate, 15_000.0, "%d %%", k.loss)
		require.Equal(t, k.fec, fec > 0.5, "%d %%: %v", k.loss, fec)
		require.True(t, k.fec || fec == 0, "%d %%: %v", k.loss, fec)
		for _, p := range payloads {
			require.Equal(t, byte(9<<3), p[0]&0xF8, "SILK, wideband, 20 ms (RFC 6716, table 2)")
			require.Zero(t, p[0]&4, "mono")
		}
		e.Close()
	}
}

func TestExpectedLossHasAFloor(t *testing.T) {
	o := codec.ToPhone()
	o.Opus.ExpectedLoss = 3
	c := newCodecs(t, o)
	e := newEncoder(t, c, media.CodecOpus)
	for _, loss := range []int{0, 4, 0} {
		require.NoError(t, e.SetExpectedLoss(loss))
		_, fec := count(encode(t, e, speech(t), o.Rate))
		require.Greater(t, fec, 0.5)
	}
	e.Close()
	o.Opus.FEC = false
	e = newEncoder(t, newCodecs(t, o), media.CodecOpus)
	require.NoError(t, e.SetExpectedLoss(20))
	_, fec := count(encode(t, e, speech(t), o.Rate))
	require.Zero(t, fec)
	e.Close()
}

func TestTheRoomGetsCELT(t *testing.T) {
	c := newCodecs(t, codec.ToRoom())
	e := newEncoder(t, c, media.CodecOpus)
	payloads := encode(t, e, speech(t), codec.RoomRate)
	bitrate, _ := count(payloads)
	require.InEpsilon(t, codec.RoomBitrate, bitrate, 0.1)
	for _, p := range payloads {
		require.GreaterOrEqual(t, p[0]>>3, byte(16), "CELT (RFC 6716, table 2)")
	}
	e.Close()
}
