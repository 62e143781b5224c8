package roomleg_test

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/internal/roomleg"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/codec"
	"github.com/livekit-connector/livekit-connector/media/g711"
	"github.com/livekit-connector/livekit-connector/media/opus"
)

func TestG711TracksAreHeard(t *testing.T) {
	b := newBench(t)
	codecs, err := codec.New(codec.ToPhone())
	require.NoError(t, err)
	pacer := media.NewPacer(1)
	defer pacer.Close()
	ear := &toneEar{}
	line := media.NewLine(ear, media.LineOptions{Pacer: pacer, Codecs: codecs})
	defer line.Close()
	line.Open()
	options := b.options("r", "caller")
	options.Line = line
	leg := b.join(options)
	for i, tt := range []struct {
		mime string
		law  g711.Law
		hz   float64
	}{{"audio/PCMU", g711.Mu, 500}, {"audio/PCMA", g711.A, 900}} {
		human := b.participant(livekittest.ParticipantOptions{Room: "r", Identity: tt.mime, Codecs: []string{tt.mime, "audio/opus"}})
		track, err := human.Publish(livekittest.TrackOptions{MIME: tt.mime})
		require.NoError(t, err)
		b.eventually(tt.mime, func() bool { return leg.Stats().Listening == i+1 })
		info, err := b.srv.Participant(b.ctx, "r", tt.mime)
		require.NoError(t, err)
		require.Equal(t, tt.mime, info.Tracks[0].MimeType, "the server transcodes nothing")
		b.whistle(track, tt.law, tt.hz, ear)
	}
	require.Zero(t, leg.Stats().Refused[roomleg.RefusedCodec])
}

// whistle plays a tone on a track until the ear hears it, and little else.
func (b *bench) whistle(track *livekittest.Track, law g711.Law, hz float64, ear *toneEar) {
	b.t.Helper()
	tick := time.NewTicker(media.FrameDuration)
	defer tick.Stop()
	for i := 0; ear.purity(hz) < .9; i++ {
		pcm, payload := make([]int16, 160), make([]byte, 160)
		for n := range pcm {
			pcm[n] = int16(8000 * math.Sin(2*math.Pi*hz*float64(i*len(pcm)+n)/8000))
		}
		law.Encode(pcm, payload)
		require.NoError(b.t, track.WriteRTP(&rtp.Packet{
			Header: rtp.Header{Version: 2, SequenceNumber: uint16(i), Timestamp: uint32(i * len(pcm))}, Payload: payload,
		}))
		select {
		case <-tick.C:
		case <-b.ctx.Done():
			require.Failf(b.t, "tone not heard", "%v Hz", hz)
		}
	}
}

// toneEar decodes what a phone gets and keeps the last 200 ms of it.
type toneEar struct {
	mu      sync.Mutex
	decoder *opus.Decoder
	last    []int16
}

func (e *toneEar) WriteRTP(p *rtp.Packet) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.decoder == nil {
		var err error
		if e.decoder, err = opus.NewDecoder(16000); err != nil {
			return err
		}
	}
	pcm := make([]int16, 1920)
	n, err := e.decoder.Decode(p.Payload, pcm)
	if err != nil {
		return err
	}
	e.last = append(e.last, pcm[:n]...)
	e.last = e.last[max(0, len(e.last)-3200):]
	return nil
}

// purity is how much of what is heard now is at a frequency, 0 to 1.
func (e *toneEar) purity(hz float64) float64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	var re, im, all float64
	for n, v := range e.last {
		angle := 2 * math.Pi * hz * float64(n) / 16000
		re += float64(v) * math.Cos(angle)
		im += float64(v) * math.Sin(angle)
		all += float64(v) * float64(v)
	}
	if all == 0 {
		return 0
	}
	return 2 * (re*re + im*im) / (all * float64(len(e.last)))
}
