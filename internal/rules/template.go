package rules

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/livekit-connector/livekit-connector/internal/settings"
)

// Limits in bytes: LiveKit's own on names, metadata and attributes, and ours on a value that comes from outside.
const (
	maxName       = 256
	maxMetadata   = 512 << 10
	maxAttributes = 64 << 10
	maxValue      = 1024
)

// placeholders are what a template may name.
var placeholders = []string{
	"callHash", "callID", "ctaPayload", "date", "deeplinkPayload", "from", "fromUserID", "name", "phoneNumberID",
	"random", "time",
}

// perCaller are those that differ between any two calls that may be held at once.
var perCaller = []string{"callHash", "callID", "from", "fromUserID", "random"}

// chosen are those that callers write: whoever knows a name can make one of them be that name.
var chosen = []string{"ctaPayload", "deeplinkPayload", "name"}

// form is how a value is written into a text.
type form uint8

const (
	// plain text.
	plain form = iota
	// label: a name of a room or a participant. Letters, digits and . _ - + @ stay, anything else becomes a dash. A value
	// of which neither letter nor digit is left becomes random: strangers who lack something must not meet in one room.
	label
	// quoted: inside of a JSON string.
	quoted
)

// template is a text with placeholders. The zero template is empty text.
type template struct {
	form  form
	limit int // bytes of the result; labels and names are cut to it
	parts []part
}

// part is literal text, or a placeholder if name is set.
type part struct {
	text, name string
}

// placeholder is {name}; {{name}} is the text "{name}". Other braces are text, so that JSON needs no care.
var placeholder = regexp.MustCompile(`\{\{([A-Za-z]\w*)\}\}|\{([A-Za-z]\w*)\}`)

// newTemplate checks a template. Its error is every problem, joined.
func newTemplate(text string, f form, limit int) (template, error) {
	t := template{form: f, limit: limit}
	var problems []error
	at := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(text, -1) {
		t.literal(text[at:m[0]])
		at = m[1]
		if m[2] >= 0 {
			t.literal("{" + text[m[2]:m[3]] + "}")
			continue
		}
		name := text[m[4]:m[5]]
		if !slices.Contains(placeholders, name) {
			problems = append(problems, fmt.Errorf("unknown placeholder {%s}%s (write {{%s}} for the text itself)",
				name, settings.Suggest(name, placeholders), name))
		}
		t.parts = append(t.parts, part{name: name})
	}
	t.literal(text[at:])
	if i := strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) && (t.cuts() || r != '\n' && r != '\t') }); i >= 0 {
		problems = append(problems, errors.New("holds a control character"))
	}
	switch {
	case f == plain:
		problems = append(problems, t.detectJSON()...)
	case t.isChosen():
		problems = append(problems, errors.New(
			"callers choose what is here, and with it any name that is in use: put text of your own, or {random}, beside it"))
	}
	if worst := t.worst(); worst > limit && !t.cuts() {
		problems = append(problems, fmt.Errorf("may become %d bytes long, more than %d", worst, limit))
	} else if fixed := t.fixed(); t.cuts() && fixed > limit {
		problems = append(problems, fmt.Errorf("is %d bytes long without its placeholders, more than %d", fixed, limit))
	}
	return t, errors.Join(problems...)
}

func (t *template) literal(text string) {
	if text == "" {
		return
	}
	if n := len(t.parts); n > 0 && t.parts[n-1].name == "" {
		t.parts[n-1].text += text
		return
	}
	t.parts = append(t.parts, part{text: text})
}

// cuts says that what is too long is cut: names are.
func (t *template) cuts() bool { return t.limit <= maxName }

func (t *template) fixed() int {
	n := 0
	for _, p := range t.parts {
		n += len(p.text)
	}
	return n
}

// worst is how long the result can become.
func (t *template) worst() int {
	n := t.fixed()
	for _, p := range t.parts {
		if p.name != "" {
			n += maxValue
		}
	}
	return n
}

func (t *template) with(value string) string {
	var b strings.Builder
	for _, p := range t.parts {
		if p.name != "" {
			b.WriteString(value)
		}
		b.WriteString(p.text)
	}
	return strings.TrimSpace(b.String())
}

// marker stands for a value in a template that is tried out. Nobody writes it: it is of the private use area.
const marker = "\ue000"

