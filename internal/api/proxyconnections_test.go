package api_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/api"
)

// A client that speaks HTTP/2 asks many things over one connection. They take no more connections to livekit-server than
// descriptors are set aside for, and all are answered.
func TestProxiedStreamsShareConnections(t *testing.T) {
	const most, asked = 3, 20
	var opened atomic.Int64
	arrived, release := make(chan struct{}, asked), make(chan struct{})
	backend := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	backend.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	backend.Start()
	t.Cleanup(backend.Close)
	s := newStand(t, newNode(), target(t, backend.URL), func(o *api.Options) { o.ProxyConnections = most })
	front := httptest.NewUnstartedServer(s.Server)
	front.EnableHTTP2 = true
	front.StartTLS()
	t.Cleanup(front.Close)

	_, regions := get(t, front.Client(), front.URL+"/settings/regions") // all that follow find this connection
	require.NotEmpty(t, regions)
	var asking sync.WaitGroup
	for range asked {
		asking.Go(func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, front.URL+"/rtc/validate", http.NoBody)
			if err != nil {
				t.Error(err)
				return
			}
			res, err := front.Client().Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
				t.Error(res.Proto, res.Status)
			}
		})
	}
	for range most {
		<-arrived
	}
	close(release)
	asking.Wait()
	require.LessOrEqual(t, opened.Load(), int64(most))
}
