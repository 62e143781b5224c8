package whatsapp_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// A token may be replaced while a call lasts: every request asks for the one to use, and errors hide that one too.
func TestCredentialsAreRenewedForEveryRequest(t *testing.T) {
	const newToken = "EAAGtheTokenAfterThat456"
	g := newGraph(t, respond(http.StatusOK, took), respond(http.StatusUnauthorized,
		`{"error":{"message":"bad token `+newToken+`","type":"OAuthException","code":190}}`))
	var asked []whatsapp.Credentials
	c := newClient(t, whatsapp.Options{BaseURL: g.URL, Renew: func(given whatsapp.Credentials) whatsapp.Credentials {
		asked = append(asked, given)
		given.AccessToken = newToken
		return given
	}})
	require.NoError(t, c.Terminate(t.Context(), creds, callID))
	require.Equal(t, []whatsapp.Credentials{creds}, asked)
	g.mu.Lock()
	require.Equal(t, "Bearer "+newToken, g.last.Header.Get("Authorization"))
	g.mu.Unlock()

	err := c.Terminate(t.Context(), creds, callID)
	require.Error(t, err)
	require.NotContains(t, err.Error(), newToken)
	require.Len(t, asked, 2)
}
