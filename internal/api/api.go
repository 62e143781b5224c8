// Package api is livekit.Connector as LiveKit's server SDKs call it: Twirp over HTTP, in JSON and in protobuf. It checks
// the access token and the request, finds the node that is to do the work, and turns what the node says into a Twirp
// answer. It holds no call and outlives none: everything it knows about a call is whether a node has it.
//
// # Order of a request
//
//	path and verb       bad_route
//	access token        unauthenticated, or after too many of those resource_exhausted with Retry-After (see package
//	                    attempts); permission_denied
//	size of the body    invalid_argument
//	decoding            malformed, bad_route for an unknown Content-Type
//	API key, number     permission_denied (Dial and Accept)
//	SDP type            invalid_argument
//	required fields     invalid_argument
//	API version         invalid_argument
//	limits, formats     invalid_argument
//	registry            not_found (Connect and Disconnect)
//	bus, node, Meta     what the node says
//
// # Answers
//
// Every answer under the service's path that is not a success is Twirp's error JSON with the Content-Type
// "application/json" and nothing behind it, because the Node SDK compares the header as a string, and with string-valued
// meta, because the Rust SDK decodes nothing else. A 408 carries "Retry-After: 1": OkHttp, under the Kotlin SDK, sends a
// POST that got a bare 408 once more.
//
// SDKs give up after 10 s, after 30 s for an Accept that waits. A node gets 8 s and 28 s (see [Options]); the front
// itself waits half a second longer. What has begun goes on when the caller hangs up: no call depends on a request's
// context.
//
// # Which error for a request that no node took or finished
//
//	no node answers the bus     unavailable          nothing was begun; the deployment is down
//	nodes answer, none has room resource_exhausted   nothing was begun; ErrServerBusy
//	this front drains           resource_exhausted   nothing was begun; another front may take it
//	a chosen node fell silent   failed_precondition  Dial, Accept: Meta may have the call, so no 5xx and nothing an
//	  or broke                                       SDK would send again
//	  the same                  deadline_exceeded    Connect, Disconnect: safe to send again
//
// A node that broke (a plain error, a panic, an answer that cannot be read) counts as one that fell silent for Dial and
// Accept; for Connect and Disconnect it is internal. In both cases its text stays in the log.
package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twitchtv/twirp"

	"github.com/livekit-connector/livekit-connector/internal/attempts"
	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/internal/route"
	"github.com/livekit-connector/livekit-connector/internal/tracing"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// DefaultMaxBodyBytes holds every request that passes the field limits, with metadata escaped in JSON and some agents.
const DefaultMaxBodyBytes = 4 << 20

// Options is what a Server is made of.
type Options struct {
	// Client reaches the nodes. The caller closes it, after the Server. It needs no middleware; above all none that
	// sends a request again. Required.
	Client connectorpb.ConnectorInternalClient
	// Registry is required.
	Registry route.Registry
	// Keys holds the API keys and secrets that may sign access tokens. Required.
	Keys auth.KeyProvider
	// AllowEmptyGrants lets Connect and Disconnect be called with a server token whose video grant is empty, which is
	// what the Go SDK up to v2.16.7 signs for them.
	AllowEmptyGrants bool
	// CheckVersion returns an error for a Cloud API version that must not be used; its text is shown to the caller.
	// Nil means DefaultMinVersion to DefaultMaxVersion.
	CheckVersion func(version string) error
	// Credentials returns the access token and version of a phone number, and whether there are any, for requests that
	// leave them out. Nil means that no request may.
	Credentials func(phoneNumberID string) (whatsapp.Credentials, bool)
	// Cluster is the bus topic on which nodes take new calls.
	Cluster string
	// Draining reports that this process takes no new calls; Connect and Disconnect go on. Nil means never. Leave it nil
	// where other nodes share the bus: those take the call then.
	Draining func() bool
	// Permissions answers what Meta lets a business do towards a user. Nil means that no number is configured.
	Permissions Permissions
	// Tracer follows requests; nil does not.
	Tracer *tracing.Tracer
	// ProxyTarget is the livekit-server that gets everything which is not the connector's; http, https, ws or wss. Nil
	// means that such requests are answered with 404.
	ProxyTarget *url.URL
	// ProxyConnections is how many connections there may be to it, WebSockets among them; what is more waits. Zero means as
	// many as there are requests.
	ProxyConnections int
	// MaxBodyBytes limits a request to the connector; zero means DefaultMaxBodyBytes. Proxied ones are not limited.
	MaxBodyBytes int64
	// Attempts limits requests without a good token, those for livekit-server too; nil limits none.
	Attempts *attempts.Limiter
	// Permitted says whether requests that an API key signed may use a business phone number. Nil means that all may.
	Permitted func(apiKey, phoneNumberID string) bool
	// Panics counts mistakes that ended a request; may be nil.
	Panics *panics.Counter
	// Logger gets one line per request. Nil discards.
	Logger *slog.Logger
	// Registerer gets the metrics. Nil keeps them unregistered.
	Registerer prometheus.Registerer
}

