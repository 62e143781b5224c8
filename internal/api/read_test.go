package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit-connector/livekit-connector/internal/api"
	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// GetCall tells of a record, as a node does.
func (n *node) GetCall(_ context.Context, req *connectorpb.GetCallRequest) (*connectorpb.GetCallResponse, error) {
	for _, r := range n.records[req.GetApiKey()] {
		if r.GetCallId() == req.GetCallId() {
			return &connectorpb.GetCallResponse{Call: r}, nil
		}
	}
	return nil, psrpc.NewErrorf(psrpc.NotFound, "whatsapp call not found")
}

// ListCalls tells of all records.
func (n *node) ListCalls(_ context.Context, req *connectorpb.ListCallsRequest) (*connectorpb.ListCallsResponse, error) {
	res := &connectorpb.ListCallsResponse{}
	for _, r := range n.records[req.GetApiKey()] {
		if r.GetState() != "ended" || req.GetEnded() {
			res.Calls = append(res.Calls, r)
		}
	}
	return res, nil
}

// slashed is an ID as base64 makes them.
const slashed = "wacid.HBgL/MTU+1NQ=="

func withRecords() *node {
	n := newNode()
	at := func(s int64) *timestamppb.Timestamp { return timestamppb.New(time.Unix(1_800_000_000+s, 0)) }
	n.records = map[string][]*connectorpb.CallRecord{
		key: {
			{CallId: callID, State: "active", RoomName: "room-a", CreatedAt: at(1), Audio: &connectorpb.CallAudio{
				Codec: "opus", RoundTrip: durationpb.New(42 * time.Millisecond), ToRoom: &connectorpb.AudioFlow{Received: 700},
			}},
			{CallId: slashed, State: "ringing", RoomName: "room-b", CreatedAt: at(3)},
			{CallId: "wacid.over", State: "ended", RoomName: "room-a", CreatedAt: at(2), EndReason: "user_hangup"},
		},
		otherKey: {{CallId: "wacid.others", State: "active", RoomName: "room-a", CreatedAt: at(4)}},
	}
	return n
}

// get asks the read API. change may spoil the request.
func (s *stand) get(t *testing.T, path string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	r.Header.Set("Authorization", "Bearer "+sign(t, key, secret, &auth.VideoGrant{RoomList: true}))
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func verb(method string) func(*http.Request) { return func(r *http.Request) { r.Method = method } }

func TestReadListsTheCallsOfItsKey(t *testing.T) {
	list := signed(key, secret, &auth.VideoGrant{RoomList: true})
	other := signed(otherKey, otherSecret, &auth.VideoGrant{RoomList: true})
	inRoomA := signed(key, secret, &auth.VideoGrant{RoomAdmin: true, Room: "room-a"})
	tests := []struct {
		name, query string
		token       func(testing.TB) string
		want        []string
	}{
		{"live ones, newest first", "", list, []string{slashed, callID}},
		{"ended ones too", "?ended=true", list, []string{slashed, "wacid.over", callID}},
		{"of a room", "?ended=true&room=room-a", list, []string{"wacid.over", callID}},
		{"in a state", "?state=ringing", list, []string{slashed}},
		{"as the log names it", "?ended=true&log_id=" + logs.ID("wacid.over"), list, []string{"wacid.over"}},
		{"ended is a state", "?state=ended", list, []string{"wacid.over"}},
		{"none", "?room=room-c", list, []string{}},
		{"another key's", "", other, []string{"wacid.others"}},
		{"an administrator of a room", "?room=room-a", inRoomA, []string{callID}},
		{"a slash at the end", "/", list, []string{slashed, callID}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, withRecords(), func(t *testing.T, s *stand) {
				w := s.get(t, "/connector/v1/calls"+tt.query, bearer(tt.token(t)))
				require.Equal(t, http.StatusOK, w.Code, w.Body)
				require.Equal(t, "application/json", w.Header().Get("Content-Type"))
				var list struct{ Calls []struct{ CallID string } }
				require.NoError(t, json.Unmarshal(w.Body.Bytes(), &list))
				require.NotNil(t, list.Calls)
				got := []string{}
				for _, c := range list.Calls {
					got = append(got, c.CallID)
				}
				require.Equal(t, tt.want, got)
			})
		})
	}
}

