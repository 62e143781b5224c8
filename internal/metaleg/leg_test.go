package metaleg_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/metaleg"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/relay"
)

func TestInboundCall(t *testing.T) {
	m := newMeta(t, newRelay(t))
	l := connect(t, newStack(t, loopback()), m)

	path, ok := l.Path()
	require.True(t, ok)
	require.Equal(t, "host", path.LocalType)
	require.Equal(t, "host", path.RemoteType)
	require.Equal(t, m.relay.Addrs()[0].String(), path.RemoteAddr)

	// Meta speaks before we have anywhere to put it, and after.
	m.say("early", 3)
	closed(t, "first audio", l.FirstAudio())
	e := newEar()
	l.SetSink(e)
	m.say("hello", 5)
	require.Eventually(t, func() bool { return l.Stats().ReceivedPackets == 8 }, patience, time.Millisecond)
	e.waitFor(t, 5)
	require.Positive(t, l.Times().FirstRTPIn.Sub(l.Times().Connected))

	// Nothing of ours leaves before Open.
	require.ErrorIs(t, l.WriteRTP(packet(1, "too early")), metaleg.ErrGateShut)
	l.Open()
	l.Open()
	for seq := range uint16(20) {
		require.NoError(t, l.WriteRTP(packet(seq+1, "speech")))
	}
	m.until("20 packets", func() bool { return len(m.heard) >= 20 })
	m.mu.Lock()
	for i, p := range m.heard {
		require.Equal(t, "speech", string(p.Payload))
		require.EqualValues(t, 111, p.PayloadType)
		require.EqualValues(t, i+1, p.SequenceNumber)
		require.EqualValues(t, (i+1)*960, p.Timestamp)
		require.Equal(t, i == 0, p.Marker)
		require.Equal(t, m.heard[0].SSRC, p.SSRC)
		require.False(t, p.Extension)
		require.Empty(t, p.CSRC)
	}
	m.mu.Unlock()

	st := l.Stats()
	require.EqualValues(t, 20, st.SentPackets)
	require.EqualValues(t, 120, st.SentBytes)
	require.EqualValues(t, 1, st.Gated)
	require.EqualValues(t, 8, st.ReceivedPackets)
	tm := l.Times()
	require.True(t, slices.IsSortedFunc([]time.Time{
		tm.Created, tm.Described, tm.ICEConnected, tm.Connected, tm.FirstRTPIn, tm.Opened, tm.FirstRTPOut,
	}, time.Time.Compare), "%+v", tm)

	ms := m.session.Stats()
	require.Zero(t, ms.RoleConflicts, "we are controlling")
	require.EqualValues(t, 1, ms.Nominations, "and keep to one pair")
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	require.NoError(t, l.Err())
	closed(t, "end", l.Done())
	require.ErrorIs(t, l.WriteRTP(packet(99, "x")), metaleg.ErrGateShut)
	require.Eventually(t, func() bool { return m.session.State() == relay.StatePeerClosed }, patience, time.Millisecond, "close_notify")
}

// Whoever calls hears nothing while the leg connects. The machine may have been away during one of the calls, but not during all.
func TestConnectingIsQuick(t *testing.T) {
	s, r := newStack(t, loopback()), newRelay(t)
	const limit = 2 * time.Second
	took := time.Duration(math.MaxInt64)
	for range 10 {
		m := newMeta(t, r)
		start := time.Now()
		connect(t, s, m)
		if took = min(took, time.Since(start)); took < limit {
			break
		}
	}
	t.Logf("connected in %v", took)
	require.Less(t, took, limit)
}

