package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// Steps that every good call has; the verdict looks for them.
const (
	stepRoomJoined   = "room joined"
	stepPreAccept    = "pre_accept taken"
	stepAccept       = "accept taken: answered"
	stepPickUp       = "picks up: answered"
	stepICE          = "ICE: a candidate pair is nominated"
	stepDTLS         = "DTLS: the handshake is done"
	stepAudioToPhone = "first audio from the room"
	stepAudioToRoom  = "first audio from the phone"
	stepUserHangUp   = "hangs up"
	stepHangUp       = "terminate taken: hung up"
	stepEnded        = "call ended: "
)

// stepsOf are the steps of a call in a direction, as the beginnings of what the timeline says.
func stepsOf(d fakemeta.Direction) []string {
	both := []string{
		"webhook connect sent", stepRoomJoined, stepICE, stepDTLS, stepAudioToPhone, stepAudioToRoom,
		"webhook terminate sent", stepEnded,
	}
	if d == fakemeta.Inbound {
		return append(both, stepPreAccept, stepAccept, stepUserHangUp)
	}
	return append(both, stepPickUp, stepHangUp)
}

// connectorStages are the connector's stages (internal/call) in words.
var connectorStages = map[string]string{
	"room_joined":  stepRoomJoined,
	"pre_accepted": "pre_accept answered",
	"sdp_answer":   "Meta's SDP answer applied",
	"ice":          "ICE: a path to Meta is chosen",
	"connected":    "DTLS: done, media with Meta is up",
	"room_ready":   "somebody in the room can talk",
	"answered":     "answered: audio may flow",
	"published":    "the caller's track published",
	"first_audio":  "first audio from Meta",
}

// timeline merges what everybody saw of a call that is over.
func timeline(c *fakemeta.Call, notes []note, ended logLine, m *meeting) []note {
	all := slices.Concat(notes, metaNotes(c), connectorNotes(ended))
	add := func(at time.Time, who, what string) {
		if !at.IsZero() {
			all = append(all, note{at: at, who: who, what: what})
		}
	}
	media := c.MediaStats().Times
	add(media.Nominated, byMeta, stepICE)
	add(media.Connected, byMeta, stepDTLS)
	add(phoneHeard(c), byPhone, stepAudioToPhone)
	if m != nil {
		add(m.firstAudio(), byAgent, stepAudioToRoom)
	}
	slices.SortStableFunc(all, func(a, b note) int { return a.at.Compare(b.at) })
	return all
}

// metaNotes are the moments of the fake Meta that a reader wants, in words.
func metaNotes(c *fakemeta.Call) []note {
	placed := note{who: byPhone, what: "calls the business"}
	if c.Direction() == fakemeta.Outbound {
		placed = note{who: byMeta, what: "connect taken: the call is placed"}
	}
	words := map[string]note{
		fakemeta.MomentPlaced:    placed,
		fakemeta.MomentPreAccept: {who: byMeta, what: stepPreAccept},
		fakemeta.MomentAccept:    {who: byMeta, what: stepAccept},
		fakemeta.MomentTerminate: {who: byMeta, what: stepHangUp},
		fakemeta.MomentPickUp:    {who: byPhone, what: stepPickUp},
		fakemeta.MomentHangUp:    {who: byPhone, what: stepUserHangUp},
		fakemeta.MomentSpeaking:  {who: byPhone, what: "begins to send audio"},
		"state: ringing":         {who: byPhone, what: "rings"},
	}
	var notes []note
	for _, m := range c.Timeline() {
		n, known := words[m.Name]
		switch {
		case known:
		case m.Name == fakemeta.MomentWebhook:
			n = note{who: byMeta, what: "webhook " + m.Detail + " sent"}
		case m.Name == fakemeta.MomentMedia, m.Name == fakemeta.MomentFirstRTP, m.Name == fakemeta.MomentClosed,
			strings.HasPrefix(m.Name, "state: "):
			continue // said otherwise
		default:
			n = note{who: byMeta, what: strings.TrimSuffix(m.Name+": "+m.Detail, ": ")}
		}
		n.at = m.At
		notes = append(notes, n)
	}
	return notes
}

// connectorNotes are the stages of the line that tells of the call's end.
func connectorNotes(ended logLine) []note {
	if ended.Time.IsZero() {
		return nil
	}
	all := []note{{at: ended.Time, who: byConnector, what: stepEnded + ended.Reason}}
	for stage, ms := range ended.StagesMs {
		what, known := connectorStages[stage]
		if !known {
			what = strings.ReplaceAll(stage, "_", " ")
		}
		all = append(all, note{at: ended.Started.Add(time.Duration(ms) * time.Millisecond), who: byConnector, what: what})
	}
	return all
}

// phoneHeard is when the phone got the first packet that is more than silence; zero if it got none.
func phoneHeard(c *fakemeta.Call) time.Time {
	const quiet = 8 // bytes; the silence that fills pauses has 3
	for _, p := range c.Handset().Packets() {
		if !p.Early && len(p.Payload) > quiet {
			return p.Arrived
		}
	}
	return time.Time{}
}

// table writes a timeline for people.
func table(title string, all []note) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n     ms  seen by      what\n", title)
	for _, n := range all {
		fmt.Fprintf(&b, "%7d  %-11s  %s\n", n.at.Sub(all[0].at).Milliseconds(), n.who, n.what)
	}
	return b.String()
}
