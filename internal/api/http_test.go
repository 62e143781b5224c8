package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/livekit/protocol/livekit"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/livekit-connector/livekit-connector/internal/api"
)

func (s *stand) send(tb testing.TB, method, path string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), method, "http://connector"+path, nil)
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestPathsWithTooManySlashes(t *testing.T) {
	inBubble(t, newNode(), func(t *testing.T, s *stand) {
		for _, path := range []string{
			"//twirp/livekit.Connector/DialWhatsAppCall", "/twirp//livekit.Connector///DialWhatsAppCall",
		} {
			w := s.post(t, encodings[0], dialMethod, dial(), func(r *http.Request) { r.URL.Path = path })
			require.Equal(t, 200, w.Code, path)
		}
		for _, path := range []string{"/base/twirp/livekit.Connector/DialWhatsAppCall", "/livekit.Connector/DialWhatsAppCall"} {
			w := s.post(t, encodings[0], dialMethod, dial(), func(r *http.Request) { r.URL.Path = path })
			requireFailure(t, failure{404, "bad_route", "proxy_livekit: true", nil}, w)
		}
		for _, path := range []string{"/twirp/livekit.Connector", "/twirp/livekit.Connector/", "/twirp/livekit.Connector/a/DialWhatsAppCall"} {
			w := s.post(t, encodings[0], dialMethod, dial(), func(r *http.Request) { r.URL.Path = path })
			requireFailure(t, failure{404, "bad_route", "livekit.Connector has no method", nil}, w)
		}
	})
}

func TestOtherPathsSayWhatToDo(t *testing.T) {
	s := newStand(t, newNode())
	for _, path := range []string{"/", "/rtc", "/twirp/livekit.RoomService/ListRooms"} {
		requireFailure(t, failure{404, "bad_route", "reverse proxy", nil}, s.send(t, http.MethodPost, path))
	}
	require.NotContains(t, s.log.String(), "api request", "only the connector's own are logged")
}

func TestRegions(t *testing.T) {
	s := newStand(t, newNode())
	w := s.send(t, http.MethodGet, "/settings/regions", header("Authorization", "Bearer x"))
	require.Equal(t, 200, w.Code)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.JSONEq(t, `{"regions":[]}`, w.Body.String())
	require.Equal(t, "*", w.Header().Get("Access-Control-Allow-Origin"))
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), new(struct{})))
}

func TestBrowsersMayCall(t *testing.T) {
	inBubble(t, newNode(), func(t *testing.T, s *stand) {
		for _, path := range []string{livekit.ConnectorPathPrefix + dialMethod, "/settings/regions", "/elsewhere"} {
			w := s.send(t, http.MethodOptions, path, header("Origin", "https://app.example"),
				header("Access-Control-Request-Method", "POST"),
				header("Access-Control-Request-Headers", "authorization,content-type,x-livekit-request-id"))
			require.Equal(t, http.StatusNoContent, w.Code)
			require.Empty(t, w.Body.String())
			require.Equal(t, "*", w.Header().Get("Access-Control-Allow-Origin"))
			require.Contains(t, w.Header().Get("Access-Control-Allow-Methods"), "POST")
			require.Equal(t, "authorization,content-type,x-livekit-request-id", w.Header().Get("Access-Control-Allow-Headers"))
			require.Equal(t, "86400", w.Header().Get("Access-Control-Max-Age"))
		}
		for _, w := range []*httptest.ResponseRecorder{
			s.post(t, encodings[0], dialMethod, dial(), header("Origin", "https://app.example")),
			s.post(t, encodings[0], dialMethod, dial(), header("Authorization", "")),
		} {
			require.Equal(t, "*", w.Header().Get("Access-Control-Allow-Origin"))
			require.Equal(t, "*", w.Header().Get("Access-Control-Expose-Headers"))
		}
	})
}

