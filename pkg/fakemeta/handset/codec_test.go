package handset_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media/g711"
	"github.com/livekit-connector/livekit-connector/media/resample/soxr"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/handset"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

var laws = map[handset.Codec]struct {
	law         g711.Law
	payloadType uint8
}{handset.PCMU: {g711.Mu, 0}, handset.PCMA: {g711.A, 8}}

func narrowed(t *testing.T, pcm []int16) []int16 {
	t.Helper()
	narrow, err := soxr.Convert(pcm, handset.DefaultRate, 8000)
	require.NoError(t, err)
	return narrow
}

// What the phone says in G.711 is what another implementation understands, and the other way round.
func TestThePhoneSpeaksG711(t *testing.T) {
	said := speech(t)
	for codec, l := range laws {
		sent := spoken(t, 8*time.Second, handset.Options{Codec: codec, Voice: said})
		var heard []int16
		for i, p := range sent.packets {
			require.Equal(t, l.payloadType, p.PayloadType)
			require.Len(t, p.Payload, 160)
			require.Equal(t, sent.packets[0].Timestamp+uint32(i*160), p.Timestamp)
			pcm := make([]int16, 160)
			l.law.Decode(p.Payload, pcm)
			heard = append(heard, pcm...)
		}
		v := hearing.Compare(narrowed(t, said), heard, 8000)
		require.True(t, v.OK(), v.String())
	}
}

func TestThePhoneHearsG711(t *testing.T) {
	said := narrowed(t, speech(t))
	for codec, l := range laws {
		synctest.Test(t, func(t *testing.T) {
			h, _ := phone(t, handset.Options{})
			require.NoError(t, h.Negotiate(codec, l.payloadType, handset.DefaultDTMFPayloadType))
			h.MarkAnswered()
			var n uint16
			for pcm := said; len(pcm) >= 160; pcm = pcm[160:] {
				payload := make([]byte, 160)
				l.law.Encode(pcm[:160], payload)
				p := inbound(n, uint32(n)*160, payload)
				p.PayloadType = l.payloadType
				h.HandleRTP(p, time.Now())
				time.Sleep(20 * time.Millisecond) // fake time
				n++
			}
			require.Empty(t, h.Report().Problems())
			require.Zero(t, h.Report().Stereo)
			pcm, rate := h.Recording()
			require.Equal(t, 8000, rate)
			v := hearing.Compare(said, pcm, rate)
			require.True(t, v.OK(), v.String())
			require.Less(t, v.NoiseDB, -30.0)

			p := inbound(n, uint32(n)*160, make([]byte, 80)) // 10 ms
			p.PayloadType = l.payloadType
			h.HandleRTP(p, time.Now())
			h.HandleRTP(inbound(n+1, uint32(n)*160+80, silenceFrame), time.Now())
			require.Equal(t, []string{
				"1 packets have a payload type that was not negotiated", "1 packets do not last 20 ms",
			}, h.Report().Problems())
		})
	}
}

func TestG711NeedsAVoiceOfAPossibleRate(t *testing.T) {
	_, err := handset.New(handset.Options{Sender: &wire{}, Codec: handset.PCMU, Voice: speech(t), Rate: 4000})
	require.ErrorIs(t, err, soxr.ErrRate)
}

func TestCodecIsAgreedBeforeTheFirstWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, sent := phone(t, handset.Options{Voice: speech(t)})
		require.NoError(t, h.Negotiate(handset.PCMA, 8, 101))
		require.NoError(t, h.Start())
		time.Sleep(10 * time.Millisecond) // fake time
		require.Error(t, h.Negotiate(handset.Opus, 111, 126))
		h.Stop()
		require.Equal(t, uint8(8), sent.packets[0].PayloadType)
	})
}
