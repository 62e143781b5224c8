package metaleg

import (
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/livekit-connector/livekit-connector/media"
)

// outgoing is our one track towards Meta, as Pion wants it. It exists instead of
// Pion's own track because that one copies each packet and takes it silently
// while it is not bound.
type outgoing struct {
	codec atomic.Uint32 // a media.Codec, as negotiated
	event atomic.Uint32 // payload type of RTP events; 0, which is PCMU's, if Meta has none
	bound atomic.Pointer[binding]
}

// binding is what a negotiation gave to the track.
type binding struct {
	writer      webrtc.TrackLocalWriter
	ssrc        uint32
	payloadType uint8
}

func newOutgoing() *outgoing { return &outgoing{} }

// What follows implements webrtc.TrackLocal.

func (*outgoing) ID() string                { return "audio" }
func (*outgoing) RID() string               { return "" }
func (*outgoing) StreamID() string          { return "livekit-connector" }
func (*outgoing) Kind() webrtc.RTPCodecType { return webrtc.RTPCodecTypeAudio }

func (o *outgoing) Bind(ctx webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	mime := mimeTypes[media.Codec(o.codec.Load())]
	for _, codec := range ctx.CodecParameters() {
		if strings.EqualFold(codec.MimeType, mime) {
			o.bound.Store(&binding{ctx.WriteStream(), uint32(ctx.SSRC()), uint8(codec.PayloadType)})
			return codec, nil
		}
	}
	return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
}

func (o *outgoing) Unbind(webrtc.TrackLocalContext) error {
	o.bound.Store(nil)
	return nil
}

// WriteRTP sends p to Meta: its payload, marker, sequence number and timestamp
// under our own SSRC and payload type, which is that of RTP events if p has
// media.EventPayloadType, else that of the audio. Header extensions never leave.
// Before Open it sends nothing and returns ErrGateShut, before Connected
// ErrNotConnected; without TakesKeys it sends no event and returns ErrNoEvents.
func (l *Leg) WriteRTP(p *rtp.Packet) error {
	if !l.open.Load() {
		l.counters.gated.Add(1)
		return ErrGateShut
	}
	b := l.track.bound.Load()
	if b == nil || !l.times.connected.IsSet() {
		l.counters.notConnected.Add(1)
		return ErrNotConnected
	}
	typ := b.payloadType
	if p.PayloadType == media.EventPayloadType {
		if typ = uint8(l.track.event.Load()); typ == 0 {
			return ErrNoEvents
		}
	}
	l.header = rtp.Header{
		Version: 2, Marker: p.Marker, PayloadType: typ,
		SequenceNumber: p.SequenceNumber, Timestamp: p.Timestamp, SSRC: b.ssrc,
	}
	n, err := b.writer.WriteRTP(&l.header, p.Payload)
	switch {
	case err != nil:
		l.counters.writeErrors.Add(1)
		return err // once per packet: no allocation
	case n == 0: // Pion takes packets silently until SRTP is keyed
		l.counters.notConnected.Add(1)
		return ErrNotConnected
	}
	now := time.Now()
	l.sent.Take(p.Timestamp, l.Codec().ClockRate(), len(p.Payload), now)
	l.times.Set(&l.times.audioOut, now)
	l.counters.sentPackets.Add(1)
	l.counters.sentBytes.Add(uint64(len(p.Payload)))
	if !l.times.rtpOut.IsSet() {
		l.times.mark(&l.times.rtpOut)
	}
	return nil
}

func address(c *webrtc.ICECandidate) string {
	return net.JoinHostPort(c.Address, strconv.Itoa(int(c.Port)))
}
