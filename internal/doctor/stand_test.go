package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/doctor"
	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// Secrets of the stand: no report may hold one.
const (
	token       = "EAAtokentokentokentoken"
	appSecret   = "appsecretappsecretappsecret"
	verifyToken = "a verify token"
	turnSecret  = "a turn password"
)

const (
	numberID = "100000000000001"
	account  = "102290129340398"
)

// stand is everything around a connector, in order; tests break a part of it.
type stand struct {
	t       *testing.T
	o       doctor.Options
	machine doctor.Machine
	meta    *fakemeta.Server
	// stunPatience is how long STUN servers may take: patience, unless one never answers.
	stunPatience time.Duration
}

// patience is more than anything takes on a machine that does other things too.
const patience = time.Minute

// newStand makes a stand in which nothing is wrong.
func newStand(t *testing.T, liveKit *livekittest.Server) *stand {
	t.Helper()
	s := &stand{t: t, stunPatience: patience, machine: doctor.Machine{Files: 20_000, Cores: 4, Memory: 8e9, EphemeralFirst: 32768, EphemeralLast: 60999}}
	s.restartMeta(nil)
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(rules, []byte("rules: [{name: support, agents: [{name: greeter}]}]\n"), 0o600))
	s.o = doctor.Options{
		Source: "config.yaml", RulesFile: rules, MaxActiveCalls: 50, Redact: logs.Mask,
		LiveKit: doctor.LiveKit{URL: liveKit.URL(), Keys: []doctor.Key{{Key: liveKit.APIKey(), Secret: liveKit.APISecret()}}},
		Graph: doctor.Graph{URL: s.meta.GraphURL(), Timeout: patience, Numbers: []doctor.Number{{
			Credentials: whatsapp.Credentials{PhoneNumberID: numberID, AccessToken: token, Version: "24.0"},
			Name:        "support", AppSecret: appSecret,
		}}},
		Webhook:   doctor.Webhook{Path: "/webhook", VerifyToken: verifyToken, AppSecrets: []string{appSecret}},
		Receivers: []doctor.Receiver{{Key: "events.urls[0]", URL: s.serve(http.NotFoundHandler()).URL}},
		RTC: doctor.RTC{
			Loopback: true, IPv6: true, STUN: []string{s.stun(true)},
			TURN: []doctor.TURN{{URL: s.turn(), Username: "connector", Password: turnSecret}},
		},
	}
	connector := s.connector(verifyToken, appSecret)
	s.o.Webhook.PublicURL = connector + "/webhook"
	s.o.Ports = []doctor.Port{
		{Key: "port", Addresses: []string{strings.TrimPrefix(connector, "http://")}}, {Key: "admin.port", Addresses: []string{s.freePort()}},
	}
	return s
}

// examine runs the doctor.
func (s *stand) examine() doctor.Report {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*patience)
	defer cancel()
	s.o.SetMachine(s.machine)
	s.o.SetBounds(patience, s.stunPatience)
	return doctor.Run(ctx, s.o)
}

// restartMeta has a Meta with these calling settings; nil are good ones.
func (s *stand) restartMeta(settings map[string]any) {
	s.t.Helper()
	meta, err := fakemeta.Start(fakemeta.Options{})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, meta.Close()) })
	require.NoError(s.t, meta.AddNumber(fakemeta.Number{
		PhoneNumberID: numberID, DisplayNumber: "15550001111", AccessToken: token, AppSecret: appSecret, Settings: settings,
	}))
	s.meta, s.o.Graph.URL = meta, meta.GraphURL()
}

func (s *stand) serve(h http.Handler) *httptest.Server {
	server := httptest.NewServer(h)
	s.t.Cleanup(server.Close)
	return server
}

// before lets a handler change requests to url, answers to them, or answer itself and return true.
func (s *stand) before(to string, answer func(http.ResponseWriter, *http.Request) bool, change func(*http.Response)) string {
	s.t.Helper()
	target, err := url.Parse(strings.Replace(to, "ws://", "http://", 1))
	require.NoError(s.t, err)
	transport := &http.Transport{DisableKeepAlives: true}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if change != nil {
				change(r)
			}
			return nil
		},
	}
	return s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer == nil || !answer(w, r) {
			proxy.ServeHTTP(w, r)
		}
	})).URL
}

// connector answers webhooks as a connector with another verify token or app secret.
func (s *stand) connector(verify, secret string) string {
	return s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		challenge, err := whatsapp.ChallengeResponse(r.URL.Query(), verify)
		switch {
		case r.URL.Path == "/livez":
			_, _ = io.WriteString(w, `{"status":"ok","checks":{}}`)
		case r.URL.Path != "/webhook":
			http.NotFound(w, r)
		case r.Method == http.MethodGet && err == nil:
			_, _ = io.WriteString(w, challenge)
		case r.Method == http.MethodGet:
			w.WriteHeader(http.StatusForbidden)
		case r.Header.Get(whatsapp.SignatureHeader) == "":
			w.WriteHeader(http.StatusUnauthorized)
		case whatsapp.VerifySignature(body, r.Header.Get(whatsapp.SignatureHeader), secret) != nil:
			w.WriteHeader(http.StatusForbidden)
		}
	})).URL
}

// pair is the name of a file with a certificate and its key.
func (s *stand) pair(from, until time.Time) string {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(s.t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(s.t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(s.t, err)
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	name := filepath.Join(s.t.TempDir(), "pair.pem")
	require.NoError(s.t, os.WriteFile(name, both, 0o600))
	return name
}

// freePort is an address that nobody listens on, and that the kernel hands to nobody as long as the test lasts: a socket of
// ours is bound to it.
func (s *stand) freePort() string {
	s.t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(s.t, err)
	syscall.CloseOnExec(fd)
	s.t.Cleanup(func() { _ = syscall.Close(fd) })
	require.NoError(s.t, syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)) // who listens does so, too
	require.NoError(s.t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	bound, err := syscall.Getsockname(fd)
	require.NoError(s.t, err)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(bound.(*syscall.SockaddrInet4).Port))
}

// stun is a STUN server, or a socket that never answers.
func (s *stand) stun(answers bool) string {
	s.t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(s.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFromUDP(buf)
			if err != nil {
				return
			}
			request := &stun.Message{Raw: append([]byte(nil), buf[:n]...)}
			if !answers || request.Decode() != nil {
				continue
			}
			reply, err := stun.Build(request, stun.BindingSuccess, &stun.XORMappedAddress{IP: from.IP, Port: from.Port}, stun.Fingerprint)
			if err == nil {
				_, _ = conn.WriteToUDP(reply.Raw, from)
			}
		}
	}()
	s.t.Cleanup(func() {
		require.NoError(s.t, conn.Close())
		<-done
	})
	return conn.LocalAddr().String()
}

// turn is a TURN server for the user connector, and its URL.
func (s *stand) turn() string {
	s.t.Helper()
	const realm = "turn.test"
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(s.t, err)
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	server, err := turn.NewServer(turn.ServerConfig{
		Realm: realm, LoggerFactory: quiet,
		AuthHandler: func(ra *turn.RequestAttributes) (string, []byte, bool) {
			return ra.Username, turn.GenerateAuthKey("connector", realm, turnSecret), ra.Username == "connector"
		},
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn:            conn,
			RelayAddressGenerator: &turn.RelayAddressGeneratorStatic{RelayAddress: net.IPv4(127, 0, 0, 1), Address: "127.0.0.1"},
		}},
	})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, server.Close()) })
	return "turn:" + conn.LocalAddr().String() + "?transport=udp"
}
