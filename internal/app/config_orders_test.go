package app

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

func TestWhatIsAskedOfMeta(t *testing.T) {
	line, err := parse(append([]string{
		"CONNECTOR_WHATSAPP_RECORDING_ENABLED=true", "CONNECTOR_WHATSAPP_RECORDING_PURPOSE=quality assurance",
		"CONNECTOR_WHATSAPP_RECORDING_ANNOUNCEMENT_LANGUAGE=en_US", "CONNECTOR_WHATSAPP_TRANSCRIPTION_PURPOSE=not enabled",
		"CONNECTOR_WHATSAPP_PERMISSION_REQUEST_TEXT=not enabled",
	}, minimal...))
	require.NoError(t, err)
	c := &line.Config.WhatsApp
	require.Equal(t, &whatsapp.Capture{Status: "ENABLED", Purpose: "quality assurance", AnnouncementLanguage: "en_US"}, c.Recording.capture())
	require.Nil(t, c.Transcription.capture())
	require.Empty(t, c.PermissionRequest.text())
	c.PermissionRequest = PermissionRequestConfig{Enabled: true, Text: "May we call?"}
	require.Equal(t, "May we call?", c.PermissionRequest.text())
}

func TestWhatCannotBeAskedOfMeta(t *testing.T) {
	long := strings.Repeat("é", 1025)
	for name, tt := range map[string]struct {
		change func(*WhatsAppConfig)
		says   string
	}{
		"no purpose": {
			func(c *WhatsAppConfig) { c.Recording = CaptureConfig{Enabled: true, AnnouncementLanguage: "en_US"} },
			"whatsapp.recording.purpose: is missing",
		},
		"no language": {
			func(c *WhatsAppConfig) { c.Transcription = CaptureConfig{Enabled: true, Purpose: "x"} },
			"whatsapp.transcription.announcement_language: is missing",
		},
		"a long purpose": {
			func(c *WhatsAppConfig) {
				c.Recording = CaptureConfig{Enabled: true, Purpose: long, AnnouncementLanguage: "en_US"}
			},
			"whatsapp.recording.purpose: is longer",
		},
		"nothing to ask": {
			func(c *WhatsAppConfig) { c.PermissionRequest = PermissionRequestConfig{Enabled: true, Text: " "} },
			"whatsapp.permission_request.text: is missing",
		},
		"too much to ask": {
			func(c *WhatsAppConfig) { c.PermissionRequest = PermissionRequestConfig{Enabled: true, Text: long} },
			"whatsapp.permission_request.text: has 1025 characters",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := DefaultConfig()
			tt.change(&c.WhatsApp)
			require.ErrorContains(t, c.Validate(), tt.says)
		})
	}
}
