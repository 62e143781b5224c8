package app

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWrongEventsAreToldWithTheirPlace(t *testing.T) {
	file := t.TempDir() + "/c.yaml"
	require.NoError(t, os.WriteFile(file, []byte(`events:
  urls: [https://ok.example.com, "http://app.example.com/hush", "https://me:hush@app.example.com"]
  api_key: unknown
  timeout: 1h
  max_attempts: 0
  max_age: 0s
  queue: 0
`), 0o600))
	_, err := parse(append([]string{"CONNECTOR_CONFIG_FILE=" + file}, minimal...))
	require.Error(t, err)
	require.Equal(t, `F:2: events.urls[1]: must begin with https:// unless events.allow_insecure is set: anybody on the way could read what is sent
F:2: events.urls[2]: must not hold a user or password: check the signature instead
F:3: events.api_key: unknown is neither api_key nor one of keys
F:4: events.timeout: 1h0m0s is not between 100ms and 30s
F:5: events.max_attempts: 0 is not between 1 and 100
F:6: events.max_age: 0s is not between 1s and 24h0m0s
F:7: events.queue: 0 is not between 1 and 100000`, strings.ReplaceAll(err.Error(), file, "F"))
	require.NotContains(t, err.Error(), "hush")
}

func TestWhoSignsEvents(t *testing.T) {
	line, err := parse(append([]string{"CONNECTOR_KEYS={other: theirs}", "CONNECTOR_EVENTS_API_KEY=other"}, minimal...))
	require.NoError(t, err)
	require.Equal(t, "other", line.Config.signer())
	line, err = parse(minimal)
	require.NoError(t, err)
	require.Equal(t, "key", line.Config.signer())
}
