package roomleg_test

import (
	"context"
	"encoding/binary"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/internal/roomleg"
	"github.com/livekit-connector/livekit-connector/media"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// bench is one server, one line to a phone, and what the phone got.
type bench struct {
	t     *testing.T
	ctx   context.Context //nolint:containedctx // the test's deadline
	srv   *livekittest.Server
	http  *http.Client
	line  *media.Line
	phone *phone
}

func newBench(t *testing.T) *bench {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	srv, err := livekittest.Start(ctx, livekittest.Options{})
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{}}
	pacer := media.NewPacer(1)
	b := &bench{t: t, ctx: ctx, srv: srv, http: client, phone: &phone{}}
	b.line = media.NewLine(b.phone, media.LineOptions{Pacer: pacer})
	b.line.Open()
	t.Cleanup(func() {
		b.line.Close()
		pacer.Close()
		client.CloseIdleConnections()
		http.DefaultClient.CloseIdleConnections()
		require.NoError(t, srv.Stop())
	})
	return b
}

func (b *bench) options(room, identity string) roomleg.Options {
	return roomleg.Options{
		URL: b.srv.URL(), APIKey: b.srv.APIKey(), APISecret: b.srv.APISecret(), HTTPClient: b.http,
		Room: room, Identity: identity, Line: b.line, ConnectTimeout: 10 * time.Second,
	}
}

func (b *bench) join(opts roomleg.Options) *roomleg.Leg {
	b.t.Helper()
	leg, err := roomleg.Join(b.ctx, opts)
	require.NoError(b.t, err)
	leg.TakeTime()
	b.t.Cleanup(func() { require.NoError(b.t, leg.Leave(livekit.DisconnectReason_CLIENT_INITIATED)) })
	return leg
}

func (b *bench) human(room, identity string) *livekittest.Participant {
	b.t.Helper()
	return b.participant(livekittest.ParticipantOptions{Room: room, Identity: identity})
}

func (b *bench) participant(options livekittest.ParticipantOptions) *livekittest.Participant {
	b.t.Helper()
	p, err := b.srv.Join(b.ctx, options)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { require.NoError(b.t, p.Leave()) })
	return p
}

func (b *bench) wait(p *livekittest.Participant, match func(livekittest.Event) bool) livekittest.Event {
	b.t.Helper()
	e, err := p.Wait(b.ctx, match)
	require.NoError(b.t, err)
	return e
}

func (b *bench) waitClosed(ch <-chan struct{}, what string) {
	b.t.Helper()
	select {
	case <-ch:
	case <-b.ctx.Done():
		require.Fail(b.t, what+" did not come")
	}
}

// eventually polls for what has no event.
func (b *bench) eventually(what string, is func() bool) {
	b.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-b.ctx.Done():
			require.Fail(b.t, what+" did not come")
		}
	}
}

// voiceOf makes n distinguishable Opus packets: 20 ms SILK wideband by their TOC byte, then who and number.
func voiceOf(who byte, n int) []livekittest.Packet { return voiceFrom(who, 0, n) }

// voiceFrom is voiceOf whose numbers begin with first.
func voiceFrom(who byte, first, n int) []livekittest.Packet {
	packets := make([]livekittest.Packet, n)
	for i := range packets {
		payload := []byte{0x48, who, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
		binary.BigEndian.PutUint16(payload[2:], uint16(first+i))
		packets[i] = livekittest.Packet{Payload: payload, Level: 20}
	}
	return packets
}

// say writes packets to a leg like a phone does, one each 20 ms; those that are late leave at once.
func say(leg *roomleg.Leg, packets []livekittest.Packet, seq uint16, ts uint32) error {
	begin := time.Now()
	due := time.NewTimer(media.FrameDuration)
	defer due.Stop()
	for i, p := range packets {
		err := leg.WriteRTP(&rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: seq + uint16(i), Timestamp: ts + uint32(i*media.FrameSamples)},
			Payload: p.Payload,
		})
		if err != nil {
			return err
		}
		due.Reset(time.Until(begin.Add(time.Duration(i+1) * media.FrameDuration)))
		<-due.C
	}
	return nil
}

// phone is the far end of a line.
type phone struct {
	mu    sync.Mutex
	heard [][]byte // payloads with speech
}

func (p *phone) WriteRTP(packet *rtp.Packet) error {
	if len(packet.Payload) < 4 || packet.Payload[0] != 0x48 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = append(p.heard, append([]byte(nil), packet.Payload...))
	return nil
}

// from returns what was heard of one speaker.
func (p *phone) from(who byte) [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list [][]byte
	for _, payload := range p.heard {
		if payload[1] == who {
			list = append(list, payload)
		}
	}
	return list
}

// talk says packets on a track until the phone has heard n of them, in their order. No more than missing may not be heard, and
// those that the line left out because the machine had been away for a while: then what was due comes at once.
func (b *bench) talk(track *livekittest.Track, who byte, n, missing int) {
	b.t.Helper()
	const atOnce = 5
	ahead := b.line.Stats().Ahead
	for sent := 0; ; sent += atOnce {
		if len(b.phone.from(who)) >= n {
			break
		}
		require.NoError(b.t, track.Send(b.ctx, voiceFrom(who, sent, atOnce)), "%c", who)
	}
	list := b.phone.from(who)
	ahead = b.line.Stats().Ahead - ahead
	last := -1
	for _, payload := range list {
		number := int(binary.BigEndian.Uint16(payload[2:]))
		require.Equal(b.t, voiceFrom(who, number, 1)[0].Payload, payload)
		require.Greater(b.t, number, last, "%c", who)
		last = number
	}
	require.LessOrEqual(b.t, last+1-len(list), missing+int(ahead), "%c: %d heard up to packet %d", who, len(list), last)
}
