// Command driver makes requests through an older LiveKit Go SDK: one JSON request per line in, one result per line out.
//
// v2.16.7 is the last release that signs Connect and Disconnect with an empty grant. It has a module of its own because
// no two versions of an SDK go into one binary.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/twitchtv/twirp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

type failure struct {
	Type     string            `json:"type"`
	Status   int               `json:"status"`
	Code     string            `json:"code"`
	Message  string            `json:"message"`
	Metadata map[string]string `json:"metadata"`
}

func main() {
	c := lksdk.NewConnectorClient(os.Getenv("LIVEKIT_URL"), os.Getenv("LIVEKIT_API_KEY"), os.Getenv("LIVEKIT_API_SECRET"))
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var req struct {
			Method string          `json:"method"`
			Args   json.RawMessage `json:"args"`
		}
		if err := json.Unmarshal(in.Bytes(), &req); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		res, err := call(c, req.Method, req.Args)
		out := map[string]any{"ok": json.RawMessage("{}")}
		if err != nil {
			out = map[string]any{"error": describe(err)}
		} else if b, err := protojson.Marshal(res); err == nil {
			out["ok"] = json.RawMessage(b)
		}
		if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
			os.Exit(1)
		}
	}
}

func call(c *lksdk.ConnectorClient, method string, args []byte) (proto.Message, error) {
	ctx := context.Background()
	switch method {
	case "dial":
		r := &livekit.DialWhatsAppCallRequest{}
		return do(args, r, func() (proto.Message, error) { return c.DialWhatsAppCall(ctx, r) })
	case "accept":
		r := &livekit.AcceptWhatsAppCallRequest{}
		return do(args, r, func() (proto.Message, error) { return c.AcceptWhatsAppCall(ctx, r) })
	case "connect":
		r := &livekit.ConnectWhatsAppCallRequest{}
		return do(args, r, func() (proto.Message, error) { return c.ConnectWhatsAppCall(ctx, r) })
	case "disconnect":
		r := &livekit.DisconnectWhatsAppCallRequest{}
		return do(args, r, func() (proto.Message, error) { return c.DisconnectWhatsAppCall(ctx, r) })
	case "twilio":
		r := &livekit.ConnectTwilioCallRequest{}
		return do(args, r, func() (proto.Message, error) { return c.ConnectTwilioCall(ctx, r) })
	}
	return nil, fmt.Errorf("unknown method %q", method)
}

func do(args []byte, r proto.Message, send func() (proto.Message, error)) (proto.Message, error) {
	if err := protojson.Unmarshal(args, r); err != nil {
		return nil, err
	}
	return send()
}

func describe(err error) failure {
	f := failure{Type: fmt.Sprintf("%T", err), Message: err.Error(), Metadata: map[string]string{}}
	var te twirp.Error
	if errors.As(err, &te) {
		f.Code, f.Message, f.Metadata = string(te.Code()), te.Msg(), te.MetaMap()
		f.Status = twirp.ServerHTTPStatusFromErrorCode(te.Code())
	}
	return f
}
