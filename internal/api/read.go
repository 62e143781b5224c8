package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/connector"
	"github.com/twitchtv/twirp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/internal/route"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// The read API stands beside Twirp: what is asked for is in the path, nothing is changed by asking.
//
//	GET /connector/v1/calls         the calls of the key, newest first; ?ended=true, ?room=, ?state=, ?log_id=
//	GET /connector/v1/calls/{id}    one call with timeline, statistics and diagnosis
//	GET /connector/v1/permissions   ?phone_number_id= &user=: what Meta lets the business do towards a user
//
// A token needs what LiveKit's own requests to look need: roomList, as ListRooms does, to see all calls of its key, or
// roomAdmin for a room, as ListParticipants does, to see the calls in that room. roomCreate, with which calls are made, is
// as good as roomList, and the only one for permissions.
const readPrefix = "/connector/"

const (
	pathCalls       = "v1/calls"
	pathCall        = "v1/calls/"
	pathPermissions = "v1/permissions"
)

// The requests' names in logs and metrics.
const (
	readCalls      = "ReadCalls"
	readCall       = "ReadCall"
	readPermission = "ReadPermission"
)

var readMethods = []string{readCalls, readCall, readPermission}

// States are those that a call can be asked for by.
var States = []string{"offered", "pre-accepted", "dialing", "ringing", "active", "ending", "ended"}

// reader answers the read API.
type reader struct {
	log        *slog.Logger
	nodes      *route.Client
	permission Permissions // may be nil
	permitted  permitted
}

// isRead reports whether a path is the read API's. All below its prefix is, so that nothing of it goes to livekit-server.
func isRead(path string) bool { return path+"/" == readPrefix || strings.HasPrefix(path, readPrefix) }

// serveRead answers a request under readPrefix.
func (s *Server) serveRead(w http.ResponseWriter, r *http.Request) {
	if crossOrigin(w, r) {
		return
	}
	x := &exchange{ResponseWriter: w, received: time.Now(), method: methodUnknown}
	defer s.finish(x, r)
	// Undecoded, because a call ID may hold a slash.
	path := strings.TrimPrefix(singleSlashes(r.URL.EscapedPath()), readPrefix)
	var answer func(x *exchange, r *http.Request, grants *auth.ClaimGrants) (any, twirp.Error)
	switch id, err := url.PathUnescape(strings.TrimPrefix(path, pathCall)); {
	case path == pathCalls || path == pathCall:
		x.method, answer = readCalls, s.reader.calls
	case strings.HasPrefix(path, pathCall) && err == nil && len(id) <= maxCallIDBytes:
		x.method, x.callID, answer = readCall, id, s.reader.call
	case path == pathPermissions:
		x.method, answer = readPermission, s.reader.permissions
	default:
		x.fail(badRoute(r, "the connector has /connector/v1/calls, /connector/v1/calls/{id} and /connector/v1/permissions"))
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		x.failMethod(r)
		return
	}
	apiKey, _, grants, refused := s.verify(x, r)
	if refused == nil && grants.Video == nil {
		grants.Video = &auth.VideoGrant{}
	}
	x.apiKey = apiKey
	var body any
	if refused == nil {
		body, refused = answer(x, r, grants)
	}
	if refused != nil {
		x.fail(refused)
		return
	}
	s.proved(r)
	x.tell(body)
}

// failMethod answers for a verb that is none of ours. Twirp has no code of that status.
func (x *exchange) failMethod(r *http.Request) {
	err := badRoute(r, fmt.Sprintf("unsupported method %.20q (only GET and HEAD are allowed)", r.Method))
	x.code, x.reason = err.Code(), err.Msg()
	body, _ := json.Marshal(map[string]any{"code": err.Code(), "msg": err.Msg(), "meta": err.MetaMap()})
	x.Header().Set("Allow", "GET, HEAD, OPTIONS")
	x.Header().Set("Content-Type", "application/json")
	x.WriteHeader(http.StatusMethodNotAllowed)
	_, _ = x.Write(body)
}

// tell answers with JSON: a json.RawMessage as it is, anything else encoded.
func (x *exchange) tell(body any) {
	text, err := json.Marshal(body)
	if err != nil {
		x.fail(errInternal)
		return
	}
	x.Header().Set("Content-Type", "application/json")
	x.Header().Set("Cache-Control", "no-store")
	x.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = x.Write(text)
}

// toJSON writes a message in JSON as protobuf has it, without the spaces that protojson puts in at random.
func toJSON(m proto.Message, o protojson.MarshalOptions) (json.RawMessage, error) {
	text, err := o.Marshal(m)
	if err != nil {
		return nil, err
	}
	var tight bytes.Buffer
	if err := json.Compact(&tight, text); err != nil {
		return nil, err
	}
	return tight.Bytes(), nil
}

// seesAll says whether a token may see all calls of its key; sees whether it may see those of a room.
func seesAll(v *auth.VideoGrant) bool { return v.RoomList || v.RoomCreate }

