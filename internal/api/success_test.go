package api_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"
	"github.com/twitchtv/twirp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/livekit-connector/livekit-connector/internal/api"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// authorized signs every request of an HTTP client.
type authorized struct {
	client *http.Client
	token  string
	header http.Header
}

func (a authorized) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer "+a.token)
	maps.Copy(r.Header, a.header)
	return a.client.Do(r)
}

// generated lists Twirp's own clients.
var generated = map[string]func(string, livekit.HTTPClient, ...twirp.ClientOption) livekit.Connector{
	"json":     livekit.NewConnectorJSONClient,
	"protobuf": livekit.NewConnectorProtobufClient,
}

func TestGeneratedClientsDriveACall(t *testing.T) {
	for name, newClient := range generated {
		for _, slash := range []string{"", "/"} {
			t.Run(name+slash, func(t *testing.T) {
				inBubble(t, newNode(), func(t *testing.T, s *stand) {
					url, hc := s.pipe(t)
					client := newClient(url+slash, authorized{client: hc, token: serverToken(t), header: http.Header{
						"X-Livekit-Request-Id": {"7214dcaf"},
					}})
					ctx := t.Context()

					sent := dial(func(r *livekit.DialWhatsAppCallRequest) {
						r.RoomName = "room"
						r.ParticipantAttributes = map[string]string{"a_b": "1"}
						r.RingingTimeout = durationpb.New(30 * time.Second)
						r.WhatsappBizOpaqueCallbackData = "corr"
						r.Agents = []*livekit.RoomAgentDispatch{{AgentName: "a", Metadata: "m", Deployment: "blue"}}
					})
					dialed, err := client.DialWhatsAppCall(ctx, sent)
					require.NoError(t, err)
					require.Equal(t, callID, dialed.WhatsappCallId)
					require.Equal(t, "room-d", dialed.RoomName)
					start := s.node.lastStart(t)
					require.Equal(t, number, start.GetDial().WhatsappToPhoneNumber, "digits only")
					sent.WhatsappToPhoneNumber = number
					require.True(t, proto.Equal(sent, start.GetDial()), "the rest is passed on untouched")
					require.Equal(t, key, start.ApiKey)
					require.Equal(t, "7214dcaf", start.RequestId)
					require.True(t, start.ReceivedAt.AsTime().Equal(time.Now()))
					require.Equal(t, 8*time.Second, start.AnswerBy.AsTime().Sub(start.ReceivedAt.AsTime()))

					connected := connect(func(r *livekit.ConnectWhatsAppCallRequest) { r.WaitUntilAnswered = true })
					_, err = client.ConnectWhatsAppCall(ctx, connected)
					require.NoError(t, err)
					require.True(t, proto.Equal(connected, s.node.connects[0].Request))
					require.Equal(t, key, s.node.connects[0].ApiKey)
					require.Equal(t, 8*time.Second, s.node.connects[0].AnswerBy.AsTime().Sub(s.node.connects[0].ReceivedAt.AsTime()))

					_, err = client.DisconnectWhatsAppCall(ctx, disconnect())
					require.NoError(t, err)
					require.True(t, proto.Equal(disconnect(), s.node.disconnects[0].Request))
					require.Equal(t, key, s.node.disconnects[0].ApiKey)

					taken := accept(func(r *livekit.AcceptWhatsAppCallRequest) { r.WaitUntilAnswered = true })
					accepted, err := client.AcceptWhatsAppCall(ctx, taken)
					require.NoError(t, err)
					require.Equal(t, "room-a", accepted.RoomName)
					start = s.node.lastStart(t)
					require.True(t, proto.Equal(taken, start.GetAccept()))
					require.Equal(t, 28*time.Second, start.AnswerBy.AsTime().Sub(start.ReceivedAt.AsTime()))
				})
			})
		}
	}
}

func TestGeneratedClientsReadErrors(t *testing.T) {
	for name, newClient := range generated {
		t.Run(name, func(t *testing.T) {
			inBubble(t, failing(metaSaidNo("upstream_client_error", "meta: no permission")), func(t *testing.T, s *stand) {
				url, hc := s.pipe(t)
				client := newClient(url, authorized{client: hc, token: serverToken(t)})
				_, err := client.DialWhatsAppCall(t.Context(), dial())
				var twerr twirp.Error
				require.ErrorAs(t, err, &twerr)
				require.Equal(t, twirp.InvalidArgument, twerr.Code())
				require.Equal(t, "meta: no permission", twerr.Msg())
				require.Equal(t, "138006", twerr.Meta("whatsapp_error_code"))
				require.Equal(t, "2593108", twerr.Meta("whatsapp_error_subcode"))
				require.Equal(t, "AbCdEf", twerr.Meta("fbtrace_id"))
				require.Len(t, twerr.MetaMap(), 3)

				_, err = client.ConnectTwilioCall(t.Context(), &livekit.ConnectTwilioCallRequest{})
				require.ErrorAs(t, err, &twerr)
				require.Equal(t, twirp.Unimplemented, twerr.Code())
			})
		})
	}
}

