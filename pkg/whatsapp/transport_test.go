package whatsapp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

func TestMain(m *testing.M) { leaks.Main(m) }

var errDial = errors.New("not dialled")

// refusing returns an address that refuses connections as long as the test lasts. It is the near end of a connection, so
// nobody else gets its port.
func refusing(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn.LocalAddr().String()
}

func connectOnce(t *testing.T, opts whatsapp.Options) error {
	t.Helper()
	_, err := newClient(t, opts).Connect(t.Context(), creds, whatsapp.ConnectRequest{To: number, Offer: offer})
	require.Error(t, err)
	requireClean(t, err.Error())
	return err
}

func TestWhatWasCertainlyNotSentIsNotUnknown(t *testing.T) {
	impatient, err := whatsapp.NewClient(whatsapp.Options{BaseURL: "http://" + refusing(t)})
	require.NoError(t, err)
	_, err = impatient.Connect(t.Context(), creds, whatsapp.ConnectRequest{To: number, Offer: offer})
	require.Error(t, err)
	require.NotErrorIs(t, err, whatsapp.ErrOutcomeUnknown)

	secure := httptest.NewUnstartedServer(respond(200, took))
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	defer secure.Close()
	// The certificate is not trusted, so nothing is sent.
	require.NotErrorIs(t, connectOnce(t, whatsapp.Options{BaseURL: secure.URL}), whatsapp.ErrOutcomeUnknown)

	noDNS := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.DNSError{Err: "no such host", Name: "graph.invalid", IsNotFound: true}
	}}}
	require.NotErrorIs(t, connectOnce(t, whatsapp.Options{BaseURL: "http://graph.invalid", HTTPClient: noDNS}), whatsapp.ErrOutcomeUnknown)

	noDial := func(context.Context, string, string) (net.Conn, error) { return nil, errDial }
	err = connectOnce(t, whatsapp.Options{BaseURL: "http://graph.invalid", DialContext: noDial})
	require.ErrorIs(t, err, errDial)
	require.NotErrorIs(t, err, whatsapp.ErrOutcomeUnknown)

	synctest.Test(t, func(t *testing.T) {
		slowDial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		err := connectOnce(t, whatsapp.Options{BaseURL: "http://graph.invalid", DialContext: slowDial})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, whatsapp.ErrOutcomeUnknown)
	})
}

func TestWhatMayHaveArrivedIsUnknown(t *testing.T) {
	g := newGraph(t, lose)
	require.ErrorIs(t, connectOnce(t, whatsapp.Options{BaseURL: g.URL}), whatsapp.ErrOutcomeUnknown)
	require.Len(t, g.requests(), 1)

	synctest.Test(t, func(t *testing.T) {
		mute, p := newPipedGraph(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		err := connectOnce(t, whatsapp.Options{BaseURL: mute.URL, DialContext: p.Dial})
		require.ErrorIs(t, err, whatsapp.ErrOutcomeUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, mute.requests(), 1)
	})

	g = newGraph(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"calls":[{"id":"wacid`)
	})
	require.ErrorIs(t, connectOnce(t, whatsapp.Options{BaseURL: g.URL}), whatsapp.ErrOutcomeUnknown)
}

func TestAcceptSurvivesALostResponse(t *testing.T) {
	g := newGraph(t, lose, refuse(400, 100, "(#100) Invalid parameter", "Call is already in progress"))
	var hook seen
	c := newClient(t, whatsapp.Options{BaseURL: g.URL, OnRequest: hook.hook})
	require.NoError(t, c.Accept(t.Context(), creds, whatsapp.AcceptRequest{CallID: callID, Answer: answer}))
	bodies := g.requests()
	require.Len(t, bodies, 2)
	require.Equal(t, bodies[0], bodies[1])
	require.Equal(t, []string{"accept transport", "accept already_done"}, hook.all())
}

// net/http replays a request over HTTP/2 after a stream error that it takes for harmless. For a connect nothing is.
func TestHTTP2DoesNotReplayAConnect(t *testing.T) {
	var conns, streams atomic.Int32
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	certificates := httptest.NewUnstartedServer(nil)
	certificates.StartTLS()
	config := certificates.TLS.Clone()
	config.NextProtos = []string{"h2"}
	certificates.Close()

	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, stopped := listener.Accept()
			if stopped != nil {
				return
			}
			conns.Add(1)
			_ = conn.SetDeadline(time.Now().Add(2 * time.Minute)) // so that done is, whatever happens
			resetStreams(tls.Server(conn, config), &streams)
		}
	}()
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	err = connectOnce(t, whatsapp.Options{
		BaseURL: "https://" + listener.Addr().String(), HTTPClient: &http.Client{Transport: transport},
	})
	require.ErrorIs(t, err, whatsapp.ErrOutcomeUnknown)
	require.Equal(t, int32(1), streams.Load())
	require.Equal(t, int32(1), conns.Load())
	transport.CloseIdleConnections()
	require.NoError(t, listener.Close())
	<-done
}

// resetStreams speaks just enough HTTP/2 (RFC 9113) to refuse every request with RST_STREAM(PROTOCOL_ERROR) after it has ended.
func resetStreams(conn net.Conn, streams *atomic.Int32) {
	defer conn.Close()
	const preface = len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	if _, err := io.ReadFull(conn, make([]byte, preface)); err != nil {
		return
	}
	_, _ = conn.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0}) // SETTINGS
	for {
		head := make([]byte, 9)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, conn, int64(head[0])<<16|int64(head[1])<<8|int64(head[2])); err != nil {
			return
		}
		const data, endStream = 0, 1
		if head[3] == data && head[4]&endStream != 0 {
			streams.Add(1)
			_, _ = conn.Write(append([]byte{0, 0, 4, 3, 0, head[5], head[6], head[7], head[8]}, 0, 0, 0, 1))
		}
	}
}
