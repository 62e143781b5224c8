package relay_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/relay"
)

func session(t *testing.T, r *relay.Relay, o relay.SessionOptions) *relay.Session {
	t.Helper()
	s, err := r.NewSession(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func packet(seq uint16, payload string) *rtp.Packet {
	return &rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: 111, SequenceNumber: seq, Timestamp: uint32(seq) * 960, SSRC: 613016344},
		Payload: []byte(payload),
	}
}

func TestAnInboundCallConnectsAndCarriesPacketsBothWays(t *testing.T) {
	t.Parallel()
	r := listen(t)
	got := make(chan *rtp.Packet, 100)
	reports := make(chan []rtcp.Packet, 100)
	var states []relay.State
	var mu sync.Mutex
	s := session(t, r, relay.SessionOptions{
		OnRTP:  func(p *rtp.Packet, _ time.Time) { got <- p },
		OnRTCP: func(p []rtcp.Packet) { reports <- p },
		OnState: func(st relay.State) {
			mu.Lock()
			defer mu.Unlock()
			states = append(states, st)
		},
	})
	require.ErrorIs(t, s.WriteRTP(packet(1, "early")), relay.ErrNotConnected)
	require.ErrorIs(t, s.WriteRTCP([]rtcp.Packet{&rtcp.ReceiverReport{}}), relay.ErrNotConnected)
	b := newBusiness(t)
	connect(t, r, s, b)

	for i := range uint16(20) {
		require.NoError(t, b.track.WriteRTP(packet(i, fmt.Sprintf("up %d", i))))
		require.NoError(t, s.WriteRTP(packet(i, fmt.Sprintf("down %d", i))))
	}
	for i := range 20 {
		require.Equal(t, fmt.Sprintf("up %d", i), string(receive(t, "audio at Meta", got).Payload))
	}
	await(t, "audio at the business", func() bool { return len(b.received()) == 20 })
	require.Equal(t, "down 19", string(b.received()[19].Payload))

	require.NoError(t, b.pc.WriteRTCP([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 7}}))
	for heard := uint32(0); heard != 7; { // Pion reports every second by itself
		if r, ok := receive(t, "the report", reports)[0].(*rtcp.ReceiverReport); ok {
			heard = r.SSRC
		}
	}
	require.NoError(t, s.WriteRTCP([]rtcp.Packet{&rtcp.SenderReport{SSRC: 613016344}}))

	st := s.Stats()
	require.EqualValues(t, 20, st.RTPReceived)
	require.EqualValues(t, 20, st.RTPSent)
	require.EqualValues(t, 1, st.Nominations)
	require.Zero(t, st.RoleConflicts)
	require.Equal(t, r.Addrs()[0], st.Local)
	require.True(t, st.Remote.IsValid())
	require.Equal(t, 1, st.PeerReflexive)
	require.False(t, st.Times.Connected.Before(st.Times.Nominated))
	require.False(t, st.Times.FirstRTP.Before(st.Times.Connected))
	told := func() []relay.State {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(states)
	}
	await(t, "word of both states", func() bool { return len(told()) >= 2 }) // packets flow before the last is told
	require.Equal(t, []relay.State{relay.StateNominated, relay.StateConnected}, told())
}

func TestEarlyClientHellosAreDroppedAndRepeated(t *testing.T) {
	t.Parallel()
	r := listen(t)
	s := session(t, r, relay.SessionOptions{})
	b := newBusiness(t)
	answer := b.answer(t, s, r.Addrs())
	// The business does not wait for Meta to know its answer.
	await(t, "two ClientHellos", func() bool { return s.Stats().DroppedClientHellos >= 2 })
	require.Equal(t, relay.StateNominated, s.State())
	require.NoError(t, s.SetRemote(remoteOf(t, answer, relay.DTLSRoleServer)))
	closed(t, "DTLS", s.Connected())
	times := s.Stats().Times
	require.Less(t, times.FirstClientHello, times.RemoteSet)
	require.Greater(t, times.Connected.Sub(times.FirstClientHello), 900*time.Millisecond, "a repeated ClientHello costs a second")
}

