package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/stretchr/testify/require"
	"github.com/twitchtv/twirp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// sdk is one version of one of LiveKit's server SDKs, driven from outside with the options that applications write:
// protobuf's JSON names, which are also those of the Node SDK.
type sdk interface {
	// do makes a request. A failure of the SDK's is a *sdkError; any other error is the test's.
	do(ctx context.Context, method string, args options) (options, error)
}

// options are the arguments of a request, or the fields of an answer.
type options map[string]any

func (o options) with(more options) options {
	all := options{}
	maps.Copy(all, o)
	maps.Copy(all, more)
	return all
}

func (o options) text(key string) string { s, _ := o[key].(string); return s }

// sdkError is what an application sees of a failed request.
type sdkError struct {
	Type     string            `json:"type"`
	Status   int               `json:"status"`
	Code     string            `json:"code"`
	Message  string            `json:"message"`
	Metadata map[string]string `json:"metadata"`
}

func (e *sdkError) Error() string {
	return fmt.Sprintf("%s %d %s: %s", e.Type, e.Status, e.Code, e.Message)
}

// goSDK is the Go SDK that this module is built with.
type goSDK struct{ client *lksdk.ConnectorClient }

func newGoSDK(url, key, secret string) *goSDK {
	return &goSDK{client: lksdk.NewConnectorClient(url, key, secret)}
}

func (s *goSDK) do(ctx context.Context, method string, args options) (options, error) {
	body, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	switch method {
	case "dial":
		return send(ctx, body, &livekit.DialWhatsAppCallRequest{}, s.client.DialWhatsAppCall)
	case "accept":
		return send(ctx, body, &livekit.AcceptWhatsAppCallRequest{}, s.client.AcceptWhatsAppCall)
	case "connect":
		return send(ctx, body, &livekit.ConnectWhatsAppCallRequest{}, s.client.ConnectWhatsAppCall)
	case "disconnect":
		return send(ctx, body, &livekit.DisconnectWhatsAppCallRequest{}, s.client.DisconnectWhatsAppCall)
	case "twilio":
		return send(ctx, body, &livekit.ConnectTwilioCallRequest{}, s.client.ConnectTwilioCall)
	}
	return nil, fmt.Errorf("unknown method %q", method)
}

func send[Req, Res proto.Message](ctx context.Context, body []byte, req Req, call func(context.Context, Req) (Res, error)) (options, error) {
	if err := protojson.Unmarshal(body, req); err != nil {
		return nil, err
	}
	res, err := call(ctx, req)
	if err != nil {
		var te twirp.Error
		if !errors.As(err, &te) {
			return nil, err
		}
		return nil, &sdkError{
			Type: fmt.Sprintf("%T", te), Status: twirp.ServerHTTPStatusFromErrorCode(te.Code()),
			Code: string(te.Code()), Message: te.Msg(), Metadata: te.MetaMap(),
		}
	}
	b, err := protojson.Marshal(res)
	if err != nil {
		return nil, err
	}
	answer := options{}
	return answer, json.Unmarshal(b, &answer)
}

// driver is an SDK in another process: one request per line, one answer per line (see sdk/).
type driver struct {
	mu   sync.Mutex // one request at a time
	in   io.WriteCloser
	out  *bufio.Reader
	kill func() error
	// translate adapts the arguments to the SDK's own; nil leaves them.
	translate func(options) options
}

// startDriver runs an SDK's driver until the test ends. Where SDKs are is told by SDK_DIR; `make sdks` puts them there.
func startDriver(t *testing.T, translate func(options) options, url, key, secret, program string, args ...string) *driver {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "LIVEKIT_URL="+url, "LIVEKIT_API_KEY="+key, "LIVEKIT_API_SECRET="+secret)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start(), "run `make sdks`, which installs the SDKs that the tests drive")
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // it ends with its input; the test's context kills it if it does not
	})
	return &driver{in: in, out: bufio.NewReader(out), kill: cmd.Process.Kill, translate: translate}
}

// do asks the driver. If ctx ends first the driver is killed: nothing else ends its work.
func (d *driver) do(ctx context.Context, method string, args options) (options, error) {
	if d.translate != nil {
		args = d.translate(args)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	defer context.AfterFunc(ctx, func() { _ = d.kill() })()
	if err := json.NewEncoder(d.in).Encode(map[string]any{"method": method, "args": args}); err != nil {
		return nil, fmt.Errorf("ask the driver: %w", errors.Join(err, ctx.Err()))
	}
	var res struct {
		OK    options   `json:"ok"`
		Error *sdkError `json:"error"`
	}
	for res.OK == nil && res.Error == nil { // some libraries log in between
		line, err := d.out.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("read the driver's answer: %w", errors.Join(err, ctx.Err()))
		}
		if err := json.Unmarshal(line, &res); err != nil {
			return nil, fmt.Errorf("read the driver's answer: %w", err)
		}
	}
	if res.Error != nil {
		return nil, res.Error
	}
	return res.OK, nil
}

// A driver that does not answer costs a test its patience, and no more.
func TestDriverThatHangs(t *testing.T) {
	t.Parallel()
	d := startDriver(t, nil, "", "", "", "sleep", "600")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := d.do(ctx, "wait", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// sdkMaker starts one SDK against a connector.
type sdkMaker struct {
	name string
	// showsMeta: this version hands on the error's metadata; the first releases did not.
	showsMeta bool
	make      func(t *testing.T, url, key, secret string) sdk
}

// sdks are the versions that the tests speak with: the first with a connector client, the last before a change of the wire
// format, the newest.
func sdks() []sdkMaker {
	all := []sdkMaker{{"go 2.18.1", true, func(_ *testing.T, url, key, secret string) sdk { return newGoSDK(url, key, secret) }}}
	all = append(all, sdkMaker{"go 2.16.7", true, func(t *testing.T, url, key, secret string) sdk {
		return startDriver(t, nil, url, key, secret, filepath.Join(sdkDir(), "go-2.16.7", "driver"))
	}})
	for _, v := range []string{"2.15.0", "2.17.0", "2.19.2"} {
		all = append(all, sdkMaker{"node " + v, v != "2.15.0", func(t *testing.T, url, key, secret string) sdk {
			return startDriver(t, forNode, url, key, secret, "node", filepath.Join(sdkDir(), "node", "driver.mjs"), "livekit-server-sdk-"+v)
		}})
	}
	for _, v := range []string{"1.1.0", "1.2.2"} {
		all = append(all, sdkMaker{"python " + v, true, func(t *testing.T, url, key, secret string) sdk {
			return startDriver(t, nil, url, key, secret, filepath.Join(sdkDir(), "python-"+v, "bin", "python"), filepath.Join("sdk", "python", "driver.py"))
		}})
	}
	return all
}

// forNode: the Node SDK takes the ringing timeout as a number of seconds.
func forNode(args options) options {
	if s := args.text("ringingTimeout"); s != "" {
		var seconds int
		if _, err := fmt.Sscanf(s, "%ds", &seconds); err == nil {
			return args.with(options{"ringingTimeout": seconds})
		}
	}
	return args
}

func sdkDir() string {
	if dir := os.Getenv("SDK_DIR"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", ".cache", "sdk")
}
