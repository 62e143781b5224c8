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

// helloInterval is how often an unanswered ClientHello is repeated. Meta drops
// what comes before it processed our SDP; Pion's own repetitions double their
// interval each time (RFC 6347 section 4.2.4.1), so after a second they would cost
// the caller another one.
const helloInterval = 100 * time.Millisecond

// hurry makes the leg connect faster than Pion does by itself. It ends with that.
func (l *Leg) hurry() {
	timer := time.NewTimer(pace[0].interval)
	defer timer.Stop()
	if !l.hurryICE(timer) {
		return
	}
	for {
		timer.Reset(helloInterval)
		select {
		case <-l.connected:
			return
		case <-l.done:
			return
		case <-timer.C:
			l.network.repeatHello()
		}
	}
}

// hurryICE makes ICE check and nominate, and reports whether it has a path.
//
// Pion's agent acts every 200 ms: it checks in one round and nominates, at the
// earliest, in the next. The interval cannot be set through its WebRTC API, but a
// new remote candidate makes the agent act at once. So we add candidates that lead
// nowhere, when a check was answered and at the pace of a faster agent: passive
// TCP ones, with which an agent whose active TCP is off never makes a pair.
// Nothing of them gets onto the network.
func (l *Leg) hurryICE(timer *time.Timer) bool {
	start := time.Now()
	port := uint16(1)
	for _, p := range pace {
		for ; time.Since(start) < p.until; port++ {
			select {
			case <-l.iceUp:
				return true
			case <-l.done:
				return false
			case <-l.network.answered:
			case <-timer.C:
				timer.Reset(p.interval)
			}
			err := l.ice.AddRemoteCandidate(&webrtc.ICECandidate{
				Foundation: "act", Component: 1, Priority: 1, Typ: webrtc.ICECandidateTypeHost,
				Protocol: webrtc.ICEProtocolTCP, TCPType: "passive", Address: "192.0.2.1", Port: port,
			})
			if err != nil {
				return false // the connection is closing
			}
		}
	}
	select {
	case <-l.iceUp:
		return true
	case <-l.done:
		return false
	}
}
