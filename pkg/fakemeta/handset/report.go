package handset

import (
	"bytes"
	"fmt"
	"time"
)

// Report is what the phone found in the packets it got. Arrival times belong to
// this machine: on a busy one they say more about it than about the business.
type Report struct {
	// Packets is the number of audio packets after the answer, Bytes their
	// payload, BitrateBPS the average payload bitrate from first to last.
	Packets    int
	Bytes      int
	BitrateBPS int
	// First and Last are arrival times, zero if nothing came.
	First, Last time.Time

	// EarlyPackets came before the call was answered; Clipped is the audio in them,
	// which the user did not hear.
	EarlyPackets int
	Clipped      time.Duration

	// SSRCs is the number of distinct sources, SSRCChanges how often the source
	// changed. Meta's relay takes one.
	SSRCs, SSRCChanges int
	// Missing sequence numbers, in LossRuns runs; Duplicates and Reordered arrivals.
	Missing, LossRuns, Duplicates, Reordered int
	// TimestampJumps is the number of packets whose timestamp is not where the
	// one before ended; Jumps says where, with at most MaxJumps of them.
	TimestampJumps int
	Jumps          []Jump

	// WrongPayloadType, WithExtension, WithCSRC, Garbage (not decodable), Stereo
	// and NotTwentyMS count packets.
	WrongPayloadType, WithExtension, WithCSRC, Garbage, Stereo, NotTwentyMS int
	// Events is the number of RFC 4733 packets, Keys what they told of. KeyProblems says in plain words what is wrong
	// with them.
	Events      int
	Keys        []Press
	KeyProblems []string
	// SilenceFrames counts packets that are the well-known silence, F8 FF FE, or in
	// G.711 nothing but zeros.
	SilenceFrames int

	// PausesOver60MS and PausesOver200MS count pauses between arrivals,
	// LongestPause is the longest.
	PausesOver60MS, PausesOver200MS int
	LongestPause                    time.Duration

	// RTCPPackets is the number of compound packets with SenderReports,
	// ReceiverReports and Goodbyes in them.
	RTCPPackets, SenderReports, ReceiverReports, Goodbyes uint64
}

// Jump is a discontinuity of the RTP timestamp.
type Jump struct {
	Sequence uint16
	// Ticks of the RTP clock by which the timestamp is ahead of where it should be.
	Ticks int64
}

// MaxJumps bounds Report.Jumps.
const MaxJumps = 16

// Problems says in plain words what would trouble Meta or the user. Pauses between
// arrivals are not among them, since they depend on the machine.
func (r Report) Problems() []string {
	var p []string
	add := func(n int, format string) {
		if n > 0 {
			p = append(p, fmt.Sprintf(format, n))
		}
	}
	if r.Packets == 0 {
		p = append(p, "no audio arrived after the answer")
	}
	add(r.EarlyPackets, fmt.Sprintf("%%d packets (%v) came before the call was answered and were clipped", r.Clipped))
	if r.SSRCs > 1 {
		p = append(p, fmt.Sprintf("%d different SSRCs, %d changes: Meta takes one", r.SSRCs, r.SSRCChanges))
	}
	add(r.Missing, fmt.Sprintf("%%d sequence numbers are missing, in %d runs", r.LossRuns))
	add(r.Duplicates, "%d packets came twice")
	add(r.Reordered, "%d packets came out of order")
	if r.TimestampJumps > 0 {
		p = append(p, fmt.Sprintf("the timestamp jumps %d times, first by %d ticks", r.TimestampJumps, r.Jumps[0].Ticks))
	}
	add(r.WrongPayloadType, "%d packets have a payload type that was not negotiated")
	add(r.WithExtension, "%d packets carry header extensions: the audio is corrupted")
	add(r.WithCSRC, "%d packets name contributing sources")
	add(r.Garbage, "%d packets cannot be decoded")
	add(r.NotTwentyMS, "%d packets do not last 20 ms")
	return append(p, r.KeyProblems...)
}

// Report judges what came so far.
func (h *Handset) Report() Report {
	h.mu.Lock()
	r := Report{
		RTCPPackets:     h.got.rtcpPackets,
		SenderReports:   h.got.senderReports,
		ReceiverReports: h.got.receiverReports,
		Goodbyes:        h.got.byes,
	}
	h.mu.Unlock()
	packets, o := h.Packets(), h.options()
	r.countHeaders(packets, o)
	r.countPauses(packets)

	l := newListening(o)
	for _, s := range split(packets, o) {
		r.Duplicates += s.duplicates
		r.Reordered += s.reordered
		l.play(s)
		k := newKeypad(o)
		r.Keys = append(r.Keys, k.read(s)...)
		r.KeyProblems = append(r.KeyProblems, k.faults.list()...)
	}
	r.Garbage, r.NotTwentyMS, r.Events = l.garbage, l.notTwentyMS, l.events
	r.Missing, r.LossRuns = l.missing, l.runs
	r.TimestampJumps, r.Jumps = l.jumps, l.jumped
	return r
}

// countHeaders looks at each packet alone.
func (r *Report) countHeaders(packets []Packet, o Options) {
	seen := make(map[uint32]bool)
	var source uint32
	silence := o.Codec.silence()
	for _, p := range packets {
		audio := p.PayloadType == o.PayloadType
		if p.Early {
			r.EarlyPackets++
			if audio {
				r.Clipped += frameDuration
			}
		}
		if len(seen) > 0 && p.SSRC != source {
			r.SSRCChanges++
		}
		source = p.SSRC
		seen[source] = true
		count(&r.WithExtension, p.Extension)
		count(&r.WithCSRC, p.CSRCs > 0)
		count(&r.WrongPayloadType, !audio && p.PayloadType != o.DTMFPayloadType)
		if audio && !p.Early {
			r.Packets++
			r.Bytes += len(p.Payload)
			count(&r.Stereo, o.Codec == Opus && len(p.Payload) > 0 && p.Payload[0]&0x04 != 0) // RFC 6716, section 3.1
			count(&r.SilenceFrames, bytes.Equal(p.Payload, silence))
		}
	}
	r.SSRCs = len(seen)
}

// silence is 20 ms that decode to zeros. That of Opus, CELT fullband mono, is what
// every sender uses.
func (c Codec) silence() []byte {
	if c == Opus {
		return []byte{0xF8, 0xFF, 0xFE}
	}
	return bytes.Repeat([]byte{law(c).compress(0)}, int(c.frameTicks()))
}

func count(n *int, is bool) {
	if is {
		*n++
	}
}

// countPauses looks at the arrivals after the answer.
func (r *Report) countPauses(packets []Packet) {
	for _, p := range packets {
		if p.Early {
			continue
		}
		if r.First.IsZero() {
			r.First, r.Last = p.Arrived, p.Arrived
		}
		pause := p.Arrived.Sub(r.Last)
		count(&r.PausesOver60MS, pause > 60*time.Millisecond)
		count(&r.PausesOver200MS, pause > 200*time.Millisecond)
		r.LongestPause = max(r.LongestPause, pause)
		r.Last = p.Arrived
	}
	if d := r.Last.Sub(r.First); d > 0 {
		r.BitrateBPS = int(int64(r.Bytes) * 8 * int64(time.Second) / int64(d))
	}
}