func TestSuccessHasTheExactContentType(t *testing.T) {
	inBubble(t, newNode(), func(t *testing.T, s *stand) {
		for _, e := range encodings {
			w := s.post(t, e, dialMethod, dial())
			require.Equal(t, http.StatusOK, w.Code)
			require.Equal(t, []string{e.contentType}, w.Header()["Content-Type"], "the Ruby SDK compares the whole header")
			res := new(livekit.DialWhatsAppCallResponse)
			require.NoError(t, e.unmarshal(w.Body.Bytes(), res))
			require.Equal(t, callID, res.WhatsappCallId)
		}
	})
}

// Bodies as livekit-server-sdk 2.19.2 for Node sent them.
func TestBodiesOfTheNodeSDK(t *testing.T) {
	inBubble(t, newNode(), func(t *testing.T, s *stand) {
		send := func(method, text string) int {
			return s.post(t, encodings[0], method, &livekit.ConnectTwilioCallRequest{}, body(text),
				header("Content-Type", "application/json;charset=UTF-8"),
				header("X-Livekit-Request-Id", "7214dcaf-0000-4000-8000-000000000000")).Code
		}
		require.Equal(t, 200, send(dialMethod, `{"whatsappPhoneNumberId":"1","whatsappToPhoneNumber":"+15550002222","whatsappApiKey":"k",
			"agents":[{"agentName":"a","metadata":"m"}],"participantAttributes":{"a_b":"1"},"whatsappCloudApiVersion":"23.0",
			"ringingTimeout":"30s","aFieldOfTomorrow":{"x":[1]}}`))
		start := s.node.lastStart(t)
		require.Equal(t, 30*time.Second, start.GetDial().RingingTimeout.AsDuration())
		require.Equal(t, "a", start.GetDial().Agents[0].AgentName)
		require.Equal(t, map[string]string{"a_b": "1"}, start.GetDial().ParticipantAttributes)
		require.Equal(t, "7214dcaf-0000-4000-8000-000000000000", start.RequestId)

		require.Equal(t, 200, send(disconnectMethod, `{"whatsappCallId":"`+callID+`","disconnectReason":"USER_INITIATED"}`))
		require.Equal(t, livekit.DisconnectWhatsAppCallRequest_USER_INITIATED, s.node.disconnects[0].Request.DisconnectReason)
		require.Equal(t, 200, send(disconnectMethod, `{"whatsappCallId":"`+callID+`","whatsappApiKey":"k"}`), "BUSINESS_INITIATED is left out")
		require.Equal(t, 501, send(twilioMethod, `{"twilioCallDirection":"TWILIO_CALL_DIRECTION_OUTBOUND","roomName":"room"}`))
		require.Equal(t, 400, send(dialMethod, `{"phone_number_id":"1","to":"155"}`), "misspelled fields are no silent success")
	})
}

func TestNumbersAreStrippedToDigits(t *testing.T) {
	for _, n := range []string{"15550002222", "+15550002222", "+1 555-000.2222", " +1(555)000 2222 "} {
		inBubble(t, newNode(), func(t *testing.T, s *stand) {
			w := s.post(t, encodings[0], dialMethod, dial(func(r *livekit.DialWhatsAppCallRequest) { r.WhatsappToPhoneNumber = n }))
			require.Equal(t, 200, w.Code, w.Body.String())
			require.Equal(t, number, s.node.lastStart(t).GetDial().WhatsappToPhoneNumber)
		})
	}
}

func TestVersionsBetween(t *testing.T) {
	check, err := api.VersionsBetween("23.0", "26.0")
	require.NoError(t, err)
	for _, v := range []string{"23.0", "24.0", "25.0", "26.0"} {
		require.NoError(t, check(v))
	}
	for _, v := range []string{"", "v23.0", "23", "22.9", "26.1", "100.0", "23.0 ", "23.0.1", "99999.0", "-1.0", "２３.0"} {
		require.Error(t, check(v), v)
	}
	for _, span := range [][2]string{{"23", "26.0"}, {"23.0", "x"}, {"26.0", "23.0"}} {
		_, err := api.VersionsBetween(span[0], span[1])
		require.Error(t, err)
	}
}

