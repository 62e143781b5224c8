package relay

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pion/stun/v4"
)

// check answers one STUN datagram as an ICE-lite agent does (RFC 8445, section
// 7.3). What it must not answer it drops.
func (r *Relay) check(p path, b []byte, now time.Time) {
	m := &stun.Message{Raw: bytes.Clone(b)}
	if m.Decode() != nil || m.Type != stun.BindingRequest || stun.Fingerprint.Check(m) != nil {
		// An agent checks FINGERPRINT before anything else (RFC 8489, section
		// 6.3) and ICE demands it. Answers and indications expect no answer.
		r.strays.Add(1)
		return
	}
	username, err := m.Get(stun.AttrUsername)
	if err != nil || !m.Contains(stun.AttrMessageIntegrity) {
		// RFC 8489, section 9.1.3. It belongs to no session that could count it,
		// nor is there a key to sign the answer with.
		r.strays.Add(1)
		r.answer(p, m, nil, stun.CodeBadRequest)
		return
	}
	local, remote, _ := bytes.Cut(username, []byte(":"))
	r.mu.RLock()
	s := r.ufrags[string(local)]
	r.mu.RUnlock()
	if s == nil || !s.enter() {
		r.strays.Add(1)
		return
	}
	defer s.leave()
	s.handleCheck(p, m, string(remote), now)
}

// handleCheck judges one binding request meant for s.
func (s *Session) handleCheck(p path, m *stun.Message, ufrag string, now time.Time) {
	integrity := stun.NewShortTermIntegrity(s.pwd)
	switch {
	case integrity.Check(m) != nil || !s.isRemote(ufrag):
		s.count(func(st *Stats) { st.Unauthorized++ })
		s.relay.answer(p, m, nil, stun.CodeUnauthorized)
		return
	case hasUnknown(m):
		s.count(func(st *Stats) { st.BadRequests++ })
		s.relay.answer(p, m, integrity, stun.CodeUnknownAttribute)
		return
	case m.Contains(stun.AttrICEControlled):
		// Both sides would be controlled. A lite agent never switches, so the
		// other one has to (RFC 8445, section 7.3.1.1).
		s.count(func(st *Stats) { st.RoleConflicts++ })
		s.relay.answer(p, m, integrity, stun.CodeRoleConflict)
		return
	}
	if rival := s.relay.learn(p, s); rival != nil {
		s.count(func(st *Stats) { st.SharedAddress++ })
		rival.count(func(st *Stats) { st.SharedAddress++ })
	}
	nominated := s.noteCheck(p, m.Contains(stun.AttrUseCandidate), now)
	s.relay.answer(p, m, integrity, 0)
	if nominated {
		s.advance(StateNominated)
		close(s.nominated)
	}
}

// isRemote reports whether ufrag is that of the business, as far as it is known.
func (s *Session) isRemote(ufrag string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remote == nil || s.remote.Ufrag == ufrag
}

// noteCheck books a valid check and reports whether it nominated the first pair.
func (s *Session) noteCheck(p path, nominate bool, now time.Time) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Checks++
	if s.stats.Times.FirstCheck.IsZero() {
		s.stats.Times.FirstCheck = now
	}
	if !s.known[p.remote] {
		s.known[p.remote] = true
		s.countSourceLocked(p.remote)
	}
	if !nominate || s.pair == p {
		return false
	}
	first = s.pair.local == nil
	s.pair = p
	s.stats.Nominations++
	s.stats.Local, s.stats.Remote = p.local.addr, p.remote
	if first {
		s.stats.Times.Nominated = now
	}
	return first
}

// countSourceLocked counts addr if no candidate line named it.
func (s *Session) countSourceLocked(addr netip.AddrPort) {
	if s.remote == nil || !slices.Contains(s.remote.Candidates, addr) {
		s.stats.PeerReflexive++
	}
}

// hasUnknown reports whether the request has an attribute that must be understood
// and is not (RFC 8489, section 6.3.1).
func hasUnknown(m *stun.Message) bool {
	for _, a := range m.Attributes {
		if a.Type.Required() && !a.Type.Known() {
			return true
		}
	}
	return false
}

// answer sends a success response, or an error response when code is not zero. A
// nil integrity sends it unsigned.
func (r *Relay) answer(p path, request *stun.Message, integrity stun.MessageIntegrity, code stun.ErrorCode) {
	setters := []stun.Setter{stun.NewTransactionIDSetter(request.TransactionID)}
	if code == 0 {
		setters = append(setters, stun.BindingSuccess, &stun.XORMappedAddress{
			IP:   net.IP(p.remote.Addr().AsSlice()),
			Port: int(p.remote.Port()),
		})
	} else {
		setters = append(setters, stun.BindingError, code)
	}
	if code == stun.CodeUnknownAttribute {
		setters = append(setters, unknownOf(request))
	}
	if integrity != nil {
		setters = append(setters, integrity)
	}
	m, err := stun.Build(append(setters, stun.Fingerprint)...)
	if err != nil {
		r.log.Error("build STUN answer", "error", err)
		return
	}
	_ = p.local.send(p.remote, m.Raw) // lost answers are the network's business
}

func unknownOf(m *stun.Message) stun.UnknownAttributes {
	var unknown stun.UnknownAttributes
	for _, a := range m.Attributes {
		if a.Type.Required() && !a.Type.Known() {
			unknown = append(unknown, a.Type)
		}
	}
	return unknown
}

// send writes one datagram.
func (s *socket) send(to netip.AddrPort, b []byte) error {
	_, err := s.conn.WriteToUDPAddrPort(b, to)
	return err
}
