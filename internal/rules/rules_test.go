package rules_test

import (
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/livekit-connector/livekit-connector/internal/rules"
)

// parse reads rules that must be good.
func parse(t *testing.T, text string) *rules.Set {
	t.Helper()
	s, err := rules.Parse("rules.yaml", []byte(text))
	require.NoError(t, err)
	return s
}

// at is a time in Berlin.
func at(t *testing.T, text string) time.Time {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	when, err := time.ParseInLocation("2006-01-02 15:04", text, zone)
	require.NoError(t, err)
	return when
}

func TestMatching(t *testing.T) {
	const number = "15550001111"
	for name, tc := range map[string]struct {
		match string
		call  rules.Call
		miss  string
	}{
		"number that is called":      {`{phone_number_ids: ["1", "2"]}`, rules.Call{PhoneNumberID: "2"}, ""},
		"another number is called":   {`{phone_number_ids: 1}`, rules.Call{PhoneNumberID: "3"}, `phone_number_ids: "3" is not among them`},
		"caller":                     {`{from: ["49301234", "+1 (555) 000-1111"]}`, rules.Call{From: number}, ""},
		"caller with a plus":         {`{from: 15550001111}`, rules.Call{From: "+" + number}, ""},
		"another caller":             {`{from: 15550001112}`, rules.Call{From: number}, `from: "15550001111" is not among them`},
		"caller's number is longer":  {`{from: 1555}`, rules.Call{From: number}, `from: "15550001111" is not among them`},
		"beginning":                  {`{from_prefixes: ["+49", "1555"]}`, rules.Call{From: number}, ""},
		"another beginning":          {`{from_prefixes: 49}`, rules.Call{From: number}, `from_prefixes: "15550001111" is not among them`},
		"caller or beginning":        {`{from: 49301234, from_prefixes: 1555}`, rules.Call{From: number}, ""},
		"user":                       {`{from_user_ids: US.1}`, rules.Call{FromUserID: "US.1"}, ""},
		"user beside a number":       {`{from: 49301234, from_user_ids: US.1}`, rules.Call{From: number, FromUserID: "US.1"}, ""},
		"another user":               {`{from_user_ids: US.1}`, rules.Call{FromUserID: "US.2"}, `from_user_ids: "US.2" is not among them`},
		"nobody for a user":          {`{from_user_ids: US.1}`, rules.Call{}, `from_user_ids: nothing is not among them`},
		"hidden for a number":        {`{from: 15550001111}`, rules.Call{FromUserID: "US.1"}, "from: the caller hides his number"},
		"hidden for a beginning":     {`{from_prefixes: 1}`, rules.Call{FromUserID: "US.1"}, "from_prefixes: the caller hides his number"},
		"hidden":                     {`{caller: hidden}`, rules.Call{FromUserID: "US.1"}, ""},
		"known for hidden":           {`{caller: hidden}`, rules.Call{From: number}, "caller: the caller's number is known"},
		"known":                      {`{caller: known}`, rules.Call{From: number}, ""},
		"hidden for known":           {`{caller: known}`, rules.Call{FromUserID: "US.1"}, "caller: the caller hides his number"},
		"payload":                    {`{cta_payload: [a, b]}`, rules.Call{CTAPayload: "b"}, ""},
		"another payload":            {`{cta_payload: [a, b]}`, rules.Call{CTAPayload: "ab"}, `cta_payload: "ab" is none of them`},
		"no payload":                 {`{cta_payload: a}`, rules.Call{}, "cta_payload: the call has none"},
		"beginning of a payload":     {`{cta_payload: promo-*}`, rules.Call{CTAPayload: "promo-7"}, ""},
		"shorter than the beginning": {`{cta_payload: promo-*}`, rules.Call{CTAPayload: "promo"}, `cta_payload: "promo" is none of them`},
		"any payload":                {`{deeplink_payload: "*"}`, rules.Call{DeeplinkPayload: "x"}, ""},
		"any payload but none":       {`{deeplink_payload: "*"}`, rules.Call{CTAPayload: "x"}, "deeplink_payload: the call has none"},
		"everything holds":           {`{from: 15550001111, cta_payload: a, phone_number_ids: 1}`, rules.Call{From: number, CTAPayload: "a", PhoneNumberID: "1"}, ""},
		"one of all does not":        {`{from: 15550001111, cta_payload: a}`, rules.Call{From: number, CTAPayload: "b"}, `cta_payload: "b" is none of them`},
	} {
		t.Run(name, func(t *testing.T) {
			s := parse(t, "rules:\n  - name: the rule\n    match: "+tc.match+"\n")
			steps := s.Explain(tc.call)
			require.Equal(t, []rules.Step{{Rule: "the rule", Miss: tc.miss}}, steps)
			out := s.Decide(tc.call)
			if tc.miss != "" {
				require.Equal(t, rules.Outcome{Reason: "no rule matches"}, out)
				return
			}
			require.Equal(t, "the rule", out.Rule)
			require.NotNil(t, out.Accept)
			require.Equal(t, "the rule", out.Plan.GetRule())
		})
	}
}

