package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/twitchtv/twirp"

	"github.com/livekit-connector/livekit-connector/internal/logs"
)

// ErrLiveKitUnreachable is wrapped by errors of CheckLiveKit when nothing that speaks LiveKit's API answers at ws_url.
var ErrLiveKitUnreachable = errors.New("app: LiveKit is unreachable")

// ErrLiveKitRefused is wrapped by errors of CheckLiveKit when LiveKit answers and does not accept the credentials.
var ErrLiveKitRefused = errors.New("app: LiveKit refuses the credentials")

// preflightRetry is the pause between attempts to reach LiveKit.
const preflightRetry = 250 * time.Millisecond

// CheckLiveKit asks LiveKit, with every API key, for a room that does not exist: the smallest request that needs a valid
// key, secret and clock. A server that is still starting is tried again until ctx ends; a wrong secret is not.
func CheckLiveKit(ctx context.Context, c *Config) error {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	defer transport.CloseIdleConnections()
	client := livekit.NewRoomServiceProtobufClient(c.HTTPURL(), &http.Client{Transport: transport})
	keys := map[string]Secret{c.APIKey: c.APISecret}
	maps.Copy(keys, c.Keys)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if err := checkKey(ctx, client, c.HTTPURL(), key, keys[key]); err != nil {
			return err
		}
	}
	return nil
}

func checkKey(ctx context.Context, client livekit.RoomService, where, key string, secret Secret) error {
	for {
		err := explain(listNoRooms(ctx, client, key, secret), where, key)
		if err == nil || errors.Is(err, ErrLiveKitRefused) || !retryable(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(preflightRetry):
		}
	}
}

func listNoRooms(ctx context.Context, client livekit.RoomService, key string, secret Secret) error {
	token, err := auth.NewAccessToken(key, secret.Reveal()).
		SetVideoGrant(&auth.VideoGrant{RoomList: true}).
		SetValidFor(time.Minute).
		ToJWT()
	if err != nil {
		return fmt.Errorf("sign a token: %w", err)
	}
	ctx, err = twirp.WithHTTPRequestHeaders(ctx, http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		return fmt.Errorf("prepare request to LiveKit: %w", err)
	}
	_, err = client.ListRooms(ctx, &livekit.ListRoomsRequest{Names: []string{"livekit-connector-preflight"}})
	return err
}

// explain sorts what came back into unreachable and refused and says what to look at.
func explain(err error, where, key string) error {
	if err == nil {
		return nil
	}
	rejected, ok := errors.AsType[twirp.Error](err)
	if !ok {
		return fmt.Errorf("%w at %s: %w", ErrLiveKitUnreachable, where, err)
	}
	switch rejected.Code() {
	case twirp.Unauthenticated, twirp.PermissionDenied:
		text := rejected.Msg()
		if body := rejected.Meta("body"); body != "" { // livekit-server says why in plain text, which Twirp keeps here
			text = body
		}
		return fmt.Errorf("%w: %s says %q about API key %s: look at the key, its secret and this machine's clock",
			ErrLiveKitRefused, where, logs.Mask(text), key)
	case twirp.BadRoute, twirp.NotFound:
		return fmt.Errorf("%w: %s answers, but is no livekit-server: look at ws_url", ErrLiveKitUnreachable, where)
	default:
		// Twirp's mark for an answer that is not Twirp's own.
		if status := rejected.Meta("status_code"); status != "" && rejected.Meta("http_error_from_intermediary") == "true" {
			return fmt.Errorf("%w: %s answers with HTTP status %s, which livekit-server did not send: look at ws_url and at proxies before it",
				ErrLiveKitUnreachable, where, status)
		}
		return fmt.Errorf("%w at %s: %w", ErrLiveKitUnreachable, where, cause(rejected))
	}
}

// cause digs the reason of a failed connection out of Twirp's error, which repeats method and URL.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op
	}
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return bad
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	if request, ok := errors.AsType[*url.Error](err); ok {
		return request.Err
	}
	return err
}

// retryable tells a server that is not up yet from one that will never do.
func retryable(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}
