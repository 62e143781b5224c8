package relay_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/relay"
)

const (
	metaUfrag = "NvPeRHRlBReaRYCZ"
	metaPwd   = "+219v9nKr3xSQIn8s+Fy8g=="
)

// prober sends single STUN requests, as no ICE agent would.
type prober struct {
	t    *testing.T
	conn *net.UDPConn
}

func newProber(t *testing.T, to netip.AddrPort) *prober {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return &prober{t: t, conn: conn}
}

func (p *prober) addr() netip.AddrPort { return p.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func (p *prober) send(setters ...stun.Setter) *stun.Message {
	p.t.Helper()
	m, err := stun.Build(append([]stun.Setter{stun.TransactionID, stun.BindingRequest}, setters...)...)
	require.NoError(p.t, err)
	_, err = p.conn.Write(m.Raw)
	require.NoError(p.t, err)
	return m
}

// ask sends a request and returns the answer to it.
func (p *prober) ask(setters ...stun.Setter) *stun.Message {
	p.t.Helper()
	request := p.send(setters...)
	b := make([]byte, 2048)
	require.NoError(p.t, p.conn.SetReadDeadline(time.Now().Add(patience)))
	n, err := p.conn.Read(b)
	require.NoError(p.t, err)
	answer := &stun.Message{Raw: b[:n]}
	require.NoError(p.t, answer.Decode())
	require.Equal(p.t, request.TransactionID, answer.TransactionID)
	require.NoError(p.t, stun.Fingerprint.Check(answer))
	return answer
}

// check is what a controlling agent sends.
func check(username, pwd string, more ...stun.Setter) []stun.Setter {
	all := append([]stun.Setter{stun.NewUsername(username), raw(stun.AttrPriority, 0, 0, 0, 1)}, more...)
	return append(all, stun.NewShortTermIntegrity(pwd), stun.Fingerprint)
}

func raw(a stun.AttrType, value ...byte) stun.RawAttribute {
	return stun.RawAttribute{Type: a, Value: value}
}

func controlling() stun.Setter { return raw(stun.AttrICEControlling, 1, 2, 3, 4, 5, 6, 7, 8) }

func errorCode(t *testing.T, m *stun.Message) stun.ErrorCode {
	t.Helper()
	require.Equal(t, stun.BindingError, m.Type)
	var code stun.ErrorCodeAttribute
	require.NoError(t, code.GetFrom(m))
	return code.Code
}

func probed(t *testing.T) (*relay.Relay, *relay.Session, *prober) {
	t.Helper()
	r := listen(t)
	s := session(t, r, relay.SessionOptions{Ufrag: metaUfrag, Pwd: metaPwd})
	return r, s, newProber(t, r.Addrs()[0])
}

func TestACheckIsAnsweredWithItsSource(t *testing.T) {
	t.Parallel()
	_, s, p := probed(t)
	answer := p.ask(check(metaUfrag+":biz", metaPwd, controlling())...)
	require.Equal(t, stun.BindingSuccess, answer.Type)
	require.NoError(t, stun.NewShortTermIntegrity(metaPwd).Check(answer))
	var mapped stun.XORMappedAddress
	require.NoError(t, mapped.GetFrom(answer))
	require.Equal(t, int(p.addr().Port()), mapped.Port)
	require.True(t, mapped.IP.Equal(net.IPv4(127, 0, 0, 1)))
	st := s.Stats()
	require.EqualValues(t, 1, st.Checks)
	require.Equal(t, 1, st.PeerReflexive)
	require.False(t, st.Remote.IsValid(), "a check without USE-CANDIDATE nominates nothing")
}

func TestAControlledBusinessIsToldOfTheRoleConflict(t *testing.T) {
	t.Parallel()
	_, s, p := probed(t)
	answer := p.ask(check(metaUfrag+":biz", metaPwd, raw(stun.AttrICEControlled, 1, 2, 3, 4, 5, 6, 7, 8), raw(stun.AttrUseCandidate))...)
	require.Equal(t, stun.CodeRoleConflict, errorCode(t, answer))
	require.NoError(t, stun.NewShortTermIntegrity(metaPwd).Check(answer))
	st := s.Stats()
	require.EqualValues(t, 1, st.RoleConflicts)
	require.Zero(t, st.Checks)
	require.Zero(t, st.Nominations)
}

func TestBadChecksAreRefused(t *testing.T) {
	t.Parallel()
	_, s, p := probed(t)
	require.Equal(t, stun.CodeUnauthorized, errorCode(t, p.ask(check(metaUfrag+":biz", "wrong")...)))
	require.Equal(t, stun.CodeBadRequest, errorCode(t, p.ask(stun.NewUsername(metaUfrag+":biz"), stun.Fingerprint)))
	require.Equal(t, stun.CodeBadRequest, errorCode(t, p.ask(stun.NewShortTermIntegrity(metaPwd), stun.Fingerprint)))
	unknown := p.ask(check(metaUfrag+":biz", metaPwd, raw(0x7abc, 1, 2, 3, 4))...)
	require.Equal(t, stun.CodeUnknownAttribute, errorCode(t, unknown))
	require.True(t, unknown.Contains(stun.AttrUnknownAttributes))

	require.NoError(t, s.SetRemote(relay.Remote{Ufrag: "biz"}))
	require.Equal(t, stun.CodeUnauthorized, errorCode(t, p.ask(check(metaUfrag+":other", metaPwd, controlling())...)))
	require.Equal(t, stun.BindingSuccess, p.ask(check(metaUfrag+":biz", metaPwd, controlling())...).Type)
	st := s.Stats()
	require.EqualValues(t, 2, st.Unauthorized)
	require.EqualValues(t, 1, st.BadRequests)
	require.EqualValues(t, 1, st.Checks)
}

func TestWhatMustNotBeAnsweredIsNot(t *testing.T) {
	t.Parallel()
	r, s, p := probed(t)
	p.send(check("nobody:biz", metaPwd, controlling())...)
	p.send(stun.NewUsername(metaUfrag+":biz"), stun.NewShortTermIntegrity(metaPwd)) // no FINGERPRINT
	_, err := p.conn.Write([]byte{0, 1, 2})
	require.NoError(t, err)
	_, err = p.conn.Write([]byte{100, 1, 2})
	require.NoError(t, err)
	_, err = p.conn.Write(append([]byte{0x80, 111}, make([]byte, 40)...)) // RTP of an unknown source
	require.NoError(t, err)
	indication, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication), stun.Fingerprint)
	require.NoError(t, err)
	_, err = p.conn.Write(indication.Raw)
	require.NoError(t, err)
	// The next answer belongs to the next good request, so none went out before it.
	require.Equal(t, stun.BindingSuccess, p.ask(check(metaUfrag+":biz", metaPwd, controlling())...).Type)
	require.EqualValues(t, 6, r.Strays())
	require.EqualValues(t, 1, s.Stats().Checks)
}

