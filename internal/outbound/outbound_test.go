package outbound_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/internal/outbound"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func TestURLsThatMayBe(t *testing.T) {
	for text, want := range map[string]string{
		"https://app.example.com/events?code=1": "",
		"https://10.0.0.7:8443":                 "",
		"http://localhost:3000/events":          "",
		"http://127.0.0.3/":                     "",
		"http://[::1]:3000":                     "",
		"http://app.example.com/":               "must begin with https:// unless hooks.allow_insecure is set",
		"http://10.0.0.7":                       "must begin with https:// unless",
		"http://localhost.example.com":          "must begin with https:// unless",
		"app.example.com":                       "must begin with https:// or http://",
		"ftp://app.example.com":                 "must begin with https:// or http://",
		"":                                      "must begin with https:// or http://",
		"https://":                              "names no host",
		"https://me:hush@app.example.com":       "must not hold a user or password",
		"https://app.example.com/#hush":         "must not have a fragment",
		"https://app.example.com:99999":         "the port is not",
		"https://app.example.com/hush\x7f":      "must begin with https:// or http://",
		"https://0.0.0.0:8081/hush":             "is no address of a server",
		"https://[ff02::1]/":                    "is no address of a server",
	} {
		err := outbound.CheckURL(text, false, "hooks.allow_insecure")
		if want == "" {
			require.NoError(t, err, text)
			continue
		}
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "hush")
	}
	require.NoError(t, outbound.CheckURL("http://app.example.com", true, ""))
	require.Equal(t, "https://app.example.com:8443", outbound.Place("https://app.example.com:8443/hush?hush"))
}

// nameServer answers every question for an address with the one of its name, on a loopback port of its own.
func nameServer(t *testing.T, addresses map[string]string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			name := q.Name.String()
			addr, err := netip.ParseAddr(addresses[name[:len(name)-1]])
			head := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1}
			switch {
			case err != nil:
				m.RCode = dnsmessage.RCodeNameError
			case q.Type == dnsmessage.TypeA && addr.Is4():
				m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AResource{A: addr.As4()}}}
			case q.Type == dnsmessage.TypeAAAA && addr.Is6():
				m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}}}
			}
			if answer, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// A name that its owner points at this machine's own credentials, or at a port of this machine, is not followed there. What
// a name may stand for is judged at each address that is connected to, so a second answer of DNS changes nothing.
func TestNamesThatLeadAstray(t *testing.T) {
	names := map[string]string{
		"imds.example.com": "169.254.169.254", "ecs.example.com": "169.254.170.2", "mapped.example.com": "::ffff:169.254.169.254",
		"ec2.example.com": "fd00:ec2::254", "link.example.com": "fe80::1", "any.example.com": "0.0.0.0", "this.example.com": "0.1.2.3",
		"any6.example.com": "::", "many.example.com": "224.0.0.1", "many6.example.com": "ff02::1", "all.example.com": "255.255.255.255",
		"alibaba.example.com": "100.100.100.200", "azure.example.com": "168.63.129.16", "me.example.com": "127.0.0.1", "me6.example.com": "::1",
		"nat64.example.com": "64:ff9b::a9fe:a9fe", "sixtofour.example.com": "2002:a9fe:a9fe::1", "compatible.example.com": "::a9fe:a9fe",
	}
	guard := &outbound.Guard{Resolver: nameServer(t, names), Timeout: time.Minute}
	for name, address := range names {
		conn, err := guard.DialContext(t.Context(), "tcp", name+":9")
		require.ErrorIs(t, err, outbound.ErrForbidden, "%s, %s", name, address)
		require.Nil(t, conn)
	}
}

// Loopback stands in the URL itself, or is called localhost.
func TestThisMachineByItsOwnName(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }))
	defer server.Close()
	port := server.Listener.Addr().(*net.TCPAddr).Port
	guard := &outbound.Guard{Resolver: nameServer(t, map[string]string{"localhost": "127.0.0.1"})}
	for _, host := range []string{"127.0.0.1", "localhost"} {
		conn, err := guard.DialContext(t.Context(), "tcp4", net.JoinHostPort(host, strconv.Itoa(port)))
		require.NoError(t, err, host)
		require.NoError(t, conn.Close())
	}
}

func TestRedirectsAreAnswers(t *testing.T) {
	asked := make(chan string, 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	transport := outbound.NewTransport(1, time.Minute)
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/hook", http.NoBody)
	require.NoError(t, err)
	res, err := outbound.NewClient(transport, time.Minute).Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusTemporaryRedirect, res.StatusCode)
	require.Equal(t, "/hook", <-asked)
	require.Empty(t, asked)
}
