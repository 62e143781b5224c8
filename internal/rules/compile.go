package rules

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"
)

var (
	phoneNumberID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)
	digits        = regexp.MustCompile(`^[0-9]{1,20}$`)
)

func (b *builder) condition(key string, in *matchInFile, zone *time.Location) condition {
	c := condition{phoneNumberIDs: in.PhoneNumberIDs, fromUserIDs: in.FromUserIDs, caller: in.Caller}
	for i, id := range in.PhoneNumberIDs {
		if !phoneNumberID.MatchString(id) {
			b.problem(fmt.Sprintf("%s.phone_number_ids[%d]", key, i), "want Meta's ID of a phone number, not the number")
		}
	}
	c.from = b.numbers(key+".from", in.From, "a phone number with its country code")
	c.fromPrefixes = b.numbers(key+".from_prefixes", in.FromPrefixes, "the beginning of a phone number, country code first")
	for i, id := range in.FromUserIDs {
		if strings.TrimSpace(id) == "" {
			b.problem(fmt.Sprintf("%s.from_user_ids[%d]", key, i), "is empty")
		}
	}
	switch {
	case in.Caller != "" && in.Caller != callerHidden && in.Caller != callerKnown:
		b.problem(key+".caller", "%q is not one of %s, %s", cut(in.Caller, 40), callerHidden, callerKnown)
	case in.Caller == callerHidden && len(in.From)+len(in.FromPrefixes) > 0:
		b.problem(key+".caller", "a caller who hides his number has none to match from or from_prefixes")
	}
	c.cta = b.patterns(key+".cta_payload", in.CTAPayload)
	c.deeplink = b.patterns(key+".deeplink_payload", in.DeeplinkPayload)
	for i := range in.Times {
		c.times = append(c.times, b.window(fmt.Sprintf("%s.times[%d]", key, i), &in.Times[i], zone))
	}
	b.noneEmpty(key, in)
	return c
}

// matchKeys are the keys of match.
var matchKeys = []string{
	"phone_number_ids", "from", "from_prefixes", "from_user_ids", "caller", "cta_payload", "deeplink_payload", "times",
}

// noneEmpty complains about conditions that are there and empty: they would match any call.
func (b *builder) noneEmpty(key string, in *matchInFile) {
	if b.broken {
		return
	}
	if _, given := b.places[key]; given && !slices.ContainsFunc(matchKeys, func(name string) bool {
		_, set := b.places[key+"."+name]
		return set
	}) {
		b.problem(key, "is empty: leave it out to match every call")
	}
	for _, list := range []struct {
		name string
		n    int
	}{
		{"phone_number_ids", len(in.PhoneNumberIDs)},
		{"from", len(in.From)},
		{"from_prefixes", len(in.FromPrefixes)},
		{"from_user_ids", len(in.FromUserIDs)},
		{"cta_payload", len(in.CTAPayload)},
		{"deeplink_payload", len(in.DeeplinkPayload)},
		{"times", len(in.Times)},
	} {
		if _, given := b.places[key+"."+list.name]; given && list.n == 0 {
			b.problem(key+"."+list.name, "is empty: leave it out to match any")
		}
	}
}

// numbers takes away what people write into phone numbers.
func (b *builder) numbers(key string, texts []string, want string) []string {
	var numbers []string
	for i, text := range texts {
		number := strings.TrimPrefix(strings.Map(func(r rune) rune {
			if strings.ContainsRune(" -.()\u00a0", r) {
				return -1
			}
			return r
		}, text), "+")
		if !digits.MatchString(number) {
			b.problem(fmt.Sprintf("%s[%d]", key, i), "want %s, in digits", want)
		}
		numbers = append(numbers, number)
	}
	return numbers
}

func (b *builder) patterns(key string, texts []string) []pattern {
	var patterns []pattern
	for i, text := range texts {
		if text == "" {
			b.problem(fmt.Sprintf("%s[%d]", key, i), "is empty: want a payload, the beginning of one before a *, or * for any")
		}
		patterns = append(patterns, newPattern(text))
	}
	return patterns
}

func (b *builder) window(key string, in *windowInFile, zone *time.Location) window {
	w := window{to: minutesOfDay, zone: zone}
	if in.TimeZone != "" {
		w.zone = b.zone(key+".time_zone", in.TimeZone)
	}
	for i, text := range in.Weekdays {
		if err := parseDays(text, &w.days); err != nil {
			b.problem(fmt.Sprintf("%s.weekdays[%d]", key, i), "%s", err)
		}
	}
	if len(in.Weekdays) == 0 {
		w.days = [7]bool{true, true, true, true, true, true, true}
	}
	clock := func(name, text string, minute *int) {
		if text == "" {
			return
		}
		var err error
		if *minute, err = parseClock(text); err != nil {
			b.problem(key+"."+name, "%s", err)
		}
	}
	bad := len(b.problems)
	clock("from", in.From, &w.from)
	clock("to", in.To, &w.to)
	switch {
	case len(b.problems) > bad:
	case w.from == minutesOfDay:
		b.problem(key+".from", `"24:00" is the end of the day: write "00:00" and the next day`)
	case w.from == w.to:
		b.problem(key, "from and to are the same: leave both out for the whole day")
	default:
	}
	return w
}

