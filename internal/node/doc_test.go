package node

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// A document that is not executed is false soon.
func TestTheManualKnowsEveryAttributeAndKey(t *testing.T) {
	text, err := os.ReadFile("../../docs/calls.md")
	require.NoError(t, err)
	for _, name := range []string{
		attributeCallID, attributeDirection, attributePhoneNumberID, attributePhoneNumber, attributeUserID, attributeCTAPayload,
		attributeDeeplinkPayload, attributeRequestTime, call.AttributeStatus, call.AttributeAnswerTime, call.AttributeEndReason,
		call.AttributeEndCode, call.StatusDialing, call.StatusRinging, call.StatusActive, call.StatusHangup, connectorpb.AttributeMedia,
		connectorpb.AttributeRecording, connectorpb.AttributeTranscription, connectorpb.AttributeRecipient,
		metaRemedy, metaRetryAfter, metaPermissionRequest, metaPermissionMessage, metaPermissionCode,
		requestSent, requestOff, requestTooSoon, requestFailed,
		whatsapp.RemedyRetry.String(), whatsapp.RemedyOperator.String(), whatsapp.RemedyPermission.String(), whatsapp.RemedyGiveUp.String(),
	} {
		require.Contains(t, string(text), "`"+name+"`")
	}
}

func TestTheManualsOrdersAreTaken(t *testing.T) {
	text, err := os.ReadFile("../../docs/calls.md")
	require.NoError(t, err)
	examples := regexp.MustCompile("`(\\{\"[^`]+\\})`").FindAllSubmatch(text, -1)
	require.Len(t, examples, 2)
	n := &Node{opts: Options{Recording: enabled}}
	got, err := n.orders(map[string]string{connectorpb.AttributeRecording: string(examples[0][1])}, call.Outbound)
	require.NoError(t, err)
	require.Equal(t, enabled, got.recording)
	got, err = n.orders(map[string]string{connectorpb.AttributeRecording: string(examples[1][1])}, call.Outbound)
	require.NoError(t, err)
	require.Nil(t, got.recording)
	recipient := regexp.MustCompile("`(US\\.[0-9]+)`").FindSubmatch(text)
	require.NotNil(t, recipient)
	got, err = n.orders(map[string]string{connectorpb.AttributeRecipient: string(recipient[1])}, call.Outbound)
	require.NoError(t, err)
	require.Equal(t, string(recipient[1]), got.recipient)
}
