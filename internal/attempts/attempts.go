// Package attempts keeps those who cannot prove who they are from trying for ever: it counts, by client address, requests
// whose token or signature was wrong, and says of an address that has failed too often to refuse it.
//
// What is properly signed is never limited: a token or a signature is looked at first, and who failed too often is asked only
// for those that are wrong, and before what costs more than that, such as a large body. So one who guesses keeps nobody out who
// comes by the same proxy. An address that has proved itself within the last hour is not refused whatever else comes from it.
// An address without failures always gets its attempt, even while the limit for all addresses together is spent.
package attempts

import (
	"container/list"
	"log/slog"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

const (
	// maxAddresses bounds the memory: some hundred bytes each. The address that was not heard of for the longest goes first.
	maxAddresses = 10_000
	// trusted is how long an address that proved itself is not refused.
	trusted = time.Hour
	// sayEvery is how often the log tells that addresses are refused.
	sayEvery = time.Minute
)

// Options are what a Limiter is made of.
type Options struct {
	// PerAddress and Total are how many failures a minute there may be, from one address and from all, at once or spread
	// out. Zero means no limit.
	PerAddress, Total int
	// Proxies are networks whose X-Forwarded-For is believed.
	Proxies []netip.Prefix
	// Logger is required. Registerer gets the metrics; nil keeps them unregistered.
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Limiter counts failures. A nil Limiter refuses nobody. All methods may be called from any goroutine.
type Limiter struct {
	opts    Options
	refused *prometheus.CounterVec

	mu    sync.Mutex // guards the following fields
	total *rate.Limiter
	known map[netip.Addr]*list.Element
	order *list.List // of *client, heard of last in front
	said  time.Time
	quiet int // refusals that the log has not told of
}

// client is an address, or a network of IPv6 of which one customer has all.
type client struct {
	addr     netip.Addr
	failures *rate.Limiter // nil before the first
	proved   time.Time     // zero: never
}

// Places are what requests are for, for the metric's label.
func Places() []string { return []string{PlaceAPI, PlaceLiveKit, PlaceWebhook} }

// The places.
const (
	PlaceAPI     = "api"
	PlaceLiveKit = "livekit" // passed on to livekit-server
	PlaceWebhook = "webhook"
)

// New returns a Limiter. It starts nothing.
func New(o Options) *Limiter {
	l := &Limiter{
		opts: o, known: make(map[netip.Addr]*list.Element), order: list.New(), total: perMinute(o.Total),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "livekit_connector", Name: "requests_limited_total",
			Help: "Requests that proved nothing and were answered 429 because their address had failed to prove itself too often, by what they were for.",
		}, []string{"for"}),
	}
	for _, p := range Places() {
		l.refused.WithLabelValues(p)
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(l.refused)
	}
	return l
}

func perMinute(n int) *rate.Limiter {
	if n == 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(n)/60, n)
}

// Refused says whether to refuse a request for a place that has not proved anything, or not yet, and when to come back: at
// least a second.
func (l *Limiter) Refused(place string, addr netip.Addr) (retryAfter time.Duration, refused bool) {
	if l == nil {
		return 0, false
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.find(addr)
	if c == nil || c.failures == nil || c.trusts(now) {
		return 0, false
	}
	wait := max(untilOne(c.failures, now), untilOne(l.total, now))
	if wait <= 0 {
		return 0, false
	}
	l.refused.WithLabelValues(place).Inc()
	l.sayLocked(addr, now)
	return max(wait, time.Second), true
}

// untilOne is when a bucket has a token again; zero if it has.
func untilOne(b *rate.Limiter, now time.Time) time.Duration {
	if b.Limit() == rate.Inf {
		return 0
	}
	missing := 1 - b.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return time.Duration(math.Ceil(missing / float64(b.Limit()) * float64(time.Second)))
}

// sayLocked tells the log, now and then. The caller holds mu.
func (l *Limiter) sayLocked(addr netip.Addr, now time.Time) {
	l.quiet++
	if now.Sub(l.said) < sayEvery {
		return
	}
	l.opts.Logger.Warn("requests that prove nothing are refused: their address failed too often to prove itself", "from", addr.String(), "refused", l.quiet)
	l.said, l.quiet = now, 0
}

// Failed counts a request with a wrong token or signature, or none.
func (l *Limiter) Failed(addr netip.Addr) {
	if l == nil {
		return
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.touchLocked(addr)
	if c.failures == nil {
		c.failures = perMinute(l.opts.PerAddress)
	}
	c.failures.AllowN(now, 1)
	if !c.trusts(now) {
		l.total.AllowN(now, 1)
	}
}

// Proved notes a request whose token or signature was right.
func (l *Limiter) Proved(addr netip.Addr) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.touchLocked(addr).proved = time.Now()
}

// Trusted says whether an address has proved itself lately.
func (l *Limiter) Trusted(addr netip.Addr) bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.find(addr)
	return c != nil && c.trusts(time.Now())
}

func (c *client) trusts(now time.Time) bool { return !c.proved.IsZero() && now.Sub(c.proved) < trusted }

// find returns what is known of an address, or nil. The caller holds mu.
func (l *Limiter) find(addr netip.Addr) *client {
	e := l.known[network(addr)]
	if e == nil {
		return nil
	}
	return e.Value.(*client)
}

func (l *Limiter) touchLocked(addr netip.Addr) *client {
	addr = network(addr)
	if e := l.known[addr]; e != nil {
		l.order.MoveToFront(e)
		return e.Value.(*client)
	}
	if l.order.Len() >= maxAddresses {
		oldest := l.order.Back()
		delete(l.known, oldest.Value.(*client).addr)
		l.order.Remove(oldest)
	}
	c := &client{addr: addr}
	l.known[addr] = l.order.PushFront(c)
	return c
}

// network is what one client may have addresses from: all of an IPv6 /64.
func network(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is4() || !addr.IsValid() {
		return addr
	}
	p, _ := addr.Prefix(64) // 64 is no more than an address has
	return p.Addr()
}
