package metaleg

import (
	"time"

	"github.com/pion/rtcp"

	"github.com/livekit-connector/livekit-connector/internal/reports"
)

// startReports makes the leg report from now on, until Close.
func (l *Leg) startReports() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.reporting = time.AfterFunc(reports.Wait(false), l.report)
	}
}

// reportSoon brings the next report forward.
func (l *Leg) reportSoon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed && l.reporting != nil {
		l.reporting.Reset(reports.Wait(false))
	}
}

// stopReportsLocked lets no further report begin. The caller holds mu.
func (l *Leg) stopReportsLocked() {
	if l.reporting != nil {
		l.reporting.Stop()
	}
}

// report sends one compound packet and sees to the next. Meta ends calls whose RTCP
// stops, so it goes on in silence and before the gate is open. It runs on the
// goroutine of its timer: there is none between two reports.
func (l *Leg) report() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.wg.Add(1)
	l.mu.Unlock()
	defer l.wg.Done()
	defer l.guard()
	if packets := l.compound(time.Now()); packets != nil {
		if err := l.pc.WriteRTCP(packets); err != nil {
			l.counters.writeErrors.Add(1)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.reporting.Reset(reports.Wait(true))
	}
}

// compound is what the leg has to report, or nil before a negotiation.
func (l *Leg) compound(now time.Time) []rtcp.Packet {
	b := l.track.bound.Load()
	if b == nil {
		return nil
	}
	var sent []*rtcp.SenderReport
	if report := l.sent.Report(b.ssrc, l.Codec().ClockRate(), now); report != nil {
		sent = append(sent, report)
	}
	var received []rtcp.ReceptionReport
	if block, ok := l.reception.Block(now); ok {
		received = append(received, block)
	}
	return reports.Compound(b.ssrc, l.track.StreamID(), sent, received)
}

// Reception is what came of the audio that Meta sent.
type Reception = reports.State

// Reception returns the state of Meta's stream. Safe to call from any goroutine.
func (l *Leg) Reception() Reception { return l.reception.State() }

// Feedback returns what Meta said last of the audio that it got from us. Safe to call from any goroutine.
func (l *Leg) Feedback() reports.FeedbackState { return l.feedback.State() }
