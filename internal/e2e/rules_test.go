package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// ruled is a world in which rules alone say what becomes of calls.
type ruled struct {
	*world
	file string
}

func newRuled(t *testing.T, rules string) *ruled { return newRuledAt(t, nil, rules) }

// newRuledAt is newRuled at a LiveKit of its own.
func newRuledAt(t *testing.T, server *livekittest.Server, rules string) *ruled {
	t.Helper()
	r := &ruled{file: filepath.Join(t.TempDir(), "rules.yaml")}
	r.write(t, rules)
	r.world = newWorld(t, worldOptions{livekit: server, config: func(c *app.Config) {
		c.RulesFile = r.file
		c.WhatsApp.Numbers = map[string]app.NumberConfig{numberID: {AccessToken: metaToken, AppSecret: "app-secret"}}
		c.Webhook.Path, c.Webhook.VerifyToken = "/webhook", "verify-token"
	}})
	require.NoError(t, r.meta.AddNumber(fakemeta.Number{
		PhoneNumberID: numberID, DisplayNumber: business, AccessToken: metaToken, AppSecret: "app-secret",
		VerifyToken: "verify-token", WebhookURL: r.url + "/webhook",
	}))
	return r
}

// write replaces the file at once, as an editor does: half of it would be a mistake more.
func (r *ruled) write(t *testing.T, rules string) {
	t.Helper()
	require.NoError(t, os.WriteFile(r.file+".new", []byte(rules), 0o600))
	require.NoError(t, os.Rename(r.file+".new", r.file))
}

// reloaded waits until so many reloads had an outcome.
func (r *ruled) reloaded(outcome string, n int) {
	r.t.Helper()
	line := fmt.Sprintf("livekit_connector_rules_reloads_total{outcome=%q} %d\n", outcome, n)
	until(r.t, func() string {
		if strings.Contains(r.metrics(), line) {
			return ""
		}
		return "no " + line
	})
}

func TestRuleGivesRoomAgentAndParticipant(t *testing.T) {
	t.Parallel()
	r := newRuled(t, `rules:
  - name: somebody else
    match: {from: "15559999999"}
    reject: true
  - name: sales
    match: {phone_number_ids: "`+numberID+`", from_prefixes: "1555"}
    room:
      name: rules-sales-{phoneNumberID}
      empty_timeout: 77s
      departure_timeout: 7s
      max_participants: 5
      metadata: '{"queue": "sales"}'
    agents: {name: agent-of-rules, metadata: '{"number": "{phoneNumberID}"}'}
    participant:
      identity: caller-{callHash}
      name: Caller
      metadata: came on {phoneNumberID}
      attributes: {queue: sales}
`)
	const room = "rules-sales-" + numberID
	worker, err := r.livekit.StartAgentWorker(wait(t), livekittest.AgentWorkerOptions{AgentName: "agent-of-rules"})
	require.NoError(t, err)
	defer func() { _ = worker.Close() }()
	c, err := r.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	job, err := worker.WaitJob(wait(t), room)
	require.NoError(t, err)
	require.JSONEq(t, `{"number": "`+numberID+`"}`, job.GetMetadata())
	require.NotNil(t, job.Agent)
	require.NoError(t, c.Wait(wait(t), fakemeta.StatePreAccepted))
	require.Equal(t, fakemeta.StatePreAccepted, c.State(), "the agent has no microphone on yet")
	_, err = job.Agent.Publish(livekittest.TrackOptions{})
	require.NoError(t, err)
	require.NoError(t, c.Wait(wait(t), fakemeta.StateActive))

	rooms, err := r.livekit.Rooms(wait(t), room)
	require.NoError(t, err)
	require.Len(t, rooms, 1)
	require.EqualValues(t, 77, rooms[0].GetEmptyTimeout())
	require.EqualValues(t, 7, rooms[0].GetDepartureTimeout())
	require.EqualValues(t, 5, rooms[0].GetMaxParticipants())
	require.JSONEq(t, `{"queue": "sales"}`, rooms[0].GetMetadata())
	people, err := r.livekit.Participants(wait(t), room)
	require.NoError(t, err)
	found := false
	for _, p := range people {
		if p.GetName() != "Caller" {
			continue
		}
		found = true
		require.Regexp(t, `^caller-[0-9a-f]{20}$`, p.GetIdentity())
		require.Equal(t, "came on "+numberID, p.GetMetadata())
		require.Equal(t, "sales", p.GetAttributes()["queue"])
		require.Equal(t, c.ID(), p.GetAttributes()["whatsapp.callID"])
	}
	require.True(t, found)
	require.NoError(t, c.HangUp())
	requireOver(t, c)
	require.NoError(t, r.app.Node().WaitEmpty(wait(t)))
	require.NotContains(t, r.log.String(), userNumber)
}

func TestRulesChangeBetweenCalls(t *testing.T) {
	t.Parallel()
	const open = "rules:\n  - {name: open, room: {name: rules-changed}, participant: {identity: \"caller-{random}\"}}\n"
	r := newRuled(t, open)
	first, err := r.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, first.Wait(wait(t), fakemeta.StateActive))

	r.write(t, "rules:\n  - {name: closed, reject: true}\n")
	r.reloaded("loaded", 1)
	second, err := r.meta.User("15550003333").Call(wait(t), numberID)
	require.NoError(t, err)
	requireOver(t, second)
	require.Equal(t, fakemeta.StateActive, first.State(), "a call that was taken stays")

	r.write(t, open)
	r.reloaded("loaded", 2)
	r.write(t, "rules:\n  - {nme: closed}\n")
	r.reloaded("failed", 1)
	require.Contains(t, r.log.String(), "unknown key, did you mean name?")
	third, err := r.meta.User("15550004444").Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, third.Wait(wait(t), fakemeta.StateActive), "the rules before the mistake")
	for _, c := range []*fakemeta.Call{first, third} {
		require.NoError(t, c.HangUp())
		requireOver(t, c)
	}
	r.nothingLeft("rules-changed")
}
