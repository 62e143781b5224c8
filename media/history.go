package media

import (
	"slices"
	"time"

	"github.com/pion/rtp"
)

const (
	// historyPackets is how many packets a source's history holds at most: those
	// that a decoder is primed with, and those of an onset that was not yet believed.
	historyPackets = primed + backlog
	// historyBytes bounds the history of a source: as many packets at 39 kb/s, above
	// which there is less and less SILK in it.
	historyBytes = 2048
	// historyGap is how long a source may be quiet before what it sent earlier has
	// nothing to do any more with what it sends now.
	historyGap = 100 * time.Millisecond
)

// history keeps the newest packets of a source in storage of fixed size. Its zero
// value is empty. Not safe for concurrent use.
type history struct {
	kept  [historyPackets]keptPacket // oldest first
	count int
	end   int // where in bytes the next payload goes
	bytes [historyBytes]byte
}

type keptPacket struct {
	ssrc, ts  uint32
	seq       uint16
	from, len int
	at        time.Duration
	used      bool // heard already
}

// put keeps p, which came at, and forgets what it needs the place of.
func (h *history) put(p *rtp.Packet, at time.Duration) {
	if h.count > 0 {
		last := &h.kept[h.count-1]
		steps := int16(p.SequenceNumber - last.seq)
		if at-last.at > historyGap || last.ssrc != p.SSRC || steps > historyPackets || steps < -historyPackets {
			h.clear()
		}
	}
	n := len(p.Payload)
	if n > historyBytes {
		h.clear()
		return
	}
	if h.end+n > historyBytes {
		h.end = 0
	}
	for h.count == historyPackets || h.overlaps(h.end, n) {
		copy(h.kept[:], h.kept[1:h.count])
		h.count--
	}
	copy(h.bytes[h.end:], p.Payload)
	h.kept[h.count] = keptPacket{
		ssrc: p.SSRC, ts: p.Timestamp, seq: p.SequenceNumber, from: h.end, len: n, at: at,
	}
	h.count++
	h.end += n
}

func (h *history) overlaps(from, n int) bool {
	for _, k := range h.kept[:h.count] {
		if k.from < from+n && from < k.from+k.len {
			return true
		}
	}
	return false
}

func (h *history) clear() { h.count, h.end = 0, 0 }

// sort orders what is kept by sequence number and leaves out what came twice.
func (h *history) sort() {
	kept := h.kept[:h.count]
	slices.SortStableFunc(kept, func(a, b keptPacket) int { return int(int16(a.seq - b.seq)) })
	kept = slices.CompactFunc(kept, func(a, b keptPacket) bool { return a.seq == b.seq })
	h.count = len(kept)
}

// use notes that the newest packet is heard, or that it never will be. No history has none to note.
func (h *history) use() {
	if h != nil && h.count > 0 {
		h.kept[h.count-1].used = true
	}
}

// newest is the newest payload, nil if there is none.
func (h *history) newest() []byte {
	if h.count == 0 {
		return nil
	}
	return h.payload(h.count - 1)
}

// unused is the first entry after all that were heard.
func (h *history) unused() int {
	for i := h.count; i > 0; i-- {
		if h.kept[i-1].used {
			return i
		}
	}
	return 0
}

func (h *history) payload(i int) []byte {
	k := &h.kept[i]
	return h.bytes[k.from : k.from+k.len]
}

// packet makes p the packet i. The payload stays the history's.
func (h *history) packet(i int, p *rtp.Packet) {
	k := &h.kept[i]
	p.Header = rtp.Header{Version: 2, SSRC: k.ssrc, SequenceNumber: k.seq, Timestamp: k.ts}
	p.Payload = h.payload(i)
}
