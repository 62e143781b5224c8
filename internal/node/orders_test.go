package node

import (
	"maps"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

const captureText = `{"purpose": "quality assurance", "announcement_language": "en_US"}`

var enabled = &whatsapp.Capture{Status: "ENABLED", Purpose: "quality assurance", AnnouncementLanguage: "en_US"}

func TestOrdersComeFromTheRequestElseTheConfiguration(t *testing.T) {
	for name, tt := range map[string]struct {
		configured *whatsapp.Capture
		attributes map[string]string
		want       *whatsapp.Capture
	}{
		"neither":                      {},
		"configured":                   {configured: enabled, want: enabled},
		"asked for":                    {attributes: map[string]string{connectorpb.AttributeRecording: captureText}, want: enabled},
		"asked for in Meta's own form": {attributes: map[string]string{connectorpb.AttributeRecording: `{"status":"ENABLED",` + captureText[1:]}, want: enabled},
		"declined":                     {configured: enabled, attributes: map[string]string{connectorpb.AttributeRecording: `{"status":"DISABLED"}`}},
	} {
		t.Run(name, func(t *testing.T) {
			n := &Node{opts: Options{Recording: tt.configured}}
			got, err := n.orders(tt.attributes, call.Inbound)
			require.NoError(t, err)
			require.Equal(t, orders{recording: tt.want}, got)

			n = &Node{opts: Options{Transcription: tt.configured}}
			attributes := map[string]string{}
			if text, asked := tt.attributes[connectorpb.AttributeRecording]; asked {
				attributes[connectorpb.AttributeTranscription] = text
			}
			got, err = n.orders(attributes, call.Outbound)
			require.NoError(t, err)
			require.Equal(t, orders{transcription: tt.want}, got)
		})
	}
}

func TestOrdersThatCannotBeFollowed(t *testing.T) {
	const recording, recipient = connectorpb.AttributeRecording, connectorpb.AttributeRecipient
	for name, tt := range map[string]struct {
		attribute, value string
		direction        call.Direction
		says             string
	}{
		"no JSON":            {recording, `yes`, call.Inbound, "it is not JSON"},
		"nothing":            {recording, ``, call.Inbound, "it is not JSON"},
		"no object":          {recording, `true`, call.Inbound, "it is not a JSON object"},
		"more than one":      {recording, captureText + captureText, call.Inbound, "something behind"},
		"no purpose":         {recording, `{"announcement_language":"en_US"}`, call.Inbound, "needs a purpose"},
		"no language":        {connectorpb.AttributeTranscription, `{"purpose":"x"}`, call.Outbound, "announcement_language"},
		"another key":        {recording, `{"language":"en_US"}`, call.Inbound, `unknown field "language"`},
		"another type":       {recording, `{"purpose":1}`, call.Inbound, "purpose must be text"},
		"another status":     {recording, `{"status":"on"}`, call.Inbound, "ENABLED or DISABLED"},
		"nobody to dial":     {recipient, ``, call.Outbound, "user ID"},
		"a number":           {recipient, "15550002222", call.Outbound, "user ID"},
		"no country":         {recipient, ".1349", call.Outbound, "user ID"},
		"somebody to accept": {recipient, "US.1349", call.Inbound, "DialWhatsAppCall alone"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := (&Node{}).orders(map[string]string{tt.attribute: tt.value}, tt.direction)
			requireCode(t, psrpc.InvalidArgument, err)
			require.ErrorContains(t, err, tt.attribute)
			require.ErrorContains(t, err, tt.says)
		})
	}
}

func TestOrdersReachMetaAndNotTheRoom(t *testing.T) {
	s := newStand(t)
	req := dialRequest()
	given := map[string]string{
		connectorpb.AttributeRecording: captureText, connectorpb.AttributeTranscription: captureText,
		connectorpb.AttributeRecipient: "US.13491208655302741918", "mine": "stays",
	}
	req.GetDial().ParticipantAttributes, req.GetDial().WhatsappToPhoneNumber = maps.Clone(given), ""
	failed := make(chan error, 1)
	go func() {
		_, err := s.StartCall(wait(t), req)
		failed <- err
	}()
	require.Equal(t, "connect", s.next(t))
	e := s.made(t)
	for name := range given {
		require.Equal(t, name == "mine", e.who.attributes[name] != "", name)
	}
	s.mu.Lock()
	body := s.bodies[0]
	s.mu.Unlock()
	const captured = `{"status":"ENABLED","purpose":"quality assurance","announcement_language":"en_US"}`
	require.Contains(t, body, `"recording":`+captured)
	require.Contains(t, body, `"transcription":`+captured)
	require.Contains(t, body, `"recipient":"US.13491208655302741918"`)
	require.NotContains(t, body, `"to"`)
	e.call.End(call.ReasonUserHangup, nil)
	require.Error(t, <-failed)
}

func TestPlanBoundsACall(t *testing.T) {
	own := call.Timeouts{MaxDuration: time.Hour, Alone: time.Minute}
	require.Equal(t, own, planned(own, nil))
	require.Equal(t, own, planned(own, &connectorpb.CallPlan{}))
	require.Equal(t, call.Timeouts{MaxDuration: time.Second}, planned(own, &connectorpb.CallPlan{
		MaxDuration: durationpb.New(time.Second), AloneTimeout: durationpb.New(0),
	}))
}

func TestParticipantTellsWhatItMay(t *testing.T) {
	o := own{
		callID: "wacid.x", direction: call.Inbound, status: call.StatusRinging, phoneNumberID: "1", userNumber: "2", userID: "US.3",
		ctaPayload: "from the button", deeplinkPayload: "from the link", requested: time.UnixMilli(4),
	}
	want := map[string]string{
		"whatsapp.callID": "wacid.x", "whatsapp.direction": "inbound", "whatsapp.callStatus": "ringing",
		"whatsapp.ctaPayload": "from the button", "whatsapp.deeplinkPayload": "from the link",
		"lk.connector.requestTime": "4", "mine": "too",
	}
	given := map[string]string{"mine": "too", "whatsapp.callID": "forged", connectorpb.AttributeRecording: "x"}
	require.Equal(t, want, (&Node{}).attributes(given, o))
	want["whatsapp.phoneNumberID"], want["whatsapp.phoneNumber"], want["whatsapp.userID"] = "1", "2", "US.3"
	require.Equal(t, want, (&Node{opts: Options{NumberAttributes: true}}).attributes(given, o))
}

// The plan's room and the statuses of the number reach the call.
func TestPlanReachesTheCall(t *testing.T) {
	var asked string
	s := newStandWith(t, func(o *Options) {
		o.StatusesSeen = func(id string) bool { asked = id; return true }
	})
	config := &livekit.RoomConfiguration{EmptyTimeout: 7}
	req := dialRequest()
	req.Plan = &connectorpb.CallPlan{Rule: "sales", Room: config}
	failed := make(chan error, 1)
	go func() {
		_, err := s.StartCall(wait(t), req)
		failed <- err
	}()
	require.Equal(t, "connect", s.next(t))
	e := s.made(t)
	require.Equal(t, "1000555000111", asked)
	require.Equal(t, "sales", e.rule)
	require.Equal(t, uint32(7), e.who.roomConfig.GetEmptyTimeout())
	e.call.End(call.ReasonUserHangup, nil)
	require.Error(t, <-failed)
}
