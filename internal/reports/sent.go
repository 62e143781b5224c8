package reports

import (
	"sync"
	"time"

	"github.com/pion/rtcp"
)

// Sent watches a stream that we send. Its zero value is ready. Safe for concurrent use.
type Sent struct {
	mu sync.Mutex // guards what follows

	packets, octets uint32
	timestamp       uint32 // of the newest packet
	at              time.Time

	last, before uint32 // packets at the last report and at the one before it
}

// Take notes a packet with a payload of size bytes that leaves now. rate is the clock of its timestamp in Hz.
func (s *Sent) Take(timestamp, rate uint32, size int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets++
	s.octets += uint32(size)
	if behind := int32(s.timestamp - timestamp); s.packets > 1 && behind >= 0 && uint32(behind) < rate {
		return // repeated, out of order, or more of an event: the first one of the newest time tells it
	}
	s.timestamp, s.at = timestamp, now
}

// Report is the stream ssrc as of now, or nil if nothing was sent since the last report but one: whoever does not send
// is no sender (RFC 3550 section 6.4).
func (s *Sent) Report(ssrc, rate uint32, now time.Time) *rtcp.SenderReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	idle := s.packets == s.before
	s.before, s.last = s.last, s.packets
	if idle {
		return nil
	}
	since := now.Sub(s.at)
	return &rtcp.SenderReport{
		SSRC: ssrc, NTPTime: NTP(now),
		// What would be sent now, not what was sent last (section 6.4.1).
		RTPTime:     s.timestamp + uint32(int64(since)*int64(rate)/int64(time.Second)),
		PacketCount: s.packets, OctetCount: s.octets,
	}
}
