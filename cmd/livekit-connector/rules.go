package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/rules"
	"github.com/livekit-connector/livekit-connector/internal/settings"
)

// Exit codes of "rules test" beside exitOK for a call that would be taken.
const (
	exitRejected  = 4
	exitUnmatched = 5
)

const rulesHelp = `Says which rule takes a call, why the ones before it do not, and what would happen.

Usage:
  livekit-connector rules test --rules FILE [flags]

  --rules FILE      rules file; without it the one of $CONNECTOR_RULES_FILE
  --from NUMBER     the caller's number; without it he hides his number
  --user ID         the caller's business-scoped user ID
  --name NAME       what the caller calls himself
  --to ID           phone number ID that is called
  --cta TEXT        payload of the call button that was pressed
  --deeplink TEXT   payload of the link that was pressed
  --at TIME         when, such as 2026-11-23T10:00:00+01:00; without it now
  --call-id ID      Meta's ID of the call
  --json            JSON instead of text

Exit codes: 0 the call would be taken; 1 failed while printing; 2 wrong command line or rules file; 4 a rule rejects the
call; 5 no rule matches.
`

var rulesFlags = []settings.Flag{
	{Name: "rules"},
	{Name: "from"},
	{Name: "user"},
	{Name: "name"},
	{Name: "to"},
	{Name: "cta"},
	{Name: "deeplink"},
	{Name: "at"},
	{Name: "call-id"},
	{Name: "json", Bool: true},
	{Name: "help", Bool: true},
	{Name: "h", Bool: true},
}

// rulesCommand is everything that begins with the word rules; args come behind it.
func rulesCommand(args []string, env app.Env, stdout, stderr io.Writer) int {
	given, words, problems := settings.ParseArgs(args, rulesFlags)
	if given["help"] != nil || given["h"] != nil {
		_, err := io.WriteString(stdout, rulesHelp)
		return printed(err, stderr)
	}
	if len(words) != 1 || words[0] != "test" {
		problems = append(problems, &settings.KeyError{Text: "want one command: livekit-connector rules test"})
	}
	flag := func(name string) string {
		if texts := given[name]; len(texts) > 0 {
			return texts[len(texts)-1]
		}
		return ""
	}
	c, wrong := calledBy(flag)
	problems = append(problems, wrong...)
	set, wrong := rulesOf(flag("rules"), env)
	problems = append(problems, wrong...)
	if len(problems) > 0 {
		for _, problem := range problems {
			fmt.Fprintln(stderr, problem)
		}
		fmt.Fprintln(stderr, "livekit-connector rules --help lists every flag.")
		return exitUsage
	}
	t := trial{steps: set.Explain(c), out: set.Decide(c)}
	text := t.text()
	if flag("json") == "true" {
		var err error
		if text, err = t.json(); err != nil {
			return printed(err, stderr)
		}
	}
	if _, err := stdout.Write(text); err != nil {
		return printed(err, stderr)
	}
	return t.exitCode()
}

// calledBy is the call that the flags describe.
func calledBy(flag func(string) string) (rules.Call, []error) {
	c := rules.Call{
		CallID: flag("call-id"), PhoneNumberID: flag("to"), From: strings.TrimPrefix(flag("from"), "+"), FromUserID: flag("user"),
		Name: flag("name"), CTAPayload: flag("cta"), DeeplinkPayload: flag("deeplink"), At: time.Now(),
	}
	if c.CallID == "" {
		c.CallID = "wacid.test"
	}
	var problems []error
	if strings.Trim(c.From, "0123456789") != "" {
		problems = append(problems, &settings.KeyError{Where: "--from", Text: "want a phone number, digits only"})
	}
	if text := flag("at"); text != "" {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			problems = append(problems, &settings.KeyError{Where: "--at", Text: "want a time such as 2026-11-23T10:00:00+01:00"})
		}
		c.At = at
	}
	return c, problems
}

func rulesOf(name string, env app.Env) (*rules.Set, []error) {
	for _, pair := range env.Environ {
		if value, ok := strings.CutPrefix(pair, "CONNECTOR_RULES_FILE="); ok && name == "" {
			name = value
		}
	}
	if name == "" {
		return nil, []error{&settings.KeyError{Where: "--rules", Text: "is missing: the rules file"}}
	}
	body, err := env.ReadFile(name)
	if err != nil {
		return nil, []error{&settings.KeyError{Where: "--rules", Text: err.Error()}}
	}
	set, err := rules.Parse(name, body)
	if err != nil {
		return nil, app.Problems(err)
	}
	return set, nil
}

// trial is what became of a call.
type trial struct {
	steps []rules.Step
	out   rules.Outcome
}

func (t trial) exitCode() int {
	switch {
	case t.out.Reject:
		return exitRejected
	case t.out.Accept == nil:
		return exitUnmatched
	default:
		return exitOK
	}
}

// Line widths of the table.
const column = 18

