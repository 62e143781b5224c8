package metaleg

import (
	"time"

	"github.com/pion/webrtc/v4"
)

// pace is how often hurry acts until so long after the start. A relay nearby
// answers within a few milliseconds, and whoever waits for it hears nothing. From
// then on it is the pace that RFC 8445 section 14.2 recommends (Ta, 50 ms), and in
// the end Pion's own 200 ms.
var pace = []struct{ interval, until time.Duration }{
	{5 * time.Millisecond, 20 * time.Millisecond},
	{20 * time.Millisecond, 200 * time.Millisecond},
	{50 * time.Millisecond, 5 * time.Second},
}

// hurry makes ICE check and nominate faster than Pion does by itself.
//
// Pion's agent acts every 200 ms: it checks in one round and nominates, at the
// earliest, in the next. The interval cannot be set through its WebRTC API, but a
// new remote candidate makes the agent act at once. So hurry adds candidates that
// lead nowhere: passive TCP ones, with which an agent whose active TCP is off
// never makes a pair. Nothing of them gets onto the network.
func (l *Leg) hurry() {
	start := time.Now()
	timer := time.NewTimer(pace[0].interval)
	defer timer.Stop()
	port := uint16(1)
	for _, p := range pace {
		for ; time.Since(start) < p.until; port++ {
			select {
			case <-l.iceUp:
				return
			case <-l.done:
				return
			case <-timer.C:
			}
			err := l.ice.AddRemoteCandidate(&webrtc.ICECandidate{
				Foundation: "act", Component: 1, Priority: 1, Typ: webrtc.ICECandidateTypeHost,
				Protocol: webrtc.ICEProtocolTCP, TCPType: "passive", Address: "192.0.2.1", Port: port,
			})
			if err != nil {
				return // the connection is closing
			}
			timer.Reset(p.interval)
		}
	}
}
