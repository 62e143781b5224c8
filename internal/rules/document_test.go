package rules_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/rules"
)

func TestAllProblemsAtOnceWithTheirLine(t *testing.T) {
	_, err := rules.Parse("f", []byte(`timezone: Europe/Berlin
time_zone: Europe/Berln
rules:
  - name: one
    match:
      phone_number_id: [1]
      phone_number_ids: ["1 2"]
      from: [+1555CALLME]
      from_prefixes: []
      caller: anonymous
      cta_payload: [""]
      times:
        - {weekdays: [mo], from: "9", to: "25:00"}
        - {weekdays: [tues-fri], from: "09:00", to: "09:00", time_zone: Local}
        - {from: "24:00"}
  - name: one
    match: {caller: hidden, from: 1555}
    reason: why
    room:
      name: room-{callid}
      empty_timeout: 1500ms
      max_participants: -1
      egress:
        room:
          audio_ony: true
          file_outputs: [{filepth: x}]
    agents: [{metadata: '{"a": {from}}'}]
    participant:
      name: "a\nb"
      metadata: '{"a": '
      attributes: {whatsapp.callID: x}
    ringing_timeout: 0s
    max_duration: 48h
    alone_timeout: 1ms
    destination_country: Germany
  - match: {from: 1}
    answer_alone: true
  - match: {from: 2}
    reject: true
    room: {name: x}
    agents: [{name: a}]
  - match: {from: 3}
    room: {name: lobby, egress: {room: {layout: [1]}}}
    participant: {identity: caller}
`))
	require.EqualError(t, err, `f:1: timezone: unknown key, did you mean time_zone?
f:6: rules[0].match.phone_number_id: unknown key, did you mean phone_number_ids?
f:2: time_zone: "Europe/Berln" is no time zone of the IANA database, such as Europe/Berlin
f:7: rules[0].match.phone_number_ids[0]: want Meta's ID of a phone number, not the number
f:8: rules[0].match.from[0]: want a phone number with its country code, in digits
f:10: rules[0].match.caller: "anonymous" is not one of hidden, known
f:11: rules[0].match.cta_payload[0]: is empty: want a payload, the beginning of one before a *, or * for any
f:13: rules[0].match.times[0].weekdays[0]: "mo" is no day of the week, did you mean monday?
f:13: rules[0].match.times[0].from: want a time of day such as "09:30", up to "24:00", got "9"
f:13: rules[0].match.times[0].to: want a time of day such as "09:30", up to "24:00", got "25:00"
f:14: rules[0].match.times[1].time_zone: "Local" is no time zone of the IANA database, such as Europe/Berlin
f:14: rules[0].match.times[1].weekdays[0]: "tues" is no day of the week, did you mean tuesday?
f:14: rules[0].match.times[1]: from and to are the same: leave both out for the whole day
f:15: rules[0].match.times[2].from: "24:00" is the end of the day: write "00:00" and the next day
f:17: rules[1].match.caller: a caller who hides his number has none to match from or from_prefixes
f:18: rules[1].reason: belongs to a rule with reject: true
f:20: rules[1].room.name: unknown placeholder {callid}, did you mean callID? (write {{callid}} for the text itself)
f:29: rules[1].participant.name: holds a control character
f:30: rules[1].participant.metadata: begins like JSON and is none
f:31: rules[1].participant.attributes.whatsapp.callID: attributes that begin with whatsapp. are the connector's own
f:27: rules[1].agents[0].name: is missing: the agent_name that the agent's worker registers
f:27: rules[1].agents[0].metadata: a placeholder in JSON must stand inside of quotes: {"key": "{name}"}
f:32: rules[1].ringing_timeout: 0s is not between 1s and 5m0s
f:33: rules[1].max_duration: 48h0m0s is not between 1s and 24h0m0s
f:34: rules[1].alone_timeout: 1ms is not between 100ms and 24h0m0s
f:21: rules[1].room.empty_timeout: 1.5s is not a whole number of seconds, at least one
f:22: rules[1].room.max_participants: -1 is no number of participants
f:25: rules[1].room.egress.room.audio_ony: unknown key, did you mean audio_only?
f:26: rules[1].room.egress.room.file_outputs[0].filepth: unknown key, did you mean filepath?
f:35: rules[1].destination_country: "Germany" is no country of ISO 3166-1, such as DE
f:16: rules[1].name: "one" is the name of the rule at f:4 too
f:37: rules[2].answer_alone: has no effect without wait_until_answered: true, or agents: the call is answered at once
f:40: rules[3].room: has no effect in a rule with reject: true
f:41: rules[3].agents: has no effect in a rule with reject: true
f:44: rules[4].participant.identity: two callers in one room would throw each other out: use {random}, {callHash}, {callID}, {from} or {fromUserID} in it or in the room's name
f:43: rules[4].room.egress: invalid value for string field layout`)
}