func TestMetrics(t *testing.T) {
	inBubble(t, newNode(), func(t *testing.T, s *stand) {
		count, err := testutil.GatherAndCount(s.reg, "livekit_connector_api_requests_total")
		require.NoError(t, err)
		require.Equal(t, 9*19, count, "every method with every code, from the start")

		s.post(t, encodings[0], dialMethod, dial())
		s.post(t, encodings[0], dialMethod, dial(), header("Authorization", ""))
		s.post(t, encodings[0], "HangUp", dial())
		s.send(t, http.MethodOptions, livekit.ConnectorPathPrefix+dialMethod)
		s.send(t, http.MethodGet, "/settings/regions")
		for label, want := range map[string]float64{
			`code="ok",method="DialWhatsAppCall"`:              1,
			`code="unauthenticated",method="DialWhatsAppCall"`: 1,
			`code="bad_route",method="unknown"`:                1,
		} {
			require.InDelta(t, want, s.counter(t, label), 0, label)
		}
		after, err := testutil.GatherAndCount(s.reg, "livekit_connector_api_requests_total")
		require.NoError(t, err)
		require.Equal(t, count, after)
		problems, err := testutil.GatherAndLint(s.reg)
		require.NoError(t, err)
		require.Empty(t, problems)

		_, err = api.New(api.Options{
			Client: noClient{}, Registry: held{}, Keys: panicking{}, Registerer: s.reg,
		})
		require.ErrorContains(t, err, "register metrics")
	})
}

// counter reads one series of the requests from the registry.
func (s *stand) counter(t *testing.T, labels string) float64 {
	t.Helper()
	families, err := s.reg.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() != "livekit_connector_api_requests_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			var pairs []string
			for _, l := range m.GetLabel() {
				pairs = append(pairs, l.GetName()+`="`+l.GetValue()+`"`)
			}
			if strings.Join(pairs, ",") == labels {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no series %s", labels)
	return 0
}

// FuzzServer sends anything to any path: no answer is a panic's, every failure is Twirp's JSON, nothing is decoded for
// who has no token.
func FuzzServer(f *testing.F) {
	good, err := proto.Marshal(dial())
	require.NoError(f, err)
	prefix := livekit.ConnectorPathPrefix
	f.Add("POST", prefix+dialMethod, "application/protobuf", "", good, true)
	f.Add("POST", prefix+dialMethod, "application/json", "7214", []byte(`{"ringingTimeout":"-1s"}`), true)
	f.Add("POST", prefix+acceptMethod, "application/json;charset=UTF-8", "", []byte(`{"sdp":{"type":"offer","sdp":"v=0"}}`), true)
	f.Add("POST", prefix+connectMethod, "application/json", "", []byte(`null`), true)
	f.Add("POST", prefix+disconnectMethod, "application/json", "", []byte(`{"disconnectReason":99,"whatsappCallId":"x"}`), true)
	f.Add("GET", "/settings/regions", "", "", []byte{}, false)
	f.Add("PUT", "//twirp/livekit.Connector/../x", "a/b;c", "", []byte{0xff}, false)
	f.Fuzz(func(t *testing.T, method, path, contentType, requestID string, content []byte, signed bool) {
		inBubble(t, newNode(), func(t *testing.T, s *stand) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://connector/", strings.NewReader(string(content)))
			r.Method, r.URL.Path = method, path
			r.Header.Set("Content-Type", contentType)
			r.Header.Set("X-Livekit-Request-Id", requestID)
			r.Header.Set("Authorization", contentType)
			if signed {
				r.Header.Set("Authorization", "Bearer "+serverToken(t))
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code < 300 {
				return
			}
			require.Less(t, w.Code, 502)
			require.NotEqual(t, 500, w.Code)
			require.Equal(t, "application/json", w.Header().Get("Content-Type"))
			var failure struct {
				Code, Msg string
				Meta      map[string]string
			}
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &failure))
			require.NotEmpty(t, failure.Code)
		})
	})
}
