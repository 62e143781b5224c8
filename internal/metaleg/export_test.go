package metaleg

import (
	"time"

	"github.com/pion/transport/v5"
)

// SetHost replaces the machine's network in tests.
func (s *Stack) SetHost(host func() (transport.Net, error)) { s.host = host }

// HoldReports ends the reports that the leg sends by itself.
func (l *Leg) HoldReports() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reporting.Stop()
	l.reporting = time.NewTimer(time.Hour)
}

// Report sends a report now.
func (l *Leg) Report() { _ = l.pc.WriteRTCP(l.compound(time.Now())) }
