package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// scope is who made the spans, for the collector.
const scope = "github.com/livekit-connector/livekit-connector"

// complainEvery is how often at most the log says that spans are lost.
const complainEvery = time.Minute

// Options are what comes from outside of the environment.
type Options struct {
	// Getenv reads the environment: the OTEL_* variables say whether and where spans go. The SDK reads those about sampling,
	// batches, headers and certificates itself.
	Getenv func(string) string
	// Service is the name of the service unless OTEL_SERVICE_NAME says another.
	Service string
	// Version of the service.
	Version string
	// Logger is told of spans that could not be exported. Required.
	Logger *slog.Logger
}

// Exporter sends spans to a collector. Close it.
type Exporter struct {
	provider *sdktrace.TracerProvider
	out      sdktrace.SpanExporter
	tracer   *Tracer
}

// variables of which one has to be set for tracing to be on.
const (
	envExporter       = "OTEL_TRACES_EXPORTER"
	envEndpoint       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	envTracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	envProtocol       = "OTEL_EXPORTER_OTLP_PROTOCOL"
	envTracesProtocol = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	envDisabled       = "OTEL_SDK_DISABLED"
)

// wanted says whether spans are to be exported.
func wanted(getenv func(string) string) (bool, error) {
	if strings.EqualFold(getenv(envDisabled), "true") {
		return false, nil
	}
	switch exporter := strings.TrimSpace(getenv(envExporter)); exporter {
	case "":
		return getenv(envEndpoint) != "" || getenv(envTracesEndpoint) != "", nil
	case "otlp":
		return true, nil
	case "none":
		return false, nil
	default:
		return false, fmt.Errorf("%s: %.40q is not supported: set it to otlp or none", envExporter, exporter)
	}
}

// New returns nil, and has started nothing, unless the environment asks for spans. It opens no connection: a collector that
// is not there yet, or never, is no error. While it is away spans wait in a queue of bounded length and then are
// dropped; nothing waits for it.
func New(ctx context.Context, o Options) (*Exporter, error) {
	on, err := wanted(o.Getenv)
	if !on || err != nil {
		return nil, err
	}
	// The SDK has one place for the whole process to say what went wrong.
	complaints := &complaints{log: o.Logger}
	otel.SetErrorHandler(complaints)
	otel.SetLogger(logr.FromSlogHandler(errorsOnly{o.Logger.Handler()}))

	exporter, err := newOTLP(ctx, o.Getenv)
	if err != nil {
		return nil, err
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", o.Service), attribute.String("service.version", o.Version)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) && !errors.Is(err, resource.ErrSchemaURLConflict) {
		return nil, errors.Join(fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err), exporter.Shutdown(ctx))
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return &Exporter{provider: provider, out: exporter, tracer: &Tracer{tracer: provider.Tracer(scope)}}, nil
}

func newOTLP(ctx context.Context, getenv func(string) string) (sdktrace.SpanExporter, error) {
	protocol := getenv(envTracesProtocol)
	if protocol == "" {
		protocol = getenv(envProtocol)
	}
	switch strings.TrimSpace(protocol) {
	case "", "http/protobuf":
		e, err := otlptracehttp.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("export traces by http: %w", err)
		}
		return e, nil
	case "grpc":
		e, err := otlptracegrpc.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("export traces by grpc: %w", err)
		}
		return e, nil
	default:
		return nil, fmt.Errorf("%s: %.40q is not supported: set it to http/protobuf or grpc", envProtocol, protocol)
	}
}

// Tracer returns what starts spans; nil of a nil Exporter.
func (e *Exporter) Tracer() *Tracer {
	if e == nil {
		return nil
	}
	return e.tracer
}

// Close sends what is left, for as long as ctx lasts, and ends all of it. Requests to a collector that does not answer until then
// are broken off.
func (e *Exporter) Close(ctx context.Context) error {
	if e == nil {
		return nil
	}
	sent := make(chan error, 1)
	go func() { sent <- e.provider.Shutdown(context.WithoutCancel(ctx)) }() // with ctx it would go, and leave its request running
	var err error
	select {
	case err = <-sent:
	case <-ctx.Done():
		_ = e.out.Shutdown(ctx) // what is under way breaks off, what waits fails
		err = errors.Join(ctx.Err(), <-sent)
	}
	if err != nil {
		return fmt.Errorf("send the last traces: %w", err)
	}
	return nil
}

// errorsOnly keeps what the SDK says of its own making, configuration included, out of the log.
type errorsOnly struct{ slog.Handler }

// Enabled implements slog.Handler.
func (h errorsOnly) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError && h.Handler.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (h errorsOnly) WithAttrs(attrs []slog.Attr) slog.Handler {
	return errorsOnly{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h errorsOnly) WithGroup(name string) slog.Handler { return errorsOnly{h.Handler.WithGroup(name)} }

// complaints says in the log that spans are lost, seldom.
type complaints struct {
	log *slog.Logger

	mu   sync.Mutex // guards all below
	last time.Time
	more int // since last
}

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	c.mu.Lock()
	now := time.Now()
	if now.Sub(c.last) < complainEvery {
		c.more++
		c.mu.Unlock()
		return
	}
	more := c.more
	c.last, c.more = now, 0
	c.mu.Unlock()
	c.log.Warn("traces are not exported: calls are not affected", "error", err, "before", more)
}
