package relay

import (
	"net/netip"
	"time"
)

// Stats is what a Session saw so far.
type Stats struct {
	// Checks is the number of valid binding requests answered with success.
	Checks uint64
	// RoleConflicts is the number of 487 answers: requests with ICE-CONTROLLED.
	RoleConflicts uint64
	// Unauthorized is the number of 401 answers: a wrong password or, after
	// SetRemote, the user name of somebody else.
	Unauthorized uint64
	// BadRequests is the number of 400 and 420 answers.
	BadRequests uint64
	// Nominations is how often the nominated pair became another one; 1 is right.
	Nominations uint64
	// PeerReflexive is the number of source addresses that were in no candidate
	// line of the business.
	PeerReflexive int
	// SharedAddress is how often another live session checked from an address
	// which this one had: two calls over one socket of the business, whose media
	// cannot be told apart.
	SharedAddress uint64
	// DroppedClientHellos counts those that came before SetRemote, or when Meta
	// does no DTLS.
	DroppedClientHellos uint64
	// DroppedDTLS counts every DTLS datagram dropped, ClientHellos included.
	DroppedDTLS uint64
	// DroppedSRTP counts SRTP and SRTCP that came before there were keys or did
	// not decrypt.
	DroppedSRTP uint64
	// RTPReceived, RTCPReceived, RTPSent and RTCPSent count packets; a compound
	// RTCP packet is one.
	RTPReceived, RTCPReceived, RTPSent, RTCPSent uint64
	// Local and Remote are the nominated pair; invalid before nomination.
	Local, Remote netip.AddrPort
	// Times are the moments of the set-up; zero when not reached.
	Times Times
}

// Times are the moments at which a Session saw things for the first time.
type Times struct {
	Created, FirstCheck, Nominated, RemoteSet, FirstClientHello, Connected, FirstRTP, PeerClosed time.Time
}

// Stats returns a copy of the counters.
func (s *Session) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// count changes the counters under the lock.
func (s *Session) count(change func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.stats)
}
