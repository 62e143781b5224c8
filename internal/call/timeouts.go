package call

import "time"

// Timeouts bound the stages of a call. Zero values are not allowed: see DefaultTimeouts.
type Timeouts struct {
	// Connect bounds ICE and DTLS with Meta, from our answer (inbound).
	Connect time.Duration
	// Setup bounds everything until an inbound call is answered. Meta gives up after 30 to 60 s.
	Setup time.Duration
	// Ringing bounds an outbound call from when Meta took it to the pick-up.
	Ringing time.Duration
	// Join bounds joining the room.
	Join time.Duration
	// Publish bounds making the caller's track appear once an outbound call was picked up.
	Publish time.Duration
	// Media is how long Meta may send nothing on an answered call before it counts as left behind.
	Media time.Duration
	// Alone is how long the caller of an answered call may be alone in the room once somebody has been there; zero means
	// for ever.
	Alone time.Duration
	// MaxDuration bounds an answered call; zero means no bound.
	MaxDuration time.Duration
	// Terminate bounds the attempts to tell Meta that a call is over.
	Terminate time.Duration
	// Leave bounds setting the last attributes and leaving the room.
	Leave time.Duration
}

// DefaultTimeouts returns what design and measurements suggest.
func DefaultTimeouts() Timeouts {
	return Timeouts{
		Connect:   5 * time.Second,
		Setup:     28 * time.Second,
		Ringing:   60 * time.Second,
		Join:      20 * time.Second,
		Publish:   10 * time.Second,
		Media:     30 * time.Second,
		Alone:     20 * time.Second,
		Terminate: 60 * time.Second,
		Leave:     5 * time.Second,
	}
}
