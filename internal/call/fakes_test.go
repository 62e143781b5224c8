package call_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/media"
)

// script records in order what a call did to its legs and to Meta, and plays both.
type script struct {
	mu    sync.Mutex
	steps []string
	fail  map[string]error

	connected, firstAudio, metaDone chan struct{}
	ready, roomDone                 chan struct{}
	roomReason                      call.Reason
	closedByMeta                    bool
	lastReceived                    time.Time
	codec                           media.Codec
	late, answered                  bool // the codec is known with the answer
	reported                        call.Network
	connection                      func() call.Connection // nil knows nothing
	company                         call.Company
	companyChanged                  chan struct{}
	attributes                      map[string]string // what the participant's are by now
	sink                            atomic.Pointer[media.Writer]
	keySink                         atomic.Pointer[func(media.Key)]
	keyEar                          atomic.Pointer[func(string)]
	takesKeys                       bool
	toPhone, toRoom                 recording
	// block holds back a step until its channel is closed or the step's context ends.
	block map[string]chan struct{}
}

func newScript() *script {
	return &script{
		fail: map[string]error{}, block: map[string]chan struct{}{},
		connected: make(chan struct{}), firstAudio: make(chan struct{}), metaDone: make(chan struct{}),
		ready: make(chan struct{}), roomDone: make(chan struct{}),
		companyChanged: make(chan struct{}), attributes: map[string]string{},
	}
}

func (s *script) did(ctx context.Context, format string, args ...any) error {
	step := fmt.Sprintf(format, args...)
	s.mu.Lock()
	s.steps = append(s.steps, step)
	blocked, err := s.block[step], s.fail[step]
	s.mu.Unlock()
	if blocked != nil {
		select {
		case <-blocked:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if errors.Is(err, errPanics) {
		panic(err)
	}
	return err
}

func (s *script) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.steps)
}

func (s *script) count(step string) int {
	n := 0
	for _, got := range s.all() {
		if got == step {
			n++
		}
	}
	return n
}

// recording keeps what a leg was given.
type recording struct {
	mu      sync.Mutex
	packets []*rtp.Packet
}

func (r *recording) WriteRTP(p *rtp.Packet) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.packets = append(r.packets, p.Clone())
	return nil
}

func (r *recording) all() []*rtp.Packet {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.packets)
}

type metaLeg struct{ *script }

func (m metaLeg) WriteRTP(p *rtp.Packet) error { return m.toPhone.WriteRTP(p) }
func (m metaLeg) Connected() <-chan struct{}   { return m.connected }
func (m metaLeg) FirstAudio() <-chan struct{}  { return m.firstAudio }
func (m metaLeg) Done() <-chan struct{}        { return m.metaDone }
func (m metaLeg) SetSink(w media.Writer)       { m.sink.Store(&w) }
func (m metaLeg) SetKeys(f func(media.Key))    { m.keySink.Store(&f) }
func (m metaLeg) TakesKeys() bool              { return m.takesKeys }
func (m metaLeg) ClosedByMeta() bool           { return m.closedByMeta }
func (m metaLeg) ICEConnected() time.Time      { return time.Time{} }
func (m metaLeg) LogAttrs() []any              { return nil }
func (m metaLeg) Network() call.Network        { return m.network() }
func (m metaLeg) Open()                        { _ = m.did(context.Background(), "open gate") }
func (m metaLeg) Close() error                 { return m.did(context.Background(), "close meta leg") }

func (m metaLeg) Connection() call.Connection {
	if m.connection == nil {
		return call.Connection{}
	}
	return m.connection()
}

func (m metaLeg) LastReceived() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lastReceived
}

// SetAnswer lets the codec be known, which is Opus until then.
func (m metaLeg) SetAnswer(sdp string) error {
	m.mu.Lock()
	m.answered = true
	m.mu.Unlock()
	return m.did(context.Background(), "apply %s", sdp)
}

func (m metaLeg) Codec() media.Codec {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.late && !m.answered {
		return media.CodecOpus
	}
	return m.codec
}

func (s *script) network() call.Network {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reported
}

func (m metaLeg) hear(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastReceived = at
}

type roomLeg struct{ *script }

func (r roomLeg) WriteRTP(p *rtp.Packet) error      { return r.toRoom.WriteRTP(p) }
func (r roomLeg) Publish(ctx context.Context) error { return r.did(ctx, "publish") }
func (r roomLeg) Ready() <-chan struct{}            { return r.ready }
func (r roomLeg) Done() <-chan struct{}             { return r.roomDone }
func (r roomLeg) Reason() call.Reason               { return r.roomReason }
func (r roomLeg) OnKeys(f func(string))             { r.keyEar.Store(&f) }
func (r roomLeg) Network() call.Network             { return call.Network{} }
func (r roomLeg) View() call.RoomView               { return call.RoomView{} }
func (r roomLeg) SetAttributes(a map[string]string) error {
	r.mu.Lock()
	maps.Copy(r.attributes, a)
	r.mu.Unlock()
	return r.did(context.Background(), "status %s", a[call.AttributeStatus])
}

func (r roomLeg) Company() (call.Company, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.company, r.companyChanged
}

// becomes changes who is in the room.
func (s *script) becomes(c call.Company) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.company = c
	close(s.companyChanged)
	s.companyChanged = make(chan struct{})
}

func (s *script) attribute(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attributes[name]
}

func (r roomLeg) SendKey(k media.Key, done func(error)) {
	done(r.did(context.Background(), "key %s", k))
}

func (r roomLeg) Leave(d call.Departure) error {
	return r.did(context.Background(), "leave %s", []string{"normal", "rejected", "unavailable"}[d])
}

type graph struct {
	*script
	name string
}

func (g graph) PreAccept(ctx context.Context) error { return g.did(ctx, "%spre_accept", g.name) }
func (g graph) Accept(ctx context.Context) error    { return g.did(ctx, "%saccept", g.name) }
func (g graph) Reject(ctx context.Context) error    { return g.did(ctx, "%sreject", g.name) }
func (g graph) Terminate(ctx context.Context) error { return g.did(ctx, "%sterminate", g.name) }

// begin starts a call over a script; it must be called inside a synctest bubble. The call is over when the test ends.
func begin(t *testing.T, s *script, change func(*call.Options)) *call.Call {
	t.Helper()
	o := call.Options{
		ID: "wacid.test", Direction: call.Inbound, Meta: metaLeg{s}, Graph: graph{script: s}, Pacer: pacer(t),
		Timeouts: call.DefaultTimeouts(), Join: joinScript(s),
	}
	if change != nil {
		change(&o)
	}
	c := call.New(t.Context(), o)
	go func() { _ = c.Run() }()
	t.Cleanup(func() {
		c.End(call.ReasonShutdown, nil)
		<-c.Done()
	})
	return c
}

func pacer(t *testing.T) *media.Pacer {
	t.Helper()
	p := media.NewPacer(1)
	t.Cleanup(p.Close)
	return p
}

func joinScript(s *script) func(context.Context, *media.Line) (call.RoomLeg, error) {
	return func(ctx context.Context, _ *media.Line) (call.RoomLeg, error) {
		if err := s.did(ctx, "join"); err != nil {
			return nil, err
		}
		return roomLeg{s}, nil
	}
}

var errScripted = errors.New("scripted failure")

func outbound(o *call.Options) { o.Direction = call.Outbound }
