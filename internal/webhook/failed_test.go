package webhook_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// Meta need not say why a call failed.
func TestTerminateSaysThatACallFailed(t *testing.T) {
	for status, failed := range map[string]bool{"FAILED": true, "COMPLETED": false, "": false} {
		t.Run(status, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStand(t)
				s.post(envelope(numberID, calls(terminate(callID, object{"status": status}))))
				synctest.Wait()
				require.Len(t, s.nodes.reports, 1)
				require.Equal(t, failed, s.nodes.reports[0].GetFailed())
				require.Zero(t, s.nodes.reports[0].GetErrorCode())
			})
		})
	}
}
