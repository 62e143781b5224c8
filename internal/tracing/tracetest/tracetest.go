// Package tracetest is a collector for tests: it takes traces by OTLP over HTTP, as a real one does.
package tracetest

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector holds what was exported to it.
type Collector struct {
	server *httptest.Server

	mu       sync.Mutex // guards all below
	spans    []*tracepb.Span
	requests []*collectorpb.ExportTraceServiceRequest
}

// Start starts one; the end of the test takes it down.
func Start(tb testing.TB) *Collector {
	tb.Helper()
	c := &Collector{}
	c.server = httptest.NewServer(http.HandlerFunc(c.take))
	tb.Cleanup(c.server.Close)
	return c
}

// URL is the value of OTEL_EXPORTER_OTLP_ENDPOINT.
func (c *Collector) URL() string { return c.server.URL }

func (c *Collector) take(w http.ResponseWriter, r *http.Request) {
	var req collectorpb.ExportTraceServiceRequest
	body, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &req) != nil {
		http.Error(w, "no traces", http.StatusBadRequest)
		return
	}
	c.Add(&req)
	answer, _ := proto.Marshal(&collectorpb.ExportTraceServiceResponse{})
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(answer)
}

// Add takes one export.
func (c *Collector) Add(req *collectorpb.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, req)
	for _, resource := range req.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
}

// Text is all that came, as text.
func (c *Collector) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var text strings.Builder
	for _, r := range c.requests {
		text.WriteString(r.String() + "\n")
	}
	return text.String()
}

// Span is one that was exported.
type Span struct {
	Name, Trace, ID, Parent string
	Failed                  bool
	Attributes              map[string]string
}

// Spans are all that came.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Span
	for _, s := range c.spans {
		span := Span{
			Name: s.GetName(), Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()),
			Parent: hex.EncodeToString(s.GetParentSpanId()), Failed: s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR,
			Attributes: map[string]string{},
		}
		for _, a := range s.GetAttributes() {
			span.Attributes[a.GetKey()] = a.GetValue().GetStringValue()
		}
		all = append(all, span)
	}
	return all
}
