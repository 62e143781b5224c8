package opus_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/opus"
)

func TestEncoderResetIsAsNew(t *testing.T) {
	o := opus.EncoderOptions{SampleRate: 16000, Bitrate: 22000, InbandFEC: true, ExpectedLossPercent: 5, Voice: true, FreeVBR: true}
	tone := sine(8000, 16000)
	want := packets(t, o, tone)
	enc := newEncoder(t, o)
	for range 2 {
		for i, w := range want {
			got := make([]byte, opus.MaxPacketBytes)
			n, err := enc.Encode(tone[i*320:][:320], got)
			require.NoError(t, err)
			require.Equal(t, w, got[:n], "frame %d", i)
		}
		require.NoError(t, enc.Reset())
		require.Equal(t, 22000, enc.Options().Bitrate)
	}
}

func TestSettingsChangeAtRunTime(t *testing.T) {
	enc := newEncoder(t, opus.EncoderOptions{SampleRate: 16000, Bitrate: 22000, InbandFEC: true})
	voice, packet := speech(t), make([]byte, opus.MaxPacketBytes)
	run := func() (bytes, fec int, configs map[byte]int) {
		configs = map[byte]int{}
		for i := 0; i+320 <= len(voice); i += 320 {
			n, err := enc.Encode(voice[i:i+320], packet)
			require.NoError(t, err)
			bytes += n
			configs[packet[0]>>3]++
			if media.OpusHasFEC(packet[:n]) {
				fec++
			}
		}
		return bytes, fec, configs
	}
	_, fec, configs := run()
	require.NotEmpty(t, configs)
	require.Zero(t, fec, "nobody loses anything")

	// Wideband FEC at the least bitrate that has it, for any loss.
	for _, loss := range []int{1, 2, 3, 5, 8} {
		require.NoError(t, enc.SetExpectedLoss(loss))
		_, fec, configs = run()
		require.Greater(t, fec, 75, "%d %%", loss)
		require.Equal(t, map[byte]int{9: 150}, configs, "%d %%: SILK wideband, 20 ms", loss)
		require.NoError(t, enc.SetExpectedLoss(0))
		_, fec, _ = run()
		require.LessOrEqual(t, fec, 1, "the frame before the change")
	}
	require.NoError(t, enc.SetInbandFEC(false))
	require.NoError(t, enc.SetExpectedLoss(20))
	_, fec, _ = run()
	require.Zero(t, fec)

	low, _, _ := run()
	require.NoError(t, enc.SetBitrate(40000))
	high, _, _ := run()
	require.Greater(t, high, low*5/4)
	require.NoError(t, enc.SetComplexity(1))
	require.Equal(t, 1, enc.Options().Complexity)
	require.Error(t, enc.SetComplexity(11))
	require.Error(t, enc.SetExpectedLoss(-1))
	require.Equal(t, 20, enc.Options().ExpectedLossPercent)
}

func TestLookahead(t *testing.T) {
	for low, want := range map[bool]int{false: 312, true: 120} {
		enc := newEncoder(t, opus.EncoderOptions{SampleRate: 48000, LowDelay: low})
		n, err := enc.Lookahead()
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
}
