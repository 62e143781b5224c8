package rules_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/rules"
)

// decide has one rule with a key decide a call. The text is quoted as JSON, which YAML understands.
func decide(t *testing.T, key, text string, c rules.Call) rules.Outcome {
	t.Helper()
	quoted, err := json.Marshal(text)
	require.NoError(t, err)
	section, name, _ := strings.Cut(key, ".")
	return parse(t, "rules:\n  - "+section+": {"+name+": "+string(quoted)+"}\n").Decide(c)
}

func TestNamesAreSafe(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		call rules.Call
		want string // a regular expression
	}{
		"call ID":           {"wa-{callID}", rules.Call{CallID: "wacid.HBg+a/b=="}, `^wa-wacid\.HBg\+a-b$`},
		"number":            {"{from}", rules.Call{From: "15550001111"}, `^15550001111$`},
		"hidden number":     {"caller-{from}", rules.Call{}, `^caller-[a-z2-7]{16}$`},
		"no payload":        {"p-{ctaPayload}", rules.Call{}, `^p-[a-z2-7]{16}$`},
		"only padding":      {"p-{ctaPayload}", rules.Call{CTAPayload: "=="}, `^p-[a-z2-7]{16}$`},
		"only signs":        {"caller-{name}", rules.Call{Name: "🙂🙂"}, `^caller-[a-z2-7]{16}$`},
		"nothing to hash":   {"{callHash}", rules.Call{}, `^[a-z2-7]{16}$`},
		"strange name":      {"n-{name}", rules.Call{Name: "Zoë\x00\x1b[31m/..\\🙂"}, `^n-Zoë---31m-\.\.--$`},
		"broken characters": {"n-{name}", rules.Call{Name: "a\xffb"}, `^n-a-b$`},
		"words with braces": {"{{random}}-{}-{ x }-{{", rules.Call{}, `^\{random\}-\{\}-\{ x \}-\{\{$`},
	} {
		t.Run(name, func(t *testing.T) {
			require.Regexp(t, tc.want, decide(t, "room.name", tc.text, tc.call).Accept.RoomName)
			require.Regexp(t, tc.want, decide(t, "participant.identity", tc.text, tc.call).Accept.ParticipantIdentity)
		})
	}
}

func TestNamesAreBounded(t *testing.T) {
	long := strings.Repeat("é", 300)
	one := decide(t, "room.name", "room-{name}", rules.Call{Name: long + "1"}).Accept.RoomName
	two := decide(t, "room.name", "room-{name}", rules.Call{Name: long + "2"}).Accept.RoomName
	require.LessOrEqual(t, len(one), 256)
	require.True(t, utf8.ValidString(one))
	require.NotEqual(t, one, two, "they differ only in what was cut off")

	name := decide(t, "participant.name", "{name}", rules.Call{Name: long}).Accept.ParticipantName
	require.Equal(t, strings.Repeat("é", 128), name)

	attributes := parse(t, `rules: [{participant: {attributes: {a: "{name}"}, metadata: "{name}{name}"}}]`).
		Decide(rules.Call{Name: strings.Repeat("x", 1<<20)}).Accept
	require.Len(t, attributes.ParticipantAttributes["a"], 1024)
	require.Len(t, attributes.ParticipantMetadata, 2048)
}

// Whoever calls writes some of the values. None of them may add a member to an object.
func TestCallersCannotWriteJSON(t *testing.T) {
	for _, value := range []string{
		`", "admin": true, "x": "`, `\`, `\", "admin": true, "x": "`, "\n\t\x00", "\xff", strings.Repeat(`"`, 2000), strings.Repeat("🙂", 2000),
	} {
		out := decide(t, "participant.metadata", `{"user": {"name": "{name}"}, "list": ["{name}"]}`, rules.Call{Name: value})
		var got map[string]any
		require.NoError(t, json.Unmarshal([]byte(out.Accept.ParticipantMetadata), &got), out.Accept.ParticipantMetadata)
		require.Len(t, got, 2)
		require.Len(t, got["user"], 1)
	}
	out := decide(t, "participant.metadata", `caller {name}, "quoted"`, rules.Call{Name: `a"b` + "\n"})
	require.Equal(t, `caller a"b , "quoted"`, out.Accept.ParticipantMetadata, "text is not JSON")
}

func TestCallersCannotWriteJSONInsideOfJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{"a": "{\"name\": \"{name}\"}"}`:            "is text inside of JSON",
		`{"a": {"b": ["{\"id\": {from}}"]}}`:         "is text inside of JSON",
		`{"a": " [\"{name}\"]"}`:                     "is text inside of JSON",
		`{"{name}": true}`:                           "must not be a key",
		`{"{name}": "{\"name\": \"{ctaPayload}\"}"}`: "must not be a key",
		`{"a": "{\"fixed\": 1}", "b": "{name}"}`:     "",
		`{"a": "[caller] {name}", "b": "{{name}}"}`:  "",
	} {
		quoted, err := json.Marshal(text)
		require.NoError(t, err)
		_, err = rules.Parse("f", []byte("rules: [{participant: {metadata: "+string(quoted)+"}}]"))
		if want == "" {
			require.NoError(t, err, text)
			continue
		}
		require.ErrorContains(t, err, want, text)
	}
}

// Whoever knows the name of a room, or of somebody in it, could have himself put in that place.
func TestCallersDoNotChooseWholeNames(t *testing.T) {
	for text, refused := range map[string]bool{
		"{ctaPayload}": true, "{name}": true, "-{deeplinkPayload}-{name}": true,
		"promo-{ctaPayload}": false, "{ctaPayload}-{random}": false, "{from}": false, "lobby": false,
	} {
		for _, key := range []string{"room: {name", "participant: {identity"} {
			_, err := rules.Parse("f", []byte("rules: [{"+key+": '"+text+"'}}]"))
			if refused {
				require.ErrorContains(t, err, "callers choose what is here", text)
			} else {
				require.NoError(t, err, text)
			}
		}
	}
}

func TestTheSameRandomEverywhere(t *testing.T) {
	out := parse(t, `rules: [{room: {name: "r-{random}"}, participant: {identity: "p-{random}", metadata: "{random}"}}]`).Decide(rules.Call{})
	random := out.Accept.ParticipantMetadata
	require.Len(t, random, 16)
	require.Equal(t, "r-"+random, out.Accept.RoomName)
	require.Equal(t, "p-"+random, out.Accept.ParticipantIdentity)
}
