package attempts_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/attempts"
)

var (
	meta     = netip.MustParseAddr("173.252.88.66")
	stranger = netip.MustParseAddr("198.51.100.7")
)

// inBubble runs f with fake time.
func inBubble(t *testing.T, perAddress, total int, f func(t *testing.T, l *attempts.Limiter)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t, attempts.New(attempts.Options{PerAddress: perAddress, Total: total, Logger: slog.New(slog.DiscardHandler)}))
	})
}

func refused(l *attempts.Limiter, addr netip.Addr) bool {
	_, no := l.Refused(attempts.PlaceAPI, addr)
	return no
}

func TestAnAddressThatFailedTooOftenIsRefusedForAWhile(t *testing.T) {
	inBubble(t, 30, 0, func(t *testing.T, l *attempts.Limiter) {
		require.False(t, refused(l, stranger))
		for range 30 {
			require.False(t, refused(l, stranger))
			l.Failed(stranger)
		}
		wait, no := l.Refused(attempts.PlaceWebhook, stranger)
		require.True(t, no)
		require.Equal(t, 2*time.Second, wait, "thirty a minute")
		require.False(t, refused(l, meta), "somebody else")
		require.True(t, refused(l, netip.MustParseAddr("::ffff:198.51.100.7")), "the same, written otherwise")
		time.Sleep(wait) // fake time
		require.False(t, refused(l, stranger), "one more")
		l.Failed(stranger)
		require.True(t, refused(l, stranger))
		time.Sleep(time.Minute) // fake time
		for range 30 {
			require.False(t, refused(l, stranger), "as if nothing had been")
			l.Failed(stranger)
		}
	})
}

// Bursts of what is signed are never limited, and neither is a proxy behind which somebody guesses.
func TestWhoProvedThemselvesAreNotRefused(t *testing.T) {
	inBubble(t, 5, 5, func(t *testing.T, l *attempts.Limiter) {
		for range 1000 {
			require.False(t, refused(l, meta))
			l.Proved(meta)
		}
		for range 100 {
			l.Failed(meta)
			require.False(t, refused(l, meta))
		}
		l.Failed(stranger)
		require.False(t, refused(l, stranger), "failures behind a proved address do not count for all")
		time.Sleep(time.Hour) // fake time
		for range 5 {
			l.Failed(meta)
		}
		require.True(t, refused(l, meta), "that was long ago")
		require.False(t, l.Trusted(meta))
		l.Proved(meta)
		require.False(t, refused(l, meta))
		require.True(t, l.Trusted(meta))
	})
}

func TestTheLimitForAllSparesWhoHasNotFailed(t *testing.T) {
	inBubble(t, 10, 20, func(t *testing.T, l *attempts.Limiter) {
		a, b := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")
		for range 9 {
			l.Failed(a)
			l.Failed(b)
		}
		require.False(t, refused(l, a))
		l.Failed(stranger)
		l.Failed(stranger)
		require.True(t, refused(l, a), "twenty from all")
		require.False(t, refused(l, meta), "it may be Meta")
		time.Sleep(3 * time.Second) // fake time
		require.False(t, refused(l, a))
	})
}

func TestIPv6ClientsHaveANetwork(t *testing.T) {
	inBubble(t, 1, 0, func(t *testing.T, l *attempts.Limiter) {
		l.Failed(netip.MustParseAddr("2001:db8:0:1::1"))
		require.True(t, refused(l, netip.MustParseAddr("2001:db8:0:1:ffff::2")))
		require.False(t, refused(l, netip.MustParseAddr("2001:db8:0:2::1")))
	})
}

func TestMemoryIsBounded(t *testing.T) {
	inBubble(t, 1, 0, func(t *testing.T, l *attempts.Limiter) {
		first := netip.AddrFrom4([4]byte{10, 0, 0, 0})
		addr := first
		for range 10_000 {
			l.Failed(addr)
			addr = addr.Next()
		}
		require.True(t, refused(l, first))
		l.Failed(addr)
		require.False(t, refused(l, first), "forgotten for a newer one")
		require.True(t, refused(l, addr))
	})
}

func TestWithoutALimiterNobodyIsRefused(t *testing.T) {
	var none *attempts.Limiter
	none.Failed(stranger)
	none.Proved(stranger)
	require.False(t, refused(none, stranger))
	inBubble(t, 0, 0, func(t *testing.T, l *attempts.Limiter) {
		for range 1000 {
			l.Failed(stranger)
		}
		require.False(t, refused(l, stranger))
	})
}

func TestTheLogTellsOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		registry := prometheus.NewRegistry()
		l := attempts.New(attempts.Options{PerAddress: 1, Logger: slog.New(slog.NewTextHandler(&log, nil)), Registerer: registry})
		l.Failed(stranger)
		for range 100 {
			require.True(t, refused(l, stranger))
		}
		require.Equal(t, 1, strings.Count(log.String(), "\n"))
		require.Contains(t, log.String(), "from=198.51.100.7")
		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP livekit_connector_requests_limited_total Requests that proved nothing and were answered 429 because their address had failed to prove itself too often, by what they were for.
# TYPE livekit_connector_requests_limited_total counter
livekit_connector_requests_limited_total{for="api"} 100
livekit_connector_requests_limited_total{for="livekit"} 0
livekit_connector_requests_limited_total{for="webhook"} 0
`)))
	})
}

func TestWhoseAddressCounts(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct{ peer, forwarded, want string }{
		{"203.0.113.9:1234", "", "203.0.113.9"},
		{"203.0.113.9:1234", "198.51.100.1", "203.0.113.9"}, // anybody may write that
		{"10.0.0.1:1234", "", "10.0.0.1"},
		{"10.0.0.1:1234", "198.51.100.1", "198.51.100.1"},
		{"[::ffff:10.0.0.1]:1234", "198.51.100.1", "198.51.100.1"},
		{"[fd00::1]:1234", "2001:db8::1", "2001:db8::1"},
		{"10.0.0.1:1234", "1.2.3.4, 198.51.100.1", "198.51.100.1"}, // the first was invented by the client
		{"10.0.0.1:1234", "1.2.3.4, 198.51.100.1, 10.0.0.2", "198.51.100.1"},
		{"10.0.0.1:1234", "198.51.100.1:5678", "198.51.100.1"},
		{"10.0.0.1:1234", "[2001:db8::1]:5678", "2001:db8::1"},
		{"10.0.0.1:1234", "unknown", "10.0.0.1"},
		{"10.0.0.1:1234", "10.0.0.2", "10.0.0.2"},
		{"@", "", "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: tt.peer, Header: http.Header{}}
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		require.Equal(t, tt.want, attempts.ClientOf(r, proxies).String(), "%+v", tt)
	}
	r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{"X-Forwarded-For": {"198.51.100.1", "10.0.0.3"}}}
	require.Equal(t, "198.51.100.1", attempts.ClientOf(r, proxies).String(), "two header lines are one list")
}