// text makes a template of a key.
func (b *builder) text(key, text string, f form, limit int) template {
	t, err := newTemplate(text, f, limit)
	for _, problem := range unjoin(err) {
		b.problem(key, "%s", problem)
	}
	return t
}

// people reads who is in the room: the caller and the agents.
func (b *builder) people(key string, in *ruleInFile, r *rule) {
	r.room = b.text(key+".room.name", in.Room.Name, label, maxName)
	r.identity = b.text(key+".participant.identity", in.Participant.Identity, label, maxName)
	r.participant = b.text(key+".participant.name", in.Participant.Name, plain, maxName)
	r.metadata = b.text(key+".participant.metadata", in.Participant.Metadata, plain, maxMetadata)
	if in.Room.Name != "" && in.Participant.Identity != "" && !r.room.differs() && !r.identity.differs() {
		b.problem(key+".participant.identity",
			"two callers in one room would throw each other out: use {random}, {callHash}, {callID}, {from} or {fromUserID} in it or in the room's name")
	}
	r.attributes = make(map[string]template, len(in.Participant.Attributes))
	size := 0
	for _, name := range slices.Sorted(maps.Keys(in.Participant.Attributes)) {
		at := key + ".participant.attributes." + name
		if name == "" || strings.HasPrefix(name, "whatsapp.") {
			b.problem(at, "attributes that begin with whatsapp. are the connector's own")
		}
		t := b.text(at, in.Participant.Attributes[name], plain, maxAttributes)
		b.order(at, name, &t)
		r.attributes[name] = t
		size += len(name) + t.worst()
	}
	if size > maxAttributes {
		b.problem(key+".participant.attributes", "may become %d bytes long together, more than %d", size, maxAttributes)
	}
	for i, a := range in.Agents {
		at := fmt.Sprintf("%s.agents[%d]", key, i)
		switch {
		case strings.TrimSpace(a.Name) == "":
			b.problem(at+".name", "is missing: the agent_name that the agent's worker registers")
		case len(a.Name) > maxName || strings.ContainsFunc(a.Name, notPrintable):
			b.problem(at+".name", "want at most %d bytes of printable text", maxName)
		}
		r.agents = append(r.agents, agent{name: a.Name, metadata: b.text(at+".metadata", a.Metadata, plain, maxMetadata)})
	}
}

// timeouts checks what the API checks of requests, and that durations are some.
func (b *builder) timeouts(key string, in *ruleInFile) {
	b.between(key+".ringing_timeout", in.RingingTimeout, time.Second, 5*time.Minute)
	b.between(key+".max_duration", in.MaxDuration, time.Second, 24*time.Hour)
	if d := in.AloneTimeout; d != nil && *d != 0 {
		b.between(key+".alone_timeout", d, 100*time.Millisecond, 24*time.Hour)
	}
}

func (b *builder) between(key string, d *time.Duration, least, most time.Duration) {
	if d != nil && (*d < least || *d > most) {
		b.problem(key, "%s is not between %s and %s", *d, least, most)
	}
}

// room reads how the room is made, if the call's join makes it. Nil if the rule does not say.
func (b *builder) room(key string, in *roomInFile) (*livekit.RoomConfiguration, template) {
	config := &livekit.RoomConfiguration{SyncStreams: in.SyncStreams, Tags: in.Tags}
	config.EmptyTimeout = b.units(key+".empty_timeout", in.EmptyTimeout, time.Second)
	config.DepartureTimeout = b.units(key+".departure_timeout", in.DepartureTimeout, time.Second)
	config.MinPlayoutDelay = b.units(key+".min_playout_delay", in.MinPlayoutDelay, time.Millisecond)
	config.MaxPlayoutDelay = b.units(key+".max_playout_delay", in.MaxPlayoutDelay, time.Millisecond)
	if in.MaxParticipants < 0 || in.MaxParticipants > math.MaxUint32 {
		b.problem(key+".max_participants", "%d is no number of participants", in.MaxParticipants)
	}
	config.MaxParticipants = uint32(max(in.MaxParticipants, 0))
	if in.Egress.Kind != 0 {
		config.Egress = &livekit.RoomEgress{}
		b.message(key+".egress", &in.Egress, config.Egress)
	}
	metadata := b.text(key+".metadata", in.Metadata, plain, maxMetadata)
	if proto.Size(config) == 0 && in.Metadata == "" {
		return nil, metadata
	}
	return config, metadata
}

// units writes a duration as LiveKit counts it.
func (b *builder) units(key string, d *time.Duration, unit time.Duration) uint32 {
	if d == nil {
		return 0
	}
	if *d < unit || *d > math.MaxUint32*unit || *d%unit != 0 {
		b.problem(key, "%s is not a whole number of %s, at least one", *d, map[time.Duration]string{time.Second: "seconds", time.Millisecond: "milliseconds"}[unit])
		return 0
	}
	return uint32(*d / unit)
}
