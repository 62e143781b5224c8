package fakemeta

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Permission is whether a user lets the business call.
type Permission uint8

// The permissions. A new user has the one of Options.
const (
	PermissionTemporary Permission = iota // for seven days
	PermissionPermanent
	PermissionNone
)

// String returns "temporary", "permanent" or "none".
func (p Permission) String() string {
	switch p {
	case PermissionTemporary:
		return "temporary"
	case PermissionPermanent:
		return "permanent"
	default:
		return "none"
	}
}

// temporaryPermission is how long PermissionTemporary lasts.
const temporaryPermission = 7 * 24 * time.Hour

// Answering is what a user does by himself when the phone rings. The zero value lets it ring.
type Answering struct {
	PickUpAfter time.Duration `json:"pick_up_after,omitempty"` // zero: never
	RejectAfter time.Duration `json:"reject_after,omitempty"`  // zero: never
	HangUpAfter time.Duration `json:"hang_up_after,omitempty"` // after the pick-up; zero: never
}

// User is somebody on WhatsApp, with one handset.
type User struct {
	server *Server
	waID   string // phone number, digits
	id     string // business-scoped user ID

	mu          sync.Mutex
	name        string
	permission  Permission
	granted     time.Time
	uncallable  bool
	answering   Answering
	speech      Speech      // what the handset says; empty: the server's
	lastRequest string      // message ID of the last permission request
	asked       []time.Time // when permission was asked for
	rings       chan *Call
}

// ringQueue is how many outbound calls NextCall can be behind.
const ringQueue = 64

// User returns the user with this phone number (digits), who exists from the first mention on. His name has letters
// outside ASCII, as people do.
func (s *Server) User(waID string) *User {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.users[waID]; ok {
		return u
	}
	u := &User{
		server: s, waID: waID, id: fmt.Sprintf("US.%020s", waID), name: "Zoë Núñez 📞",
		permission: s.opts.DefaultPermission, granted: time.Now(), rings: make(chan *Call, ringQueue),
	}
	s.users[waID] = u
	return u
}

// userByID finds a user by business-scoped ID, nil if there is none.
func (s *Server) userByID(id string) *User {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.users {
		if u.id == id {
			return u
		}
	}
	return nil
}

// WaID returns the user's phone number.
func (u *User) WaID() string { return u.waID }

// ID returns the business-scoped user ID, the "recipient" of Graph requests.
func (u *User) ID() string { return u.id }

// SetName changes the profile name.
func (u *User) SetName(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.name = name
}

// SetPermission grants or withdraws the permission to call, silently; ReplyPermission tells the business.
func (u *User) SetPermission(p Permission) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.permission, u.granted = p, time.Now()
}

// SetUncallable makes calls to the user fail with 138001.
func (u *User) SetUncallable(uncallable bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.uncallable = uncallable
}

// SetAnswering says what happens when the user's phone rings and nobody calls PickUp or Reject.
func (u *User) SetAnswering(a Answering) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answering = a
}

// SetSpeech sets what the handset says from the next call on.
func (u *User) SetSpeech(s Speech) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.speech = s
}

// NextCall waits for the next call from a business to this user: it returns when the request was taken, before the
// phone rings.
func (u *User) NextCall(ctx context.Context) (*Call, error) {
	select {
	case c := <-u.rings:
		return c, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (u *User) isUncallable() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.uncallable
}

// permissionNow returns the permission; a temporary one that ran out is none.
func (u *User) permissionNow() Permission {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.permission == PermissionTemporary && time.Since(u.granted) > temporaryPermission {
		return PermissionNone
	}
	return u.permission
}

func (u *User) permissionEnds() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.granted.Add(temporaryPermission)
}

func (u *User) askedForPermission(messageID string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lastRequest = messageID
	u.asked = append(u.asked, time.Now())
}

// requestLimits are how often a business may ask a user for permission; any connected call begins them anew.
var requestLimits = []struct {
	name   string
	period time.Duration
	most   int
}{{"PT24H", 24 * time.Hour, 1}, {"P7D", 7 * 24 * time.Hour, 2}}

// mayBeAsked says whether permission may be asked for now, with the limits as call_permissions tells them.
func (u *User) mayBeAsked() (may bool, limits []any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	may = true
	for _, l := range requestLimits {
		used, oldest := 0, time.Time{}
		for _, at := range u.asked {
			if time.Since(at) < l.period {
				if used == 0 {
					oldest = at
				}
				used++
			}
		}
		limit := map[string]any{"time_period": l.name, "max_allowed": l.most, "current_usage": used}
		if used >= l.most {
			may = false
			limit["limit_expiration_time"] = oldest.Add(l.period).Unix()
		}
		limits = append(limits, limit)
	}
	return may, limits
}

// connected begins the limits of permission requests anew.
func (u *User) connected() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked = nil
}

func (u *User) permissionContext(r PermissionReply) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case r.FromProfile:
		return ""
	case r.Context != "":
		return r.Context
	}
	return u.lastRequest
}

func (u *User) contact() Contact {
	u.mu.Lock()
	defer u.mu.Unlock()
	return Contact{Profile: &Profile{Name: u.name}, WaID: u.waID, UserID: u.id}
}

func (u *User) habits() (Answering, Speech) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.answering, u.speech
}

// CallOption changes one call of a user.
type CallOption func(*callOptions)

type callOptions struct {
	dialect  *Dialect
	deeplink string
	cta      string
	speech   Speech
}

// WithDialect writes the offer in another dialect than the server's.
func WithDialect(d Dialect) CallOption { return func(o *callOptions) { o.dialect = &d } }

// WithDeeplinkPayload is a call from a wa.me link with a payload.
func WithDeeplinkPayload(payload string) CallOption {
	return func(o *callOptions) { o.deeplink = payload }
}

// WithCTAPayload is a call from a call button with a payload.
func WithCTAPayload(payload string) CallOption { return func(o *callOptions) { o.cta = payload } }

// WithSpeech sets what the handset says in this call.
func WithSpeech(s Speech) CallOption { return func(o *callOptions) { o.speech = s } }

// Call makes the user call a business number: the offer goes out in a connect webhook at once. It fails with
// ErrBusy when the two are in a call already, with ErrOverloaded when the number has all the calls it may have
// (Meta tells the business nothing about that) and with ErrUnknownNumber.
func (u *User) Call(ctx context.Context, phoneNumberID string, options ...CallOption) (*Call, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n, err := u.server.number(phoneNumberID)
	if err != nil {
		return nil, err
	}
	var o callOptions
	for _, set := range options {
		set(&o)
	}
	return u.server.ring(n, u, o)
}

// business is the number as it stands in call IDs and webhooks.
func (n *number) business() string { return strings.TrimPrefix(n.DisplayNumber, "+") }
