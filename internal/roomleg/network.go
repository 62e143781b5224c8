package roomleg

import (
	"sync"
	"time"
)

// Network is what is known of the way to livekit-server and back.
type Network struct {
	// Expected packets of the room's tracks by their numbering, Lost of them did not come. What a publisher lost on its way
	// to the server is among them, as far as the server leaves the gap.
	Expected, Lost uint64
	// ReceivedJitter is the greatest of the tracks that we received for a second or more (RFC 3550).
	ReceivedJitter time.Duration

	// Reports is how many the server sent of our track. Without any the rest is zero.
	Reports uint64
	// Missed is how many of our packets did not arrive at the server, Jitter what it measured.
	Missed uint64
	Jitter time.Duration
	// RTT is the mean round trip; zero if no report told.
	RTT time.Duration
}

// leastForJitter is how many packets a track has to have for its jitter to mean anything.
const leastForJitter = 50

// network knows all streams of a leg, those of connections that were lost and made anew included.
type network struct {
	mu       sync.Mutex // guards what follows
	sent     []*sentStream
	received map[*receivedStream]struct{}
	past     Network // of received streams that are gone
}

func newNetwork() *network { return &network{received: make(map[*receivedStream]struct{})} }

func (n *network) sends(s *sentStream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent = append(n.sent, s)
}

func (n *network) receives(s *receivedStream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.received[s] = struct{}{}
}

// gone keeps what came of a stream that will not be read any more.
func (n *network) gone(s *receivedStream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.received[s]; ok {
		delete(n.received, s)
		n.past.add(s)
	}
}

func (n *network) state() Network {
	n.mu.Lock()
	defer n.mu.Unlock()
	got := n.past
	for s := range n.received {
		got.add(s)
	}
	var told, trips time.Duration
	for _, s := range n.sent {
		f := s.feedback.State()
		if f.Reports == 0 {
			continue
		}
		got.Reports += f.Reports
		got.Missed += f.Lost
		got.Jitter = f.Jitter // of the newest stream
		if f.MeanRTT > 0 {
			told += f.MeanRTT
			trips++
		}
	}
	if trips > 0 {
		got.RTT = told / trips
	}
	return got
}

func (n *Network) add(s *receivedStream) {
	state := s.State()
	n.Expected += state.Expected
	n.Lost += state.Lost
	if state.Expected >= leastForJitter {
		n.ReceivedJitter = max(n.ReceivedJitter, state.Jitter)
	}
}

// Network returns what the reports and the packets' numbers tell so far, after Leave too. Safe to call from any goroutine.
func (l *Leg) Network() Network { return l.network.state() }
