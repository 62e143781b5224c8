package call_test

import (
	"context"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/codec"
	"github.com/livekit-connector/livekit-connector/media/g711"
	"github.com/livekit-connector/livekit-connector/media/opus"
)

const (
	phoneTone = 500 // Hz
	roomTone  = 1100
	words     = 100 // packets that each side says, two seconds
)

// audio is what the connector has by default.
func audio(t *testing.T, mode media.Mode) call.Audio {
	t.Helper()
	phone, err := codec.New(codec.ToPhone())
	require.NoError(t, err)
	room, err := codec.New(codec.ToRoom())
	require.NoError(t, err)
	return call.Audio{Mode: mode, ToPhone: media.LineOptions{Codecs: phone}, ToRoom: media.LineOptions{Codecs: room}}
}

// tone is frame i of a sine.
func tone(hz float64, rate, i int) []int16 {
	pcm := make([]int16, rate/50)
	for n := range pcm {
		pcm[n] = int16(8000 * math.Sin(2*math.Pi*hz*float64(i*len(pcm)+n)/float64(rate)))
	}
	return pcm
}

// purity is how much of a signal's energy is at a frequency, 0 to 1.
func purity(pcm []int16, hz float64, rate int) float64 {
	var re, im, all float64
	for n, v := range pcm {
		angle := 2 * math.Pi * hz * float64(n) / float64(rate)
		re += float64(v) * math.Cos(angle)
		im += float64(v) * math.Sin(angle)
		all += float64(v) * float64(v)
	}
	if all == 0 {
		return 0
	}
	return 2 * (re*re + im*im) / (all * float64(len(pcm)))
}

// speaker makes the packets of a tone in a codec.
func speaker(t *testing.T, c media.Codec, hz float64) func(i int) *rtp.Packet {
	t.Helper()
	encode := func(i int) []byte {
		law := g711.Mu
		if c == media.CodecPCMA {
			law = g711.A
		}
		payload := make([]byte, 160)
		law.Encode(tone(hz, g711.SampleRate, i), payload)
		return payload
	}
	if c == media.CodecOpus {
		e, err := opus.NewEncoder(opus.EncoderOptions{SampleRate: 16000, Bitrate: 24000, Complexity: 5})
		require.NoError(t, err)
		encode = func(i int) []byte {
			payload := make([]byte, 1500)
			n, err := e.Encode(tone(hz, 16000, i), payload)
			require.NoError(t, err)
			return payload[:n]
		}
	}
	return func(i int) *rtp.Packet {
		return &rtp.Packet{
			Header:  rtp.Header{Version: 2, SSRC: 1, SequenceNumber: uint16(i), Timestamp: uint32(i) * c.ClockRate() / 50},
			Payload: encode(i),
		}
	}
}

// played decodes what a leg got, in 16 kHz.
func played(t *testing.T, c media.Codec, packets []*rtp.Packet) []int16 {
	t.Helper()
	var all []int16
	if c != media.CodecOpus {
		d := g711.Mu
		if c == media.CodecPCMA {
			d = g711.A
		}
		pcm := make([]int16, 160)
		for _, p := range packets {
			require.Len(t, p.Payload, 160)
			for _, v := range pcm[:d.Decode(p.Payload, pcm)] {
				all = append(all, v, v)
			}
		}
		return all
	}
	d, err := opus.NewDecoder(16000)
	require.NoError(t, err)
	pcm := make([]int16, 1920)
	for _, p := range packets {
		n, err := d.Decode(p.Payload, pcm)
		require.NoError(t, err)
		all = append(all, pcm[:n]...)
	}
	return all
}

// converse makes an answered call in which both sides say their tone at once, and returns how it was.
func converse(t *testing.T, s *script, change func(*call.Options)) (*call.Call, call.Heard) {
	t.Helper()
	var toPhone *media.Source
	c := begin(t, s, func(o *call.Options) {
		o.Join = func(_ context.Context, line *media.Line) (call.RoomLeg, error) {
			toPhone = line.AddSource("agent", media.SourceOptions{})
			return roomLeg{s}, nil
		}
		change(o)
	})
	if c.Direction() == call.Outbound {
		require.NoError(t, c.SetAnswer(t.Context(), "answer"))
		close(s.firstAudio)
	}
	close(s.connected)
	<-c.Active()
	phone, agent := speaker(t, s.codec, phoneTone), speaker(t, media.CodecOpus, roomTone)
	for i := range words {
		require.NoError(t, (*s.sink.Load()).WriteRTP(phone(i)))
		require.NoError(t, toPhone.WriteRTP(agent(i)))
		time.Sleep(media.FrameDuration) // fake time
		synctest.Wait()                 // the clock may tick in the same moment
	}
	return c, c.Heard()
}

// contiguous requires one stream without a hole, whose clock runs at rate.
func contiguous(t *testing.T, packets []*rtp.Packet, rate uint32) {
	t.Helper()
	for i, p := range packets[1:] {
		require.Equal(t, packets[i].SequenceNumber+1, p.SequenceNumber)
		require.Equal(t, packets[i].Timestamp+rate/50, p.Timestamp)
		require.Equal(t, packets[i].SSRC, p.SSRC)
	}
}

