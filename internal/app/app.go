package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/psrpc"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/api"
	"github.com/livekit-connector/livekit-connector/internal/attempts"
	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/internal/metaleg"
	"github.com/livekit-connector/livekit-connector/internal/node"
	"github.com/livekit-connector/livekit-connector/internal/outbound"
	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/internal/rules"
	"github.com/livekit-connector/livekit-connector/internal/tracing"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// How long taking the connector down may last once no call is wanted any more: calls hang up at Meta and leave their
// rooms, requests that are being answered get their answer.
const (
	hangUpTimeout   = 8 * time.Second
	shutdownTimeout = 5 * time.Second
	// closeTimeout is shared by all that is closed after hanging up. With hangUpTimeout it stays below the 30 s that a
	// supervisor is told to wait.
	closeTimeout = 18 * time.Second
	// afterNode is what of it is kept for what is closed after the node and tells others of it.
	afterNode = eventsTimeout + tracesTimeout
)

// Options are what comes from outside of the configuration.
type Options struct {
	// Logger is required.
	Logger *slog.Logger
	// Registry collects the metrics that /metrics shows. Required.
	Registry *prometheus.Registry
	// Reload brings a signal when the rules file is to be read now. May be nil: it is read when it changes in any case. Without
	// a rules file what comes is taken and has no effect.
	Reload <-chan os.Signal
}

// App is a running connector. Make it with New, which opens its ports; Run it, which closes everything.
type App struct {
	config  Config
	log     *slog.Logger
	probes  *Probes
	numbers *numbers
	tracer  *tracing.Tracer // nil without tracing
	panics  *panics.Counter
	// attempts limits who cannot prove itself to the API and the webhook.
	attempts *attempts.Limiter
	rules    *rules.File // nil without a rules file
	node     *node.Node
	servers  *Servers
	// draining is asked for by signals and at the admin port.
	draining *draining
	// askLiveKit is the check of /readyz. Set before the ports are open.
	askLiveKit func(context.Context) error
	// closers take down what New built, last built first.
	closers []closer
	// closeBy is when all of them have to be done; zero before they begin.
	closeBy time.Time
}

type closer struct {
	name  string
	close func() error
}

// onClose says, right where a thing is made, who ends it.
func (a *App) onClose(name string, f func() error) {
	a.closers = append(a.closers, closer{name: name, close: f})
}

// New builds a connector and opens its ports. After an error nothing is left open. After success Run must be called.
func New(c Config, opts Options) (_ *App, err error) {
	a := &App{config: c, log: opts.Logger, probes: NewProbes(opts.Logger), numbers: newNumbers(&c.WhatsApp, opts.Logger)}
	a.newDefences(opts.Registry)
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if err = a.startTracing(); err != nil {
		return nil, err
	}
	pacer := media.NewPacer(runtime.GOMAXPROCS(0))
	a.onClose("pacer", func() error { pacer.Close(); return nil })

	stack, err := metaleg.New(metaConfig(&c, a.panics, a.log))
	if err != nil {
		return nil, fmt.Errorf("set up media to meta: %w", err)
	}
	audio, err := c.Media.audio()
	if err != nil {
		return nil, err
	}
	if a.rules, err = a.newRules(opts.Reload, opts.Registry); err != nil {
		return nil, err
	}
	graph, err := a.newGraph(opts.Registry)
	if err != nil {
		return nil, err
	}
	a.onClose("graph client", func() error { graph.CloseIdleConnections(); return nil })
	bus := psrpc.NewLocalMessageBus()
	keys := auth.NewFileBasedKeyProviderFromMap(keyMap(&c))
	watcher, err := a.newEvents(keys, opts.Registry)
	if err != nil {
		return nil, err
	}
	gate, err := a.newGate(opts.Registry)
	if err != nil {
		return nil, err
	}
	a.node, err = node.New(node.Options{
		ID: nodeID(), Bus: bus, LiveKitURL: c.WebSocketURL(), Secret: keys.GetSecret,
		Reachable: func(ctx context.Context) error { return a.askLiveKit(ctx) },
		Meta:      stack, Graph: graph, Pacer: pacer, Audio: audio, Keys: c.DTMF.mode(), Timeouts: timeouts(&c), Gate: gate,
		StatusesSeen: c.Webhook.sees, Recording: c.WhatsApp.Recording.capture(), Transcription: c.WhatsApp.Transcription.capture(),
		PermissionRequest: c.WhatsApp.PermissionRequest.text(),
		NumberAttributes:  c.Participant.PhoneNumberAttributes, History: c.CallHistory.history(), Watcher: watcher, Panics: a.panics,
		Registerer: opts.Registry, Tracer: a.tracer, Logger: a.logOf(logs.Node),
	})
	if err != nil {
		return nil, fmt.Errorf("set up the node: %w", err)
	}
	a.onClose("node", func() error {
		ctx, cancel := a.closing(closeTimeout, afterNode)
		defer cancel()
		return a.node.Close(ctx)
	})
	a.draining = newDraining(a.node, opts.Registry, a.log)

	client, err := connectorpb.NewConnectorInternalClient(bus, a.tracer.ClientOptions()...)
	if err != nil {
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	a.onClose("bus client", func() error { client.Close(); return nil })
	front, err := a.newAPI(client, graph, keys, opts.Registry)
	if err != nil {
		return nil, err
	}
	a.onClose("api", front.Close)
	handler, err := a.withWebhook(front, client, graph, opts.Registry)
	if err != nil {
		return nil, err
	}

	a.addChecks(pacer)
	registerReadiness(a.probes, opts.Registry)
	if err = a.startServers(handler, opts.Registry); err != nil {
		return nil, fmt.Errorf("open the ports: %w", err)
	}
	return a, nil
}

// URL is where this machine reaches the API.
func (a *App) URL() string { return a.servers.API.URL() }

// Node holds the calls.
func (a *App) Node() *node.Node { return a.node }

// Run serves until ctx ends, a signal comes or a server fails, and takes everything down before it returns. The first
// signal drains: no new calls, live ones go on for at most drain_timeout. The second hangs up. The end of ctx hangs up
// at once. The error tells of calls that did not end in time, too.
func (a *App) Run(ctx context.Context, signals <-chan os.Signal) error {
	defer tuneCollector()()
	a.probes.Started()
	a.log.Info("connector started", "url", a.URL(), "admin", a.AdminURL(), "version", Version(), "livekit", a.config.HTTPURL(), "graph", a.config.WhatsApp.GraphURL)
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-a.servers.Failed():
	case s := <-signals:
		a.drain(ctx, s, signals)
	}
	err := errors.Join(failed, a.hangUp(), a.close())
	a.log.Info("connector stopped")
	return err
}