func TestOutboundCallInEverySetup(t *testing.T) {
	for setup, role := range map[string]relay.DTLSRole{
		"active": relay.DTLSRoleClient, "passive": relay.DTLSRoleServer, "actpass": relay.DTLSRoleServer,
	} {
		t.Run(setup, func(t *testing.T) {
			m := newMeta(t, newRelay(t))
			m.setup = setup
			l, offer, err := newStack(t, loopback()).Offer(t.Context())
			require.NoError(t, err)
			defer func() { require.NoError(t, l.Close()) }()
			m.take(offer, role)
			answer := m.sdp("0")
			require.NoError(t, l.SetAnswer(answer))
			require.NoError(t, l.SetAnswer(answer), "webhooks come twice")
			require.ErrorIs(t, l.SetAnswer(strings.Replace(answer, "a=ssrc:6", "a=ssrc:7", 1)), metaleg.ErrAnswered)
			closed(t, "connection", l.Connected())
			closed(t, "Meta's connection", m.session.Connected())
			e := newEar()
			l.SetSink(e)
			m.say("ring", 3)
			e.waitFor(t, 3)
			l.Open()
			require.NoError(t, l.WriteRTP(packet(1, "hi")))
			m.until("a packet", func() bool { return len(m.heard) == 1 })
			require.False(t, l.Times().Answered.IsZero())
		})
	}
}

// TestRelayThatLearnsOfTheCallLater is the usual case: our ClientHellos are lost
// until Meta has processed our answer.
func TestRelayThatLearnsOfTheCallLater(t *testing.T) {
	m := newMeta(t, newRelay(t))
	l, answer, err := newStack(t, loopback()).Answer(t.Context(), m.sdp("audio"))
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	require.Eventually(t, func() bool { return m.session.Stats().DroppedClientHellos >= 2 }, patience, time.Millisecond)
	m.take(answer, relay.DTLSRoleServer)
	closed(t, "connection", l.Connected())
}

func TestRelayThatAnswersChecksLate(t *testing.T) {
	r := newRelay(t)
	m := newMeta(t, r)
	m.candidates = r.Addrs()
	offer := m.sdp("audio")
	deaf := strings.Replace(offer, "a=ice-ufrag:"+m.session.Ufrag(), "a=ice-ufrag:unknown", 1)
	l, _, err := newStack(t, loopback()).Answer(t.Context(), deaf)
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	// Far more unanswered checks than Pion's default limit of 7.
	require.Eventually(t, func() bool { return r.Strays() > 30 }, patience, time.Millisecond)
	session, err := r.NewSession(relay.SessionOptions{Ufrag: "unknown", Pwd: m.session.Pwd()})
	require.NoError(t, err)
	defer func() { require.NoError(t, session.Close()) }()
	require.Eventually(t, func() bool { return !l.Times().ICEConnected.IsZero() }, patience, time.Millisecond)
}

// bothFamilies is a machine with one address of each family. Pion offers no IPv6
// loopback address, so the public one is played by it.
type bothFamilies struct{ transport.Net }

const public6 = "2001:db8::5"

func (bothFamilies) Interfaces() ([]*transport.Interface, error) {
	i := transport.NewInterface(net.Interface{Index: 1, MTU: 1500, Name: "eth7", Flags: net.FlagUp})
	i.AddAddress(&net.IPNet{IP: net.IPv4(127, 0, 0, 1), Mask: net.CIDRMask(8, 32)})
	i.AddAddress(&net.IPNet{IP: net.ParseIP(public6), Mask: net.CIDRMask(64, 128)})
	return []*transport.Interface{i}, nil
}

func (h bothFamilies) ListenUDP(network string, addr *net.UDPAddr) (transport.UDPConn, error) {
	if addr.IP.String() == public6 {
		addr = &net.UDPAddr{IP: net.IPv6loopback, Port: addr.Port}
	}
	return h.Net.ListenUDP(network, addr)
}

func newStackOfBothFamilies(t *testing.T) *metaleg.Stack {
	t.Helper()
	s := newStack(t, metaleg.Config{IncludeLoopback: true})
	s.SetHost(func() (transport.Net, error) {
		host, err := stdnet.NewNet()
		return bothFamilies{host}, err
	})
	return s
}

