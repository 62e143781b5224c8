package node

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDocumentNamesEveryPhaseOfACall(t *testing.T) {
	page, err := os.ReadFile("../../docs/tracing.md")
	require.NoError(t, err)
	for _, p := range phases {
		require.Contains(t, string(page), p.name)
	}
	for name := range always {
		require.Contains(t, string(page), name)
	}
}
