package call

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/livekit-connector/livekit-connector/media"
)

// How long things may take before their absence is found.
const (
	// answerGrace is for Meta's SDP answer, which comes within a second and has to pass an application.
	answerGrace = 3 * time.Second
	// connectGrace is for ICE and for DTLS, some round trips each.
	connectGrace = 2 * time.Second
	// joinGrace is for joining the room.
	joinGrace = 5 * time.Second
	// settleGrace is for everything to begin once a call was answered.
	settleGrace = 2 * time.Second
	// stopGrace is for a stream that paused: encoders send a packet at least every 400 ms (Opus DTX).
	stopGrace = 5 * time.Second
	// reportGrace is three times the longest wait between two reports (RFC 3550 section 6.2: 5 s, give or take a half).
	reportGrace = 20 * time.Second
	// unheardGrace is after how long of sending reports must tell of our stream.
	unheardGrace = 10 * time.Second
)

// What counts as bad.
const (
	// enough packets for a judgement: five seconds.
	enough = 250
	// heavyLoss is what concealment and redundancy cannot hide any more.
	heavyLoss = 0.05
	// allLoss is as good as everything.
	allLoss = 0.95
	// silentBytes is more than what a packet of silence takes on average, 8 of libopus at 20 kb/s, and less than one of the
	// least noise, 19.
	silentBytes = 12
	// quietDB is RMS over speech and pauses. Speech is at -20 to -35.
	quietDB = -50
)

// Diagnose says what is wrong with a call's sound, worst first; nothing if nothing is. It looks along the way that sound
// takes, and what follows from something found is not found again. A call that is over is judged by whether it was ever
// heard: that nobody is left in the room at the end is no finding.
func Diagnose(f *Facts) []Finding {
	d := diagnosis{f: f}
	if f.Said.Code != 0 {
		d.find(metaFailed, "%s", strings.TrimSpace(fmt.Sprintf("%d %s", f.Said.Code, f.Said.Title)))
	}
	if !d.connected() || !d.open() {
		return d.found
	}
	d.heardPhone()
	d.heardRoom()
	d.reports()
	d.quality()
	slices.SortStableFunc(d.found, func(a, b Finding) int { return weight(a) - weight(b) })
	return d.found
}

// weight puts what silences both directions first.
func weight(f Finding) int {
	if f.Direction == FlowBoth {
		return 0
	}
	return 1
}

type diagnosis struct {
	f     *Facts
	found []Finding
}

// find adds a finding, with what is known of it in this call.
func (d *diagnosis) find(s symptom, detail string, args ...any) {
	finding := symptoms[s]
	if detail != "" {
		finding.Problem += " (" + fmt.Sprintf(detail, args...) + ")"
	}
	d.found = append(d.found, finding)
}

// has says whether something was found.
func (d *diagnosis) has(s symptom) bool {
	return slices.ContainsFunc(d.found, func(f Finding) bool { return f.Code == symptoms[s].Code })
}

// since is how long ago a stage was reached; ok is false if it was not.
func (d *diagnosis) since(s Stage) (ago time.Duration, ok bool) {
	for _, m := range d.f.Timeline {
		if m.Stage == s {
			return d.f.Now.Sub(m.At), true
		}
	}
	return 0, false
}

func (d *diagnosis) endedBy(r Reason) bool { return d.f.End != nil && d.f.End.Reason == r }

// connected looks at SDP, ICE and DTLS. It reports whether media with Meta is up.
func (d *diagnosis) connected() bool {
	m := &d.f.Meta
	if m.Up.IsZero() {
		d.connecting()
		return false
	}
	if m.Failure == FailurePath {
		d.find(pathLost, "")
		return false
	}
	return true
}

// connecting says why media is not up yet, if that takes too long. A call that ended meanwhile for another reason may have
// had no time for it.
func (d *diagnosis) connecting() {
	m := &d.f.Meta
	waited, begun := d.since(StagePreAccepted)
	if d.f.Direction == Outbound {
		waited, begun = d.since(StageAnswer)
		if ago, dialed := d.since(StageDialed); !begun && (d.endedBy(ReasonNoSDPAnswer) || !d.f.Ended && dialed && ago > answerGrace) {
			d.find(answerMissing, "dialed %v ago", round(ago))
		}
	}
	if !begun {
		return
	}
	failed := d.endedBy(ReasonConnectFailed)
	switch {
	case m.Failure == FailureHandshake:
		d.find(handshakeFailed, "")
	case m.ICE.IsZero() && (failed || waited > connectGrace):
		d.find(noPair, "tried for %v", round(waited))
	case !m.ICE.IsZero() && (failed || d.f.Now.Sub(m.ICE) > connectGrace):
		d.find(handshakePending, "path %s to %s", m.LocalType, m.RemoteType)
	}
}