func sees(v *auth.VideoGrant, room string) bool {
	return seesAll(v) || v.RoomAdmin && v.Room == room && room != ""
}

// listed is the answer to a list.
type listed struct {
	Calls []json.RawMessage `json:"calls"`
}

// isAsked says whether a call is what a list's parameters ask for.
func isAsked(c *connectorpb.CallRecord, q url.Values) bool {
	for asked, is := range map[string]string{"room": c.GetRoomName(), "state": c.GetState(), "log_id": logs.ID(c.GetCallId())} {
		if want := q.Get(asked); want != "" && want != is {
			return false
		}
	}
	return true
}

func (a *reader) calls(x *exchange, r *http.Request, grants *auth.ClaimGrants) (any, twirp.Error) {
	ctx := r.Context()
	q, refused := readQuery(r, "ended", "log_id", "room", "state")
	if refused != nil {
		return nil, refused
	}
	room, state := q.Get("room"), q.Get("state")
	if !sees(grants.Video, room) {
		return nil, twirp.NewError(twirp.PermissionDenied,
			"access token lacks the video grant roomList (or roomCreate); with roomAdmin ask for the calls of its room, by ?room=")
	}
	ended := state == "ended"
	if text := q.Get("ended"); text != "" {
		asked, err := strconv.ParseBool(text)
		if err != nil {
			return nil, twirp.NewError(twirp.InvalidArgument, "ended must be true or false")
		}
		ended = ended || asked
	}
	if state != "" && !slices.Contains(States, state) {
		return nil, twirp.NewError(twirp.InvalidArgument, "state must be one of "+strings.Join(States, ", "))
	}
	found, err := a.nodes.Calls(ctx, x.apiKey, ended)
	if err != nil {
		a.log.ErrorContext(ctx, "nodes did not tell their calls", "error", err)
		if len(found) == 0 {
			return nil, a.refusal(err)
		}
	}
	found = slices.DeleteFunc(found, func(c *connectorpb.CallRecord) bool { return !isAsked(c, q) })
	slices.SortStableFunc(found, func(a, b *connectorpb.CallRecord) int {
		return b.GetCreatedAt().AsTime().Compare(a.GetCreatedAt().AsTime())
	})
	list := listed{Calls: make([]json.RawMessage, 0, len(found))}
	for _, c := range found {
		text, err := toJSON(c, protojson.MarshalOptions{})
		if err != nil {
			return nil, a.broken(r, err)
		}
		list.Calls = append(list.Calls, text)
	}
	return list, nil
}

func (a *reader) call(x *exchange, r *http.Request, grants *auth.ClaimGrants) (any, twirp.Error) {
	if _, refused := readQuery(r); refused != nil {
		return nil, refused
	}
	if !seesAll(grants.Video) && !sees(grants.Video, grants.Video.Room) {
		return nil, twirp.NewError(twirp.PermissionDenied,
			"access token lacks the video grant roomList (or roomCreate, or roomAdmin for the call's room)")
	}
	found, err := a.nodes.Call(r.Context(), x.apiKey, x.callID)
	if err != nil {
		return nil, a.refusal(err)
	}
	if !sees(grants.Video, found.GetRoomName()) {
		return nil, twirpOf(connector.ErrWhatsAppCallNotFound) // whose token is for another room
	}
	text, err := toJSON(found, protojson.MarshalOptions{EmitDefaultValues: true})
	if err != nil {
		return nil, a.broken(r, err)
	}
	return text, nil
}

// refusal is the answer when the nodes could not tell.
func (a *reader) refusal(err error) twirp.Error {
	switch {
	case errors.Is(err, route.ErrNotFound):
		return twirpOf(connector.ErrWhatsAppCallNotFound)
	case errors.Is(err, route.ErrRegistry):
		return errNoRegistry
	case errors.Is(err, route.ErrSilent):
		return twirp.NewError(twirp.DeadlineExceeded, "a node did not answer in time: send the request again")
	case errors.Is(err, route.ErrClosed):
		return errClosed
	default:
		return errInternal
	}
}

func (a *reader) broken(r *http.Request, err error) twirp.Error {
	a.log.ErrorContext(r.Context(), "record cannot be written", "error", err)
	return errInternal
}

// readQuery returns the parameters of a request, which may be no others than those named and each once: one that is
// mistyped would silently change what is asked for. Errors do not repeat it: they are logged.
func readQuery(r *http.Request, names ...string) (url.Values, twirp.Error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, twirp.NewError(twirp.InvalidArgument, "query cannot be read")
	}
	for name, values := range q {
		switch {
		case !slices.Contains(names, name) && len(names) == 0:
			return nil, twirp.NewError(twirp.InvalidArgument, "unknown parameter: this request has none")
		case !slices.Contains(names, name):
			return nil, twirp.NewError(twirp.InvalidArgument, "unknown parameter: this request has "+strings.Join(names, ", "))
		case len(values) > 1:
			return nil, twirp.NewError(twirp.InvalidArgument, name+" is given more than once")
		}
	}
	return q, nil
}
