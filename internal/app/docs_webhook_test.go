package app

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/rules"
)

// TestWebhookDocumentsAreTrue loads the configuration and the rules that README.md and docs/webhook.md show.
func TestWebhookDocumentsAreTrue(t *testing.T) {
	shown := yamlOf(t, "../../docs/webhook.md")
	require.Len(t, shown, 3)
	loadNoCode(t, shown[0], shown[1])
	_, err := parse(append([]string{"CONNECTOR_CONFIG_BODY=" + shown[2]}, minimal...))
	require.NoError(t, err)

	shown = yamlOf(t, "../../README.md")
	require.Len(t, shown, 2)
	loadNoCode(t, shown[0], shown[1])
}

// yamlOf returns the YAML that a document shows, without the indentation of a list.
func yamlOf(t *testing.T, file string) (shown []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for i, part := range strings.Split(string(text), "```") {
		body, ok := strings.CutPrefix(part, "yaml\n")
		if !ok || i%2 == 0 {
			continue
		}
		if strings.HasPrefix(body, "   ") {
			body = strings.ReplaceAll("\n"+body, "\n   ", "\n")
		}
		shown = append(shown, body)
	}
	return shown
}

func loadNoCode(t *testing.T, config, set string) {
	t.Helper()
	_, err := rules.Parse("rules.yaml", []byte(set))
	require.NoError(t, err)
	file := t.TempDir() + "/rules.yaml"
	require.NoError(t, os.WriteFile(file, []byte(set), 0o600))
	_, err = parse([]string{"CONNECTOR_CONFIG_BODY=" + strings.Replace(config, "rules_file: rules.yaml", "rules_file: "+file, 1)})
	require.NoError(t, err)
}
