package livekittest

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever else reads a track that is recorded, as Pion does while it probes whose a stream is, ends with the recording.
func TestAllReadersOfATrackEnd(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	srv, err := Start(ctx, Options{})
	require.NoError(t, err)
	defer func() {
		require.NoError(t, srv.Stop())
		http.DefaultClient.CloseIdleConnections()
	}()
	alice, err := srv.Join(ctx, ParticipantOptions{Room: "r", Identity: "alice"})
	require.NoError(t, err)
	defer func() { require.NoError(t, alice.Leave()) }()
	_, err = alice.Publish(TrackOptions{})
	require.NoError(t, err)
	for range 8 { // which of the readers the end of a stream wakes is a matter of luck
		bob, err := srv.Join(ctx, ParticipantOptions{Room: "r", Identity: "bob"})
		require.NoError(t, err)
		_, err = bob.Wait(ctx, Is(EventTrackSubscribed, "alice"))
		require.NoError(t, err)
		ended := make(chan struct{})
		bob.mu.Lock()
		for track := range bob.heard {
			go func() {
				defer close(ended)
				for {
					if _, _, err := track.ReadRTP(); err != nil {
						return
					}
				}
			}()
		}
		bob.mu.Unlock()
		require.NoError(t, bob.Leave())
		select {
		case <-ended:
		case <-ctx.Done():
			t.Fatal("a reader is left")
		}
	}
}
