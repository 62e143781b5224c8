package media

import (
	"time"

	"github.com/pion/rtp"
)

// receiveREDLocked unwraps a packet of redundancy: first what it carries of
// earlier packets that did not come, then its own sound. What did come is dropped
// as the duplicate that it is.
func (l *Line) receiveREDLocked(s *Source, p *rtp.Packet, now time.Duration) error {
	if len(p.Payload) == 0 {
		return l.acceptLocked(s, p, now)
	}
	_ = s.red.Parse(p.Payload)
	if s.red.Primary == nil { // the error says no more
		l.counters.garbage.Add(1)
		return nil
	}
	for _, b := range s.red.Redundant() {
		l.recoverLocked(s, p, b, now)
	}
	l.unwrapped.Header = p.Header
	l.unwrapped.Payload = s.red.Primary
	err := l.acceptLocked(s, &l.unwrapped, now)
	l.unwrapped.Payload = nil
	return err
}

// recoverLocked takes a block of p in place of an earlier packet, if that was lost
// from a stream that is heard. RED says when a block's sound was, not which packet
// carried it (RFC 2198 section 3): it is believed to be so many packets back as
// sounds of its length fit between.
func (l *Line) recoverLocked(s *Source, p *rtp.Packet, b REDBlock, now time.Duration) {
	heard := l.phase == phaseRelay && l.active == s && s.aligned || s.channel != nil
	if !heard || !s.in.started || s.in.ssrc != p.SSRC || s.isPause(b.Payload) {
		return
	}
	ticks := uint32(len(b.Payload))
	if s.options.Codec == CodecOpus {
		var err error
		if ticks, err = OpusDuration(b.Payload); err != nil {
			return
		}
	}
	back := uint32(b.Offset) / ticks
	if back == 0 || uint32(b.Offset)%ticks != 0 {
		return
	}
	seq := p.SequenceNumber - uint16(back)
	if ahead := int16(seq - s.in.seq); ahead <= 0 || ahead > maxRedundant {
		return
	}
	h := &l.unwrapped.Header
	*h = rtp.Header{
		Version: 2, SSRC: p.SSRC, SequenceNumber: seq, Timestamp: p.Timestamp - uint32(b.Offset),
	}
	l.unwrapped.Payload = b.Payload
	l.counters.recovered.Add(1)
	_ = l.acceptLocked(s, &l.unwrapped, now) // counted
}