func TestFirstMatchWins(t *testing.T) {
	s := parse(t, `rules:
  - {match: {from_prefixes: 49}, reject: true, reason: not yet open there}
  - {name: german, match: {from: 49301234}}
  - {match: {caller: hidden}, reject: true}
  - {name: rest}
`)
	require.Equal(t, 4, s.Len())
	require.Equal(t, rules.Outcome{Rule: "#1", Reject: true, Reason: "not yet open there"}, s.Decide(rules.Call{From: "49301234"}))
	require.Equal(t, rules.Outcome{Rule: "#3", Reject: true, Reason: `rule "#3" rejects`}, s.Decide(rules.Call{}))
	require.Equal(t, "rest", s.Decide(rules.Call{From: "1"}).Rule)
	require.Equal(t, []rules.Step{
		{Rule: "#1", Miss: `from_prefixes: "1" is not among them`},
		{Rule: "german", Miss: `from: "1" is not among them`},
		{Rule: "#3", Miss: "caller: the caller's number is known"},
		{Rule: "rest"},
	}, s.Explain(rules.Call{From: "1"}))
}

func TestTimes(t *testing.T) {
	const (
		office = `[{weekdays: [mon-thu], from: "09:00", to: "17:30"}, {weekdays: friday, from: "9:00", to: "12:00"}]`
		night  = `{weekdays: [fri, Saturday], from: "22:00", to: "06:00"}`
	)
	for name, tc := range map[string]struct {
		times string
		at    string // in Berlin
		in    bool
	}{
		"opens":                               {office, "2026-11-23 09:00", true},
		"before it opens":                     {office, "2026-11-23 08:59", false},
		"last minute":                         {office, "2026-11-23 17:29", true},
		"closes":                              {office, "2026-11-23 17:30", false},
		"friday noon":                         {office, "2026-11-27 12:00", false},
		"friday morning":                      {office, "2026-11-27 11:59", true},
		"sunday":                              {office, "2026-11-22 10:00", false},
		"night begins":                        {night, "2026-11-27 22:00", true},
		"night ends on the next day":          {night, "2026-11-29 05:59", true},
		"night is over":                       {night, "2026-11-29 06:00", false},
		"friday's small hours are thursday's": {night, "2026-11-27 03:00", false},
		"whole days":                          {`{weekdays: sat-mon}`, "2026-11-23 23:59", true},
		"not on other days":                   {`{weekdays: sat-mon}`, "2026-11-24 00:00", false},
		"until midnight":                      {`{from: "20:00", to: "24:00"}`, "2026-11-24 23:59", true},
		"not after midnight":                  {`{weekdays: mon, from: "20:00", to: "24:00"}`, "2026-11-24 00:00", false},
		"until midnight, said otherwise":      {`{weekdays: mon, from: "20:00", to: "00:00"}`, "2026-11-23 23:59", true},
		"from some time on":                   {`{from: "20:00"}`, "2026-11-24 20:00", true},
		"another zone":                        {`{time_zone: America/New_York, from: "09:00", to: "10:00"}`, "2026-11-23 15:30", true},
		"another zone, there earlier":         {`{time_zone: America/New_York, from: "09:00", to: "10:00"}`, "2026-11-23 09:30", false},
		"weekday of the other zone":           {`{time_zone: Asia/Tokyo, weekdays: tue}`, "2026-11-23 17:00", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := parse(t, "time_zone: Europe/Berlin\nrules:\n  - match: {times: "+tc.times+"}\n")
			require.Equal(t, tc.in, s.Decide(rules.Call{At: at(t, tc.at)}).Rule != "")
		})
	}
}

func TestTimesWhenTheClockIsPut(t *testing.T) {
	// In Berlin 02:00 became 03:00 on 2026-03-29, and 03:00 became 02:00 again on 2026-10-25, each at 01:00 UTC.
	s := parse(t, "time_zone: Europe/Berlin\nrules:\n  - match: {times: {from: \"02:15\", to: \"03:15\"}}\n")
	in := func(text string) bool {
		when, err := time.Parse(time.RFC3339, text)
		require.NoError(t, err)
		return s.Decide(rules.Call{At: when}).Rule != ""
	}
	require.False(t, in("2026-03-29T00:59:59Z"), "01:59:59, then 03:00")
	require.True(t, in("2026-03-29T01:00:00Z"), "03:00")
	require.False(t, in("2026-03-29T01:15:00Z"), "03:15")
	require.True(t, in("2026-10-25T00:15:00Z"), "02:15 in summer")
	require.False(t, in("2026-10-25T01:00:00Z"), "02:00 again")
	require.True(t, in("2026-10-25T01:15:00Z"), "02:15 again")
	require.False(t, in("2026-10-25T02:15:00Z"))
}

func TestWhyNotInAnyTime(t *testing.T) {
	s := parse(t, "time_zone: Europe/Berlin\nrules:\n  - match: {times: {weekdays: mon}}\n")
	require.Equal(t, "times: Sun 10:00 CET is in none of them", s.Explain(rules.Call{At: at(t, "2026-11-22 10:00")})[0].Miss)
}

