package call_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
)

// A document that is not executed is false soon.
func TestTheManualKnowsEveryFindingAndStage(t *testing.T) {
	text, err := os.ReadFile("../../docs/inspection.md")
	require.NoError(t, err)
	for _, f := range call.Findings() {
		require.Contains(t, string(text), "| `"+f.Code+"` | "+string(f.Direction)+" | "+string(f.Layer)+" | "+f.Problem+" |")
	}
	for _, s := range call.AllStages() {
		require.Contains(t, string(text), "| `"+s.String()+"` |")
	}
}
