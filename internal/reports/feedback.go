package reports

import (
	"encoding/binary"
	"sync/atomic"
	"time"
)

// Blocks as far as they are read here (RFC 3550 section 6.4).
const (
	receiverReport = 201
	// What lies between the header and the blocks of a receiver report: the SSRC of whoever reports.
	receiverHead = 4
	reportBlock  = 24
)

// Feedback is what the other side reports of a stream that we send. One goroutine takes reports, any may read what they
// said. Its zero value is ready.
type Feedback struct {
	reports  atomic.Uint64
	loss     atomic.Uint32 // of the newest report: 256ths
	lost     atomic.Int64  // since the start, may be negative (duplicates)
	jitter   atomic.Int64  // nanoseconds
	rtt      atomic.Int64  // nanoseconds; zero: not known
	rttMin   atomic.Int64
	rttTotal atomic.Int64
	rtts     atomic.Int64
}

// Take takes a compound packet and what it says of the stream ssrc, whose clock
// runs at rate Hz. What is not a report, or is cut short, is passed over. It does
// not allocate. It tells whether there was anything about the stream.
func (f *Feedback) Take(compound []byte, ssrc, rate uint32, now time.Time) bool {
	before := f.reports.Load()
	Each(compound, func(typ uint8, count int, body []byte) {
		switch typ {
		case senderReport:
			f.blocks(body, senderHead, count, ssrc, rate, now)
		case receiverReport:
			f.blocks(body, receiverHead, count, ssrc, rate, now)
		}
	})
	return f.reports.Load() != before
}

func (f *Feedback) blocks(body []byte, head, count int, ssrc, rate uint32, now time.Time) {
	if len(body) < head {
		return
	}
	body = body[head:]
	for ; count > 0 && len(body) >= reportBlock; count-- {
		if binary.BigEndian.Uint32(body) == ssrc {
			f.take(body[:reportBlock], rate, now)
		}
		body = body[reportBlock:]
	}
}

// take reads a block: SSRC, 8 bits of fraction lost, 24 of packets lost (signed),
// highest sequence number, jitter, time of our last report and delay since then.
func (f *Feedback) take(b []byte, rate uint32, now time.Time) {
	f.loss.Store(uint32(b[4]))
	f.lost.Store(int64(int32(binary.BigEndian.Uint32(b[4:])<<8) >> 8))
	if rate > 0 {
		f.jitter.Store(int64(binary.BigEndian.Uint32(b[12:])) * int64(time.Second) / int64(rate))
	}
	if rtt := roundTrip(binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint32(b[20:]), now); rtt > 0 {
		f.rtt.Store(int64(rtt))
		f.rttTotal.Add(int64(rtt))
		f.rtts.Add(1)
		if least := f.rttMin.Load(); least == 0 || int64(rtt) < least {
			f.rttMin.Store(int64(rtt))
		}
	}
	f.reports.Add(1)
}

// maxRoundTrip is beyond what a call can be made with: a clock was set meanwhile.
const maxRoundTrip = 10 * time.Second

// roundTrip is A - LSR - DLSR (RFC 3550 section 6.4.1), all in 1/65536 s, or zero if
// the block does not tell. The other side's clock has no part in it.
func roundTrip(lastReport, sinceThen uint32, now time.Time) time.Duration {
	if lastReport == 0 {
		return 0
	}
	ticks := uint32(NTP(now) >> 16)
	rtt := time.Duration(int64(int32(ticks-lastReport-sinceThen)) * int64(time.Second) >> 16)
	if rtt < 0 || rtt > maxRoundTrip {
		return 0
	}
	return max(rtt, time.Microsecond) // known, and too short for this clock
}

// FeedbackState is what the other side said of the audio that it got from us.
type FeedbackState struct {
	// Reports is how many there were. Without any the rest is zero.
	Reports uint64
	// Loss is the share of packets lost before the newest report, 0 to 1.
	Loss float64
	// Lost is how many were lost since the start.
	Lost uint64
	// Jitter is what the other side measured.
	Jitter time.Duration
	// RTT is the round trip of the newest report, MinRTT the least and MeanRTT the mean
	// of all. Zero means that no report told.
	RTT, MinRTT, MeanRTT time.Duration
}

// State returns what the newest report said. Safe to call from any goroutine.
func (f *Feedback) State() FeedbackState {
	got := FeedbackState{
		Reports: f.reports.Load(), Loss: float64(f.loss.Load()) / 256, Lost: uint64(max(0, f.lost.Load())),
		Jitter: time.Duration(f.jitter.Load()), RTT: time.Duration(f.rtt.Load()), MinRTT: time.Duration(f.rttMin.Load()),
	}
	if n := f.rtts.Load(); n > 0 {
		got.MeanRTT = time.Duration(f.rttTotal.Load() / n)
	}
	return got
}
