package roomleg

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"

	"github.com/livekit-connector/livekit-connector/media"
)

const (
	// tappedMax bounds the streams that are known at once; a room has fewer voices that a call hears.
	tappedMax = 256
	// heldMax is how many packets of a stream wait until its track is announced: Pion's probing takes ten of them.
	heldMax = 16
)

// taps see every packet of the room's tracks, whoever reads it.
//
// The server begins to send a track while its answer is still on the way. Pion then takes the stream for one that nobody
// announced and probes it: it reads up to ten packets in search of a name (PeerConnection.handleIncomingSSRC) and throws
// them away. When the answer arrives in between, the probing and the track read the same stream by turns, and every
// second packet of the first 400 ms is lost: the first word of an agent. An interceptor is the one place where both pass.
type taps struct {
	broken func(v any) // is told of a panic; nil lets it end the process

	mu      sync.Mutex // guards what follows
	streams map[uint32]*tapped
	order   []uint32 // oldest first
}

func newTaps() *taps { return &taps{streams: make(map[uint32]*tapped)} }

// NewInterceptor implements interceptor.Factory.
func (t *taps) NewInterceptor(string) (interceptor.Interceptor, error) {
	return &tap{taps: t}, nil
}

// of returns the stream of an SSRC.
func (t *taps) of(ssrc uint32) *tapped {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, ok := t.streams[ssrc]; ok {
		return s
	}
	s := &tapped{}
	t.streams[ssrc] = s
	t.order = append(t.order, ssrc)
	if len(t.order) > tappedMax {
		delete(t.streams, t.order[0])
		t.order = t.order[1:]
	}
	return s
}

// drop forgets a stream.
func (t *taps) drop(ssrc uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.streams, ssrc)
	t.order = slices.DeleteFunc(t.order, func(other uint32) bool { return other == ssrc })
}

// tap is the interceptor of one peer connection.
type tap struct {
	interceptor.NoOp

	taps *taps
}

// BindRemoteStream implements interceptor.Interceptor. Each reader of a stream gets one.
func (t *tap) BindRemoteStream(info *interceptor.StreamInfo, reader interceptor.RTPReader) interceptor.RTPReader {
	s := t.taps.of(info.SSRC)
	s.bound.Store(true)
	for _, extension := range info.RTPHeaderExtensions {
		if extension.URI == sdp.AudioLevelURI {
			s.levelID.Store(uint32(extension.ID))
		}
	}
	return interceptor.RTPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		n, attributes, err := reader.Read(b, a)
		if err == nil {
			t.offer(s, b[:n])
		}
		return n, attributes, err
	})
}

// offer gives a stream its packet, on whatever goroutine reads it.
func (t *tap) offer(s *tapped, raw []byte) {
	defer t.guard()
	s.offer(raw)
}

// guard is deferred, itself, around what a packet sets off.
func (t *tap) guard() {
	if t.taps.broken == nil {
		return // and the panic goes on
	}
	if v := recover(); v != nil {
		t.taps.broken(v)
	}
}

// tapped is one stream: its packets are held until somebody listens, then handed on one at a time.
type tapped struct {
	bound   atomic.Bool   // packets come through the interceptor
	levelID atomic.Uint32 // number of the audio-level extension; 0: none
	packets atomic.Uint64 // that were handed on and did not come from the server itself

	mu     sync.Mutex // guards what follows, and is the order in which packets are handed on
	hear   func(p *rtp.Packet, age time.Duration) error
	over   bool
	held   []heldPacket
	packet rtp.Packet // reused
}

type heldPacket struct {
	raw []byte
	at  time.Time // when it came
}

// offer takes a packet as it came; raw is not kept.
func (s *tapped) offer(raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
	case s.hear != nil:
		s.handOnLocked(raw, 0)
	case len(s.held) < heldMax:
		s.held = append(s.held, heldPacket{slices.Clone(raw), time.Now()})
	}
}

// listen hands on what was held, with how long ago it came, and from now on every packet.
func (s *tapped) listen(hear func(p *rtp.Packet, age time.Duration) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.hear = hear
	for _, one := range s.held {
		s.handOnLocked(one.raw, time.Since(one.at))
	}
	s.held = nil
}

// stop ends the handing on: after it returned, nothing is heard any more.
func (s *tapped) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hear, s.over, s.held = nil, true, nil
}

func (s *tapped) handOnLocked(raw []byte, age time.Duration) {
	p := &s.packet
	if p.Unmarshal(raw) != nil || len(p.Payload) == 0 {
		return // padding
	}
	if bytes.Equal(p.Payload, serverSilence) {
		p.Payload = p.Payload[:len(media.SilenceFrame)]
	} else {
		s.packets.Add(1)
	}
	_ = s.hear(p, age) // the error is the phone leg's, which knows it itself
}