// close takes down in reverse order what New built.
func (a *App) close() error {
	a.closeBy = time.Now().Add(closeTimeout)
	var errs []error
	for _, c := range slices.Backward(a.closers) {
		if err := c.close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", c.name, err))
		}
	}
	a.closers = nil
	return errors.Join(errs...)
}

// closing returns a context for closing one thing: at most for limit, and so that what comes later keeps its time.
func (a *App) closing(limit, later time.Duration) (context.Context, context.CancelFunc) {
	by := a.closeBy.Add(-later)
	if at := time.Now().Add(limit); at.Before(by) {
		by = at
	}
	return context.WithDeadline(context.Background(), by)
}

func (a *App) newGraph(reg prometheus.Registerer) (*whatsapp.Client, error) {
	m := newGraphMetrics(reg)
	client, err := whatsapp.NewClient(whatsapp.Options{
		BaseURL: a.config.WhatsApp.GraphURL, Versions: a.config.WhatsApp.APIVersions, Logger: a.logOf(logs.Graph),
		AttemptTimeout: a.config.WhatsApp.RequestTimeout, OnRequest: m.observe, Begin: a.traceGraph(), Renew: a.numbers.Renew,
		DialContext: (&outbound.Guard{Timeout: 3 * time.Second}).DialContext,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the graph client: %w", err)
	}
	return client, nil
}

func (a *App) newAPI(
	client connectorpb.ConnectorInternalClient, graph *whatsapp.Client, keys auth.KeyProvider, reg prometheus.Registerer,
) (*api.Server, error) {
	o := api.Options{
		Client: client, Registry: a.node, Keys: keys, AllowEmptyGrants: a.config.AllowEmptyGrants, Cluster: node.Cluster,
		CheckVersion: a.checkVersion, Permitted: a.numbers.permits,
		Draining: a.node.Draining, Attempts: a.attempts, Panics: a.panics, Tracer: a.tracer, Logger: a.logOf(logs.API), Registerer: reg,
	}
	if len(a.config.WhatsApp.Numbers) > 0 {
		o.Credentials, o.Permissions = a.numbers.Credentials, a.permissions(graph)
	}
	if a.config.ProxyLiveKit {
		target, err := url.Parse(a.config.HTTPURL())
		if err != nil {
			return nil, fmt.Errorf("parse ws_url: %w", err)
		}
		o.ProxyTarget, o.ProxyConnections = target, a.config.HTTP.MaxConnections
	}
	return api.New(o)
}

// checkVersion says what is wrong with a Graph version. That it is not supported says the API already.
func (a *App) checkVersion(version string) error {
	return versionProblem(whatsapp.ValidateVersion(version, a.config.WhatsApp.APIVersions))
}

func versionProblem(err error) error {
	if errors.Is(err, whatsapp.ErrVersion) {
		return errors.New(strings.TrimPrefix(err.Error(), whatsapp.ErrVersion.Error()+": "))
	}
	return err
}

func timeouts(c *Config) call.Timeouts {
	t := call.DefaultTimeouts()
	t.Connect, t.Setup, t.Ringing = c.ConnectTimeout, c.SetupTimeout, c.RingingTimeout
	t.Media, t.MaxDuration, t.Alone = c.MediaTimeout, c.MaxCallDuration, c.AloneTimeout
	return t
}

func keyMap(c *Config) map[string]string {
	m := map[string]string{c.APIKey: c.APISecret.Reveal()}
	for k, secret := range c.Keys {
		m[k] = secret.Reveal()
	}
	return m
}

// nodeID names this process on the bus and in logs.
func nodeID() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "node"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:6])
}
