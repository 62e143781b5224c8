package rules

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/livekit-connector/livekit-connector/internal/settings"
)

// maxFile bounds a rules file.
const maxFile = 1 << 20

// document is the file as it is written.
type document struct {
	TimeZone string       `yaml:"time_zone"`
	Rules    []ruleInFile `yaml:"rules"`
}

type ruleInFile struct {
	Name               string            `yaml:"name"`
	Match              matchInFile       `yaml:"match"`
	Reject             bool              `yaml:"reject"`
	Reason             string            `yaml:"reason"`
	Room               roomInFile        `yaml:"room"`
	Agents             []agentInFile     `yaml:"agents"`
	Participant        participantInFile `yaml:"participant"`
	WaitUntilAnswered  *bool             `yaml:"wait_until_answered"`
	AnswerAlone        bool              `yaml:"answer_alone"`
	RingingTimeout     *time.Duration    `yaml:"ringing_timeout"`
	MaxDuration        *time.Duration    `yaml:"max_duration"`
	AloneTimeout       *time.Duration    `yaml:"alone_timeout"`
	DestinationCountry string            `yaml:"destination_country"`
}

type matchInFile struct {
	PhoneNumberIDs  []string       `yaml:"phone_number_ids"`
	From            []string       `yaml:"from"`
	FromPrefixes    []string       `yaml:"from_prefixes"`
	FromUserIDs     []string       `yaml:"from_user_ids"`
	Caller          string         `yaml:"caller"`
	CTAPayload      []string       `yaml:"cta_payload"`
	DeeplinkPayload []string       `yaml:"deeplink_payload"`
	Times           []windowInFile `yaml:"times"`
}

type windowInFile struct {
	TimeZone string   `yaml:"time_zone"`
	Weekdays []string `yaml:"weekdays"`
	From     string   `yaml:"from"`
	To       string   `yaml:"to"`
}

type roomInFile struct {
	Name             string            `yaml:"name"`
	EmptyTimeout     *time.Duration    `yaml:"empty_timeout"`
	DepartureTimeout *time.Duration    `yaml:"departure_timeout"`
	MaxParticipants  int               `yaml:"max_participants"`
	Metadata         string            `yaml:"metadata"`
	MinPlayoutDelay  *time.Duration    `yaml:"min_playout_delay"`
	MaxPlayoutDelay  *time.Duration    `yaml:"max_playout_delay"`
	SyncStreams      bool              `yaml:"sync_streams"`
	Egress           yaml.Node         `yaml:"egress"`
	Tags             map[string]string `yaml:"tags"`
}

type agentInFile struct {
	Name     string `yaml:"name"`
	Metadata string `yaml:"metadata"`
}

type participantInFile struct {
	Identity   string            `yaml:"identity"`
	Name       string            `yaml:"name"`
	Metadata   string            `yaml:"metadata"`
	Attributes map[string]string `yaml:"attributes"`
}

// Load reads a rules file. The error joins every problem, each with its line; see Parse.
func Load(path string) (*Set, error) {
	body, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, body)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the file that the operator names
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	return body, nil
}

// Parse reads rules from a YAML document; name stands for it in problems. The error joins every problem found, each a
// *settings.KeyError.
func Parse(name string, body []byte) (*Set, error) {
	if len(body) > maxFile {
		return nil, &settings.KeyError{Where: name, Text: fmt.Sprintf("is larger than %d bytes", maxFile)}
	}
	var doc document
	places, err := settings.Decode(&doc, name, body)
	b := builder{name: name, places: places, broken: err != nil}
	s := b.set(&doc)
	if err = errors.Join(append(unjoin(err), b.problems...)...); err != nil {
		return nil, err
	}
	return s, nil
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return nil
}

// builder makes rules of a document and collects every problem.
type builder struct {
	name     string
	places   settings.Places
	broken   bool // the document as such is wrong: what lacks may have been meant
	problems []error
}

// problem complains about a key, at the nearest place that the document has for it.
func (b *builder) problem(key, format string, args ...any) {
	where, at := b.name, key
	for at != "" {
		if place, ok := b.places[at]; ok {
			where = place
			break
		}
		at = at[:max(strings.LastIndexAny(at, ".["), 0)]
	}
	b.problems = append(b.problems, &settings.KeyError{Where: where, Key: key, Text: fmt.Sprintf(format, args...)})
}

func (b *builder) set(doc *document) *Set {
	zone := time.UTC
	if doc.TimeZone != "" {
		zone = b.zone("time_zone", doc.TimeZone)
	}
	if len(doc.Rules) == 0 && !b.broken {
		b.problem("rules", "there are none: no call would be taken")
	}
	s := &Set{rules: make([]rule, len(doc.Rules))}
	lines := make(map[string]string)
	everything := ""
	for i := range doc.Rules {
		key := fmt.Sprintf("rules[%d]", i)
		s.rules[i] = b.rule(key, &doc.Rules[i], zone)
		r := &s.rules[i]
		if r.name == "" {
			r.name = fmt.Sprintf("#%d", i+1)
		}
		if first, twice := lines[r.name]; twice {
			b.problem(key+".name", "%q is the name of the rule at %s too", r.name, first)
		}
		lines[r.name] = b.places[key]
		if everything != "" {
			b.problem(key, "no call comes here: %s matches every call", everything)
		} else if r.match.empty() && !b.broken {
			everything = fmt.Sprintf("the rule at %s", b.places[key])
		}
	}
	return s
}

func (b *builder) zone(key, name string) *time.Location {
	zone, err := parseZone(name)
	if err != nil {
		b.problem(key, "%s", err)
		return time.UTC
	}
	return zone
}

func (b *builder) rule(key string, in *ruleInFile, zone *time.Location) rule {
	r := rule{
		name: in.Name, reject: in.Reject, reason: in.Reason, zone: zone,
		match:       b.condition(key+".match", &in.Match, zone),
		answerAlone: in.AnswerAlone, ringing: in.RingingTimeout, maxDuration: in.MaxDuration, alone: in.AloneTimeout,
		country: in.DestinationCountry,
	}
	if len(in.Name) > maxRuleName || strings.ContainsFunc(in.Name, notPrintable) {
		b.problem(key+".name", "want at most %d bytes of printable text", maxRuleName)
	}
	if in.Reject {
		b.onlyRejects(key)
		return r
	}
	if in.Reason != "" {
		b.problem(key+".reason", "belongs to a rule with reject: true")
	}
	b.people(key, in, &r)
	b.timeouts(key, in)
	r.roomConfig, r.roomMetadata = b.room(key+".room", &in.Room)
	r.wait = len(in.Agents) > 0
	if in.WaitUntilAnswered != nil {
		r.wait = *in.WaitUntilAnswered
	}
	if in.AnswerAlone && !r.wait {
		b.problem(key+".answer_alone", "has no effect without wait_until_answered: true, or agents: the call is answered at once")
	}
	if c := in.DestinationCountry; c != "" && (len(c) != 2 || strings.ToUpper(c) != c) {
		b.problem(key+".destination_country", "%q is no country of ISO 3166-1, such as DE", cut(c, 40))
	}
	return r
}

const maxRuleName = 100

func notPrintable(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }

// onlyRejects complains about what a rule that rejects cannot do.
func (b *builder) onlyRejects(key string) {
	for _, name := range []string{
		"room", "agents", "participant", "wait_until_answered", "answer_alone", "ringing_timeout", "max_duration",
		"alone_timeout", "destination_country",
	} {
		if _, given := b.places[key+"."+name]; given {
			b.problem(key+"."+name, "has no effect in a rule with reject: true")
		}
	}
}
