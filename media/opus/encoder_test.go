package opus_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/opus"
)

func TestEncoderResetIsAsNew(t *testing.T) {
	voice, noise := speech(t)[:32000], make([]int16, 16000)
	for i := range noise {
		noise[i] = int16(i * i * 31)
	}
	for name, o := range map[string]opus.EncoderOptions{
		"plain":        {SampleRate: 16000},
		"FEC":          {SampleRate: 16000, Bitrate: 22000, InbandFEC: true, ExpectedLossPercent: 5},
		"FEC, auto":    {SampleRate: 16000, InbandFEC: true, ExpectedLossPercent: 5},
		"FEC, 48 kHz":  {SampleRate: 48000, Bitrate: 24000, InbandFEC: true, ExpectedLossPercent: 20},
		"high bitrate": {SampleRate: 48000, Bitrate: 64000, InbandFEC: true, ExpectedLossPercent: 2, Complexity: 10},
		"low delay":    {SampleRate: 16000, Bitrate: 48000, LowDelay: true},
		"24 kHz":       {SampleRate: 24000, Bitrate: 20000, Complexity: 9},
	} {
		enc, packet := newEncoder(t, o), make([]byte, opus.MaxPacketBytes)
		want, frame := packets(t, o, voice), o.SampleRate/50
		for range 3 {
			for i, w := range want {
				n, err := enc.Encode(voice[i*frame:][:frame], packet)
				require.NoError(t, err)
				require.Equal(t, w, packet[:n], "%s, frame %d", name, i)
			}
			for i := 0; i+frame <= len(noise); i += frame {
				_, err := enc.Encode(noise[i:i+frame], packet)
				require.NoError(t, err)
			}
			require.NoError(t, enc.ForceCELT(true))
			require.NoError(t, enc.SetIndependent(true))
			_, err := enc.Encode(noise[:frame], packet)
			require.NoError(t, err)
			require.NoError(t, enc.Reset())
			require.Equal(t, o.Bitrate, enc.Options().Bitrate)
		}
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