func TestAPassiveBusinessWaitsForeverUnlessMetaIsLenient(t *testing.T) {
	t.Parallel()
	passive := func(se *webrtc.SettingEngine) { _ = se.SetAnsweringDTLSRole(webrtc.DTLSRoleServer) }

	t.Run("strict", func(t *testing.T) {
		r := listen(t)
		s := session(t, r, relay.SessionOptions{})
		b := newBusiness(t, passive, func(se *webrtc.SettingEngine) {
			se.SetICETimeouts(5*time.Second, 25*time.Second, 100*time.Millisecond)
		})
		require.NoError(t, s.SetRemote(remoteOf(t, b.answer(t, s, r.Addrs()), relay.DTLSRoleNone)))
		// Ten keepalives take longer than a handshake would.
		await(t, "keepalives", func() bool { return s.Stats().Checks > 10 })
		require.Equal(t, relay.StateNominated, s.State())
		await(t, "the business to wait for a ClientHello", func() bool {
			return b.pc.SCTP().Transport().State() == webrtc.DTLSTransportStateConnecting
		})
	})
	t.Run("lenient", func(t *testing.T) {
		r := listen(t)
		s := session(t, r, relay.SessionOptions{})
		b := newBusiness(t, passive)
		require.NoError(t, s.SetRemote(remoteOf(t, b.answer(t, s, r.Addrs()), relay.DTLSRoleClient)))
		closed(t, "DTLS", s.Connected())
	})
	t.Run("strict drops the ClientHello of an active one too", func(t *testing.T) {
		r := listen(t)
		s := session(t, r, relay.SessionOptions{})
		b := newBusiness(t)
		require.NoError(t, s.SetRemote(remoteOf(t, b.answer(t, s, r.Addrs()), relay.DTLSRoleNone)))
		await(t, "a ClientHello", func() bool { return s.Stats().DroppedClientHellos > 0 })
	})
}

func TestAnOutboundCallConnectsWhateverMetaAnswers(t *testing.T) {
	t.Parallel()
	for setup, role := range map[string]relay.DTLSRole{
		"active":  relay.DTLSRoleClient,
		"passive": relay.DTLSRoleServer,
		"actpass": relay.DTLSRoleServer,
	} {
		t.Run(setup, func(t *testing.T) {
			r := listen(t)
			got := make(chan *rtp.Packet, 1)
			s := session(t, r, relay.SessionOptions{OnRTP: func(p *rtp.Packet, _ time.Time) { got <- p }})
			b := newBusiness(t)
			require.NoError(t, s.SetRemote(remoteOf(t, b.offer(t), role)))
			b.apply(t, s, r.Addrs(), setup)
			closed(t, "DTLS", s.Connected())
			await(t, "the business to be connected", func() bool {
				return b.pc.ConnectionState() == webrtc.PeerConnectionStateConnected
			})
			require.NoError(t, b.track.WriteRTP(packet(1, "hello")))
			require.Equal(t, "hello", string(receive(t, "audio at Meta", got).Payload))
		})
	}
}

func TestAForeignCertificateFailsTheCall(t *testing.T) {
	t.Parallel()
	for name, role := range map[string]relay.DTLSRole{"server": relay.DTLSRoleServer, "client": relay.DTLSRoleClient} {
		t.Run("Meta is "+name, func(t *testing.T) {
			r := listen(t)
			s := session(t, r, relay.SessionOptions{})
			b := newBusiness(t, func(se *webrtc.SettingEngine) {
				if role == relay.DTLSRoleClient {
					_ = se.SetAnsweringDTLSRole(webrtc.DTLSRoleServer)
				}
			})
			remote := remoteOf(t, b.answer(t, s, r.Addrs()), role)
			remote.Fingerprint = s.Fingerprint() // a valid one, of another certificate
			require.NoError(t, s.SetRemote(remote))
			closed(t, "failure", s.Failed())
			require.ErrorIs(t, s.Err(), relay.ErrFingerprint)
			require.Equal(t, relay.StateFailed, s.State())
			select {
			case <-s.Connected():
				require.Fail(t, "connected")
			default:
			}
		})
	}
}

