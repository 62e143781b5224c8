package doctor

import "time"

// bounds are how long things may take.
type bounds struct {
	// request is for one request, connection or name: others wait for what it finds out. handshake is for its TLS.
	request, handshake time.Duration
	// own is for asking who listens on one of our ports.
	own time.Duration
	// stun is for all STUN servers together, turn for one TURN server.
	stun, turn time.Duration
	// join is for everything that two participants do, remove for deleting their room.
	join, remove time.Duration
}

func usual() bounds {
	return bounds{
		request: 6 * time.Second, handshake: 5 * time.Second, own: 3 * time.Second,
		stun: 2500 * time.Millisecond, turn: 5 * time.Second,
		join: 12 * time.Second, remove: 2 * time.Second,
	}
}