func TestReadTellsOneCall(t *testing.T) {
	inBubble(t, withRecords(), func(t *testing.T, s *stand) {
		for _, id := range []string{callID, slashed, "wacid.over"} {
			for _, path := range []string{url.PathEscape(id), id} {
				w := s.get(t, "/connector/v1/calls/"+path)
				require.Equal(t, http.StatusOK, w.Code, w.Body)
				var r connectorpb.CallRecord
				require.NoError(t, protojson.Unmarshal(w.Body.Bytes(), &r))
				require.Equal(t, id, r.GetCallId())
			}
		}
		w := s.get(t, "/connector/v1/calls/"+url.PathEscape(callID))
		require.Contains(t, w.Body.String(), `"roundTrip":"0.042s"`)
		require.Contains(t, w.Body.String(), `"received":700`, "numbers are numbers")
		require.Contains(t, w.Body.String(), `"diagnosis":[]`, "nothing is wrong, which is no unknown")
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))

		head := s.get(t, "/connector/v1/calls/"+url.PathEscape(callID), verb(http.MethodHead))
		require.Equal(t, http.StatusOK, head.Code)
		require.Equal(t, w.Header().Get("Content-Length"), head.Header().Get("Content-Length"))
	})
}

func TestReadRefuses(t *testing.T) {
	grant := func(g auth.VideoGrant) func(testing.TB) string { return signed(key, secret, &g) }
	list := grant(auth.VideoGrant{RoomList: true})
	one := "/connector/v1/calls/" + url.PathEscape(callID)
	tests := []struct {
		name, path string
		token      func(testing.TB) string
		change     func(*http.Request)
		status     int
		code, text string
	}{
		{"no token", one, list, header("Authorization", ""), 401, "unauthenticated", "missing authorization"},
		{"wrong secret", one, signed(key, otherSecret, &auth.VideoGrant{RoomList: true}), nil, 401, "unauthenticated", "signature"},
		{"a participant's token", one, grant(auth.VideoGrant{RoomJoin: true, Room: "room-a"}), nil, 403, "permission_denied", "roomList"},
		{"an empty grant", one, grant(auth.VideoGrant{}), nil, 403, "permission_denied", "roomList"},
		{"administrator of another room", one, grant(auth.VideoGrant{RoomAdmin: true, Room: "room-b"}), nil, 404, "not_found", "not found"},
		{"list with roomAdmin alone", "/connector/v1/calls", grant(auth.VideoGrant{RoomAdmin: true, Room: "room-a"}), nil, 403, "permission_denied", "?room="},
		{"list of another room", "/connector/v1/calls?room=room-b", grant(auth.VideoGrant{RoomAdmin: true, Room: "room-a"}), nil, 403, "permission_denied", "?room="},
		{"another key's call", "/connector/v1/calls/wacid.others", list, nil, 404, "not_found", "not found"},
		{"unknown call", "/connector/v1/calls/wacid.nobody", list, nil, 404, "not_found", "not found"},
		{"unknown path", "/connector/v1/agents", list, nil, 404, "bad_route", "/connector/v1/calls"},
		{"the prefix alone", "/connector", list, nil, 404, "bad_route", "/connector/v1/calls"},
		{"POST", one, list, verb(http.MethodPost), 405, "bad_route", "GET and HEAD"},
		{"DELETE", one, list, verb(http.MethodDelete), 405, "bad_route", "GET and HEAD"},
		{"mistyped parameter", "/connector/v1/calls?romm=a", list, nil, 400, "invalid_argument", "ended, log_id, room, state"},
		{"parameter of a call", one + "?full=1", list, nil, 400, "invalid_argument", "has none"},
		{"twice", "/connector/v1/calls?room=a&room=b", list, nil, 400, "invalid_argument", "more than once"},
		{"no boolean", "/connector/v1/calls?ended=maybe", list, nil, 400, "invalid_argument", "true or false"},
		{"unknown state", "/connector/v1/calls?state=dead", list, nil, 400, "invalid_argument", "pre-accepted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, withRecords(), func(t *testing.T, s *stand) {
				change := []func(*http.Request){bearer(tt.token(t))}
				if tt.change != nil {
					change = append(change, tt.change)
				}
				w := s.get(t, tt.path, change...)
				require.Equal(t, tt.status, w.Code, w.Body)
				require.Equal(t, "application/json", w.Header().Get("Content-Type"))
				var failure struct{ Code, Msg string }
				require.NoError(t, json.Unmarshal(w.Body.Bytes(), &failure))
				require.Equal(t, tt.code, failure.Code)
				require.Contains(t, failure.Msg, tt.text)
				require.NotContains(t, s.log.String(), "romm", "queries are not logged")
			})
		})
	}
	inBubble(t, withRecords(), func(t *testing.T, s *stand) {
		require.Equal(t, "GET, HEAD, OPTIONS", s.get(t, one, verb(http.MethodPost)).Header().Get("Allow"))
		require.Equal(t, http.StatusNoContent, s.get(t, one, verb(http.MethodOptions)).Code)
	})
}