func TestManyCallsShareOneAddress(t *testing.T) {
	t.Parallel()
	const calls = 20
	r := listen(t)
	var mixedUp atomic.Int64
	sessions, businesses := make([]*relay.Session, calls), make([]*business, calls)
	for i := range calls {
		mine := fmt.Sprintf("call %d", i)
		sessions[i] = session(t, r, relay.SessionOptions{OnRTP: func(p *rtp.Packet, _ time.Time) {
			if string(p.Payload) != mine {
				mixedUp.Add(1)
			}
		}})
		businesses[i] = newBusiness(t)
	}
	for i, s := range sessions { // all handshakes at the same time
		require.NoError(t, s.SetRemote(remoteOf(t, businesses[i].answer(t, s, r.Addrs()), relay.DTLSRoleServer)))
	}
	for i, s := range sessions {
		closed(t, "DTLS", s.Connected())
		await(t, "the business to be connected", func() bool {
			return businesses[i].pc.ConnectionState() == webrtc.PeerConnectionStateConnected
		})
	}
	for n := range uint16(10) {
		for i := range calls {
			mine := fmt.Sprintf("call %d", i)
			require.NoError(t, businesses[i].track.WriteRTP(packet(n, mine)))
			require.NoError(t, sessions[i].WriteRTP(packet(n, mine)))
		}
		for i := range calls { // one round after the other: the socket that all share holds no more than a few
			await(t, "all packets", func() bool {
				return sessions[i].Stats().RTPReceived == uint64(n)+1 && len(businesses[i].received()) == int(n)+1
			})
		}
	}
	for i := range calls {
		for _, p := range businesses[i].received() {
			require.Equal(t, fmt.Sprintf("call %d", i), string(p.Payload))
		}
		require.Equal(t, r.Addrs()[0], sessions[i].Stats().Local)
		require.Zero(t, sessions[i].Stats().SharedAddress)
	}
	require.Zero(t, mixedUp.Load())
}

func TestTheBusinessHearsMetaClose(t *testing.T) {
	t.Parallel()
	r := listen(t)
	s := session(t, r, relay.SessionOptions{})
	b := newBusiness(t)
	connect(t, r, s, b)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.Equal(t, relay.StateClosed, s.State())
	require.ErrorIs(t, s.WriteRTP(packet(1, "late")), relay.ErrNotConnected)
	require.ErrorIs(t, s.SetRemote(relay.Remote{}), relay.ErrClosed)
	await(t, "close_notify at the business", func() bool {
		return b.pc.SCTP().Transport().State() == webrtc.DTLSTransportStateClosed
	})
}

func TestMetaHearsTheBusinessClose(t *testing.T) {
	t.Parallel()
	r := listen(t)
	states := make(chan relay.State, 10)
	s := session(t, r, relay.SessionOptions{OnState: func(st relay.State) { states <- st }})
	b := newBusiness(t)
	connect(t, r, s, b)
	require.NoError(t, b.pc.GracefulClose())
	for receive(t, "word of the close", states) != relay.StatePeerClosed {
	}
	require.NoError(t, s.Err())
	require.False(t, s.Stats().Times.PeerClosed.IsZero())
}

func TestASilencedSessionIsGoneWithoutAWord(t *testing.T) {
	t.Parallel()
	r := listen(t)
	var heard atomic.Int64
	s := session(t, r, relay.SessionOptions{OnRTP: func(*rtp.Packet, time.Time) { heard.Add(1) }})
	b := newBusiness(t, func(se *webrtc.SettingEngine) {
		// Their sum is all the time that a busy machine may take to connect.
		se.SetICETimeouts(time.Second, 9*time.Second, 100*time.Millisecond)
	})
	connect(t, r, s, b)
	s.Silence()
	strays := r.Strays()
	require.NoError(t, b.track.WriteRTP(packet(1, "anybody there?")))
	require.NoError(t, s.WriteRTP(packet(1, "lost")))
	await(t, "the packet to go astray", func() bool { return r.Strays() > strays })
	await(t, "ICE to fail at the business", func() bool {
		return b.pc.ICEConnectionState() == webrtc.ICEConnectionStateFailed
	})
	require.NoError(t, s.Close())
	require.Zero(t, heard.Load())
	require.Empty(t, b.received())
	require.NotEqual(t, webrtc.DTLSTransportStateClosed, b.pc.SCTP().Transport().State(), "no close_notify")
}

func TestSetRemoteWorksOnce(t *testing.T) {
	t.Parallel()
	r := listen(t)
	s := session(t, r, relay.SessionOptions{})
	require.NoError(t, s.SetRemote(relay.Remote{DTLSRole: relay.DTLSRoleServer}))
	require.ErrorIs(t, s.SetRemote(relay.Remote{}), relay.ErrRemoteSet)
}

func TestAClosedRelayTakesNoSessions(t *testing.T) {
	t.Parallel()
	r, err := relay.Listen(relay.Options{})
	require.NoError(t, err)
	s, err := r.NewSession(relay.SessionOptions{Ufrag: "abcd", Pwd: "secret"})
	require.NoError(t, err)
	_, err = r.NewSession(relay.SessionOptions{Ufrag: "abcd"})
	require.Error(t, err, "the ufrag is taken")
	require.NoError(t, s.SetRemote(relay.Remote{DTLSRole: relay.DTLSRoleClient}))
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	require.Equal(t, relay.StateClosed, s.State())
	_, err = r.NewSession(relay.SessionOptions{})
	require.ErrorIs(t, err, relay.ErrClosed)
}