// detectJSON has values escaped if the template is JSON: whoever calls must not write the members of an object.
func (t *template) detectJSON() []error {
	text := t.with(marker)
	if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
		return nil
	}
	var tree any
	switch {
	case json.Unmarshal([]byte(text), &tree) == nil:
		t.form = quoted
		return nested(tree)
	case json.Valid([]byte(t.with("0"))):
		return []error{errors.New(`a placeholder in JSON must stand inside of quotes: {"key": "{name}"}`)}
	case strings.HasPrefix(text, `{"`):
		return []error{errors.New("begins like JSON and is none")}
	default:
		return nil
	}
}

// nested complains about placeholders where escaping them once does not keep a value from being more than a value.
func nested(tree any) []error {
	var problems []error
	switch v := tree.(type) {
	case string:
		text := strings.TrimSpace(v)
		if strings.Contains(text, marker) && (strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")) &&
			(json.Valid([]byte(text)) || json.Valid([]byte(strings.ReplaceAll(text, marker, "0")))) {
			problems = append(problems, errors.New("a placeholder must not stand in JSON that is text inside of JSON: it is escaped once only"))
		}
	case []any:
		for _, item := range v {
			problems = append(problems, nested(item)...)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if strings.Contains(key, marker) {
				problems = append(problems, errors.New("a placeholder must not be a key of JSON: callers would choose what they say"))
			}
			problems = append(problems, nested(v[key])...)
		}
	}
	return problems
}

// isChosen says whether callers write all of the text that counts.
func (t *template) isChosen() bool {
	return len(t.names()) > 0 && !slices.ContainsFunc(t.parts, func(p part) bool {
		return p.name != "" && !slices.Contains(chosen, p.name) || strings.ContainsFunc(p.text, letterOrDigit)
	})
}

func letterOrDigit(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// names lists the placeholders in the template.
func (t *template) names() []string {
	var names []string
	for _, p := range t.parts {
		if p.name != "" {
			names = append(names, p.name)
		}
	}
	return names
}

// differs says whether two calls at once get different texts.
func (t *template) differs() bool {
	return slices.ContainsFunc(t.names(), func(name string) bool { return slices.Contains(perCaller, name) })
}

func (t *template) render(v *values) string {
	var b strings.Builder
	for _, p := range t.parts {
		if p.name == "" {
			b.WriteString(p.text)
			continue
		}
		value := clean(v.of[p.name], maxValue, t.form)
		if t.form == label && !strings.ContainsFunc(value, letterOrDigit) {
			value = v.of["random"]
		}
		b.WriteString(value)
	}
	text := b.String()
	if !t.cuts() || len(text) <= t.limit {
		return text
	}
	if t.form != label {
		return cut(text, t.limit)
	}
	// Two that differ only in what is cut off must not become one.
	hash := "-" + shortHash(text)
	return cut(text, t.limit-len(hash)) + hash
}

// values are what placeholders stand for in one call.
type values struct {
	of map[string]string
}

func newValues(c *Call, zone *time.Location) *values {
	at := c.At.In(zone)
	return &values{of: map[string]string{
		"callHash":        shortHash(c.CallID),
		"callID":          c.CallID,
		"ctaPayload":      c.CTAPayload,
		"date":            at.Format(time.DateOnly),
		"deeplinkPayload": c.DeeplinkPayload,
		"from":            c.From,
		"fromUserID":      c.FromUserID,
		"name":            c.Name,
		"phoneNumberID":   c.PhoneNumberID,
		"random":          random(),
		"time":            at.Format("15-04-05"),
	}}
}

// random is 80 bits, as the connector names rooms itself.
func random() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// shortHash names a text by 80 bits of its SHA-256; nothing for nothing.
func shortHash(text string) string {
	if text == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:10])
}

// clean writes a value that came from outside in a form, in at most limit bytes, valid UTF-8 without control characters.
func clean(value string, limit int, f form) string {
	if f == label {
		value = strings.TrimRight(value, "=") // Base64's padding says nothing
	}
	var b strings.Builder
	for _, r := range value {
		s := one(r, f)
		if b.Len()+len(s) > limit {
			break
		}
		b.WriteString(s)
	}
	return b.String()
}

// one writes one character.
func one(r rune, f form) string {
	if unicode.IsControl(r) {
		r = ' '
	}
	switch f {
	case label:
		if !letterOrDigit(r) && !strings.ContainsRune("._-+@", r) {
			return "-"
		}
	case quoted:
		if r == '"' || r == '\\' {
			return `\` + string(r)
		}
	case plain:
	}
	return string(r) // a broken byte is already U+FFFD
}

// cut shortens a text to at most limit bytes without cutting a character.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}