func TestIPv6(t *testing.T) {
	r, err := relay.Listen(relay.Options{Addrs: []netip.AddrPort{
		netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0"),
	}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	m := newMeta(t, r)
	m.candidates = r.Addrs()[1:]
	l := connect(t, newStackOfBothFamilies(t), m)
	path, _ := l.Path()
	require.Equal(t, r.Addrs()[1].String(), path.RemoteAddr)
	require.Contains(t, path.LocalAddr, public6)
	l.Open()
	require.NoError(t, l.WriteRTP(packet(1, "six")))
	m.until("a packet", func() bool { return len(m.heard) == 1 })
}

// TestDeadIPv6CandidateDoesNotHoldUp: Meta's offers prefer IPv6, and many networks
// lose it on the way.
func TestDeadIPv6CandidateDoesNotHoldUp(t *testing.T) {
	dead, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	require.NoError(t, err)
	defer dead.Close()
	m := newMeta(t, newRelay(t))
	m.candidates = append(m.candidates, netip.MustParseAddrPort(dead.LocalAddr().String()))
	// The relay learns of the call only when the dead candidate was tried.
	offer := strings.Replace(m.sdp("audio"), "a=ice-ufrag:"+m.session.Ufrag(), "a=ice-ufrag:unknown", 1)
	l, answer, err := newStackOfBothFamilies(t).Answer(t.Context(), offer)
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	require.NoError(t, dead.SetReadDeadline(time.Now().Add(patience)))
	_, _, err = dead.ReadFrom(make([]byte, 1500))
	require.NoError(t, err, "the dead candidate was tried")
	start := time.Now()
	session, err := m.relay.NewSession(relay.SessionOptions{Ufrag: "unknown", Pwd: m.session.Pwd()})
	require.NoError(t, err)
	defer func() { require.NoError(t, session.Close()) }()
	m.session = session
	m.take(answer, relay.DTLSRoleServer)
	closed(t, "connection", l.Connected())
	t.Logf("connected in %v", time.Since(start))
	path, _ := l.Path()
	require.Equal(t, m.relay.Addrs()[0].String(), path.RemoteAddr)
}

func TestWrongFingerprintEndsTheLeg(t *testing.T) {
	r := newRelay(t)
	m := newMeta(t, r)
	offer := strings.Replace(m.sdp("audio"), "sha-256 ", "sha-256 00:", 1)
	offer = offer[:strings.Index(offer, "a=setup")-5] + "\r\n" + offer[strings.Index(offer, "a=setup"):]
	l, answer, err := newStack(t, loopback()).Answer(t.Context(), offer)
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	m.take(answer, relay.DTLSRoleServer)
	closed(t, "end", l.Done())
	require.ErrorIs(t, l.Err(), metaleg.ErrHandshake)
}

func TestMetaCloses(t *testing.T) {
	m := newMeta(t, newRelay(t))
	l := connect(t, newStack(t, loopback()), m)
	require.NoError(t, m.session.Close())
	closed(t, "end", l.Done())
	require.ErrorIs(t, l.Err(), metaleg.ErrClosedByMeta)
}

func TestEventsAndStrangersStayOutOfTheAudio(t *testing.T) {
	m := newMeta(t, newRelay(t))
	l := connect(t, newStack(t, loopback()), m)
	e := newEar()
	l.SetSink(e)
	send := func(pt uint8) {
		m.seq++
		require.NoError(t, m.session.WriteRTP(&rtp.Packet{
			Header:  rtp.Header{Version: 2, PayloadType: pt, SSRC: m.ssrc, SequenceNumber: m.seq, Timestamp: uint32(m.seq) * 960},
			Payload: []byte{5, 10, 0, 160},
		}))
	}
	for _, pt := range []uint8{77, 111, 126, 126, 126, 111, 77, 111} {
		send(pt)
	}
	got := e.waitFor(t, 3)
	require.Equal(t, []uint16{2, 3, 5}, []uint16{got[0].SequenceNumber, got[1].SequenceNumber, got[2].SequenceNumber})
	require.Equal(t, []uint32{1920, 5760, 7680}, []uint32{got[0].Timestamp, got[1].Timestamp, got[2].Timestamp})
	st := l.Stats()
	require.EqualValues(t, 3, st.Events)
	require.EqualValues(t, 2, st.UnknownPayload, "one before and one after the first audio")
	require.EqualValues(t, 3, st.ReceivedPackets)
}

// Whatever the number a stream has, it is Meta's: nobody else has the keys.
func TestAudioOfAnotherSSRCIsHeard(t *testing.T) {
	m := newMeta(t, newRelay(t))
	l := connect(t, newStack(t, loopback()), m)
	e := newEar()
	l.SetSink(e)
	m.say("x", 1)
	e.waitFor(t, 1)
	m.ssrc++ // not that of the SDP
	m.say("y", 1)
	require.Equal(t, "y", string(e.waitFor(t, 2)[1].Payload))
}

// TestManyCallsOneRelayAddress is why each call has a socket of its own: Meta
// answers all of them from one address and port.
func TestManyCallsOneRelayAddress(t *testing.T) {
	const calls = 20
	r := newRelay(t)
	s := newStack(t, loopback())
	type line struct {
		meta *meta
		leg  *metaleg.Leg
		ear  *ear
	}
	lines := make([]line, calls)
	for i := range lines {
		m := newMeta(t, r)
		l, answer, err := s.Answer(t.Context(), m.sdp("audio"))
		require.NoError(t, err)
		defer func() { require.NoError(t, l.Close()) }()
		lines[i] = line{m, l, newEar()}
		l.SetSink(lines[i].ear)
		m.take(answer, relay.DTLSRoleServer)
	}
	for i, c := range lines {
		closed(t, "connection", c.leg.Connected())
		closed(t, "Meta's connection", c.meta.session.Connected())
		c.leg.Open()
		mark := fmt.Sprintf("call %d", i)
		c.meta.say(mark, 10)
		for seq := range uint16(10) {
			require.NoError(t, c.leg.WriteRTP(packet(seq, mark)))
		}
	}
	for i, c := range lines {
		mark := fmt.Sprintf("call %d", i)
		for _, p := range c.ear.waitFor(t, 10) {
			require.Equal(t, mark, string(p.Payload))
		}
		c.meta.until("10 packets", func() bool { return len(c.meta.heard) >= 10 })
		for _, p := range c.meta.heard {
			require.Equal(t, mark, string(p.Payload))
		}
		require.Zero(t, c.meta.session.Stats().SharedAddress)
	}
}

func TestGoroutinesOfALeg(t *testing.T) {
	const calls = 10
	r := newRelay(t)
	s := newStack(t, loopback())
	var metas []*meta
	for range calls {
		metas = append(metas, newMeta(t, r))
	}
	before := runtime.NumGoroutine()
	for _, m := range metas {
		l := connect(t, s, m)
		m.say("x", 1)
		closed(t, "first audio", l.FirstAudio())
	}
	each := float64(runtime.NumGoroutine()-before) / calls
	t.Logf("%.1f goroutines per connected leg and one local address", each)
	require.LessOrEqual(t, each, 24.0)
}

func TestConfigIsChecked(t *testing.T) {
	for name, c := range map[string]metaleg.Config{
		"ports the wrong way round": {PortMin: 2000, PortMax: 1000},
		"NAT address":               {NAT1To1IPs: []string{"nonsense"}},
		"server URL":                {ICEServers: []metaleg.ICEServer{{URLs: []string{"http://x"}}}},
		"TURN without credentials":  {ICEServers: []metaleg.ICEServer{{URLs: []string{"turn:127.0.0.1:3478"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := metaleg.New(c)
			require.Error(t, err)
		})
	}
}

func TestOfferIsMadeWithinItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l, _, err := newStack(t, loopback()).Offer(ctx)
	if err == nil { // gathering was faster
		require.NoError(t, l.Close())
		return
	}
	require.ErrorIs(t, err, context.Canceled)
}
