package relay

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
)

const (
	dtlsHeader      = 13 // RFC 6347, section 4.1
	recordHandshake = 22
	clientHello     = 1
)

// newCertificate makes an ECDSA P-256 certificate, which Meta recommends and
// uses: RSA ones would fragment the handshake.
func newCertificate(now time.Time) (certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "WebRTC"},
		NotBefore:    now.Add(-24 * time.Hour),
		NotAfter:     now.AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return certificate{}, err
	}
	return certificate{
		pair:        tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		fingerprint: fingerprintOf(der),
	}, nil
}

// fingerprintOf is the SHA-256 of a certificate as hex pairs with colons (RFC
// 8122, section 5).
func fingerprintOf(der []byte) string {
	sum := sha256.Sum256(der)
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = strings.ToUpper(hex.EncodeToString([]byte{b}))
	}
	return strings.Join(pairs, ":")
}

// handleDTLS takes a DTLS datagram from a checked address. Before SetRemote Meta
// cannot do DTLS; what comes then is lost and has to be sent again.
func (s *Session) handleDTLS(b []byte, now time.Time) {
	hello := len(b) > dtlsHeader && b[0] == recordHandshake && b[dtlsHeader] == clientHello
	s.mu.Lock()
	if hello && s.stats.Times.FirstClientHello.IsZero() {
		s.stats.Times.FirstClientHello = now
	}
	deaf := s.remote == nil || s.remote.DTLSRole == DTLSRoleNone
	if deaf {
		s.stats.DroppedDTLS++
		if hello {
			s.stats.DroppedClientHellos++
		}
	}
	s.mu.Unlock()
	if !deaf {
		s.inbox.put(append([]byte(nil), b...))
	}
}

// secure is the goroutine of a session with a DTLS role: handshake, keys, then
// wait for either side to close.
func (s *Session) secure() {
	s.mu.Lock()
	remote := *s.remote
	s.mu.Unlock()

	conn, err := s.handshake(remote)
	if err != nil {
		s.inbox.close()
		if s.ctx.Err() == nil {
			s.fail(err)
		}
		return
	}
	s.count(func(st *Stats) { st.Times.Connected = time.Now() })
	close(s.connected)
	s.advance(StateConnected)

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, maxDatagram)
		for {
			if _, err := conn.Read(buf); err != nil {
				return // close_notify, a fatal alert or our own Close
			}
		}
	}()
	select {
	case <-s.ctx.Done():
	case <-ended:
		s.count(func(st *Stats) { st.Times.PeerClosed = time.Now() })
		s.advance(StatePeerClosed)
	}
	s.keys.Store(nil)
	_ = conn.Close() // sends close_notify, unless the session is silent
	<-ended
}

// handshake does the DTLS handshake and leaves the keys in s.keys.
func (s *Session) handshake(remote Remote) (*dtls.Conn, error) {
	var mismatch atomic.Bool
	common := []dtls.Option{
		dtls.WithCertificates(s.relay.cert.pair),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80),
		dtls.WithInsecureSkipVerify(true), // WebRTC trusts the fingerprint, no authority
		dtls.WithVerifyPeerCertificate(func(chain [][]byte, _ [][]*x509.Certificate) error {
			if len(chain) == 0 || plainHex(fingerprintOf(chain[0])) != remote.Fingerprint {
				mismatch.Store(true)
				return ErrFingerprint
			}
			return nil
		}),
	}
	conn, err := s.newConn(remote.DTLSRole, common)
	if err == nil {
		err = conn.HandshakeContext(s.ctx)
	}
	if err == nil {
		err = s.deriveKeys(conn, remote.DTLSRole)
	}
	if err == nil {
		return conn, nil
	}
	if conn != nil {
		_ = conn.Close() // err already says why
	}
	if mismatch.Load() {
		return nil, ErrFingerprint
	}
	return nil, fmt.Errorf("%w: %w", ErrHandshake, err)
}

// newConn makes Meta's end. A client waits for the nomination first, because DTLS
// may not start before ICE is done.
func (s *Session) newConn(role DTLSRole, common []dtls.Option) (*dtls.Conn, error) {
	if role == DTLSRoleServer {
		opts := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
		for _, o := range common {
			opts = append(opts, o)
		}
		return dtls.ServerWithOptions(dtlsConn{s}, peerAddr{}, opts...)
	}
	select {
	case <-s.nominated:
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
	opts := make([]dtls.ClientOption, len(common))
	for i, o := range common {
		opts[i] = o
	}
	return dtls.ClientWithOptions(dtlsConn{s}, peerAddr{}, opts...)
}