// open looks at the room's door and the gate. It reports whether audio may flow, and had time to.
func (d *diagnosis) open() bool {
	f := d.f
	if !f.InRoom {
		if ago, begun := d.since(StageJoining); d.endedBy(ReasonRoomJoinFailed) || begun && ago > joinGrace {
			d.find(roomNotJoined, "tried for %v", round(ago))
			return false
		}
	}
	switch {
	case f.Ended && (f.AnsweredAt.IsZero() || !d.opened()):
		return false
	case f.AnsweredAt.IsZero() && f.Direction == Outbound:
		d.find(notPickedUp, "")
		return false
	case f.AnsweredAt.IsZero():
		d.find(notAccepted, "")
		return false
	}
	return f.Now.Sub(f.AnsweredAt) > settleGrace
}

// opened says whether audio was ever let through.
func (d *diagnosis) opened() bool {
	_, ok := d.since(StageAnswered)
	return ok
}

// quietFor says whether something last happened longer ago than it may. What was never seen may only not have been noted yet.
func (d *diagnosis) quietFor(last time.Time, grace time.Duration) (ago time.Duration, tooLong bool) {
	if last.IsZero() {
		return 0, false
	}
	ago = d.f.Now.Sub(last)
	return ago, ago > grace
}

// longer says whether something has been so for longer than a grace; a zero time is long ago.
func (d *diagnosis) longer(since time.Time, grace time.Duration) bool {
	return d.f.Now.Sub(since) > grace
}

// heardPhone follows the sound from the phone to the room.
func (d *diagnosis) heardPhone() {
	m := &d.f.Meta
	stopped, tooLong := d.quietFor(m.LastIn, stopGrace)
	switch {
	case m.Received == 0 && m.Unknown > 0:
		d.find(phoneUnknownPayload, "%d packets", m.Unknown)
		return
	case m.Received == 0:
		d.find(phoneSendsNothing, "")
		return
	case tooLong:
		d.find(phoneStopped, "%v ago", round(stopped))
		return
	case d.f.Heard.Codec == media.CodecOpus && m.Received >= enough && m.Bytes < silentBytes*m.Received:
		d.find(phoneSilent, "%d packets", m.Received)
	}
	d.callerTrack()
}

// callerTrack follows the phone's sound from the track on.
func (d *diagnosis) callerTrack() {
	r := &d.f.Room
	switch {
	case r.Offline || r.Others == 0 && !d.f.Ended: // see heardRoom
	case !d.longer(r.OthersSince, settleGrace): // who just came has not subscribed yet
	case !r.Published && r.Sent == 0:
		d.find(callerTrackMissing, "")
	case r.Heard.IsZero() && r.EverOthers:
		d.find(callerTrackUnheard, "")
	}
}

// heardRoom follows the sound from the room to the phone.
func (d *diagnosis) heardRoom() {
	r, l := &d.f.Room, &d.f.Heard.ToPhone
	heard := l.Relayed+l.Voiced > 0
	switch {
	case r.Offline:
		d.find(roomOffline, "")
	case d.f.Ended && heard: // what the room looks like at the end does not matter
	case !d.longer(r.OthersSince, settleGrace): // an agent that restarts, or has just begun
	case r.Others == 0 && (!d.f.Ended || !r.EverOthers):
		d.find(roomEmpty, "")
	case len(r.Tracks) == 0:
		if !d.f.Ended || r.Received == 0 {
			d.find(noTrack, "%s in the room", others(r.Others))
		}
	default:
		d.tracks(heard)
	}
}

// trackGrace is how long a track may be there before something is wrong with it; what has no grace will not get better.
var trackGrace = map[symptom]time.Duration{
	trackMuted: settleGrace, trackUnsubscribed: settleGrace, trackNoPackets: stopGrace, trackSilent: stopGrace,
}