func TestTheNominationIsFollowed(t *testing.T) {
	t.Parallel()
	r, s, first := probed(t)
	second := newProber(t, r.Addrs()[0])
	nominate := check(metaUfrag+":biz", metaPwd, controlling(), raw(stun.AttrUseCandidate))

	first.ask(nominate...)
	first.ask(nominate...) // a repetition is none
	require.Equal(t, first.addr(), s.Stats().Remote)
	require.EqualValues(t, 1, s.Stats().Nominations)
	second.ask(check(metaUfrag+":biz", metaPwd, controlling())...)
	require.Equal(t, first.addr(), s.Stats().Remote)
	second.ask(nominate...)
	require.Equal(t, second.addr(), s.Stats().Remote)
	require.EqualValues(t, 2, s.Stats().Nominations)
	require.Equal(t, 2, s.Stats().PeerReflexive)

	require.NoError(t, s.SetRemote(relay.Remote{Ufrag: "biz", Candidates: []netip.AddrPort{first.addr()}}))
	require.Equal(t, 1, s.Stats().PeerReflexive, "one of them was a candidate after all")
}

func TestTwoCallsOverOneSocketOfTheBusinessAreNoticed(t *testing.T) {
	t.Parallel()
	r, s, p := probed(t)
	other := session(t, r, relay.SessionOptions{})
	p.ask(check(metaUfrag+":biz", metaPwd, controlling())...)
	p.ask(check(other.Ufrag()+":biz", other.Pwd(), controlling())...)
	require.EqualValues(t, 1, s.Stats().SharedAddress)
	require.EqualValues(t, 1, other.Stats().SharedAddress)
}

func TestEveryListenAddressAnswers(t *testing.T) {
	t.Parallel()
	loopback := netip.MustParseAddr("127.0.0.1")
	r, err := relay.Listen(relay.Options{Addrs: []netip.AddrPort{
		netip.AddrPortFrom(loopback, 0), netip.AddrPortFrom(netip.IPv6Loopback(), 0),
	}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	s := session(t, r, relay.SessionOptions{})
	require.Len(t, s.Ufrag(), 16)
	require.Regexp(t, `^.{22}==$`, s.Pwd())
	for _, addr := range r.Addrs() {
		p := newProber(t, addr)
		p.ask(check(s.Ufrag()+":biz", s.Pwd(), controlling(), raw(stun.AttrUseCandidate))...)
		require.Equal(t, addr, s.Stats().Local)
		require.Equal(t, p.addr(), s.Stats().Remote)
	}
	_, err = relay.Listen(relay.Options{Addrs: []netip.AddrPort{r.Addrs()[0]}})
	require.Error(t, err, "the address is taken")
}
