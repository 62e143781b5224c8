package call_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
)

// A document that is not executed is false soon.
func TestTheManualKnowsEveryReason(t *testing.T) {
	text, err := os.ReadFile("../../docs/calls.md")
	require.NoError(t, err)
	for _, r := range call.Reasons() {
		line := ""
		for l := range strings.SplitSeq(string(text), "\n") {
			if strings.HasPrefix(l, fmt.Sprintf("| `%s` |", r)) {
				line = l
			}
		}
		require.Contains(t, line, fmt.Sprintf("| %s |", r.Result()), r.String())
	}
}
