package whatsapp_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// codeTable is Meta's table of calling errors with the HTTP status it documents, and the Graph errors any request can meet. unknown says
// whether a connect with this error may have placed a call.
var codeTable = []struct {
	code, status int
	remedy       whatsapp.Remedy
	unknown      bool
}{
	{100, 400, whatsapp.RemedyGiveUp, false},
	{613, 429, whatsapp.RemedyRetry, false},
	{131009, 400, whatsapp.RemedyGiveUp, false},
	{131030, 400, whatsapp.RemedyOperator, false},
	{131044, 400, whatsapp.RemedyOperator, false},
	{131055, 400, whatsapp.RemedyOperator, false},
	{138000, 401, whatsapp.RemedyOperator, false},
	{138001, 400, whatsapp.RemedyGiveUp, false},
	{138002, 429, whatsapp.RemedyRetry, false},
	{138003, 400, whatsapp.RemedyGiveUp, false},
	{138004, 500, whatsapp.RemedyRetry, false},
	{138005, 429, whatsapp.RemedyRetry, false},
	{138006, 401, whatsapp.RemedyPermission, false},
	{138006, 400, whatsapp.RemedyPermission, false},
	{138007, 500, whatsapp.RemedyGiveUp, false},
	{138008, 400, whatsapp.RemedyGiveUp, false},
	{138009, 400, whatsapp.RemedyGiveUp, false},
	{138011, 400, whatsapp.RemedyGiveUp, false},
	{138012, 400, whatsapp.RemedyGiveUp, false},
	{138013, 400, whatsapp.RemedyOperator, false},
	{138014, 400, whatsapp.RemedyOperator, false},
	{138015, 400, whatsapp.RemedyOperator, false},
	{138017, 400, whatsapp.RemedyGiveUp, false},
	{138018, 400, whatsapp.RemedyOperator, false},
	{138019, 400, whatsapp.RemedyRetry, false},
	{138020, 400, whatsapp.RemedyRetry, false},
	{138021, 400, whatsapp.RemedyOperator, false},
	{138022, 400, whatsapp.RemedyRetry, false},
	{138023, 400, whatsapp.RemedyOperator, false},
	{190, 401, whatsapp.RemedyOperator, false},
	{4, 400, whatsapp.RemedyRetry, false},
	{80007, 400, whatsapp.RemedyRetry, false},
	{130429, 400, whatsapp.RemedyRetry, false},
	{131000, 500, whatsapp.RemedyRetry, true},
	{131016, 503, whatsapp.RemedyRetry, true},
	{2, 500, whatsapp.RemedyRetry, true},
	{10, 403, whatsapp.RemedyOperator, false},
	{200, 403, whatsapp.RemedyOperator, false},
	{299, 403, whatsapp.RemedyOperator, false},
	{777777, 400, whatsapp.RemedyGiveUp, false},
	{777777, 401, whatsapp.RemedyOperator, false},
	{777777, 429, whatsapp.RemedyRetry, false},
	{777777, 502, whatsapp.RemedyRetry, true},
	{777777, 408, whatsapp.RemedyRetry, true},
}

func TestEveryCodeHasItsRemedy(t *testing.T) {
	for _, row := range codeTable {
		t.Run(fmt.Sprintf("%d with status %d", row.code, row.status), func(t *testing.T) {
			g := newGraph(t, refuse(row.status, row.code, fmt.Sprintf("(#%d) words", row.code), "specifics"))
			c := newClient(t, whatsapp.Options{BaseURL: g.URL})
			id, err := c.Connect(t.Context(), creds, whatsapp.ConnectRequest{To: number, Offer: offer})
			require.Empty(t, id)
			var e *whatsapp.APIError
			require.ErrorAs(t, err, &e)
			require.Equal(t, row.status, e.HTTPStatus)
			require.Equal(t, row.code, e.Code)
			require.Equal(t, 2494010, e.Subcode)
			require.Equal(t, "OAuthException", e.Type)
			require.Equal(t, fmt.Sprintf("(#%d) words", row.code), e.Message)
			require.Equal(t, "specifics", e.Details)
			require.Equal(t, "AbC123", e.TraceID)
			require.Equal(t, row.remedy, e.Remedy(), e.Remedy().String())
			if row.unknown {
				require.ErrorIs(t, err, whatsapp.ErrOutcomeUnknown)
			} else {
				require.NotErrorIs(t, err, whatsapp.ErrOutcomeUnknown)
			}
			require.Len(t, g.requests(), 1, "connect is sent once")
			if row.code != 777777 {
				require.Equal(t, row.remedy, whatsapp.Failure{Code: row.code}.Remedy())
			}
		})
	}
}

func TestErrorTextNamesWhatOneLooksFor(t *testing.T) {
	g := newGraph(t, refuse(401, 138006, "No approved call permission found", "ask first"))
	_, err := newClient(t, whatsapp.Options{BaseURL: g.URL}).Connect(t.Context(), creds, whatsapp.ConnectRequest{To: number, Offer: offer})
	require.EqualError(t, err, "graph connect: whatsapp: graph error 138006 (HTTP 401, subcode 2494010): "+
		"No approved call permission found: ask first [fbtrace_id AbC123]")
}

