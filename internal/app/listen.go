package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/panics"
)

// Servers are all the ports of the process: the API's, the operator's, and those of probes and metrics if the configuration
// gives them further ones. Whoever made it calls Shutdown.
type Servers struct {
	// API is the server of the public API, Admin the operator's.
	API, Admin *HTTPServer

	all    []*HTTPServer
	failed chan error
}

// Served is what StartServers serves. All fields are required but those that say otherwise.
type Served struct {
	// API and Admin are what is on the API's port and the operator's, beside probes.
	API, Admin http.Handler
	Probes     *Probes
	// TLS is that of the API's port, and of the operator's if the configuration says so; nil means http.
	TLS *tls.Config
	// Registry has what /metrics shows, and gets the ports' own metrics.
	Registry *prometheus.Registry
	// Panics counts mistakes; may be nil.
	Panics *panics.Counter
	Logger *slog.Logger
}

// Bounds that nobody sets.
const (
	// maxBeside is how many connections a port holds that is for probes or metrics alone, or is the operator's: a flood of the
	// API's port leaves it alone, and one of its own leaves calls their file descriptors. There are three such ports at most,
	// and 200 descriptors (see package admission) for them and all else that is no call.
	maxBeside = 50
	// maxStreams is how many requests there may be at once on one connection that speaks HTTP/2. Some clients have one connection
	// for all their requests, and an Accept may wait for half a minute.
	maxStreams = 64
)

// StartServers opens every port of c. The API's port serves o.API and the probes, the operator's serves o.Admin.
func StartServers(c *Config, o Served) (*Servers, error) {
	muxes := map[int]*http.ServeMux{}
	names := map[int]string{}
	muxOf := func(port int, name string) *http.ServeMux {
		if muxes[port] == nil {
			muxes[port], names[port] = http.NewServeMux(), name
		}
		return muxes[port]
	}
	muxOf(c.Port, "api").Handle("/", o.API)
	o.Probes.Register(muxes[c.Port])
	if c.HealthPort != 0 && c.HealthPort != c.Port {
		o.Probes.Register(muxOf(c.HealthPort, "health"))
	}
	if c.PrometheusPort != 0 {
		RegisterMetrics(muxOf(c.PrometheusPort, "metrics"), o.Registry)
	}

	s := &Servers{failed: make(chan error, len(muxes)+1)}
	listen := func(p port, h http.Handler) (*HTTPServer, error) {
		server, err := p.listen(recovering(h, o.Panics, o.Logger), o.Logger, s.failed)
		if err != nil {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			return nil, errors.Join(err, s.Shutdown(ctx))
		}
		s.all = append(s.all, server)
		return server, nil
	}
	bounds := newConnections(&c.HTTP, o.Registry)
	beside := HTTPConfig{MaxConnections: maxBeside}
	for _, number := range slices.Sorted(maps.Keys(muxes)) {
		p := port{name: names[number], bind: c.BindAddresses, number: number, bounds: newConnections(&beside, nil), patience: defaultPatience()}
		if number == c.Port {
			p.tls, p.bounds = o.TLS, bounds
		}
		server, err := listen(p, timed(muxes[number], p.patience))
		if err != nil {
			return nil, err
		}
		if number == c.Port {
			s.API = server
		}
	}
	admin := port{
		name: "admin", bind: c.Admin.BindAddresses, number: c.Admin.Port, bounds: newConnections(&beside, nil), patience: defaultPatience(),
	}
	if c.TLS.Admin {
		admin.tls = o.TLS
	}
	var err error
	s.Admin, err = listen(admin, o.Admin) // not timed: profiles take as long as is asked for
	return s, err
}

// Failed delivers an error if a server stops by itself.
func (s *Servers) Failed() <-chan error { return s.failed }

