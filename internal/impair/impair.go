// Package impair is a bad network: it loses packets, alone or in bursts, delays them by different times, lets them
// overtake each other and doubles them. The same seed gives the same network.
//
// [Network] decides about packets for whoever carries them; [Proxy] carries datagrams between real sockets.
package impair

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Model says what a network does. The zero value is a perfect one.
type Model struct {
	// Loss is the share of packets that do not arrive, 0 to 1.
	Loss float64 `json:"loss"`
	// Burst is how many packets are lost in a row on average (Gilbert's model, with nothing but losses in its bad
	// state). Up to 1, each packet is lost or not by itself.
	Burst float64 `json:"burst,omitempty"`
	// Delay is what every packet takes.
	Delay time.Duration `json:"delay,omitempty"`
	// Jitter is added: half of it on average, distributed exponentially and cut at one and a half times, but twice
	// for one packet in a hundred. Packets stay in order, as in a queue.
	Jitter time.Duration `json:"jitter,omitempty"`
	// Reorder is the share of packets that are overtaken, by one to three of those that follow 20 ms apart.
	Reorder float64 `json:"reorder,omitempty"`
	// Duplicate is the share of packets that arrive twice, within 10 ms.
	Duplicate float64 `json:"duplicate,omitempty"`
}

func (m Model) String() string {
	s := fmt.Sprintf("%.0f %% loss", 100*m.Loss)
	if m.Burst > 1 {
		s += fmt.Sprintf(" in bursts of %.0f", m.Burst)
	}
	if m.Jitter > 0 {
		s += fmt.Sprintf(", %d ms jitter", m.Jitter.Milliseconds())
	}
	if m.Reorder > 0 {
		s += fmt.Sprintf(", %.0f %% reordered", 100*m.Reorder)
	}
	if m.Duplicate > 0 {
		s += fmt.Sprintf(", %.0f %% twice", 100*m.Duplicate)
	}
	return s
}

// Network is one direction of one path. Not safe for concurrent use.
type Network struct {
	model  Model
	random *rand.Rand
	bad    bool          // Gilbert's state
	last   time.Duration // arrival of the newest packet that keeps the order
}

// New makes a Network.
func New(m Model, seed uint64) *Network {
	return &Network{model: m, random: rand.New(rand.NewPCG(seed, 0x6e6574))} //nolint:gosec // to be repeated, not secret
}

// The shape of the model; see there.
const (
	jitterCut   = 1.5
	spikeShare  = 0.01
	spikeFactor = 2
	overtaking  = 20 * time.Millisecond
	maxOvertake = 3
	doubling    = 10 * time.Millisecond
)

// Send says when a packet arrives that is sent at a time, which must not be before that of the one before: never, once
// or twice.
func (n *Network) Send(at time.Duration) (arrivals []time.Duration) {
	m := &n.model
	// Every packet draws the same numbers, so that one setting does not change what another one does.
	lose, jitter, spike := n.random.Float64(), n.random.ExpFloat64(), n.random.Float64()
	overtake, by := n.random.Float64(), 1+n.random.IntN(maxOvertake)
	double, later := n.random.Float64(), n.random.Float64()
	if n.lost(lose) {
		return nil
	}
	d := time.Duration(min(jitter/2, jitterCut) * float64(m.Jitter))
	if spike < spikeShare {
		d = spikeFactor * m.Jitter
	}
	arrival := at + m.Delay + d
	switch {
	case overtake < m.Reorder:
		arrival = max(arrival, n.last) + time.Duration(by)*overtaking + time.Millisecond
	default:
		arrival = max(arrival, n.last)
		n.last = arrival
	}
	arrivals = append(arrivals, arrival)
	if double < m.Duplicate {
		arrivals = append(arrivals, arrival+time.Duration(later*float64(doubling)))
	}
	return arrivals
}

// lost moves the state on by one packet. The chance to enter the bad state is what makes Loss come true.
func (n *Network) lost(p float64) bool {
	m := &n.model
	if m.Burst <= 1 || m.Loss >= 1 {
		return p < m.Loss
	}
	leave := 1 / m.Burst
	if n.bad {
		n.bad = p >= leave
	} else {
		n.bad = p < leave*m.Loss/(1-m.Loss)
	}
	return n.bad
}
