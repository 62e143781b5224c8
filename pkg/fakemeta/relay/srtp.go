package relay

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

const (
	rtpHeader = 12 // RFC 3550, section 5.1

	// replayWindow is how late a packet may come, in packets: what libwebrtc uses.
	replayWindow = 1024
)

// keys are the SRTP contexts of a session, one for each direction.
type keys struct {
	inMu sync.Mutex
	in   *srtp.Context
	// outMu makes sequence numbers leave in the order of encryption; it is not
	// held while sending.
	outMu sync.Mutex
	out   *srtp.Context
}

// deriveKeys exports the SRTP keys from the handshake (RFC 5764, section 4.2).
func (s *Session) deriveKeys(conn *dtls.Conn, role DTLSRole) error {
	state, ok := conn.ConnectionState()
	if !ok {
		return errors.New("export keys: handshake has no result")
	}
	profile, ok := conn.SelectedSRTPProtectionProfile()
	if !ok {
		return errors.New("export keys: business negotiated no SRTP profile")
	}
	config := srtp.Config{Profile: srtp.ProtectionProfile(profile)}
	if err := config.ExtractSessionKeysFromDTLS(&state, role == DTLSRoleClient); err != nil {
		return fmt.Errorf("export keys: %w", err)
	}
	in, err := srtp.CreateContext(config.Keys.RemoteMasterKey, config.Keys.RemoteMasterSalt, config.Profile,
		srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(replayWindow))
	if err != nil {
		return fmt.Errorf("create receiving context: %w", err)
	}
	out, err := srtp.CreateContext(config.Keys.LocalMasterKey, config.Keys.LocalMasterSalt, config.Profile)
	if err != nil {
		return fmt.Errorf("create sending context: %w", err)
	}
	s.keys.Store(&keys{in: in, out: out})
	return nil
}

// handleSRTP takes an SRTP or SRTCP datagram from a checked address.
func (s *Session) handleSRTP(b []byte, now time.Time) {
	k := s.keys.Load()
	if k == nil {
		s.count(func(st *Stats) { st.DroppedSRTP++ })
		return
	}
	// RTCP packet types lie where RTP has marker and payload types 64 to 95 (RFC
	// 5761, section 4).
	if b[1] >= 192 && b[1] <= 223 {
		s.handleRTCP(k, b)
		return
	}
	k.inMu.Lock()
	plain, err := k.in.DecryptRTP(nil, b, nil)
	k.inMu.Unlock()
	p := &rtp.Packet{}
	if err == nil {
		err = p.Unmarshal(plain)
	}
	if err != nil {
		s.count(func(st *Stats) { st.DroppedSRTP++ })
		return
	}
	s.count(func(st *Stats) {
		st.RTPReceived++
		if st.Times.FirstRTP.IsZero() {
			st.Times.FirstRTP = now
		}
	})
	if s.opts.OnRTP != nil {
		s.opts.OnRTP(p, now)
	}
}

func (s *Session) handleRTCP(k *keys, b []byte) {
	k.inMu.Lock()
	plain, err := k.in.DecryptRTCP(nil, b, nil)
	k.inMu.Unlock()
	var packets []rtcp.Packet
	if err == nil {
		packets, err = rtcp.Unmarshal(plain)
	}
	if err != nil {
		s.count(func(st *Stats) { st.DroppedSRTP++ })
		return
	}
	s.count(func(st *Stats) { st.RTCPReceived++ })
	if s.opts.OnRTCP != nil {
		s.opts.OnRTCP(packets)
	}
}

// WriteRTP encrypts p and sends it over the nominated pair. It does not keep p.
// A silent session takes the packet and sends nothing.
func (s *Session) WriteRTP(p *rtp.Packet) error {
	k := s.keys.Load()
	if k == nil {
		return ErrNotConnected
	}
	plain, err := p.Marshal()
	if err != nil {
		return fmt.Errorf("marshal RTP: %w", err)
	}
	k.outMu.Lock()
	b, err := k.out.EncryptRTP(nil, plain, nil)
	k.outMu.Unlock()
	if err != nil {
		return fmt.Errorf("encrypt RTP: %w", err)
	}
	s.count(func(st *Stats) { st.RTPSent++ })
	return s.transmit(b)
}

// WriteRTCP encrypts packets as one compound packet and sends it.
func (s *Session) WriteRTCP(packets []rtcp.Packet) error {
	k := s.keys.Load()
	if k == nil {
		return ErrNotConnected
	}
	plain, err := rtcp.Marshal(packets)
	if err != nil {
		return fmt.Errorf("marshal RTCP: %w", err)
	}
	k.outMu.Lock()
	b, err := k.out.EncryptRTCP(nil, plain, nil)
	k.outMu.Unlock()
	if err != nil {
		return fmt.Errorf("encrypt RTCP: %w", err)
	}
	s.count(func(st *Stats) { st.RTCPSent++ })
	return s.transmit(b)
}

// transmit sends b over the nominated pair. Without a pair, or silenced, it is
// lost on the way.
func (s *Session) transmit(b []byte) error {
	if s.silent.Load() {
		return nil
	}
	s.mu.Lock()
	pair := s.pair
	s.mu.Unlock()
	if pair.local == nil {
		return nil
	}
	if err := pair.local.send(pair.remote, b); err != nil {
		return fmt.Errorf("send over nominated pair: %w", err)
	}
	return nil
}