func TestReadWithoutNodes(t *testing.T) {
	s := newStand(t, nil, func(o *api.Options) { o.Registry = held{err: errors.New("dial redis 10.0.0.1")} })
	for _, path := range []string{"/connector/v1/calls", "/connector/v1/calls/" + callID} {
		w := s.get(t, path)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.NotContains(t, w.Body.String(), "10.0.0.1")
	}
}

func TestReadIsNeverProxied(t *testing.T) {
	proxied := 0
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { proxied++ }))
	defer upstream.Close()
	target, err := url.Parse(upstream.URL)
	require.NoError(t, err)
	inBubble(t, withRecords(), func(t *testing.T, s *stand) {
		require.Equal(t, http.StatusOK, s.get(t, "/connector/v1/calls").Code)
		require.Equal(t, http.StatusOK, s.get(t, "//connector/v1/calls").Code)
		require.Equal(t, http.StatusNotFound, s.get(t, "/connector/v2/calls").Code)
		require.Zero(t, proxied)
	}, func(o *api.Options) { o.ProxyTarget = target })
}

// The states that can be asked for are those of a call.
func TestReadKnowsEveryState(t *testing.T) {
	for s := call.StateOffered; s <= call.StateEnded; s++ {
		require.Contains(t, api.States, s.String())
	}
	require.Len(t, api.States, int(call.StateEnded-call.StateOffered)+1)
}

func TestReadPermissions(t *testing.T) {
	const path = "/connector/v1/permissions?phone_number_id=106540352242922&user=" + number
	until := time.Unix(1_800_000_000, 0)
	var fail error
	s := newStand(t, newNode(), func(o *api.Options) {
		o.Permissions = func(_ context.Context, phoneNumberID, user string) (whatsapp.Permission, error) {
			require.Equal(t, "106540352242922", phoneNumberID)
			require.Equal(t, number, user)
			return whatsapp.Permission{Status: whatsapp.PermissionTemporary, Expiration: until, Actions: []whatsapp.PermittedAction{
				{Name: "start_call", Allowed: true, Limits: []whatsapp.Limit{{Period: "PT24H", Max: 100, Used: 2}}},
				{Name: "send_call_permission_request"},
			}}, fail
		}
	})
	create := bearer(serverToken(t))
	w := s.get(t, path, create)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.JSONEq(t, `{"status":"temporary","expirationTime":"2027-01-15T08:00:00Z","canCall":true,"actions":[
		{"action":"start_call","allowed":true,"limits":[{"period":"PT24H","max":100,"used":2}]},
		{"action":"send_call_permission_request","allowed":false,"limits":[]}]}`, w.Body.String())

	require.Equal(t, http.StatusForbidden, s.get(t, path).Code, "roomList sees calls, no users")
	require.Equal(t, http.StatusBadRequest, s.get(t, "/connector/v1/permissions?user=1", create).Code)
	require.Equal(t, http.StatusBadRequest, s.get(t, "/connector/v1/permissions?phone_number_id=1", create).Code)
	for _, tt := range []struct {
		err    error
		status int
		text   string
	}{
		{api.ErrNoCredentials, http.StatusPreconditionFailed, "whatsapp.numbers"},
		{&whatsapp.APIError{HTTPStatus: 400, Code: 613, Message: "too many calls about " + number}, http.StatusTooManyRequests, "[redacted]"},
		{&whatsapp.APIError{HTTPStatus: 401, Code: 190}, http.StatusPreconditionFailed, "whatsapp_error_code"},
		{&whatsapp.APIError{HTTPStatus: 500, Code: 131000}, http.StatusServiceUnavailable, "131000"},
		{fmt.Errorf("dial tcp: %w", context.DeadlineExceeded), http.StatusServiceUnavailable, "cannot be reached"},
	} {
		fail = tt.err
		w := s.get(t, path, create)
		require.Equal(t, tt.status, w.Code, w.Body)
		require.Contains(t, w.Body.String(), tt.text)
		require.NotContains(t, w.Body.String(), number)
	}
	require.NotContains(t, s.log.String(), number)
}
