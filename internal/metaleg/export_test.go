package metaleg

import (
	"time"

	"github.com/pion/transport/v5"
	"github.com/pion/webrtc/v4"
)

// SetHost replaces the machine's network in tests.
func (s *Stack) SetHost(host func() (transport.Net, error)) { s.host = host }

// GatherAll makes the legs wait for all candidates of the host, however busy it is.
func (s *Stack) GatherAll() { s.gatherLimit = time.Hour }

// HoldReports ends the reports that the leg sends by itself.
func (l *Leg) HoldReports() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reporting.Stop()
	l.reporting = time.NewTimer(time.Hour)
}

// Report sends a report now.
func (l *Leg) Report() { _ = l.pc.WriteRTCP(l.compound(time.Now())) }

// Gathering says that servers are still asked for candidates.
func (l *Leg) Gathering() bool { return l.pc.ICEGatheringState() == webrtc.ICEGatheringStateGathering }