func TestBothSidesHearEachOther(t *testing.T) {
	for name, tt := range map[string]struct {
		codec      media.Codec
		mode       media.Mode
		direction  call.Direction
		gain       float64
		mixed      bool // towards the phone
		transcoded bool // towards the room
		agc        bool // towards the room
	}{
		"relayed":                        {media.CodecOpus, media.ModeAuto, call.Inbound, 0, false, false, false},
		"transcoded":                     {media.CodecOpus, media.ModeTranscode, call.Inbound, 0, true, true, false},
		"transcoded, outbound":           {media.CodecOpus, media.ModeTranscode, call.Outbound, 0, true, true, false},
		"with a gain towards the room":   {media.CodecOpus, media.ModeAuto, call.Inbound, 6, false, true, false},
		"with AGC towards the room":      {media.CodecOpus, media.ModeAuto, call.Inbound, 0, false, true, true},
		"a phone in mu-law":              {media.CodecPCMU, media.ModeAuto, call.Inbound, 0, true, true, false},
		"a phone in A-law":               {media.CodecPCMA, media.ModeAuto, call.Inbound, 0, true, true, false},
		"a phone that answers in mu-law": {media.CodecPCMU, media.ModeAuto, call.Outbound, 0, true, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript()
				s.codec, s.late = tt.codec, tt.direction == call.Outbound
				_, heard := converse(t, s, func(o *call.Options) {
					o.Direction, o.Audio = tt.direction, audio(t, tt.mode)
					o.Audio.ToRoom.GainDB, o.Audio.ToRoom.AGC = tt.gain, tt.agc
				})
				require.Equal(t, tt.transcoded, heard.Transcoded)
				require.Equal(t, tt.mixed, heard.ToPhone.Mixed > 0)
				require.Equal(t, !tt.mixed, heard.ToPhone.Relayed > 0)

				phone, room := s.toPhone.all(), s.toRoom.all()
				contiguous(t, phone, tt.codec.ClockRate())
				contiguous(t, room, media.ClockRate)
				require.GreaterOrEqual(t, len(phone), words)
				require.GreaterOrEqual(t, len(room), words)
				second := func(pcm []int16) []int16 { return pcm[len(pcm)-16000-3200:][:16000] }
				require.Greater(t, purity(second(played(t, tt.codec, phone)), roomTone, 16000), .9, "the phone hears the room, and nothing else")
				atRoom := second(played(t, media.CodecOpus, room))
				require.Greater(t, purity(atRoom, phoneTone, 16000), .9, "the room hears the phone, and nothing else")
				if tt.gain != 0 {
					require.InDelta(t, 8000*math.Pow(10, tt.gain/20), loudest(atRoom), 1000)
				}
			})
		})
	}
}

// listening are Codecs that note what loss their encoders are told.
type listening struct {
	media.Codecs

	told *atomic.Int32
}

func (c listening) NewEncoder(codec media.Codec) (media.Encoder, error) {
	e, err := c.Codecs.NewEncoder(codec)
	return listeningEncoder{e, c.told}, err
}

type listeningEncoder struct {
	media.Encoder

	told *atomic.Int32
}

func (e listeningEncoder) SetExpectedLoss(percent int) error {
	e.told.Store(int32(percent))
	return e.Encoder.SetExpectedLoss(percent)
}

func TestEncoderLearnsOfLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		var told atomic.Int32
		c, _ := converse(t, s, func(o *call.Options) {
			o.Audio = audio(t, media.ModeTranscode)
			o.Audio.ToPhone.Codecs = listening{o.Audio.ToPhone.Codecs, &told}
		})
		require.Zero(t, told.Load())
		s.mu.Lock()
		s.reported = call.Network{Reports: 1, Loss: .07, Sent: 100, Lost: 7}
		s.mu.Unlock()
		_, left := c.Check(time.Now())
		require.False(t, left)
		require.EqualValues(t, 7, told.Load())
	})
}

func loudest(pcm []int16) float64 {
	var most int16
	for _, v := range pcm {
		most = max(most, v)
	}
	return float64(most)
}

func TestQualityIsEstimatedFromWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c := begin(t, s, nil)
		require.False(t, c.Heard().PhoneKnown)
		require.False(t, c.Heard().RoomKnown)

		s.mu.Lock()
		s.reported = call.Network{
			Reports: 3, Sent: 1000, Lost: 50, Loss: .2, Jitter: 30 * time.Millisecond, RTT: 100 * time.Millisecond,
			Expected: 1000, Missed: 100, Gaps: 25, ReceivedJitter: 2 * time.Millisecond,
		}
		s.mu.Unlock()
		h := c.Heard()
		require.True(t, h.PhoneKnown)
		require.True(t, h.RoomKnown)
		require.InDelta(t, .05, h.PhoneQuality.Loss, 1e-9, "all of the call, not the last report")
		require.Equal(t, 26500*time.Microsecond+50*time.Millisecond+60*time.Millisecond, h.PhoneQuality.Delay)
		require.InDelta(t, .1, h.RoomQuality.Loss, 1e-9)
		require.InDelta(t, 3.6, h.RoomQuality.Burst, 1e-9, "runs of 4, where chance makes them 1.11 long")
		require.Equal(t, 26500*time.Microsecond+50*time.Millisecond+20*time.Millisecond, h.RoomQuality.Delay)
		require.Greater(t, h.PhoneQuality.MOS(), h.RoomQuality.MOS())
	})
}