func others(n int) string {
	if n == 1 {
		return "1 participant"
	}
	return fmt.Sprintf("%d participants", n)
}

// tracks looks for one track of the room that can be heard, or might be in a moment, and says of all what is wrong with them
// if there is none.
func (d *diagnosis) tracks(heard bool) {
	wrong := map[symptom]string{}
	for _, t := range d.f.Room.Tracks {
		s, ok := trackSymptom(&t)
		switch {
		case !ok && heard:
			return
		case !ok:
			s = trackSilent
		}
		if grace, ok := trackGrace[s]; ok && !d.longer(t.Since, grace) {
			return
		}
		if wrong[s] != "" {
			wrong[s] += ", "
		}
		wrong[s] += t.ID
	}
	for _, s := range []symptom{trackMuted, trackEncrypted, trackCodec, trackUnsubscribed, trackNoPackets, trackSilent} {
		if tracks, ok := wrong[s]; ok && (s != trackSilent || d.f.Now.Sub(d.f.AnsweredAt) > stopGrace) {
			d.find(s, "%s", tracks)
		}
	}
}

// trackSymptom says why nothing can be heard of a track; ok is false if something can.
func trackSymptom(t *Track) (s symptom, ok bool) {
	switch {
	case t.Refused == RefusedEncrypted:
		return trackEncrypted, true
	case t.Refused == RefusedCodec:
		return trackCodec, true
	case t.Muted:
		return trackMuted, true
	case !t.Subscribed:
		return trackUnsubscribed, true
	case t.Packets == 0:
		return trackNoPackets, true
	default:
		return 0, false
	}
}

// reports reads what Meta tells of our stream.
func (d *diagnosis) reports() {
	m, n := &d.f.Meta, &d.f.Heard.Network
	if m.FirstOut.IsZero() || d.f.Now.Sub(m.FirstOut) < unheardGrace {
		return
	}
	silent, tooLong := d.quietFor(m.LastReport, reportGrace)
	switch {
	case n.Reports == 0 && m.Control > 1 && d.unheardByMeta():
		d.find(metaReceivesNothing, "%d packets sent, none in Meta's reports", n.Sent)
	case n.Reports == 0:
	case d.f.Ended && ratio(n.Lost, n.Sent) >= allLoss:
		d.find(metaReceivesNothing, "%d of %d packets lost", n.Lost, n.Sent)
	case !d.f.Ended && n.Loss >= allLoss:
		d.find(metaReceivesNothing, "%.0f %% lost in its newest report", 100*n.Loss)
	case tooLong:
		d.find(metaReportsStopped, "%v ago", round(silent))
	}
}

// unheardByMeta says whether more than the lack of reports speaks for it that nothing arrives: nobody has to report (RFC 3550
// section 6.4.2 allows reports without blocks), so the lack alone says nothing.
func (d *diagnosis) unheardByMeta() bool {
	code := d.f.Said.Code
	return code == codeNothingReceived || code == codeNoMediaSignalled || d.f.Meta.Received == 0
}

// quality looks at what is heard, but badly.
func (d *diagnosis) quality() {
	h := &d.f.Heard
	n := &h.Network
	if lost := ratio(n.Missed, n.Expected); lost >= heavyLoss {
		d.find(lossFromPhone, "%.0f %% of %d", 100*lost, n.Expected)
	}
	if lost := ratio(n.Lost, n.Sent); lost >= heavyLoss && !d.has(metaReceivesNothing) {
		d.find(lossToPhone, "%.0f %% of %d", 100*lost, n.Sent)
	}
	if h.Transcoded && h.ToRoom.Mixed >= enough && h.ToRoom.LevelDB < quietDB {
		d.find(phoneQuiet, "%.0f dB", h.ToRoom.LevelDB)
	}
	if h.ToPhone.Mixed >= enough && h.ToPhone.LevelDB < quietDB {
		d.find(roomQuiet, "%.0f dB", h.ToPhone.LevelDB)
	}
}

// ratio is zero as long as there are too few to judge.
func ratio(part, whole uint64) float64 {
	if whole < enough {
		return 0
	}
	return float64(part) / float64(whole)
}

// round is for people.
func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
