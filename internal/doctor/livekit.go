package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/livekit-connector/livekit-connector/internal/roomleg"
)

// liveKit asks, with each key, for a room that nobody has: a signed request that changes nothing.
func (e *examination) liveKit(context.Context) []Line {
	where := httpURL(e.o.LiveKit.URL)
	if err := e.liveKitAnswers(); err != nil {
		return one(failed(fmt.Sprintf("nothing answers at %s: %s", where, err),
			"start livekit-server, mend ws_url, or open the way to it"))
	}
	var lines []Line
	var fine []string
	accepted := e.access()
	for i, k := range e.o.LiveKit.Keys {
		switch err := accepted[i]; {
		case err == nil:
			fine = append(fine, k.Key)
		case errors.Is(err, roomleg.ErrUnknownAPIKey):
			lines = append(lines, failed("LiveKit does not know the API key "+k.Key, "compare api_key and keys with the keys in livekit-server's configuration"))
		case errors.Is(err, roomleg.ErrWrongSecret):
			lines = append(lines, failed("the secret of the API key "+k.Key+" is wrong", "copy api_secret anew from the keys in livekit-server's configuration"))
		case errors.Is(err, roomleg.ErrClockSkew):
			lines = append(lines, failed("LiveKit takes our tokens for expired or not yet valid", clockRemedy))
		case errors.Is(err, roomleg.ErrUnreachable):
			return one(failed(where+" answers, but is no livekit-server", "mend ws_url, or the proxy before livekit-server"))
		default:
			lines = append(lines, failed(fmt.Sprintf("API key %s: %s", k.Key, err), "look at livekit-server's log"))
		}
	}
	if len(fine) > 0 {
		lines = append(lines, good("%s accepts %s", where, strings.Join(fine, ", ")))
	}
	return lines
}

// verifyKeys tries every key.
func (e *examination) verifyKeys(ctx context.Context) []error {
	accepted := make([]error, len(e.o.LiveKit.Keys))
	for i, k := range e.o.LiveKit.Keys {
		accepted[i] = roomleg.VerifyAccess(ctx, e.client, httpURL(e.o.LiveKit.URL), k.Key, k.Secret)
	}
	return accepted
}

// isLiveKit says whether a livekit-server answers, whatever it says of the keys.
func (e *examination) isLiveKit() bool {
	return e.liveKitAnswers() == nil && !slices.ContainsFunc(e.access(), func(err error) bool { return errors.Is(err, roomleg.ErrUnreachable) })
}

// webSocket asks for the upgrade of /rtc without a token. livekit-server answers 401 to a request for an upgrade and 404 to
// any other, so that a proxy which takes the Upgrade header away shows, and nobody joins anything.
func (e *examination) webSocket(ctx context.Context) []Line {
	if !e.isLiveKit() {
		return one(skipped("see livekit"))
	}
	where := strings.TrimRight(httpURL(e.o.LiveKit.URL), "/") + "/rtc"
	a, err := e.get(ctx, where, http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"bGl2ZWtpdC1kb2N0b3ItMQ=="},
	})
	if err != nil {
		return one(failed(fmt.Sprintf("%s breaks off: %s", where, err), "look at the proxies before livekit-server: rooms are joined by WebSocket"))
	}
	switch a.status {
	case http.StatusUnauthorized:
		return one(good("%s takes requests for a WebSocket", where))
	case http.StatusNotFound:
		return one(failed(where+" does not see that a WebSocket is asked for", "let the proxy before livekit-server pass Upgrade and Connection on"))
	default:
		return one(doubtful(fmt.Sprintf("%s answers a request for a WebSocket with HTTP %d, which is not livekit-server's way", where, a.status),
			"look at the proxies before livekit-server; --join tries it for good"))
	}
}
