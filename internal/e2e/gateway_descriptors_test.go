package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// frugalGateway is a connector with few file descriptors to which webhooks come, and whose rule sends every call to a room.
type frugalGateway struct {
	*gateway
	process *process
}

func newFrugalGateway(t *testing.T, room string, inherited []*os.File) frugalGateway {
	t.Helper()
	w := newMetaAlone(t)
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(rules, []byte(into(room)), 0o600))
	p := w.launchFrugal(inherited, "CONNECTOR_CONFIG_BODY="+fmt.Sprintf(`
rules_file: %s
webhook: {path: /webhook, verify_token: %s}
limits: {max_cpu_utilization: 0, max_memory_utilization: 0}
whatsapp: {numbers: {"%s": {access_token: %s, api_version: "24.0", app_secret: %s}}}
`, rules, verifyToken, numberID, metaToken, appSecret))
	g := frugalGateway{gateway: &gateway{world: w, room: room}, process: p}
	g.open()
	return g
}

// active places a call that is answered.
func (g frugalGateway) active(user string) *fakemeta.Call {
	g.t.Helper()
	call, err := g.meta.User(user).Call(wait(g.t), numberID)
	require.NoError(g.t, err)
	require.NoError(g.t, call.Wait(wait(g.t), fakemeta.StateActive), call.Timeline())
	return call
}

// rejected places a call that is rejected at Meta, and nothing else is done for it.
func (g frugalGateway) rejected(user string) {
	g.t.Helper()
	call, err := g.meta.User(user).Call(wait(g.t), numberID)
	require.NoError(g.t, err)
	requireOver(g.t, call)
	require.Equal(g.t, "business", call.Report().EndedBy)
	for moment, want := range map[string]bool{
		fakemeta.MomentReject: true, fakemeta.MomentPreAccept: false, fakemeta.MomentAccept: false, fakemeta.MomentTerminate: false,
	} {
		_, was := call.Moment(moment)
		require.Equal(g.t, want, was, call.Timeline())
	}
}

// requireRejections checks what the operator sees of rejected calls.
func (g frugalGateway) requireRejections(n int, reason string) {
	g.t.Helper()
	g.process.answers("/metrics", http.StatusOK,
		fmt.Sprintf("livekit_connector_admission_refused_total{limit=\"open_files\"} %d\n", n),
		fmt.Sprintf("livekit_connector_webhook_events_total{event=\"connect_inbound\",outcome=\"refused\"} %d\n", n),
		fmt.Sprintf("livekit_connector_graph_requests_total{action=\"reject\",outcome=\"success\"} %d\n", n),
		"livekit_connector_capacity_used_ratio{resource=\"files\"} 1\n")
	g.process.answers("/readyz", http.StatusServiceUnavailable, reason, "LimitNOFILE")
	g.process.answers("/livez", http.StatusOK)
	warned := g.process.awaitLog("no place for another call")
	require.Contains(g.t, warned, `"limit":"open_files"`)
	require.Contains(g.t, warned, reason)
	refused := g.process.awaitLog("inbound call cannot be taken")
	require.Contains(g.t, refused, reason)
	require.Contains(g.t, refused, `"rejected":true`)
}

// end hangs up and stops the connector, which never lacked a descriptor.
func (g frugalGateway) end(calls []*fakemeta.Call) {
	g.t.Helper()
	for _, call := range calls {
		require.NoError(g.t, call.HangUp())
		requireOver(g.t, call)
	}
	require.NotContains(g.t, g.log.String(), "too many open files")
	g.process.signal(syscall.SIGTERM)
	g.process.requireExit(0)
}

// A user who calls where there are no descriptors for his call hears at once that nobody takes it. Those who talk go on, and
// when one has hung up there is room again.
func TestGatewayRejectsForWantOfDescriptors(t *testing.T) {
	t.Parallel()
	g := newFrugalGateway(t, "gateway-descriptors", nil)
	var calls []*fakemeta.Call
	for i := range 4 {
		calls = append(calls, g.active(fmt.Sprintf("1555%07d", i)))
	}
	g.rejected("15557770001")
	g.rejected("15557770002")
	g.requireRejections(2, "4 of 4 calls that there are file descriptors for")
	goesOn(t, calls)

	require.NoError(t, calls[0].HangUp())
	requireOver(t, calls[0])
	g.process.answers("/readyz", http.StatusOK)
	calls[0] = g.active("15557770003")
	g.end(calls)
}

// Something else than calls has taken the descriptors: the first call is rejected before it would break for want of a socket,
// and probes, metrics and webhooks are answered still.
func TestGatewayRejectsWhatOthersLeaveNoDescriptorsFor(t *testing.T) {
	t.Parallel()
	nothing, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer nothing.Close()
	inherited := make([]*os.File, 275)
	for i := range inherited {
		inherited[i] = nothing
	}
	g := newFrugalGateway(t, "gateway-leak", inherited)
	g.rejected("15557770001")
	g.requireRejections(1, "0 of 0 calls that there are file descriptors for")
	g.end(nil)
}

// Somebody fills the operator's port: users' calls are answered nevertheless, and the port answers when he has gone.
func TestGatewayAnswersWhileTheAdminPortIsFull(t *testing.T) {
	t.Parallel()
	g := newFrugalGateway(t, "gateway-admin-full", nil)
	intruders := intrude(t, g.process.admin, 400)
	require.NotEmpty(t, intruders)
	require.LessOrEqual(t, len(intruders), 50)
	calls := []*fakemeta.Call{g.active("15550000001"), g.active("15550000002")}
	goesOn(t, calls)
	for _, c := range intruders {
		require.NoError(t, c.Close())
	}
	until(t, func() string {
		res, err := http.Get(g.process.admin + "/livez")
		if err != nil {
			return err.Error() // closed at once
		}
		require.Equal(t, http.StatusOK, res.StatusCode)
		require.NoError(t, res.Body.Close())
		return ""
	})
	g.process.answers("/readyz", http.StatusOK)
	g.end(calls)
}