func TestTheBestBidderGetsTheCall(t *testing.T) {
	first, second := newNode(), newNode()
	first.bid, second.bid = 0.25, 0.75
	inBubble(t, first, func(t *testing.T, s *stand) {
		server, err := connectorpb.NewConnectorInternalServer(second, s.medium)
		require.NoError(t, err)
		t.Cleanup(server.Shutdown)
		require.NoError(t, server.RegisterStartCallTopic(cluster))
		for range 5 {
			require.Equal(t, 200, s.post(t, encodings[0], dialMethod, dial()).Code)
		}
		require.Zero(t, first.asked())
		require.Equal(t, 5, second.asked())
	})
}

func TestNothingSecretIsLogged(t *testing.T) {
	n := newNode()
	inBubble(t, n, func(t *testing.T, s *stand) {
		token := serverToken(t)
		s.post(t, encodings[0], dialMethod, dial(), bearer(token))
		s.post(t, encodings[1], acceptMethod, accept(), bearer(token))
		s.post(t, encodings[0], connectMethod, connect(), bearer(token))
		s.post(t, encodings[1], disconnectMethod, disconnect(), bearer(token))
		n.start = func(context.Context, *connectorpb.StartCallRequest) (*connectorpb.StartCallResponse, error) {
			return nil, quotingError{}
		}
		s.post(t, encodings[0], dialMethod, dial(), bearer(token))
		s.post(t, encodings[0], dialMethod, dial(), bearer(token+"x"))

		log := s.log.String()
		for _, secretText := range []string{metaToken, number, token, strings.Split(token, ".")[1], secret, "ice-pwd", "v=0"} {
			require.NotContains(t, log, secretText)
		}
		require.Equal(t, 6, strings.Count(log, `"msg":"api request`), "one line for each request")
		require.Equal(t, 4, strings.Count(log, `"code":"ok"`))
		require.Equal(t, 4, strings.Count(log, `"callID":"`+callID+`"`))
		require.Contains(t, log, `"method":"DialWhatsAppCall"`)
		require.Contains(t, log, `"duration":`)
	})
}

func TestTheLogSaysWhy(t *testing.T) {
	n := newNode()
	inBubble(t, n, func(t *testing.T, s *stand) {
		s.post(t, encodings[0], dialMethod, dial(), header("Authorization", ""))
		s.post(t, encodings[0], dialMethod, &livekit.DialWhatsAppCallRequest{})
		n.start = func(context.Context, *connectorpb.StartCallRequest) (*connectorpb.StartCallResponse, error) {
			return nil, psrpc.NewErrorf(psrpc.InvalidArgument, "graph error 138006 for %s", metaToken)
		}
		s.post(t, encodings[1], dialMethod, dial())
		s.post(t, encodings[1], disconnectMethod, disconnect())

		log := strings.Split(strings.TrimSpace(s.log.String()), "\n")
		require.Len(t, log, 4)
		require.Contains(t, log[0], `"error":"missing authorization header`)
		require.Contains(t, log[0], `"from":"192.0.2.1"`)
		require.Contains(t, log[1], `"error":"whatsapp phone number id is required"`)
		require.NotContains(t, log[1], `"from"`)
		require.Contains(t, log[2], `"error":"graph error 138006 for [redacted]"`)
		require.NotContains(t, log[3], `"error"`)
	})
}

// leaving is a client that reads no answer.
type leaving struct{ http.ResponseWriter }

func (leaving) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestAnAnswerThatNobodyReadsIsStillASuccess(t *testing.T) {
	inBubble(t, newNode(), func(t *testing.T, s *stand) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, livekit.ConnectorPathPrefix+disconnectMethod,
			strings.NewReader(`{"whatsapp_call_id":"`+callID+`","whatsapp_api_key":"k"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+serverToken(t))
		s.ServeHTTP(leaving{httptest.NewRecorder()}, r)
		require.InDelta(t, 1, s.counter(t, `code="ok",method="DisconnectWhatsAppCall"`), 0)
	})
}

// quotingError is a plain error that quotes what it must not.
type quotingError struct{}

func (quotingError) Error() string { return "Post to " + number + " with " + metaToken }
