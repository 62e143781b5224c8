package metaleg

import (
	"log/slog"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/clock"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/codec"
)

// wire keeps the headers that Pion is given, and when it got the last one.
type wire struct {
	headers []rtp.Header
	at      time.Time
}

func (w *wire) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	w.headers, w.at = append(w.headers, *h), time.Now()
	return len(payload), nil
}

func (*wire) Write([]byte) (int, error) { return 0, nil }

// tee keeps the headers of what a line gives to a leg.
type tee struct {
	leg     *Leg
	headers []rtp.Header
}

func (t *tee) WriteRTP(p *rtp.Packet) error {
	t.headers = append(t.headers, p.Header)
	return t.leg.WriteRTP(p)
}

// talker is a source of Opus packets with a tone in them, numbered as its publisher does.
type talker struct {
	*media.Source

	payload []byte
	seq     uint16
	ts      uint32
}

// lose is n packets that do not arrive.
func (s *talker) lose(n int) {
	s.seq += uint16(n)
	s.ts += uint32(n * media.FrameSamples)
}

func (s *talker) say(t *testing.T) {
	t.Helper()
	require.NoError(t, s.WriteRTP(&rtp.Packet{
		Header: rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: s.seq, Timestamp: s.ts}, Payload: s.payload,
	}))
	s.lose(1)
}

// together lets everybody say n packets, one every 20 ms.
func together(t *testing.T, n int, all ...*talker) {
	t.Helper()
	for range n {
		for _, s := range all {
			s.say(t)
		}
		time.Sleep(media.FrameDuration) // fake time
		synctest.Wait()
	}
}

// tone is a packet of a tone.
func tone(t *testing.T, codecs media.Codecs) []byte {
	t.Helper()
	encoder, err := codecs.NewEncoder(media.CodecOpus)
	require.NoError(t, err)
	defer encoder.Close()
	pcm := make([]int16, codecs.Rate()/50)
	for i := range pcm {
		pcm[i] = int16(8000 * math.Sin(2*math.Pi*400*float64(i)/float64(codecs.Rate())))
	}
	payload := make([]byte, 1275)
	n, err := encoder.Encode(pcm, payload)
	require.NoError(t, err)
	return payload[:n]
}

// What leaves is numbered as the line numbered it, and from packet to packet time goes on by one frame for each number:
// relayed with losses, filled with silence, mixed and relayed again. A jump by whole frames is nothing that a phone would
// complain of; it plays it as a gap or throws the rest away.
func TestTimeGoesOnWithTheNumbers(t *testing.T) {
	for _, c := range []media.Codec{media.CodecOpus, media.CodecPCMU} {
		t.Run(mimeTypes[c], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { timeGoesOn(t, c) })
		})
	}
}

func timeGoesOn(t *testing.T, c media.Codec) {
	t.Helper()
	out := &wire{}
	l := &Leg{track: newOutgoing(), log: newLegLog(slog.New(slog.DiscardHandler))}
	l.times.Watch = clock.Start()
	l.track.codec.Store(uint32(c))
	l.track.bound.Store(&binding{writer: out, ssrc: 7, payloadType: opusPayloadType})
	l.times.mark(&l.times.connected)
	l.Open()

	codecs, err := codec.New(codec.ToPhone())
	require.NoError(t, err)
	pacer := media.NewPacer(1)
	defer pacer.Close()
	in := &tee{leg: l}
	line := media.NewLine(in, media.LineOptions{Pacer: pacer, Codecs: codecs, Codec: c})
	defer line.Close()
	payload := tone(t, codecs)
	one := &talker{Source: line.AddSource("1", media.SourceOptions{}), payload: payload, seq: 65500, ts: math.MaxUint32 - 9600}
	two := &talker{Source: line.AddSource("2", media.SourceOptions{}), payload: payload, seq: 9, ts: 77}

	line.Open()
	together(t, 20)      // silence
	together(t, 30, one) // relayed
	one.lose(3)
	together(t, 3)
	together(t, 20, one)
	together(t, 60) // it stops, without a word
	together(t, 30, one)
	together(t, 40, one, two) // mixed
	together(t, 150, one)     // relayed again
	line.SetMode(media.ModeTranscode)
	together(t, 30, one)
	line.SetMode(media.ModeAuto)
	together(t, 150, two)
	line.Close()

	requireSteps(t, in.headers, out.headers, c.ClockRate()/50)
	if st := line.Stats(); c == media.CodecOpus {
		require.Positive(t, st.Relayed)
		require.GreaterOrEqual(t, st.ToMix, uint64(2))
		require.GreaterOrEqual(t, st.ToRelay, uint64(2))
		require.Positive(t, st.Silence)
	}
	time.Sleep(35 * time.Millisecond) // fake time
	report, ok := l.compound(time.Now())[0].(*rtcp.SenderReport)
	require.True(t, ok)
	last := out.headers[len(out.headers)-1].Timestamp
	since := time.Since(out.at)
	require.Equal(t, last+uint32(int64(since)*int64(c.ClockRate())/int64(time.Second)), report.RTPTime)
}

// requireSteps checks what came out against what went in, and its time against its numbers.
func requireSteps(t *testing.T, in, out []rtp.Header, step uint32) {
	t.Helper()
	require.Len(t, out, len(in))
	number, missing := int64(0), 0
	for i, h := range out {
		require.Equal(t, in[i].SequenceNumber, h.SequenceNumber)
		require.Equal(t, in[i].Timestamp, h.Timestamp, "packet %d", i)
		if i == 0 {
			continue
		}
		ahead := int16(h.SequenceNumber - out[i-1].SequenceNumber)
		number += int64(ahead)
		missing += int(ahead) - 1
		require.Equal(t, uint32(number)*step, h.Timestamp-out[0].Timestamp, "packet %d, %d numbers on", i, ahead)
	}
	require.Greater(t, len(out), 480)
	if step == media.FrameSamples {
		require.Equal(t, 3, missing, "what was lost on the way to us stays lost")
	}
}