// Shutdown stops listening everywhere, waits for the requests in work until ctx ends, then cuts them off. No goroutine of
// the servers is left when it returns.
func (s *Servers) Shutdown(ctx context.Context) error {
	errs := make([]error, len(s.all))
	var wg sync.WaitGroup
	for i, server := range s.all {
		wg.Go(func() { errs[i] = server.shutdown(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// HTTPServer serves one handler on one port of every bind address.
type HTTPServer struct {
	name      string
	secure    bool // speaks https
	server    *http.Server
	listeners []net.Listener
	serving   sync.WaitGroup

	mu sync.Mutex // guards the following fields
	// fresh are connections over which nothing was asked yet. Clients open such in reserve, and http.Server's Shutdown
	// waits five seconds for each.
	fresh map[net.Conn]struct{}
	// closing is set when fresh ones are closed: one that was accepted a moment before the end is told of only after it.
	closing bool
}

// watch keeps account of fresh connections.
func (s *HTTPServer) watch(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(s.fresh, c)
	case s.closing:
		_ = c.Close() // as closeFresh does
	default:
		s.fresh[c] = struct{}{}
	}
}

func (s *HTTPServer) closeFresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	for c := range s.fresh {
		_ = c.Close() // nothing was asked, nothing is lost
	}
}

// port is what a server listens on, and how.
type port struct {
	name     string // in logs and errors: "api", "health"
	bind     []string
	number   int          // 0 takes a free port, the same one on every address
	tls      *tls.Config  // nil means http
	bounds   *connections // nil means none, as tests have it
	patience patience
}

// listen opens the port on every address and serves h in the background. Empty addresses mean all. An address's server that
// stops by itself says so on failed.
func (p *port) listen(h http.Handler, log *slog.Logger, failed chan<- error) (*HTTPServer, error) {
	s := &HTTPServer{
		name: p.name, secure: p.tls != nil,
		fresh: make(map[net.Conn]struct{}),
		server: &http.Server{
			Handler:   h,
			TLSConfig: p.tls.Clone(), // net/http adds its protocols, and ports may share it
			HTTP2:     &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
			// A slow client must not hold a connection for ever: see timed for the rest. No ReadTimeout, which would end
			// the context of a request that takes longer to answer, and no WriteTimeout: what is proxied to LiveKit may
			// be a WebSocket.
			ReadHeaderTimeout: p.patience.header, // of the TLS handshake, too
			IdleTimeout:       p.patience.idle,
			MaxHeaderBytes:    64 << 10,
			ErrorLog:          slog.NewLogLogger(log.With("component", p.name).Handler(), slog.LevelDebug),
		},
	}
	s.server.ConnState = s.watch
	s.server.RegisterOnShutdown(s.closeFresh) // after the listeners are closed
	for i, addr := range listenAddresses(p.bind, p.number) {
		if i > 0 && p.number == 0 {
			addr = listenAddresses(p.bind, s.Port())[i]
		}
		l, err := net.Listen("tcp", addr) //nolint:noctx // a local bind returns at once
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen for %s: %w", p.name, err), s.close())
		}
		s.listeners = append(s.listeners, l)
	}
	for _, l := range s.listeners {
		if p.bounds != nil {
			l = &bounded{Listener: l, bounds: p.bounds}
		}
		s.serving.Go(func() {
			if err := s.serve(l); !errors.Is(err, http.ErrServerClosed) {
				select {
				case failed <- fmt.Errorf("serve %s: %w", p.name, err):
				default: // one report is enough
				}
			}
		})
	}
	return s, nil
}

func (s *HTTPServer) serve(l net.Listener) error {
	if s.secure {
		return s.server.ServeTLS(l, "", "")
	}
	return s.server.Serve(l)
}

func (s *HTTPServer) close() error {
	var errs []error
	for _, l := range s.listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Port is the port that is listened on.
func (s *HTTPServer) Port() int {
	if tcp, ok := s.listeners[0].Addr().(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

// URL is a URL at which this machine reaches the server, without a slash at the end.
func (s *HTTPServer) URL() string {
	scheme := "http://"
	if s.secure {
		scheme = "https://"
	}
	tcp, ok := s.listeners[0].Addr().(*net.TCPAddr)
	if !ok || tcp.IP.IsUnspecified() {
		return scheme + net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port()))
	}
	return scheme + tcp.String()
}

func (s *HTTPServer) shutdown(ctx context.Context) error {
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("shut down %s: %w", s.name, err), s.server.Close())
	}
	s.serving.Wait()
	return err
}