func (t trial) text() []byte {
	var b bytes.Buffer
	for _, s := range t.steps {
		if s.Miss != "" {
			fmt.Fprintf(&b, "%s: no, %s\n", s.Rule, s.Miss)
			continue
		}
		fmt.Fprintf(&b, "%s: matches\n", s.Rule)
	}
	b.WriteByte('\n')
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-*s %s\n", column, name, fmt.Sprintf(format, args...))
	}
	switch {
	case t.out.Reject:
		row("reject", "%s", t.out.Reason)
	case t.out.Accept == nil:
		row("no rule matches", "webhook.on_no_rule says what becomes of the call")
	default:
		t.accepted(row)
	}
	return b.Bytes()
}

// accepted tells what would be done for a call that is taken.
func (t trial) accepted(row func(name, format string, args ...any)) {
	a, p := t.out.Accept, t.out.Plan
	optional := func(name, text string) {
		if text != "" {
			row(name, "%s", text)
		}
	}
	row("room", "%s", orMadeUp(a.RoomName))
	if p.Room != nil {
		row("room, if new", "%s", compact(withoutEgress(p.Room)))
		optional("egress", strings.Join(egressOf(p.Room), ", "))
	}
	for _, agent := range a.Agents {
		row("agent", "%s", strings.TrimSpace(agent.AgentName+" "+agent.Metadata))
	}
	row("participant", "%s", orMadeUp(a.ParticipantIdentity))
	optional("  name", a.ParticipantName)
	optional("  metadata", a.ParticipantMetadata)
	for _, key := range slices.Sorted(maps.Keys(a.ParticipantAttributes)) {
		row("  attribute", "%s=%s", key, a.ParticipantAttributes[key])
	}
	switch {
	case !a.WaitUntilAnswered:
		row("answered", "at once")
	case p.AnswerAlone:
		row("answered", "when somebody in the room has a microphone on; if nobody comes in time, too")
	default:
		row("answered", "when somebody in the room has a microphone on; rejected if nobody comes in time")
	}
	if d := a.RingingTimeout; d != nil {
		row("ringing timeout", "%s", d.AsDuration())
	}
	if d := p.MaxDuration; d != nil {
		row("max duration", "%s", d.AsDuration())
	}
	if d := p.AloneTimeout; d != nil {
		row("alone timeout", "%s", map[bool]string{true: "never", false: d.AsDuration().String()}[d.AsDuration() == 0])
	}
	optional("destination", a.DestinationCountry)
}

func orMadeUp(name string) string {
	if name == "" {
		return "whatsapp-... (a random name)"
	}
	return name
}

// json is the same for programs.
func (t trial) json() ([]byte, error) {
	type step struct {
		Rule    string `json:"rule"`
		Matches bool   `json:"matches"`
		Why     string `json:"why,omitempty"`
	}
	result := struct {
		Action  string          `json:"action"` // accept, reject, none
		Rule    string          `json:"rule,omitempty"`
		Reason  string          `json:"reason,omitempty"`
		Steps   []step          `json:"steps"`
		Request json.RawMessage `json:"request,omitempty"` // livekit.AcceptWhatsAppCallRequest
		Plan    json.RawMessage `json:"plan,omitempty"`    // what the request cannot say
		Egress  []string        `json:"egress,omitempty"`
	}{Action: "accept", Rule: t.out.Rule, Reason: t.out.Reason}
	for _, s := range t.steps {
		result.Steps = append(result.Steps, step{Rule: s.Rule, Matches: s.Miss == "", Why: s.Miss})
	}
	switch {
	case t.out.Reject:
		result.Action = "reject"
	case t.out.Accept == nil:
		result.Action = "none"
	default:
		plan := proto.CloneOf(t.out.Plan)
		result.Egress, plan.Room = egressOf(plan.Room), withoutEgress(plan.Room)
		result.Request, result.Plan = json.RawMessage(compact(t.out.Accept)), json.RawMessage(compact(plan))
	}
	text, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write result: %w", err)
	}
	return append(text, '\n'), nil
}

// compact writes a message as JSON, the same for the same message: protojson alone adds spaces at random.
func compact(m proto.Message) string {
	text, err := protojson.Marshal(m)
	var b bytes.Buffer
	if err == nil {
		err = json.Compact(&b, text)
	}
	if err != nil {
		return err.Error()
	}
	return b.String()
}

// withoutEgress leaves the egress out: it may hold keys of a cloud storage.
func withoutEgress(room *livekit.RoomConfiguration) *livekit.RoomConfiguration {
	if room == nil {
		return nil
	}
	room = proto.CloneOf(room)
	room.Egress = nil
	return room
}

// egressOf says what would be recorded.
func egressOf(room *livekit.RoomConfiguration) []string {
	var kinds []string
	for kind, there := range map[string]bool{
		"room": room.GetEgress().GetRoom() != nil, "participant": room.GetEgress().GetParticipant() != nil, "tracks": room.GetEgress().GetTracks() != nil,
	} {
		if there {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}
