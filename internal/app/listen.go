package app

import (
	"context"
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

// StartServers opens every port of c. The API's port serves api and the probes, the operator's serves admin.
func StartServers(
	c *Config, api, admin http.Handler, probes *Probes, gatherer prometheus.Gatherer, counter *panics.Counter, log *slog.Logger,
) (*Servers, error) {
	muxes := map[int]*http.ServeMux{}
	names := map[int]string{}
	muxOf := func(port int, name string) *http.ServeMux {
		if muxes[port] == nil {
			muxes[port], names[port] = http.NewServeMux(), name
		}
		return muxes[port]
	}
	muxOf(c.Port, "api").Handle("/", api)
	probes.Register(muxes[c.Port])
	if c.HealthPort != 0 && c.HealthPort != c.Port {
		probes.Register(muxOf(c.HealthPort, "health"))
	}
	if c.PrometheusPort != 0 {
		RegisterMetrics(muxOf(c.PrometheusPort, "metrics"), gatherer)
	}

	s := &Servers{failed: make(chan error, len(muxes)+1)}
	listen := func(name string, bind []string, port int, h http.Handler) (*HTTPServer, error) {
		server, err := listenHTTP(name, bind, port, recovering(h, counter, log), log, s.failed)
		if err != nil {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			return nil, errors.Join(err, s.Shutdown(ctx))
		}
		s.all = append(s.all, server)
		return server, nil
	}
	for _, port := range slices.Sorted(maps.Keys(muxes)) {
		server, err := listen(names[port], c.BindAddresses, port, muxes[port])
		if err != nil {
			return nil, err
		}
		if port == c.Port {
			s.API = server
		}
	}
	var err error
	s.Admin, err = listen("admin", c.Admin.BindAddresses, c.Admin.Port, admin)
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

// listenHTTP opens the port on every address and serves h in the background. Empty addresses mean all. Port 0 takes a free
// port, the same one on every address. The name stands in logs and errors: "api", "health". An address's server that
// stops by itself says so on failed.
func listenHTTP(name string, bind []string, port int, h http.Handler, log *slog.Logger, failed chan<- error) (*HTTPServer, error) {
	s := &HTTPServer{
		name:  name,
		fresh: make(map[net.Conn]struct{}),
		server: &http.Server{
			Handler: h,
			// A slow client must not hold a connection for ever. No WriteTimeout: Accept answers after up to 28 s, and
			// what is proxied to LiveKit may be a WebSocket.
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    64 << 10,
			ErrorLog:          slog.NewLogLogger(log.With("component", name).Handler(), slog.LevelDebug),
		},
	}
	s.server.ConnState = s.watch
	s.server.RegisterOnShutdown(s.closeFresh) // after the listeners are closed
	for i, addr := range listenAddresses(bind, port) {
		if i > 0 && port == 0 {
			addr = listenAddresses(bind, s.Port())[i]
		}
		l, err := net.Listen("tcp", addr) //nolint:noctx // a local bind returns at once
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen for %s: %w", name, err), s.close())
		}
		s.listeners = append(s.listeners, l)
	}
	for _, l := range s.listeners {
		s.serving.Go(func() {
			if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				select {
				case failed <- fmt.Errorf("serve %s: %w", name, err):
				default: // one report is enough
				}
			}
		})
	}
	return s, nil
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
	tcp, ok := s.listeners[0].Addr().(*net.TCPAddr)
	if !ok || tcp.IP.IsUnspecified() {
		return "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port()))
	}
	return "http://" + tcp.String()
}

func (s *HTTPServer) shutdown(ctx context.Context) error {
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("shut down %s: %w", s.name, err), s.server.Close())
	}
	s.serving.Wait()
	return err
}
