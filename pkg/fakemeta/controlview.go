package fakemeta

import (
	"fmt"
	"net/http"
	"time"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/handset"
)

// ParseDialect reads "live" or "docs".
func ParseDialect(name string) (Dialect, error) {
	switch name {
	case "live":
		return DialectLive, nil
	case "docs":
		return DialectDocs, nil
	}
	return 0, fmt.Errorf("dialect must be live or docs, not %q", name)
}

// ParsePermission reads "temporary", "permanent" or "none".
func ParsePermission(name string) (Permission, error) {
	for _, p := range []Permission{PermissionTemporary, PermissionPermanent, PermissionNone} {
		if p.String() == name {
			return p, nil
		}
	}
	return 0, fmt.Errorf("permission must be temporary, permanent or none, not %q", name)
}

// callView is a call in a list.
type callView struct {
	Call      int    `json:"call"`
	CallID    string `json:"call_id"`
	User      string `json:"user"`
	Direction string `json:"direction"`
	State     string `json:"state"`
}

func viewCall(c *Call) callView {
	direction := "inbound"
	if c.direction == Outbound {
		direction = "outbound"
	}
	return callView{Call: c.index, CallID: c.id, User: c.user.waID, Direction: direction, State: c.State().String()}
}

// viewReport is the judgement as JSON: times in milliseconds, names in lower case.
func viewReport(c *Call) any {
	r := c.Report()
	h, m := &r.Heard, &r.Media
	path := func(t time.Time) any {
		if t.IsZero() {
			return nil
		}
		return t.Sub(c.created).Milliseconds()
	}
	return struct {
		callView
		OK            bool           `json:"ok"`
		Problems      []string       `json:"problems"`
		Answered      bool           `json:"answered"`
		AnsweredEarly bool           `json:"answered_early"`
		Seconds       int            `json:"duration_seconds"`
		EndedBy       string         `json:"ended_by"`
		ErrorCode     int            `json:"error_code"`
		Heard         map[string]any `json:"heard"`
		Relay         map[string]any `json:"relay"`
	}{
		callView: viewCall(c), OK: r.OK(), Problems: r.Problems, Answered: r.Answered, AnsweredEarly: r.AnsweredEarly,
		Seconds: wholeSeconds(r.Duration), EndedBy: r.EndedBy, ErrorCode: r.ErrorCode,
		Heard: map[string]any{
			"packets": h.Packets, "bitrate_bps": h.BitrateBPS, "early_packets": h.EarlyPackets,
			"clipped_ms": h.Clipped.Milliseconds(), "ssrcs": h.SSRCs, "ssrc_changes": h.SSRCChanges,
			"missing": h.Missing, "duplicates": h.Duplicates, "reordered": h.Reordered,
			"timestamp_jumps": h.TimestampJumps, "wrong_payload_type": h.WrongPayloadType,
			"with_extension": h.WithExtension, "not_opus": h.Garbage, "not_20_ms": h.NotTwentyMS,
			"silence_frames": h.SilenceFrames, "longest_pause_ms": h.LongestPause.Milliseconds(),
			"rtcp_packets": h.RTCPPackets, "keys": handset.Digits(h.Keys),
		},
		Relay: map[string]any{
			"checks": m.Checks, "role_conflicts": m.RoleConflicts, "unauthorized": m.Unauthorized,
			"nominations": m.Nominations, "peer_reflexive": m.PeerReflexive,
			"dropped_client_hellos": m.DroppedClientHellos, "rtp_received": m.RTPReceived, "rtp_sent": m.RTPSent,
			"first_check_ms": path(m.Times.FirstCheck), "nominated_ms": path(m.Times.Nominated),
			"connected_ms": path(m.Times.Connected), "first_rtp_ms": path(m.Times.FirstRTP),
		},
	}
}

// controlUser shows a user, after having changed him if the request wants it.
func (s *Server) controlUser(r *http.Request, change bool) (any, error) {
	if !digits(r.PathValue("user")) {
		return nil, fmt.Errorf("%w: user must be digits", errBadRequest)
	}
	u := s.User(r.PathValue("user"))
	if change {
		if err := u.change(r); err != nil {
			return nil, err
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return map[string]any{
		"user": u.waID, "user_id": u.id, "name": u.name, "permission": u.permission.String(),
		"uncallable": u.uncallable,
		"answering": map[string]string{
			"pick_up_after": u.answering.PickUpAfter.String(), "reject_after": u.answering.RejectAfter.String(),
			"hang_up_after": u.answering.HangUpAfter.String(),
		},
	}, nil
}

func (u *User) change(r *http.Request) error {
	var body struct {
		Name       *string    `json:"name"`
		Permission *string    `json:"permission"`
		Uncallable *bool      `json:"uncallable"`
		Answering  *Answering `json:"answering"`
	}
	if err := controlBody(r, &body); err != nil {
		return err
	}
	if body.Permission != nil {
		p, err := ParsePermission(*body.Permission)
		if err != nil {
			return fmt.Errorf("%w: %w", errBadRequest, err)
		}
		u.SetPermission(p)
	}
	if body.Name != nil {
		u.SetName(*body.Name)
	}
	if body.Uncallable != nil {
		u.SetUncallable(*body.Uncallable)
	}
	if body.Answering != nil {
		u.SetAnswering(*body.Answering)
	}
	return nil
}

func (s *Server) controlPermission(r *http.Request) (any, error) {
	var body PermissionReply
	if err := controlBody(r, &body); err != nil {
		return nil, err
	}
	if !digits(r.PathValue("user")) {
		return nil, fmt.Errorf("%w: user must be digits", errBadRequest)
	}
	number := s.controlNumber(r.URL.Query().Get("number"))
	return done, s.User(r.PathValue("user")).ReplyPermission(number, body)
}
