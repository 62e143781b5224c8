package app

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/rules"
)

// TestWebhookDocumentIsTrue loads the configuration and the rules that docs/webhook.md shows.
func TestWebhookDocumentIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/webhook.md")
	require.NoError(t, err)
	var shown []string
	for i, part := range strings.Split(string(text), "```") {
		if body, ok := strings.CutPrefix(part, "yaml\n"); ok && i%2 == 1 {
			shown = append(shown, body)
		}
	}
	require.Len(t, shown, 3)
	for i := range shown[:2] { // indented as part of a list
		shown[i] = strings.ReplaceAll("\n"+shown[i], "\n   ", "\n")
	}
	_, err = rules.Parse("rules.yaml", []byte(shown[1]))
	require.NoError(t, err)
	file := t.TempDir() + "/rules.yaml"
	require.NoError(t, os.WriteFile(file, []byte(shown[1]), 0o600))
	config := strings.Replace(shown[0], "rules_file: rules.yaml", "rules_file: "+file, 1)
	_, err = parse([]string{"CONNECTOR_CONFIG_BODY=" + config})
	require.NoError(t, err)
	_, err = parse(append([]string{"CONNECTOR_CONFIG_BODY=" + shown[2]}, minimal...))
	require.NoError(t, err)
}