// Server is the http.Handler of the API port. It sets no deadline for writing: an http.Server around it must leave
// WriteTimeout at zero, or above 30 s when nothing is proxied.
type Server struct {
	log          *slog.Logger
	keys         auth.KeyProvider
	emptyGrants  bool
	maxBodyBytes int64
	metrics      *metrics
	panics       *panics.Counter
	tracer       *tracing.Tracer // may be nil
	attempts     *attempts.Limiter
	refusals     map[twirp.ErrorCode]*logs.Occasionally // never written after New
	twirp        http.Handler
	reader       *reader
	proxy        *proxy // nil when nothing is proxied
}

// New makes a Server. It starts nothing; Close ends what requests start.
func New(opts Options) (*Server, error) {
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("make API: %w", err)
	}
	log := opts.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	checkVersion := opts.CheckVersion
	if checkVersion == nil {
		var err error
		if checkVersion, err = VersionsBetween(DefaultMinVersion, DefaultMaxVersion); err != nil {
			return nil, fmt.Errorf("make API: %w", err)
		}
	}
	m, err := newMetrics(opts.Registerer)
	if err != nil {
		return nil, fmt.Errorf("make API: %w", err)
	}
	s := &Server{
		log:          log,
		keys:         opts.Keys,
		emptyGrants:  opts.AllowEmptyGrants,
		maxBodyBytes: opts.MaxBodyBytes,
		metrics:      m,
		panics:       opts.Panics,
		tracer:       opts.Tracer,
		attempts:     opts.Attempts,
		refusals:     newRefusals(),
	}
	if s.maxBodyBytes == 0 {
		s.maxBodyBytes = DefaultMaxBodyBytes
	}
	if opts.ProxyTarget != nil {
		if s.proxy, err = newProxy(opts.ProxyTarget, opts.ProxyConnections, log); err != nil {
			return nil, fmt.Errorf("make API: %w", err)
		}
	}
	nodes := route.New(route.Options{Bus: opts.Client, Registry: opts.Registry, Cluster: opts.Cluster, Draining: opts.Draining})
	s.reader = &reader{log: log, nodes: nodes, permission: opts.Permissions, permitted: opts.Permitted}
	s.twirp = livekit.NewConnectorServer(&calls{
		log:          log,
		nodes:        nodes,
		checkVersion: checkVersion,
		credentials:  opts.Credentials,
		permitted:    opts.Permitted,
	}, &twirp.ServerHooks{Error: noteError})
	return s, nil
}

func (o Options) check() error {
	var errs []error
	if o.Client == nil {
		errs = append(errs, errors.New("client is missing"))
	}
	if o.Registry == nil {
		errs = append(errs, errors.New("registry is missing"))
	}
	if o.Keys == nil || o.Keys.NumKeys() == 0 {
		errs = append(errs, errors.New("no API key is configured"))
	}
	if o.MaxBodyBytes < 0 {
		errs = append(errs, errors.New("body limit is negative"))
	}
	return errors.Join(errs...)
}

// Close ends proxied connections, WebSockets included, and waits until they are gone. Call it after the http.Server was
// shut down, which waits for ordinary requests but not for WebSockets.
func (s *Server) Close() error {
	if s.proxy != nil {
		s.proxy.close()
	}
	return nil
}

// ServeHTTP answers livekit.Connector, the read API and GET /settings/regions, and proxies or refuses the rest.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := singleSlashes(r.URL.Path)
	switch {
	case path+"/" == livekit.ConnectorPathPrefix, strings.HasPrefix(path, livekit.ConnectorPathPrefix):
		s.serveConnector(w, r, path)
	case isRead(path):
		s.serveRead(w, r)
	case path == "/settings/regions" && (r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions):
		serveRegions(w, r)
	case s.proxy != nil:
		s.passOn(w, r)
	default:
		refuse(w, r)
	}
}

// singleSlashes makes "//twirp/x" the "/twirp/x" that a LIVEKIT_URL with a slash at its end was meant to be.
func singleSlashes(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

// serveRegions answers what SDKs and their test suites ask of LiveKit Cloud: there are no other regions.
func serveRegions(w http.ResponseWriter, r *http.Request) {
	if crossOrigin(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"regions":[]}`))
}

func refuse(w http.ResponseWriter, r *http.Request) {
	if crossOrigin(w, r) {
		return
	}
	_ = twirp.WriteError(w, badRoute(r, "this is livekit-connector, which serves /twirp/livekit.Connector alone: "+
		"set proxy_livekit: true to have it pass everything else to livekit-server, "+
		"or route by path in the reverse proxy before it"))
}

// badRoute is Twirp's own error for a path that leads nowhere.
func badRoute(r *http.Request, msg string) twirp.Error {
	return twirp.NewError(twirp.BadRoute, msg).WithMeta("twirp_invalid_route", r.Method+" "+r.URL.Path)
}

// crossOrigin lets browsers call from anywhere, as livekit-server does: the access token is what protects. It reports
// whether the request was the question beforehand and is answered. The asked-for headers are named one by one because
// "*" does not include Authorization (Fetch Standard, 3.3.3).
func crossOrigin(w http.ResponseWriter, r *http.Request) (answered bool) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "*")
	if r.Method != http.MethodOptions {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS")
	if asked := r.Header.Values("Access-Control-Request-Headers"); len(asked) > 0 {
		h.Set("Access-Control-Allow-Headers", strings.Join(asked, ", "))
	}
	h.Set("Access-Control-Max-Age", "86400")
	h.Add("Vary", "Access-Control-Request-Headers")
	w.WriteHeader(http.StatusNoContent)
	return true
}