func TestWhatIsNoRulesFile(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "f: rules: there are none: no call would be taken",
		"rules: []":                       "f:1: rules: there are none: no call would be taken",
		"rules:\n  - {}\n  - {name: a}\n": "f:3: rules[1]: no call comes here: the rule at f:2 matches every call",
		"rules: 1":                        "f:1: rules: want a list, got a single value",
		"rules:":                          "f:1: rules: there are none: no call would be taken",
		"rules: [{match: }]":              "f:1: rules[0].match: is empty: leave it out to match every call",
		"rules: [{match: {}}]":            "f:1: rules[0].match: is empty: leave it out to match every call",
		"rules: [{match: {from: , caller: known}}]": "f:1: rules[0].match.from: is empty: leave it out to match any",
		"rules: [a]":                         "f:1: rules[0]: want keys and values, got a single value",
		"rules: [{}]\n---\nrules: [{}]":      "f:2: a second YAML document: everything belongs into one",
		"rules: [\n":                         "f: near line 1: did not find expected node content",
		"rules: &r [*r]":                     "f:1: rules[0]: want keys and values, got a list",
		"rules: [{room: {egress: &e [*e]}}]": "f:1: rules[0].room.egress: anchor 'e' value contains itself",
		"rules: [{room: {egress: {1: 2}}}]":  "f:1: rules[0].room.egress.1: unknown key, did you mean room?",
		strings.Repeat("#", 1<<20) + "\n":    "f: is larger than 1048576 bytes",
	} {
		_, err := rules.Parse("f", []byte(text))
		require.EqualError(t, err, want, cutTo(text, 40))
	}
	_, err := rules.Load(filepath.Join(t.TempDir(), "none.yaml"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func cutTo(text string, n int) string { return text[:min(n, len(text))] }

// The keys of a storage stand among the values of an egress.
func TestProblemsQuoteNoValueOfAnEgress(t *testing.T) {
	for text, want := range map[string]string{
		`file_outputs: [{filepath: x, s3: {secret: 7730012345}}]`:            "f:1: rules[0].room.egress.room.file_outputs[0].s3.secret: want text: put it into quotes",
		`file_outputs: [{s3: &k {secret: [7730012345]}}]`:                    "f:1: rules[0].room.egress: invalid value for string field secret",
		`file_outputs: [{s3: {access_key: {k: 7730012345}}}]`:                "f:1: rules[0].room.egress: invalid value for string field accessKey",
		`file_outputs: [{s3: {secret: !!int "k7730012345"}}]`:                "f:1: rules[0].room.egress: has a value that is not what its tag says",
		`file_outputs: [{s3: "7730012345"}]`:                                 "f:1: rules[0].room.egress: is not what LiveKit's API has there",
		`file_outputs: [{file_type: "7730012345"}]`:                          "f:1: rules[0].room.egress: invalid value for enum field fileType",
		`file_outputs: [{s3: {secret: "7730012345"}, gcp: {bucket: b}}]`:     `f:1: rules[0].room.egress: error parsing "s3", oneof livekit.EncodedFileOutput.output is already set`,
		`segment_outputs: [{s3: {secret: "7730012345", metadata: {a: {}}}}]`: "f:1: rules[0].room.egress: invalid value for string field value",
		`image_outputs: [{filename_prefix: 2026-01-01}]`:                     "f:1: rules[0].room.egress.room.image_outputs[0].filename_prefix: want text: put it into quotes",
	} {
		_, err := rules.Parse("f", []byte("rules: [{room: {egress: {room: {"+text+"}}}}]"))
		require.EqualError(t, err, want, text)
	}
}

// A wrong order would have every call of the rule refused.
func TestOrdersAreCheckedAtLoad(t *testing.T) {
	attribute := func(name, text string) error {
		_, err := rules.Parse("f", []byte("rules: [{participant: {attributes: {"+name+": '"+text+"'}}}]"))
		return err
	}
	for _, right := range [][2]string{
		{"lk.connector.media", "auto"},
		{"lk.connector.media", "transcode"},
		{"lk.connector.recording", `{"purpose": "quality assurance", "announcement_language": "en_US"}`},
		{"lk.connector.transcription", `{"status": "DISABLED"}`},
		{"lk.agent", "mine"},
	} {
		require.NoError(t, attribute(right[0], right[1]), right)
	}
	for _, wrong := range [][3]string{
		{"lk.connector.media", "transcoded", "want auto or transcode"},
		{"lk.connector.media", "{name}", "want fixed text, without placeholders"},
		{"lk.connector.recording", "true", "it is not a JSON object: want JSON such as"},
		{"lk.connector.recording", `{"purpose": "x"}`, "it needs a purpose and an announcement_language"},
		{"lk.connector.transcription", `{"purpose": "{name}", "announcement_language": "en_US"}`, "want fixed text, without placeholders"},
		{"lk.connector.recipient", "US.1349", "belongs to DialWhatsAppCall alone"},
		{"lk.connector.recordin", "{}", "are the connector's own, did you mean lk.connector.recording?"},
		{"lk.connector.answerTime", "now", "are the connector's own"},
	} {
		err := attribute(wrong[0], wrong[1])
		require.ErrorContains(t, err, "f:1: rules[0].participant.attributes."+wrong[0]+": ")
		require.ErrorContains(t, err, wrong[2])
	}
}

func TestWhatIsTooLong(t *testing.T) {
	var many strings.Builder
	for i := range 65 {
		many.WriteString("        k" + string(rune('A'+i%26)) + strings.Repeat("x", i) + ": \"{name}\"\n")
	}
	_, err := rules.Parse("f", []byte("rules:\n  - room: {name: "+strings.Repeat("r", 257)+"}\n    participant:\n      attributes:\n"+many.String()))
	require.ErrorContains(t, err, "f:2: rules[0].room.name: is 257 bytes long without its placeholders, more than 256")
	require.ErrorContains(t, err, "rules[0].participant.attributes: may become")
}

func FuzzParse(f *testing.F) {
	f.Add("rules: [{}]", "15550001111", "promo-7", "wacid.HBgLMTU1NTAwMDIyMjI=")
	f.Add("time_zone: Europe/Berlin\nrules:\n  - match: {times: {weekdays: fri-mon, from: \"22:00\", to: \"06:00\"}}\n    reject: true\n  - {}\n", "", "", "")
	f.Add(`rules: [{name: a, match: {from_prefixes: ["+49"], cta_payload: "p*"}, room: {name: "{name}-{{x}}", egress: {room: {audio_only: true}}}, participant: {metadata: '{"a":"{name}"}'}}]`, "49", "p", "x")
	f.Add("rules: &r [*r]", "", "", "")
	text, err := os.ReadFile("../../docs/rules.md")
	require.NoError(f, err)
	_, example, _ := strings.Cut(string(text), "# rules.yaml\n")
	example, _, _ = strings.Cut(example, "```")
	_, err = rules.Parse("rules.yaml", []byte(example))
	require.NoError(f, err)
	f.Add(example, "4930555010", "spring-2", "wacid.x")
	f.Fuzz(func(t *testing.T, text, from, payload, callID string) {
		s, err := rules.Parse("f", []byte(text))
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.NotZero(t, s.Len())
		c := rules.Call{From: from, CTAPayload: payload, DeeplinkPayload: payload, Name: payload, CallID: callID}
		steps := s.Explain(c)
		require.NotEmpty(t, steps)
		out := s.Decide(c)
		require.Equal(t, steps[len(steps)-1].Miss == "", out.Rule != "")
		if out.Accept == nil {
			return
		}
		a := out.Accept
		size := 0
		for k, v := range a.ParticipantAttributes {
			size += len(k) + len(v)
		}
		require.LessOrEqual(t, size, 64<<10)
		require.LessOrEqual(t, len(a.ParticipantMetadata), 512<<10)
		for _, name := range []string{a.RoomName, a.ParticipantIdentity, a.ParticipantName} {
			require.LessOrEqual(t, len(name), 256)
			require.NotContains(t, name, "\x00")
			require.NotContains(t, name, "\n")
		}
	})
}
