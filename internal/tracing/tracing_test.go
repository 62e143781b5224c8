package tracing_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/internal/tracing"
	"github.com/livekit-connector/livekit-connector/internal/tracing/tracetest"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func options(env map[string]string) tracing.Options {
	return tracing.Options{
		Getenv: func(name string) string { return env[name] }, Service: "test", Version: "1", Logger: slog.New(slog.DiscardHandler),
	}
}

func TestNothingRunsUnlessAskedFor(t *testing.T) {
	for _, env := range []map[string]string{
		{},
		{"OTEL_SERVICE_NAME": "x"},
		{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
		{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
	} {
		before := goleak.IgnoreCurrent()
		e, err := tracing.New(t.Context(), options(env))
		require.NoError(t, err)
		require.Nil(t, e)
		require.Nil(t, e.Tracer())
		require.NoError(t, e.Close(t.Context()))
		require.NoError(t, goleak.Find(before))
	}
}

// request is what is done for a request, a call and a Graph request.
func request(ctx context.Context, tracer *tracing.Tracer, h http.Header) {
	ctx, server := tracer.StartServer(ctx, "livekit.Connector/X", time.Time{}, h)
	server.Set(tracing.KeyMethod, "X")
	ctx, call := tracer.Start(tracer.Under(ctx, ctx), "call")
	_, graph := tracer.StartRequest(ctx, "graph accept")
	graph.Fail("timeout")
	graph.End()
	tracer.Past(ctx, "talk", time.Time{}, time.Time{})
	call.Event("answered", time.Time{})
	_ = call.TraceID()
	call.End()
	server.End()
}

func TestOffAllocatesNothing(t *testing.T) {
	ctx, h := t.Context(), http.Header{}
	require.Zero(t, testing.AllocsPerRun(100, func() { request(ctx, nil, h) }))
	var tracer *tracing.Tracer
	require.Empty(t, tracer.ClientOptions())
	require.Empty(t, tracer.ServerInterceptors())
}

func BenchmarkOff(b *testing.B) {
	b.ReportAllocs()
	ctx, h := b.Context(), http.Header{}
	for b.Loop() {
		request(ctx, nil, h)
	}
}

func TestWhatIsNotSupportedIsSaid(t *testing.T) {
	_, err := tracing.New(t.Context(), options(map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}))
	require.EqualError(t, err, `OTEL_TRACES_EXPORTER: "zipkin" is not supported: set it to otlp or none`)
	_, err = tracing.New(t.Context(), options(map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}))
	require.EqualError(t, err, `OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" is not supported: set it to http/protobuf or grpc`)
}

const (
	callerTrace = "0af7651916cd43dd8448eb211c80319c"
	callerSpan  = "b7ad6b7169203331"
)

// export makes one request's spans go to an endpoint by a protocol.
func export(t *testing.T, endpoint, protocol string) {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60000") // ms; the machine may have other things to do
	t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "60000")
	e, err := tracing.New(t.Context(), options(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}))
	require.NoError(t, err)
	request(t.Context(), e.Tracer(), http.Header{"Traceparent": {"00-" + callerTrace + "-" + callerSpan + "-01"}})
	require.NoError(t, e.Close(t.Context()))
}

func requireTree(t *testing.T, c *tracetest.Collector) {
	t.Helper()
	names := map[string]string{callerSpan: "caller"}
	for _, s := range c.Spans() {
		names[s.ID] = s.Name
	}
	got := map[string]string{}
	for _, s := range c.Spans() {
		require.Equal(t, callerTrace, s.Trace)
		got[s.Name] = names[s.Parent]
		require.Equal(t, s.Name == "graph accept", s.Failed)
	}
	require.Equal(t, map[string]string{"livekit.Connector/X": "caller", "call": "livekit.Connector/X", "graph accept": "call", "talk": "call"}, got)
}

func TestByHTTP(t *testing.T) {
	c := tracetest.Start(t)
	export(t, c.URL(), "http/protobuf")
	requireTree(t, c)
	require.Contains(t, c.Text(), "service.version")
}

// grpcCollector is a collector by gRPC.
type grpcCollector struct {
	collectorpb.UnimplementedTraceServiceServer
	*tracetest.Collector
}

func (c grpcCollector) Export(_ context.Context, req *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	c.Add(req)
	return &collectorpb.ExportTraceServiceResponse{}, nil
}

func TestByGRPC(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server, c := grpc.NewServer(), tracetest.Start(t)
	collectorpb.RegisterTraceServiceServer(server, grpcCollector{Collector: c})
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() { server.Stop(); serving.Wait() })
	export(t, "http://"+l.Addr().String(), "grpc")
	requireTree(t, c)
}

// A collector that is away costs spans: they are made and dropped, more than the queue holds, and the end does not wait for
// it.
func TestDeadCollectorHoldsNobodyUp(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close() // it takes connections and never answers
	endpoint := "http://" + l.Addr().String()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
	o := options(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
	e, err := tracing.New(t.Context(), o)
	require.NoError(t, err)
	for range 2000 { // the queue holds 2048
		request(t.Context(), e.Tracer(), nil)
	}
	over, cancel := context.WithCancel(t.Context())
	defer cancel()
	var waiting sync.WaitGroup
	waiting.Go(func() {
		conn, acceptErr := l.Accept() // the export is under way
		cancel()
		<-t.Context().Done()
		if acceptErr == nil {
			_ = conn.Close()
		}
	})
	t.Cleanup(waiting.Wait)
	require.ErrorIs(t, e.Close(over), context.Canceled)
}

func TestDocumentNamesEveryAttribute(t *testing.T) {
	page, err := os.ReadFile("../../docs/tracing.md")
	require.NoError(t, err)
	for _, key := range []attribute.Key{
		tracing.KeyMethod, tracing.KeySystem, tracing.KeyService, tracing.KeyError, tracing.KeyCallID, tracing.KeyDirection, tracing.KeyReason,
		tracing.KeyResult, tracing.KeyAction, tracing.KeyOutcome, tracing.KeyEvent,
	} {
		require.Contains(t, string(page), "`"+string(key)+"`")
	}
}
