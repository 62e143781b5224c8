package notify

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// contentType is that of LiveKit's webhooks. It is not application/json, so that no framework parses the body before its
// signature is checked.
const contentType = "application/webhook+json"

// tokenLife is how long a request's signature is good, as long as LiveKit's own.
const tokenLife = 5 * time.Minute

// delivery is one event on its way, the same for all URLs. It is not changed once made.
type delivery struct {
	event  Event
	callID string
	at     time.Time
	body   []byte
	digest string // base64 of the body's SHA-256
}

// newDelivery writes an event: livekit.WebhookEvent in JSON, with the call's record as one more member. LiveKit's
// receivers leave out what they do not know.
func newDelivery(event Event, r *connectorpb.CallRecord) (*delivery, error) {
	if !slices.Contains(Events(), event) {
		return nil, errors.New("there is no such event")
	}
	now := time.Now()
	envelope, err := marshal(protojson.MarshalOptions{}, &livekit.WebhookEvent{
		Event: string(event), Id: "EV_" + rand.Text(), CreatedAt: now.Unix(),
		Room: &livekit.Room{Sid: r.GetRoomSid(), Name: r.GetRoomName()},
		Participant: &livekit.ParticipantInfo{
			Sid: r.GetParticipantSid(), Identity: r.GetParticipantIdentity(), Name: r.GetParticipantName(), Attributes: r.GetAttributes(),
			State: presence(event), Kind: livekit.ParticipantInfo_CONNECTOR,
			KindDetails: []livekit.ParticipantInfo_KindDetail{livekit.ParticipantInfo_CONNECTOR_WHATSAPP},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("write the event: %w", err)
	}
	// Numbers that are zero say something here: no packet was lost, none came.
	record, err := marshal(protojson.MarshalOptions{EmitDefaultValues: true}, r)
	if err != nil {
		return nil, fmt.Errorf("write the call's record: %w", err)
	}
	body := append(bytes.TrimSuffix(envelope, []byte("}")), `,"call":`...)
	body = append(append(body, record...), '}')
	sum := sha256.Sum256(body)
	return &delivery{
		event: event, callID: r.GetCallId(), at: now, body: body, digest: base64.StdEncoding.EncodeToString(sum[:]),
	}, nil
}

// marshal writes a message without the spaces that protojson puts in at random.
func marshal(o protojson.MarshalOptions, m proto.Message) ([]byte, error) {
	text, err := o.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// presence is what the state of the caller's participant is, as far as an event tells.
func presence(event Event) livekit.ParticipantInfo_State {
	switch event {
	case Answered:
		return livekit.ParticipantInfo_ACTIVE
	case Ended:
		return livekit.ParticipantInfo_DISCONNECTED
	default:
		return livekit.ParticipantInfo_JOINING
	}
}

// sign returns the Authorization header of a request with this delivery, as LiveKit's webhooks have it: a token that
// holds the body's digest.
func (d *delivery) sign(key, secret string) (string, error) {
	token, err := auth.NewAccessToken(key, secret).SetValidFor(tokenLife).SetSha256(d.digest).ToJWT()
	if err != nil {
		return "", fmt.Errorf("sign the event: %w", err)
	}
	return token, nil
}
