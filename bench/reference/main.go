// Command reference is the bridge that the benchmark measures beside livekit-connector: WhatsApp calls joined to LiveKit
// rooms with Pion, LiveKit's Go SDK and media-sdk put together in their usual way. Audio is decoded and encoded anew in
// both directions; what the room says goes through media-sdk's mixer, as in livekit-sip. All settings are the
// libraries' defaults, but for what Meta's session descriptions need.
//
// It answers AcceptWhatsAppCall and DisconnectWhatsAppCall of livekit.Connector and is made for measuring only: no
// tokens are checked, nothing is drained, nobody reaps.
//
// It is a module of its own, so that media-sdk stays out of livekit-connector's.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/livekit-connector/livekit-connector/bench/subject"
	"github.com/livekit-connector/livekit-connector/internal/roomleg/sdklog"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. Settings are livekit-connector's, by the same environment variables.
func run(ctx context.Context) (err error) {
	// The SDK's log is off: formatting it would cost time with each packet.
	sdklog.SetGlobal(nil)
	graph, err := whatsapp.NewClient(whatsapp.Options{BaseURL: os.Getenv("CONNECTOR_WHATSAPP_GRAPH_URL")})
	if err != nil {
		return err
	}
	b := newBridge(graph, os.Getenv("LIVEKIT_URL"), os.Getenv("LIVEKIT_API_KEY"), os.Getenv("LIVEKIT_API_SECRET"))
	defer b.close()

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	debug, closeDebug, err := subject.ServeDebug(registry)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeDebug()) }()

	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for API: %w", err)
	}
	server := &http.Server{Handler: livekit.NewConnectorServer(b), ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(l) }()
	if err = subject.Announce(os.Stdout, subject.Endpoints{API: "http://" + l.Addr().String(), Debug: debug}); err != nil {
		return err
	}
	select {
	case err = <-stopped:
		return err
	case <-ctx.Done():
	}
	err = server.Close()
	if serveErr := <-stopped; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}
