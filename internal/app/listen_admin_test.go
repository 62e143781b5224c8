package app

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// Somebody who fills the operator's port takes no more descriptors than are set aside for it, and keeps nobody from the API's.
func TestTheAdminPortIsFloodedByItself(t *testing.T) {
	servers := startServers(t, &Config{BindAddresses: []string{"127.0.0.1"}}, newProbes(t))
	for range maxBeside {
		require.NoError(t, intrude(t, servers.Admin.Port()))
	}
	for range 3 {
		require.Error(t, intrude(t, servers.Admin.Port()))
	}
	status, _ := get(t, servers.API.URL()+"/livez")
	require.Equal(t, http.StatusOK, status)
}
