package logs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

const (
	hidden    = "[redacted]"
	hiddenSDP = "[sdp]"
	// hiddenUser stands for a business-scoped user ID or a name.
	hiddenUser = "[user]"
	// hiddenDigits begins what is left of a number: its last two digits follow.
	hiddenDigits = "***"
)

const callIDPrefix = "wacid."

// ID is a call's ID as it stands in the log. Meta's IDs hold the user's phone number, in base64; so their first part stays
// and for the rest the first 16 hexadecimal digits of the SHA-256 of the whole ID stand. It is the same for the same call
// in every process, and two calls do not share one. Other texts are returned as they are.
func ID(callID string) string {
	rest, ok := strings.CutPrefix(callID, callIDPrefix)
	if !ok || rest == "" {
		return callID
	}
	sum := sha256.Sum256([]byte(callID))
	return "wacid-" + hex.EncodeToString(sum[:8])
}

// Personal is a text that may hold what tells a person: the name of a room, which a rule may have made of the caller's number.
// In the log the parts that tell him are hidden, unless the operator asked for them.
type Personal struct {
	Text string
	// Of are the person's numbers, IDs and names, as far as known. Empty ones count for nothing.
	Of []string
}

// String returns the text without the parts.
func (p Personal) String() string {
	text := p.Text
	for _, part := range p.Of {
		text = without(text, part)
	}
	return Mask(text)
}

// leastPart is how many letters and digits of a person's name, number or ID must be found to count as him. Two are a whole name
// in Chinese, but part of many words in English: so fewer count if one is not of ASCII.
const leastPart = 3

// without hides part in text, however its letters and digits are separated and whatever their case: rules write names
// into rooms, and dashes in the place of all else.
func without(text, part string) string {
	want := foldRunes(part)
	if len(want) < leastPart && !slices.ContainsFunc(want, func(r rune) bool { return r > unicode.MaxASCII }) {
		return text
	}
	runes := []rune(text)
	var out strings.Builder
	for i := 0; i < len(runes); {
		if n := matches(runes[i:], want); n > 0 {
			out.WriteString(hiddenUser)
			for i += n; i < len(runes) && unicode.IsMark(runes[i]); i++ { // of the last letter
			}
			continue
		}
		out.WriteRune(runes[i])
		i++
	}
	return out.String()
}

// matches returns how many runes of text want begins with, 0 if it does not.
func matches(text, want []rune) int {
	if !tells(text[0]) {
		return 0
	}
	found := 0
	for i, r := range text {
		if !tells(r) {
			continue
		}
		if unicode.ToLower(r) != want[found] {
			return 0
		}
		if found++; found == len(want) {
			return i + 1
		}
	}
	return 0
}

func foldRunes(text string) []rune {
	var folded []rune
	for _, r := range text {
		if tells(r) {
			folded = append(folded, unicode.ToLower(r))
		}
	}
	return folded
}