func TestEverythingThatARuleGives(t *testing.T) {
	s := parse(t, `time_zone: Europe/Berlin
rules:
  - name: sales
    room:
      name: sales-{callHash}
      empty_timeout: 5m
      departure_timeout: 20s
      max_participants: 3
      metadata: '{"campaign": "{ctaPayload}"}'
      min_playout_delay: 100ms
      max_playout_delay: 2s
      sync_streams: true
      tags: {team: sales}
      egress:
        room:
          audio_only: true
          file_outputs: [{filepath: "calls/{room_name}-{time}.ogg", s3: {bucket: b, accessKey: k, secret: s}}]
    agents:
      - {name: seller, metadata: '{"user": "{fromUserID}", "name": "{name}"}'}
      - {name: note-taker}
    participant:
      identity: caller-{random}
      name: "{name}"
      metadata: called {phoneNumberID} on {date} at {time}
      attributes: {promo: "{deeplinkPayload}", lk.connector.media: transcode}
    answer_alone: true
    ringing_timeout: 20s
    max_duration: 1h
    alone_timeout: 0s
    destination_country: DE
`)
	c := rules.Call{
		CallID: "wacid.HBg+/=", PhoneNumberID: "100", FromUserID: "DE.7", Name: `Jo "the" Doe`,
		CTAPayload: "spring", DeeplinkPayload: "link", At: at(t, "2026-11-23 09:30"),
	}
	out := s.Decide(c)
	require.Equal(t, "sales", out.Rule)
	a := out.Accept
	require.Regexp(t, `^sales-[0-9a-f]{20}$`, a.RoomName)
	require.Regexp(t, `^caller-[a-z2-7]{16}$`, a.ParticipantIdentity)
	require.Equal(t, `Jo "the" Doe`, a.ParticipantName)
	require.Equal(t, "called 100 on 2026-11-23 at 09-30-00", a.ParticipantMetadata)
	require.Equal(t, map[string]string{"promo": "link", "lk.connector.media": "transcode"}, a.ParticipantAttributes)
	require.Equal(t, "seller", a.Agents[0].AgentName)
	require.JSONEq(t, `{"user": "DE.7", "name": "Jo \"the\" Doe"}`, a.Agents[0].Metadata)
	require.Equal(t, "note-taker", a.Agents[1].AgentName)
	require.True(t, a.WaitUntilAnswered, "there are agents to wait for")
	require.Equal(t, 20*time.Second, a.RingingTimeout.AsDuration())
	require.Equal(t, "DE", a.DestinationCountry)
	require.Empty(t, a.WhatsappApiKey+a.WhatsappCallId+a.WhatsappPhoneNumberId)

	p := out.Plan
	require.True(t, p.AnswerAlone)
	require.Equal(t, time.Hour, p.MaxDuration.AsDuration())
	require.NotNil(t, p.AloneTimeout, "for ever is said")
	require.Zero(t, p.AloneTimeout.AsDuration())
	require.Equal(t, "spring", p.CtaPayload)
	require.Equal(t, "link", p.DeeplinkPayload)
	require.True(t, proto.Equal(&livekit.RoomConfiguration{
		EmptyTimeout: 300, DepartureTimeout: 20, MaxParticipants: 3, Metadata: `{"campaign": "spring"}`,
		MinPlayoutDelay: 100, MaxPlayoutDelay: 2000, SyncStreams: true, Tags: map[string]string{"team": "sales"},
		Egress: &livekit.RoomEgress{Room: &livekit.RoomCompositeEgressRequest{
			AudioOnly: true,
			FileOutputs: []*livekit.EncodedFileOutput{{
				Filepath: "calls/{room_name}-{time}.ogg",
				Output:   &livekit.EncodedFileOutput_S3{S3: &livekit.S3Upload{Bucket: "b", AccessKey: "k", Secret: "s"}},
			}},
		}},
	}, p.Room), "%s", p.Room)

	again := s.Decide(c)
	require.Equal(t, a.RoomName, again.Accept.RoomName, "the same call has the same room")
	require.NotEqual(t, a.ParticipantIdentity, again.Accept.ParticipantIdentity)
	p.Room.Tags["team"] = "changed"
	require.Equal(t, "sales", again.Plan.Room.Tags["team"], "an outcome belongs to its caller")
}

func TestLeastRule(t *testing.T) {
	out := parse(t, "rules: [{}]").Decide(rules.Call{From: "15550001111", Name: "Jo", CallID: "wacid.x"})
	require.Equal(t, "#1", out.Rule)
	require.True(t, proto.Equal(&livekit.AcceptWhatsAppCallRequest{}, out.Accept), "everything is left to the connector, nothing is personal")
	require.Nil(t, out.Plan.Room)
	require.Nil(t, out.Plan.MaxDuration)
	require.Nil(t, out.Plan.AloneTimeout)
	require.False(t, parse(t, "rules: [{agents: [{name: a}], wait_until_answered: false}]").Decide(rules.Call{}).Accept.WaitUntilAnswered)
}