func TestAnswersThatAreNoGraphErrors(t *testing.T) {
	tests := map[string]struct {
		answer  http.HandlerFunc
		status  int
		remedy  whatsapp.Remedy
		unknown bool
		outcome string
	}{
		"HTML of a proxy":       {respond(502, "<html>Bad Gateway</html>"), 502, whatsapp.RemedyRetry, true, whatsapp.OutcomeUpstreamError},
		"empty server error":    {respond(500, ""), 500, whatsapp.RemedyRetry, true, whatsapp.OutcomeUpstreamError},
		"garbage with 400":      {respond(400, "{nope"), 400, whatsapp.RemedyGiveUp, false, whatsapp.OutcomeClientError},
		"403 of a firewall":     {respond(403, "blocked"), 403, whatsapp.RemedyOperator, false, whatsapp.OutcomeClientError},
		"error of a wrong type": {respond(400, `{"error":["x"]}`), 400, whatsapp.RemedyGiveUp, false, whatsapp.OutcomeClientError},
		"HTML with 200":         {respond(200, "<html>log in</html>"), 200, whatsapp.RemedyGiveUp, true, whatsapp.OutcomeUpstreamError},
		"null with 200":         {respond(200, " null "), 200, whatsapp.RemedyGiveUp, true, whatsapp.OutcomeUpstreamError},
		"array with 200":        {respond(200, "[]"), 200, whatsapp.RemedyGiveUp, true, whatsapp.OutcomeUpstreamError},
		"empty 200":             {respond(200, ""), 200, whatsapp.RemedyGiveUp, true, whatsapp.OutcomeUpstreamError},
		"two MiB":               {respond(200, `{"x":"`+strings.Repeat("a", 2<<20)+`"}`), 200, whatsapp.RemedyGiveUp, true, whatsapp.OutcomeUpstreamError},
		"success false":         {respond(200, `{"success":false}`), 200, whatsapp.RemedyGiveUp, false, whatsapp.OutcomeClientError},
		"429 without a word":    {respond(429, ""), 429, whatsapp.RemedyRetry, false, whatsapp.OutcomeRateLimited},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, 307, whatsapp.RemedyGiveUp, false, whatsapp.OutcomeUpstreamError},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGraph(t, test.answer)
			var s seen
			c := newClient(t, whatsapp.Options{BaseURL: g.URL, OnRequest: s.hook})
			_, err := c.Connect(t.Context(), creds, whatsapp.ConnectRequest{To: number, Offer: offer})
			var e *whatsapp.APIError
			require.ErrorAs(t, err, &e)
			require.Zero(t, e.Code)
			require.Equal(t, test.status, e.HTTPStatus)
			require.Equal(t, test.remedy, e.Remedy())
			if test.unknown {
				require.ErrorIs(t, err, whatsapp.ErrOutcomeUnknown)
			} else {
				require.NotErrorIs(t, err, whatsapp.ErrOutcomeUnknown)
			}
			require.Len(t, g.requests(), 1)
			require.Equal(t, []string{"connect " + test.outcome}, s.all())
		})
	}
}

func TestErrorObjectWithOddTypes(t *testing.T) {
	g := newGraph(t, respond(200, `{"error":{"message":7,"code":"138006","error_subcode":"12","error_data":"words","fbtrace_id":["T"],
		"is_transient":"true","type":{}}}`))
	_, err := newClient(t, whatsapp.Options{BaseURL: g.URL}).Connect(t.Context(), creds, whatsapp.ConnectRequest{To: number, Offer: offer})
	var e *whatsapp.APIError
	require.ErrorAs(t, err, &e)
	require.Equal(t, &whatsapp.APIError{
		HTTPStatus: 200, Code: 138006, Subcode: 12, Message: "7", Details: "words", TraceID: "T", Transient: true,
	}, e)
	require.NotErrorIs(t, err, whatsapp.ErrOutcomeUnknown)
	require.Equal(t, whatsapp.RemedyPermission, e.Remedy())
	require.Equal(t, whatsapp.RemedyRetry, (&whatsapp.APIError{HTTPStatus: 400, Code: 777777, Transient: true}).Remedy())
}

func TestLongTextsAreCut(t *testing.T) {
	g := newGraph(t, refuse(400, 100, strings.Repeat("né ", 1000), "\x00\x1b[31m"))
	_, err := newClient(t, whatsapp.Options{BaseURL: g.URL}).Connect(t.Context(), creds, whatsapp.ConnectRequest{To: number, Offer: offer})
	require.Less(t, len(err.Error()), 1000)
	require.NotContains(t, err.Error(), "\x1b")
}

func TestRetryAfterIsRead(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"7": 7 * time.Second, "0": 0, "-3": 0, "soon": 0, "86400": time.Minute, "99999999999999": 0,
		time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat): 0,
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat):  time.Minute,
	} {
		g := newGraph(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", header)
			refuse(429, 138005, "later", "")(w, r)
		})
		_, err := newClient(t, whatsapp.Options{BaseURL: g.URL}).Connect(t.Context(), creds, whatsapp.ConnectRequest{To: number, Offer: offer})
		var e *whatsapp.APIError
		require.ErrorAs(t, err, &e)
		require.Equal(t, want, e.RetryAfter, header)
	}
}
