package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// condition is when a rule matches: everything that it says has to hold. The zero condition always does.
type condition struct {
	phoneNumberIDs []string
	from           []string // digits
	fromPrefixes   []string // digits
	fromUserIDs    []string
	caller         string // callerHidden, callerKnown or empty
	cta, deeplink  []pattern
	times          []window
}

const (
	callerHidden = "hidden"
	callerKnown  = "known"
)

// empty says that every call meets the condition.
func (c *condition) empty() bool {
	return len(c.phoneNumberIDs) == 0 && !c.namesCallers() && c.caller == "" &&
		len(c.cta) == 0 && len(c.deeplink) == 0 && len(c.times) == 0
}

func (c *condition) namesCallers() bool {
	return len(c.from)+len(c.fromPrefixes)+len(c.fromUserIDs) > 0
}

// miss says what does not hold, or nothing.
func (c *condition) miss(call *Call) string {
	if len(c.phoneNumberIDs) > 0 && !slices.Contains(c.phoneNumberIDs, call.PhoneNumberID) {
		return fmt.Sprintf("phone_number_ids: %s is not among them", shown(call.PhoneNumberID))
	}
	if why := c.missCaller(call); why != "" {
		return why
	}
	if why := missPayload("cta_payload", c.cta, call.CTAPayload); why != "" {
		return why
	}
	if why := missPayload("deeplink_payload", c.deeplink, call.DeeplinkPayload); why != "" {
		return why
	}
	if len(c.times) > 0 && !slices.ContainsFunc(c.times, func(w window) bool { return w.contains(call.At) }) {
		return fmt.Sprintf("times: %s is in none of them", call.At.In(c.times[0].zone).Format("Mon 15:04 MST"))
	}
	return ""
}

func (c *condition) missCaller(call *Call) string {
	from := strings.TrimPrefix(call.From, "+")
	switch {
	case c.caller == callerHidden && from != "":
		return "caller: the caller's number is known"
	case c.caller == callerKnown && from == "":
		return "caller: the caller hides his number"
	case !c.namesCallers():
		return ""
	case from != "" && slices.Contains(c.from, from),
		call.FromUserID != "" && slices.Contains(c.fromUserIDs, call.FromUserID):
		return ""
	case from != "" && slices.ContainsFunc(c.fromPrefixes, func(p string) bool { return strings.HasPrefix(from, p) }):
		return ""
	case from == "" && len(c.fromUserIDs) == 0:
		return c.callerKeys() + ": the caller hides his number"
	default:
		return fmt.Sprintf("%s: %s is not among them", c.callerKeys(), shown(cmp.Or(from, call.FromUserID)))
	}
}

// callerKeys names the keys that the rule uses.
func (c *condition) callerKeys() string {
	var keys []string
	for _, k := range []struct {
		key  string
		list []string
	}{{"from", c.from}, {"from_prefixes", c.fromPrefixes}, {"from_user_ids", c.fromUserIDs}} {
		if len(k.list) > 0 {
			keys = append(keys, k.key)
		}
	}
	return strings.Join(keys, ", ")
}

func missPayload(key string, patterns []pattern, payload string) string {
	if len(patterns) == 0 || slices.ContainsFunc(patterns, func(p pattern) bool { return p.matches(payload) }) {
		return ""
	}
	if payload == "" {
		return key + ": the call has none"
	}
	return fmt.Sprintf("%s: %s is none of them", key, shown(payload))
}

// pattern is a payload as a rule writes it: the text itself, the beginning of one before a *, or * for any that is there.
type pattern struct {
	text   string
	prefix bool
}

func newPattern(text string) pattern {
	before, star := strings.CutSuffix(text, "*")
	return pattern{text: before, prefix: star}
}

func (p pattern) matches(payload string) bool {
	if p.prefix {
		return payload != "" && strings.HasPrefix(payload, p.text)
	}
	return payload == p.text
}

// shown quotes what a call holds.
func shown(text string) string {
	if text == "" {
		return "nothing"
	}
	return fmt.Sprintf("%q", cut(text, 60))
}
