package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const someRules = `time_zone: Europe/Berlin
rules:
  - name: vip
    match: {from: 15551230009}
  - name: night
    match: {times: {from: "20:00", to: "08:00"}}
    reject: true
    reason: closed
  - name: sales
    match: {phone_number_ids: "100"}
    room:
      name: sales-{callID}
      empty_timeout: 1m
      egress: {room: {audio_only: true, file_outputs: [{filepath: a.ogg, s3: {bucket: b, secret: hunter2}}]}}
    agents: [{name: seller, metadata: '{"from": "{from}"}'}]
    participant: {identity: caller, name: Caller, metadata: m, attributes: {promo: "{ctaPayload}"}}
    ringing_timeout: 20s
    max_duration: 1h
    alone_timeout: 0s
    destination_country: DE
`

func writeRules(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestRulesTestTellsWhatWouldHappen(t *testing.T) {
	file := writeRules(t, someRules)
	day := []string{"rules", "test", "--rules", file, "--from", "+15551230001", "--at", "2026-11-23T10:00:00+01:00", "--cta", "spring"}
	code, stdout, stderr := do(nil, append(day, "--to", "100")...)
	require.Equal(t, exitOK, code, stderr)
	require.Equal(t, `vip: no, from: "15551230001" is not among them
night: no, times: Mon 10:00 CET is in none of them
sales: matches

room               sales-wacid.test
room, if new       {"emptyTimeout":60}
egress             room
agent              seller {"from": "15551230001"}
participant        caller
  name             Caller
  metadata         m
  attribute        promo=spring
answered           when somebody in the room has a microphone on; rejected if nobody comes in time
ringing timeout    20s
max duration       1h0m0s
alone timeout      never
destination        DE
`, stdout)

	code, stdout, _ = do([]string{"CONNECTOR_RULES_FILE=" + file}, "rules", "test", "--at=2026-11-23T23:00:00+01:00")
	require.Equal(t, exitRejected, code)
	require.Equal(t, "vip: no, from: the caller hides his number\nnight: matches\n\nreject             closed\n", stdout)

	code, stdout, _ = do(nil, day...)
	require.Equal(t, exitUnmatched, code)
	require.Contains(t, stdout, "sales: no, phone_number_ids: nothing is not among them\n\nno rule matches")
}

func TestRulesTestInJSON(t *testing.T) {
	file := writeRules(t, someRules)
	code, stdout, _ := do(nil, "rules", "test", "--rules", file, "--json", "--to=100", "--at", "2026-11-23T10:00:00+01:00")
	require.Equal(t, exitOK, code)
	require.NotContains(t, stdout, "hunter2")
	var got struct {
		Action, Rule string
		Egress       []string
		Steps        []struct {
			Rule, Why string
			Matches   bool
		}
		Request struct {
			RoomName string
			Agents   []struct{ AgentName string }
		}
		Plan struct {
			MaxDuration string
			Room        map[string]any
		}
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &got))
	require.Equal(t, "accept", got.Action)
	require.Equal(t, "sales", got.Rule)
	require.Equal(t, []string{"room"}, got.Egress)
	require.Len(t, got.Steps, 3)
	require.Equal(t, "from: the caller hides his number", got.Steps[0].Why)
	require.True(t, got.Steps[2].Matches)
	require.Equal(t, "sales-wacid.test", got.Request.RoomName)
	require.Equal(t, "seller", got.Request.Agents[0].AgentName)
	require.Equal(t, "3600s", got.Plan.MaxDuration)
	require.Equal(t, map[string]any{"emptyTimeout": 60.0}, got.Plan.Room)

	code, stdout, _ = do(nil, "rules", "test", "--rules", file, "--json", "--at", "2026-11-23T10:00:00+01:00")
	require.Equal(t, exitUnmatched, code)
	require.Contains(t, stdout, `"action": "none"`)
	code, stdout, _ = do(nil, "rules", "test", "--rules", file, "--json", "--at", "2026-11-23T21:00:00+01:00")
	require.Equal(t, exitRejected, code)
	require.Contains(t, stdout, `"action": "reject"`)
}

func TestLeastRulesTest(t *testing.T) {
	code, stdout, _ := do(nil, "rules", "test", "--rules", writeRules(t, "rules: [{}]"))
	require.Equal(t, exitOK, code)
	require.Equal(t, "#1: matches\n\nroom               whatsapp-... (a random name)\nparticipant        whatsapp-... (a random name)\nanswered           at once\n", stdout)
	code, stdout, _ = do(nil, "rules", "test", "--rules", writeRules(t, "rules: [{agents: {name: a}, answer_alone: true, alone_timeout: 5s}]"))
	require.Equal(t, exitOK, code)
	require.Contains(t, stdout, "if nobody comes in time, too\nalone timeout      5s\n")
}

func TestRulesTestOfAWrongFileOrLine(t *testing.T) {
	file := writeRules(t, "rules:\n  - {nme: x, reject: perhaps}\n")
	code, stdout, stderr := do(nil, "rules", "tset", "--rules", file, "--from", "anybody", "--at", "noon", "--too", "1")
	require.Equal(t, exitUsage, code)
	require.Empty(t, stdout)
	require.Equal(t, `--too: unknown flag, did you mean --to?
want one command: livekit-connector rules test
--from: want a phone number, digits only
--at: want a time such as 2026-11-23T10:00:00+01:00
`+file+`:2: rules[0].nme: unknown key, did you mean name?
`+file+`:2: rules[0].reject: want true or false, got "perhaps"
livekit-connector rules --help lists every flag.
`, stderr)
	code, _, stderr = do(nil, "rules", "test")
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "--rules: is missing")
	code, _, stderr = do(nil, "rules", "test", "--rules=/none")
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "--rules: open /none: no such file")
	code, stdout, _ = do(nil, "rules", "--help")
	require.Equal(t, exitOK, code)
	for _, f := range rulesFlags {
		if len(f.Name) > 1 && f.Name != "help" {
			require.Contains(t, stdout, "--"+f.Name+" ")
		}
	}
}

func TestCheckReadsTheRulesFile(t *testing.T) {
	file := writeRules(t, "rules: []")
	for _, command := range []string{"check", "run"} {
		code, _, stderr := do(complete("ws://127.0.0.1:1"), command, "--rules-file", file)
		require.Equal(t, exitUsage, code)
		require.Contains(t, stderr, file+":1: rules: there are none")
	}
}
