package app

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestComponentsOfTheLogAreChecked(t *testing.T) {
	c := DefaultConfig()
	c.Logging.Components = map[string]string{"cal": "debug", "node": "loud", "call": "warn"}
	var v validation
	v.logging(&c.Logging)
	var texts []string
	for _, problem := range v.problems {
		texts = append(texts, problem.Error())
	}
	require.ElementsMatch(t, []string{
		`logging.components: there is no component "cal", did you mean call?`,
		`logging.components: node: "loud" is not one of debug, info, warn and error`,
	}, texts)
}

func TestLevelsOfTheLogChangeWhileItRuns(t *testing.T) {
	c := DefaultConfig()
	var out bytes.Buffer
	log := NewLogger(&c, &out)
	mux := http.NewServeMux()
	registerLogLevel(mux, log)
	ask := func(method, target string) (int, string) {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(method, target, nil))
		body, err := io.ReadAll(w.Body)
		require.NoError(t, err)
		return w.Code, string(body)
	}
	calls := log.With("component", "call")
	calls.Debug("before")
	status, body := ask(http.MethodPut, "/log/level?component=call&level=debug")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `"call":"debug"`)
	require.Contains(t, body, `"node":"info"`)
	calls.Debug("after")
	require.NotContains(t, out.String(), "before")
	require.Contains(t, out.String(), "after")
	require.Contains(t, out.String(), `msg="log level changed" of=call to=debug`)

	status, body = ask(http.MethodPut, "/log/level?component=cal&level=debug")
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, body, "did you mean call?")
	status, body = ask(http.MethodPut, "/log/level?component=call")
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, body, "level must be")
	_, body = ask(http.MethodGet, "/log/level")
	require.Contains(t, body, `"call":"debug"`)
}
