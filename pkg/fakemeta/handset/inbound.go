package handset

import (
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// Packet is the record of one RTP packet the phone got.
type Packet struct {
	Arrived   time.Time
	SSRC      uint32
	Sequence  uint16
	Timestamp uint32
	// PayloadType and Marker as in the header.
	PayloadType uint8
	Marker      bool
	// Extension says that the packet has a header extension.
	Extension bool
	// CSRCs is the number of contributing sources.
	CSRCs int
	// Early says that the packet came before the call was answered: a WhatsApp
	// user does not hear it.
	Early bool
	// Payload must not be modified.
	Payload []byte
}

// inbound is all that came, and the state RTCP reports need. Guarded by
// Handset.mu.
type inbound struct {
	packets  []Packet
	answered time.Time

	rtcpPackets, senderReports, receiverReports, byes uint64

	// RFC 3550, appendix A, for the SSRC seen last.
	ssrc          uint32
	base, highest uint32 // extended sequence numbers
	received      uint32
	priorExpected uint32
	priorReceived uint32
	jitter        float64
	transit       float64
	lastSR        uint32
	lastSRAt      time.Time
}

// HandleRTP files one packet. The phone keeps p. It fits
// relay.SessionOptions.OnRTP.
func (h *Handset) HandleRTP(p *rtp.Packet, arrived time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := &h.got
	g.packets = append(g.packets, Packet{
		Arrived:     arrived,
		SSRC:        p.SSRC,
		Sequence:    p.SequenceNumber,
		Timestamp:   p.Timestamp,
		PayloadType: p.PayloadType,
		Marker:      p.Marker,
		Extension:   p.Extension,
		CSRCs:       len(p.CSRC),
		Early:       g.answered.IsZero(),
		Payload:     p.Payload,
	})
	g.follow(p, arrived, float64(h.opts.Codec.clockRate()))
}

// HandleRTCP files RTCP. It fits relay.SessionOptions.OnRTCP.
func (h *Handset) HandleRTCP(packets []rtcp.Packet) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got.rtcpPackets++
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.SenderReport:
			h.got.senderReports++
			h.got.lastSR = uint32(p.NTPTime >> 16)
			h.got.lastSRAt = now
		case *rtcp.ReceiverReport:
			h.got.receiverReports++
		case *rtcp.Goodbye:
			h.got.byes++
		}
	}
}

// MarkAnswered says that the call is answered: packets filed before it were too
// early. Only the first call counts.
func (h *Handset) MarkAnswered() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.got.answered.IsZero() {
		h.got.answered = time.Now()
	}
}

// Packets returns the records of all packets in the order of arrival.
func (h *Handset) Packets() []Packet {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Packet(nil), h.got.packets...)
}

// follow keeps the numbers of a reception report (RFC 3550, appendix A).
func (g *inbound) follow(p *rtp.Packet, arrived time.Time, clockRate float64) {
	transit := float64(arrived.UnixMicro())*clockRate/1e6 - float64(p.Timestamp)
	if g.received == 0 || g.ssrc != p.SSRC {
		*g = inbound{
			packets: g.packets, answered: g.answered,
			rtcpPackets: g.rtcpPackets, senderReports: g.senderReports,
			receiverReports: g.receiverReports, byes: g.byes,
			lastSR: g.lastSR, lastSRAt: g.lastSRAt,
			ssrc: p.SSRC, received: 1, transit: transit,
		}
		g.base = uint32(p.SequenceNumber) + 1<<16 // room to go back
		g.highest = g.base
		return
	}
	g.received++
	step := int16(p.SequenceNumber - uint16(g.highest))
	if step > 0 {
		g.highest += uint32(step)
	}
	// A timestamp that wrapped around spoils one sample, no more.
	if d := transit - g.transit; d > -clockRate*60 && d < clockRate*60 {
		g.jitter += (max(d, -d) - g.jitter) / 16
	}
	g.transit = transit
}

// reception is the block about what comes from the business, if anything did.
func (g *inbound) reception(now time.Time) []rtcp.ReceptionReport {
	if g.received == 0 {
		return nil
	}
	expected := g.highest - g.base + 1
	lost := int64(expected) - int64(g.received)
	expectedNow, receivedNow := expected-g.priorExpected, g.received-g.priorReceived
	g.priorExpected, g.priorReceived = expected, g.received
	var fraction uint8
	if expectedNow > receivedNow {
		fraction = uint8(min(255, (expectedNow-receivedNow)*256/expectedNow))
	}
	r := rtcp.ReceptionReport{
		SSRC:               g.ssrc,
		FractionLost:       fraction,
		TotalLost:          uint32(max(0, min(lost, 1<<23-1))),
		LastSequenceNumber: g.highest - 1<<16,
		Jitter:             uint32(g.jitter),
	}
	if !g.lastSRAt.IsZero() {
		r.LastSenderReport = g.lastSR
		r.Delay = uint32(now.Sub(g.lastSRAt).Seconds() * 65536)
	}
	return []rtcp.ReceptionReport{r}
}
