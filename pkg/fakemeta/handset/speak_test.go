package handset_test

import (
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/media/opus"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/handset"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// wire keeps what a phone sends.
type wire struct {
	mu      sync.Mutex
	packets []rtp.Packet
	times   []time.Time
	reports [][]rtcp.Packet
	refuse  bool
}

func (w *wire) WriteRTP(p *rtp.Packet) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse {
		return errors.New("no path")
	}
	w.packets = append(w.packets, *p.Clone())
	w.times = append(w.times, time.Now())
	return nil
}

func (w *wire) WriteRTCP(p []rtcp.Packet) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse {
		return errors.New("no path")
	}
	w.reports = append(w.reports, p)
	return nil
}

func phone(t *testing.T, o handset.Options) (*handset.Handset, *wire) {
	t.Helper()
	w := &wire{}
	o.Sender = w
	h, err := handset.New(o)
	require.NoError(t, err)
	return h, w
}

// spoken lets a phone speak for a while of fake time.
func spoken(t *testing.T, length time.Duration, o handset.Options) (sent *wire) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h, w := phone(t, o)
		require.NoError(t, h.Start())
		time.Sleep(length - time.Millisecond) // fake time
		h.Stop()
		sent = w
	})
	return sent
}

// decoded plays packets as they are.
func decoded(t *testing.T, packets []rtp.Packet) []int16 {
	t.Helper()
	dec, err := opus.NewDecoder(handset.DefaultRate)
	require.NoError(t, err)
	var out []int16
	pcm := make([]int16, 1920)
	for _, p := range packets {
		n, err := dec.Decode(p.Payload, pcm)
		require.NoError(t, err)
		out = append(out, pcm[:n]...)
	}
	return out
}

func TestThePhoneSpeaksAsWhatsAppDoes(t *testing.T) {
	voice := hearing.Tone(400, 0.4, 2*time.Second, handset.DefaultRate)
	w := spoken(t, 4*time.Second, handset.Options{
		Voice: voice, SilenceBefore: time.Second, SSRC: 613016344,
	})
	require.Len(t, w.packets, 200)
	var bytes int
	for i, p := range w.packets {
		require.Equal(t, w.packets[0].SequenceNumber+uint16(i), p.SequenceNumber)
		require.Equal(t, w.packets[0].Timestamp+uint32(i)*960, p.Timestamp)
		require.Equal(t, i == 0, p.Marker)
		require.EqualValues(t, handset.DefaultPayloadType, p.PayloadType)
		require.EqualValues(t, 613016344, p.SSRC)
		require.False(t, p.Extension)
		require.Empty(t, p.CSRC)
		require.Equal(t, w.times[0].Add(time.Duration(i)*20*time.Millisecond), w.times[i], "20 ms apart, without drift")
		bytes += len(p.Payload)
	}
	require.Less(t, bytes*8/4, 30000, "about 20 kb/s")
	heard := decoded(t, w.packets)
	level := func(from, to time.Duration) float64 {
		var sum float64
		part := heard[int(from.Seconds()*16000):int(to.Seconds()*16000)]
		for _, v := range part {
			sum += float64(v) * float64(v)
		}
		return math.Sqrt(sum / float64(len(part)))
	}
	require.Less(t, level(0, 900*time.Millisecond), 20.0)
	require.InEpsilon(t, 0.4*32767/math.Sqrt2, level(1100*time.Millisecond, 2900*time.Millisecond), 0.2)
	require.Less(t, level(3200*time.Millisecond, 4*time.Second), 50.0)
}

func TestTheVoiceLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, w := phone(t, handset.Options{
			Voice: hearing.Tone(400, 0.4, 500*time.Millisecond, handset.DefaultRate), Loop: true, SilenceAfter: 500 * time.Millisecond,
		})
		require.True(t, h.Spoken().VoiceEnded.IsZero())
		require.NoError(t, h.Start())
		began := time.Now()
		time.Sleep(3*time.Second - time.Millisecond) // fake time
		h.Stop()
		require.WithinDuration(t, began.Add(480*time.Millisecond), h.Spoken().VoiceEnded, 0)
		heard := decoded(t, w.packets)
		for second := range 3 {
			var loud, soft float64
			for i := range 4000 {
				loud = max(loud, float64(heard[second*16000+2000+i]))
				soft = max(soft, float64(heard[second*16000+11000+i]))
			}
			require.Greater(t, loud, 8000.0)
			require.Less(t, soft, 500.0)
		}
	})
}

func TestPacketsAreSaidAsTheyAre(t *testing.T) {
	payloads := func(w *wire) (all []string) {
		for _, p := range w.packets {
			all = append(all, string(p.Payload))
		}
		return all
	}
	words := [][]byte{{0x08, 1}, {0x08, 2}}
	const silence = "\xf8\xff\xfe"
	sent := spoken(t, 80*time.Millisecond, handset.Options{Packets: words})
	require.Equal(t, []string{"\x08\x01", "\x08\x02", silence, silence}, payloads(sent))
	sent = spoken(t, 80*time.Millisecond, handset.Options{Packets: words, Loop: true})
	require.Equal(t, []string{"\x08\x01", "\x08\x02", "\x08\x01", "\x08\x02"}, payloads(sent))
	for i, p := range sent.packets[1:] {
		require.Equal(t, sent.packets[i].Timestamp+960, p.Timestamp)
	}
	_, err := handset.New(handset.Options{Sender: sent, Packets: words, Rate: 44100})
	require.Error(t, err)
}

func TestReportsGoOutEveryFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, w := phone(t, handset.Options{SSRC: 99})
		require.NoError(t, h.Start())
		start := time.Now()
		for i := range uint16(500) { // the business, with every tenth packet lost
			time.Sleep(20 * time.Millisecond) // fake time
			if i%10 != 9 {
				h.HandleRTP(inbound(i, uint32(i)*960, silenceFrame), time.Now())
			}
			if i == 100 {
				h.HandleRTCP([]rtcp.Packet{&rtcp.SenderReport{SSRC: 7, NTPTime: 0x1122334455667788}})
			}
		}
		h.Stop()
		require.Len(t, w.reports, 2, "at 2.5 s and 7.5 s")
		second := w.reports[1]
		sr := second[0].(*rtcp.SenderReport)
		require.EqualValues(t, 99, sr.SSRC)
		require.EqualValues(t, 376, sr.PacketCount)
		require.NotZero(t, sr.OctetCount)
		due := start.Add(7500 * time.Millisecond)
		require.EqualValues(t, due.Unix()+2208988800, sr.NTPTime>>32)
		require.Equal(t, w.packets[0].Timestamp+7500*48, sr.RTPTime)
		block := sr.Reports[0]
		require.EqualValues(t, 7, block.SSRC)
		require.InDelta(t, 37, block.TotalLost, 1)
		require.InDelta(t, 25, block.FractionLost, 3)
		require.InDelta(t, 373, block.LastSequenceNumber, 2)
		require.EqualValues(t, 0x33445566, block.LastSenderReport)
		require.InDelta(t, 65536*(7.5-2.02), float64(block.Delay), 2000)
		require.Equal(t, handset.DefaultCNAME, second[1].(*rtcp.SourceDescription).Chunks[0].Items[0].Text)
	})
}

func TestAReceiverReportGoesOutBeforeAnythingWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, w := phone(t, handset.Options{Impair: func(uint64) handset.Fate { return handset.Drop }})
		require.NoError(t, h.Start())
		time.Sleep(3 * time.Second) // fake time
		h.Stop()
		require.Len(t, w.reports, 1)
		require.IsType(t, &rtcp.ReceiverReport{}, w.reports[0][0])
	})
}

func TestDTMFIsSentAsWhatsAppDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, w := phone(t, handset.Options{})
		_, err := h.SendDTMF("1")
		require.ErrorIs(t, err, handset.ErrNotRunning)
		require.NoError(t, h.Start())
		time.Sleep(190 * time.Millisecond) // fake time
		done, err := h.SendDTMF("5#")
		require.NoError(t, err)
		<-done
		time.Sleep(200 * time.Millisecond) // fake time
		h.Stop()
		require.EqualValues(t, 2, h.Spoken().Digits)
		_, err = h.SendDTMF("1")
		require.ErrorIs(t, err, handset.ErrNotRunning)

		type event struct {
			code     byte
			end      bool
			duration uint16
			marker   bool
		}
		var events []event
		var stamps []uint32
		for i, p := range w.packets {
			require.Equal(t, w.packets[0].SequenceNumber+uint16(i), p.SequenceNumber, "one sequence for voice and digits")
			require.Equal(t, h.SSRC(), p.SSRC)
			if p.PayloadType == handset.DefaultDTMFPayloadType {
				events = append(events, event{p.Payload[0], p.Payload[1]&0x80 != 0, uint16(p.Payload[2])<<8 | uint16(p.Payload[3]), p.Marker})
				stamps = append(stamps, p.Timestamp-w.packets[0].Timestamp)
			}
		}
		digit := func(code byte) []event {
			return []event{
				{code, false, 160, true},
				{code, false, 320, false},
				{code, false, 480, false},
				{code, false, 640, false},
				{code, false, 800, false},
				{code, true, 800, false},
				{code, true, 800, false},
				{code, true, 800, false},
			}
		}
		require.Equal(t, append(digit(5), digit(11)...), events)
		for i, ts := range stamps { // frame 10, then 5 frames of digit and 3 of pause later
			require.EqualValues(t, (10+i/8*8)*960, ts)
		}
		last := w.packets[len(w.packets)-1]
		require.EqualValues(t, 48*w.times[len(w.times)-1].Sub(w.times[0]).Milliseconds(), last.Timestamp-w.packets[0].Timestamp,
			"after a digit the voice is where the clock is")
	})
}

func TestOddDigitsAreRefused(t *testing.T) {
	h, _ := phone(t, handset.Options{})
	for _, keys := range []string{"", "12x", "é"} {
		_, err := h.SendDTMF(keys)
		require.Error(t, err)
		require.NotErrorIs(t, err, handset.ErrNotRunning)
	}
}

func TestImpairmentsHappenInTransit(t *testing.T) {
	w := spoken(t, 200*time.Millisecond, handset.Options{Impair: func(n uint64) handset.Fate {
		return map[uint64]handset.Fate{2: handset.Drop, 4: handset.Duplicate, 6: handset.Swap}[n]
	}})
	var order []int
	for _, p := range w.packets {
		order = append(order, int(p.SequenceNumber-w.packets[0].SequenceNumber))
	}
	require.Equal(t, []int{0, 1, 3, 4, 4, 5, 7, 6, 8, 9}, order)
}

func TestWhatThePathRefusesIsCountedAndLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, w := phone(t, handset.Options{})
		w.refuse = true
		require.NoError(t, h.Start())
		time.Sleep(3*time.Second - time.Millisecond) // fake time
		h.Stop()
		h.Stop()
		require.EqualValues(t, 151, h.Spoken().Refused)
		require.Zero(t, h.Spoken().Packets)
		require.Error(t, h.Start(), "a phone starts once")
	})
}

func TestAPhoneNeedsASenderAndAPossibleRate(t *testing.T) {
	_, err := handset.New(handset.Options{})
	require.Error(t, err)
	_, err = handset.New(handset.Options{Sender: &wire{}, Rate: 44100})
	require.ErrorIs(t, err, opus.ErrSampleRate)
	h, _ := phone(t, handset.Options{})
	h.Stop() // never started: nothing to wait for
}
