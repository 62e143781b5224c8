package app

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/tracing"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// tracesTimeout bounds sending the last traces at the end: a collector that is away must not hold up the shutdown.
const tracesTimeout = 3 * time.Second

// startTracing sends traces to a collector if the environment says so (OTEL_EXPORTER_OTLP_ENDPOINT and others).
func (a *App) startTracing() error {
	exporter, err := tracing.New(context.Background(), tracing.Options{
		Getenv: os.Getenv, Service: "livekit-connector", Version: Version(), Logger: a.log,
	})
	if err != nil {
		return fmt.Errorf("set up tracing: %w", err)
	}
	if exporter == nil {
		return nil
	}
	a.tracer = exporter.Tracer()
	a.onClose("tracing", func() error {
		ctx, cancel := a.closing(tracesTimeout, 0)
		defer cancel()
		if closeErr := exporter.Close(ctx); closeErr != nil {
			a.log.Warn("the last traces are lost", "error", closeErr) // no reason to fail at the end
		}
		return nil
	})
	return nil
}

// traceGraph is whatsapp.Options.Begin: a span for each request to Meta. The trace is not told to Meta.
func (a *App) traceGraph() func(ctx context.Context, action string) (context.Context, func(outcome string)) {
	if a.tracer == nil {
		return nil
	}
	return func(ctx context.Context, action string) (context.Context, func(outcome string)) {
		ctx, span := a.tracer.StartRequest(ctx, "graph "+action)
		span.Set(tracing.KeyAction, action)
		return ctx, func(outcome string) {
			span.Set(tracing.KeyOutcome, outcome)
			switch outcome {
			case whatsapp.OutcomeSuccess, whatsapp.OutcomeAlreadyDone, whatsapp.OutcomeAlreadyOver:
			default:
				span.Fail(outcome)
			}
			span.End()
		}
	}
}
