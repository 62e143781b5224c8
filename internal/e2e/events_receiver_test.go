package e2e_test

// What docs/events.md shows as a receiver in Go is in this file, and the tests run it.

import (
	"encoding/json"
	"net/http"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/webhook"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// The receiver of docs/events.md, from here.

// receive hands on the events that are signed with one of keys.
func receive(keys auth.KeyProvider, got func(*livekit.WebhookEvent, *connectorpb.CallRecord)) http.HandlerFunc {
	lenient := protojson.UnmarshalOptions{DiscardUnknown: true}
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := webhook.Receive(r, keys)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		var (
			event  livekit.WebhookEvent
			record connectorpb.CallRecord
			more   struct {
				Call json.RawMessage `json:"call"`
			}
		)
		if lenient.Unmarshal(body, &event) != nil || json.Unmarshal(body, &more) != nil ||
			lenient.Unmarshal(more.Call, &record) != nil {
			http.Error(w, "not an event of a call", http.StatusBadRequest)
			return
		}
		got(&event, &record)
	}
}

// To here.