// tells says whether a character counts. Combining marks do not: rules write dashes for them.
func tells(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// hiddenKeys are names of attributes whose value is never logged, lower case without separators. Most never occur: our
// packages do not log such things. Libraries might.
var hiddenKeys = map[string]bool{
	"token": true, "accesstoken": true, "authorization": true, "apikeysecret": true, "apisecret": true, "secret": true,
	"appsecret": true, "password": true, "pwd": true, "icepwd": true, "credential": true, "credentials": true,
	"ufrag": true, "iceufrag": true, "sdp": true, "offer": true, "answer": true, "connparams": true,
}

// personalKeys are names of attributes whose value tells a person.
var personalKeys = map[string]bool{
	"phone": true, "phonenumber": true, "tophonenumber": true, "fromphonenumber": true, "waid": true, "userid": true,
	"username": true, "usernumber": true, "number": true, "recipient": true,
}

// plainKeys are names of attributes in which a run of digits is no phone number: the business's own IDs, the machine's
// names and addresses, what was made at random.
var plainKeys = map[string]bool{
	"phonenumberid": true, "nodeid": true, "traceid": true, "version": true, "file": true, "stack": true, "time": true,
	"delivery": true, "admin": true, "livekit": true, "graph": true,
	"roomid": true, "participantid": true, "trackid": true, "component": true,
}

// secrets matches secrets inside of longer texts: JSON web tokens, the value after access_token, Authorization, Bearer, pwd and
// ufrag, in a URL, in JSON, also quoted twice, and as Go prints it; the ICE user names that Pion quotes in hexadecimal digits;
// Meta's access tokens, and session descriptions to their end.
const secrets = `(?P<sdp>(?s:v=0(?:\r|\n|\\r|\\n).*|a=(?:ice-|candidate:|crypto:|fingerprint:).*))` +
	`|(?P<secret>eyJ[\w-]{8,}(?:\.[\w-]+)*\.?` +
	`|(?i:(?:access_token["'\\]*[:=]|authorization["'\\]*[:=]|bearer\s|pwd["'\\]*[:=]|ufrag["'\\]*[:= ])[\s"'\\\[]*(?:bearer\s+)?)[^\s&"',;]+` +
	`|\b(?:expected|actual)\([0-9a-f]+\)` +
	`|\bEAA[0-9A-Za-z]{20,})`

// people matches what tells a person inside of longer texts: Meta's call IDs, business-scoped user IDs (the user's country,
// a dot, up to 128 letters and digits), and phone numbers: with a plus in any way of writing, or as 8 to 15 digits in a row.
const people = `|(?P<call>wacid\.[^\s"',;)\]}]+)` +
	`|(?P<user>\b[A-Z]{2}\.(?:ENT\.)?[0-9A-Za-z]{10,128}\b)` +
	`|(?P<plus>\+\d(?:[ .()/-]{0,2}\d){6,14})`

const digits = `|(?P<digits>\d+)`

var (
	secretText = regexp.MustCompile(secrets)
	plainText  = regexp.MustCompile(secrets + people)
	maskedText = regexp.MustCompile(secrets + people + digits)
)

// How many digits a phone number has (E.164; shorter ones are hardly told from other numbers).
const (
	leastDigits = 8
	mostDigits  = 15
)

// Mask takes secrets and what tells a person out of a text that goes elsewhere than into the log: to whoever asks for
// probes, or to standard error.
func Mask(text string) string { return mask(maskedText, text) }

func mask(re *regexp.Regexp, text string) string {
	if !mayHide(text) {
		return text
	}
	found := re.FindAllStringSubmatchIndex(text, -1)
	if found == nil {
		return text
	}
	names := re.SubexpNames()
	var out strings.Builder
	end := 0
	for _, at := range found {
		out.WriteString(text[end:at[0]])
		end = at[1]
		for group := 1; group < len(names); group++ {
			if at[2*group] >= 0 {
				out.WriteString(replacement(names[group], text[at[0]:at[1]]))
				break
			}
		}
	}
	out.WriteString(text[end:])
	return out.String()
}

func replacement(group, found string) string {
	switch group {
	case "sdp":
		return hiddenSDP
	case "call":
		return ID(found)
	case "user":
		return hiddenUser
	case "plus":
		return hiddenDigits + found[len(found)-2:]
	case "digits":
		if len(found) < leastDigits || len(found) > mostDigits {
			return found
		}
		return hiddenDigits + found[len(found)-2:]
	default:
		return hidden
	}
}

// mayHide is a cheap test: most texts hold nothing that the expressions could match.
func mayHide(text string) bool {
	run := 0
	for i := range len(text) {
		switch b := text[i]; {
		case b >= '0' && b <= '9':
			if run++; run >= leastDigits {
				return true
			}
			continue
		case b == '+', b == '=', b == '.' && i > 1 && isUpper(text[i-1]) && isUpper(text[i-2]):
			return true
		}
		run = 0
	}
	for _, word := range []string{"eyJ", "EAA", callIDPrefix} {
		if strings.Contains(text, word) {
			return true
		}
	}
	lower := strings.ToLower(text)
	for _, word := range []string{"access_token", "authorization", "bearer", "pwd", "ufrag", "expected(", "actual("} {
		if strings.Contains(lower, word) {
			return true
		}
	}
	return false
}

func isUpper(b byte) bool { return b >= 'A' && b <= 'Z' }

// gate is what every attribute passes on its way to the log.
type gate struct{ pii bool }

// attr implements slog.HandlerOptions.ReplaceAttr.
func (g *gate) attr(_ []string, a slog.Attr) slog.Attr {
	key := foldKey(a.Key)
	if hiddenKeys[key] || !g.pii && personalKeys[key] {
		return slog.String(a.Key, hidden)
	}
	switch a.Value.Kind() {
	case slog.KindDuration: // "48ms" rather than a number of nanoseconds
		a.Value = slog.StringValue(a.Value.Duration().Round(100 * time.Microsecond).String())
	case slog.KindString:
		a.Value = slog.StringValue(g.text(key, a.Value.String()))
	case slog.KindAny:
		a.Value = g.value(key, a.Value)
	default: // numbers, times, booleans hold nothing; of a group each attribute comes by itself
	}
	return a
}

func (g *gate) value(key string, value slog.Value) slog.Value {
	switch v := value.Any().(type) {
	case Personal:
		if g.pii {
			return slog.StringValue(g.text(key, v.Text))
		}
		return slog.StringValue(v.String())
	case error:
		return slog.StringValue(g.text(key, v.Error()))
	case slog.Level, *slog.Source:
		return value
	case fmt.Stringer:
		return slog.StringValue(g.text(key, v.String()))
	default: // slices, maps, structs: as text, which can be looked through
		return slog.StringValue(g.text(key, fmt.Sprint(v)))
	}
}

func (g *gate) text(key, text string) string {
	switch {
	case g.pii:
		return mask(secretText, text)
	case key == "callid" && strings.HasPrefix(text, callIDPrefix):
		return ID(text)
	case plainKeys[key]:
		return mask(plainText, text)
	default:
		return Mask(text)
	}
}

var keyFolder = strings.NewReplacer("_", "", "-", "", ".", "")

func foldKey(key string) string { return keyFolder.Replace(strings.ToLower(key)) }
