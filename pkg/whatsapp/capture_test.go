package whatsapp_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

func TestParseCapture(t *testing.T) {
	got, err := whatsapp.ParseCapture(`{"purpose": "training", "announcement_language": "en_US"}`)
	require.NoError(t, err)
	require.Equal(t, &whatsapp.Capture{Status: "ENABLED", Purpose: "training", AnnouncementLanguage: "en_US"}, got)
	got, err = whatsapp.ParseCapture(`{"status": "DISABLED"}`)
	require.NoError(t, err)
	require.Nil(t, got)
	for text, want := range map[string]string{
		"":                      "it is not JSON",
		"[]":                    "it is not a JSON object",
		`{"purpose": 1}`:        "purpose must be text",
		`{"language": "en"}`:    `unknown field "language"`,
		`{"status": ""}`:        "it.status must be ENABLED or DISABLED",
		`{"purpose": "x"}`:      "it needs a purpose and an announcement_language",
		`{"purpose": "x"} null`: "there is something behind the JSON object",
	} {
		_, err = whatsapp.ParseCapture(text)
		require.EqualError(t, err, want, text)
	}
}
