package e2e_test

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/impair"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// findings are the codes of a call's diagnosis.
func findings(r *connectorpb.CallRecord) []string {
	var codes []string
	for _, f := range r.GetDiagnosis() {
		codes = append(codes, f.GetCode())
	}
	return codes
}

// finds waits until a call's diagnosis names a cause, and returns the record.
func (w *world) finds(id, code string) *connectorpb.CallRecord {
	w.t.Helper()
	r := w.recordWhen(id, "diagnosed as "+code, func(r *connectorpb.CallRecord) bool {
		for _, f := range r.GetDiagnosis() {
			if f.GetCode() == code {
				return true
			}
		}
		return false
	})
	w.t.Logf("%s: %s", r.GetState(), protojson.Format(r.GetDiagnosis()[0]))
	return r
}

// finding is what a call's diagnosis says of a cause.
func finding(t *testing.T, r *connectorpb.CallRecord, code string) *connectorpb.CallFinding {
	t.Helper()
	for _, f := range r.GetDiagnosis() {
		if f.GetCode() == code {
			return f
		}
	}
	t.Fatalf("no %s among %v", code, findings(r))
	return nil
}

// spoiling is an SDK that changes Meta's offer on its way.
type spoiling struct {
	sdk
	change func(sdp string) string
}

func (s spoiling) do(ctx context.Context, method string, args options) (options, error) {
	if d, ok := args["sdp"].(options); ok && method == "accept" {
		args = args.with(options{"sdp": d.with(options{"sdp": s.change(d.text("sdp"))})})
	}
	return s.sdk.do(ctx, method, args)
}

// held is an SDK that makes no request before its gate opens.
type held struct {
	sdk
	gate <-chan struct{}
}

func (h held) do(ctx context.Context, method string, args options) (options, error) {
	select {
	case <-h.gate:
		return h.sdk.do(ctx, method, args)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// spoiled lets an application hand on a changed offer.
func spoiled(change func(sdp string) string) func(*application) {
	return func(a *application) { a.sdk = spoiling{a.sdk, change} }
}

// ringUp makes the user call a world whose application may spoil the call, and does not wait for an answer.
func ringUp(t *testing.T, room string, o worldOptions, change func(*application)) (*world, *fakemeta.Call) {
	t.Helper()
	w := newWorld(t, o)
	w.newApplication(func(a *application) {
		a.accept = options{"roomName": room, "participantIdentity": "caller"}
		change(a)
	})
	c, err := w.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	return w, c
}

// blackHole is the port of a socket that never answers.
func blackHole(t *testing.T) int {
	t.Helper()
	s, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s.LocalAddr().(*net.UDPAddr).Port
}

// withoutDTLS is the port of a way to Meta's relay on which nothing but ICE gets through.
func withoutDTLS(t *testing.T, relay string) int {
	t.Helper()
	back, err := net.Dial("udp", net.JoinHostPort("127.0.0.1", relay))
	require.NoError(t, err)
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	var client atomic.Pointer[net.UDPAddr]
	var carrying sync.WaitGroup
	t.Cleanup(func() {
		_ = back.Close()
		_ = front.Close()
		carrying.Wait()
	})
	const firstOther = 4 // STUN begins with 0 to 3 (RFC 7983 section 7)
	carrying.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := front.ReadFromUDP(buf)
			if err != nil {
				return
			}
			client.Store(from)
			if n > 0 && buf[0] < firstOther {
				_, _ = back.Write(buf[:n])
			}
		}
	})
	carrying.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, err := back.Read(buf)
			if err != nil {
				return
			}
			if n > 0 && buf[0] < firstOther {
				_, _ = front.WriteToUDP(buf[:n], client.Load())
			}
		}
	})
	return front.LocalAddr().(*net.UDPAddr).Port
}

func TestDiagnosisOfMediaThatDoesNotComeUp(t *testing.T) {
	t.Parallel()
	fingerprint := regexp.MustCompile(`(?i)a=fingerprint:sha-256 ([0-9A-F]{2})`)
	tests := []struct {
		name, code, layer string
		change            func(t *testing.T, sdp string) string
	}{
		{"Meta's relay does not answer", "ice_no_pair", "ice", func(t *testing.T, sdp string) string {
			return candidate.ReplaceAllString(sdp, fmt.Sprintf("127.0.0.1 %d typ", blackHole(t)))
		}},
		{"the network lets no handshake through", "dtls_not_done", "dtls", func(t *testing.T, sdp string) string {
			port := candidate.FindStringSubmatch(sdp)[1]
			return candidate.ReplaceAllString(sdp, fmt.Sprintf("127.0.0.1 %d typ", withoutDTLS(t, port)))
		}},
		{"another certificate than the SDP says", "dtls_failed", "dtls", func(_ *testing.T, sdp string) string {
			return fingerprint.ReplaceAllStringFunc(sdp, func(line string) string {
				if strings.HasSuffix(line, "00") {
					return line[:len(line)-2] + "01"
				}
				return line[:len(line)-2] + "00"
			})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.code, func(t *testing.T) {
			t.Parallel()
			// Where one thing is done and the next is not there must be time for the first. Setting up ends after 8 s.
			o := worldOptions{config: func(c *app.Config) { c.ConnectTimeout = 6 * time.Second }}
			w, c := ringUp(t, "diagnosis-"+tt.code, o, spoiled(func(sdp string) string { return tt.change(t, sdp) }))
			until(t, func() string {
				if len(w.listed("?ended=true")) == 0 {
					return "the connector has not heard of the call"
				}
				return ""
			})
			w.finds(c.ID(), tt.code)
			over := w.recordWhen(c.ID(), "over", isOver)
			require.Equal(t, []string{tt.code}, findings(over), "and nothing that follows from it")
			require.Equal(t, tt.layer, over.GetDiagnosis()[0].GetLayer())
			require.Equal(t, "both", over.GetDiagnosis()[0].GetDirection())
			require.Equal(t, "connect_failed", over.GetEndReason())
			w.nothingLeft("diagnosis-" + tt.code)
		})
	}
}

func TestDiagnosisOfACallThatWaitsForItsAgent(t *testing.T) {
	t.Parallel()
	w, c := ringUp(t, "diagnosis-gate", worldOptions{}, func(a *application) { a.accept = a.accept.with(options{"waitUntilAnswered": true}) })
	require.NoError(t, c.Wait(wait(t), fakemeta.StatePreAccepted))
	r := w.finds(c.ID(), "gate_not_accepted")
	require.Equal(t, []string{"gate_not_accepted"}, findings(r))
	require.NoError(t, c.HangUp())
	requireOver(t, c)
	require.Empty(t, findings(w.recordWhen(c.ID(), "over", isOver)), "who hangs up while it rings misses nothing")
	w.nothingLeft("diagnosis-gate")
}

func TestDiagnosisOfADialledCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	user := w.meta.User(userNumber)
	sdk := newGoSDK(w.url, w.livekit.APIKey(), w.livekit.APISecret()) // nobody passes Meta's webhooks on
	dialled, err := sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": "diagnosis-dialled"}))
	require.NoError(t, err)
	c, err := user.NextCall(wait(t))
	require.NoError(t, err)
	id := dialled.text("whatsappCallId")
	require.Equal(t, []string{"sdp_answer_missing"}, findings(w.finds(id, "sdp_answer_missing")))

	_, err = sdk.do(wait(t), "connect", options{"whatsappCallId": id, "sdp": options{"type": "answer", "sdp": c.Answer()}})
	require.NoError(t, err)
	require.Equal(t, []string{"gate_not_picked_up"}, findings(w.finds(id, "gate_not_picked_up")))
	_, err = sdk.do(wait(t), "disconnect", options{"whatsappCallId": id, "whatsappApiKey": metaToken})
	require.NoError(t, err)
	w.nothingLeft("diagnosis-dialled")
}

func TestDiagnosisOfARoomWithoutAnybody(t *testing.T) {
	t.Parallel()
	w, c := ringUp(t, "diagnosis-empty", worldOptions{}, func(*application) {})
	require.NoError(t, c.Wait(wait(t), fakemeta.StateActive))
	require.Equal(t, "room", finding(t, w.finds(c.ID(), "room_empty"), "room_empty").GetLayer())
	require.NoError(t, c.HangUp())
	requireOver(t, c)
	w.nothingLeft("diagnosis-empty")
}

func TestDiagnosisOfTheRoomsTracks(t *testing.T) {
	t.Parallel()
	silence := make([]livekittest.Packet, 500)
	for i := range silence {
		silence[i] = livekittest.Packet{Payload: media.SilenceFrame, Level: 127}
	}
	publish := func(s *scene, o livekittest.TrackOptions) *livekittest.Track {
		track, err := s.listener.Publish(o)
		require.NoError(s.t, err)
		return track
	}
	tests := []struct {
		code, layer string
		spoil       func(s *scene)
	}{
		{"room_no_track", "track", func(*scene) {}},
		{"room_track_encrypted", "track", func(s *scene) {
			publish(s, livekittest.TrackOptions{Encryption: livekit.Encryption_GCM})
		}},
		{"room_track_muted", "track", func(s *scene) { publish(s, livekittest.TrackOptions{}).SetMuted(true) }},
		{"room_track_no_packets", "media", func(s *scene) { publish(s, livekittest.TrackOptions{}) }},
		{"room_track_silent", "media", func(s *scene) {
			require.NoError(s.t, publish(s, livekittest.TrackOptions{}).Send(wait(s.t), silence))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.code, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, "diagnosis-"+tt.code, worldOptions{}, nil)
			tt.spoil(s)
			f := finding(t, s.finds(s.call.ID(), tt.code), tt.code)
			require.Equal(t, "to_phone", f.GetDirection())
			require.Equal(t, tt.layer, f.GetLayer())
			require.NoError(t, s.call.HangUp())
			requireOver(t, s.call)
			s.nothingLeft(s.room)
		})
	}
}

func TestDiagnosisOfACallerWhomNobodyHears(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	const room = "diagnosis-deaf"
	deaf, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "deaf", Deaf: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, deaf.Leave()) }()
	a := w.newApplication(func(a *application) { a.accept = options{"roomName": room} })
	c, err := w.meta.User(userNumber).Call(wait(t), numberID, fakemeta.WithSpeech(says(speech(t, "caller"))))
	require.NoError(t, err)
	require.NoError(t, a.wait("accept", c.ID()).err)
	r := w.finds(c.ID(), "caller_track_unsubscribed")
	require.Equal(t, uint32(1), r.GetRoom().GetOthers())
	require.NoError(t, c.HangUp())
	requireOver(t, c)
	w.nothingLeft(room)
}

func TestDiagnosisOfThePhonesPackets(t *testing.T) {
	t.Parallel()
	loop := says(speech(t, "caller"))
	loop.Loop = true
	tests := []struct {
		code, layer string
		speech      fakemeta.Speech
		application func(t *testing.T, a *application)
		// before the call is answered, and after
		spoil func(c *fakemeta.Call)
		later func(w *world, c *fakemeta.Call)
	}{
		{code: "phone_sends_nothing", layer: "meta", spoil: func(c *fakemeta.Call) { c.Handset().Stop() }},
		{code: "phone_stopped_sending", layer: "meta", speech: loop, later: func(w *world, c *fakemeta.Call) {
			w.recordWhen(c.ID(), "heard", func(r *connectorpb.CallRecord) bool { return r.GetAudio().GetToRoom().GetReceived() > 10 })
			c.Handset().Stop()
		}},
		{code: "phone_sends_silence", layer: "media"},
		{code: "loss_from_phone", layer: "media", speech: loop, application: func(t *testing.T, a *application) {
			impaired(t, new(*impairedSDK), impair.Model{}, impair.Model{Loss: 0.2}, nil)(a)
		}},
		{code: "loss_to_phone", layer: "media", application: func(t *testing.T, a *application) {
			impaired(t, new(*impairedSDK), impair.Model{Loss: 0.2}, impair.Model{}, nil)(a)
		}},
		{code: "meta_receives_nothing", layer: "meta", application: func(t *testing.T, a *application) {
			impaired(t, new(*impairedSDK), impair.Model{Loss: 0.985}, impair.Model{}, nil)(a) // a report needs a packet to speak of
		}},
	}
	for _, tt := range tests {
		t.Run(tt.code, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{})
			room := "diagnosis-" + tt.code
			gate := make(chan struct{})
			a := w.newApplication(func(a *application) {
				a.accept = options{"roomName": room}
				a.sdk = held{a.sdk, gate}
				if tt.application != nil {
					tt.application(t, a)
				}
			})
			c, err := w.meta.User(userNumber).Call(wait(t), numberID, fakemeta.WithSpeech(tt.speech))
			require.NoError(t, err)
			if tt.spoil != nil {
				tt.spoil(c)
			}
			close(gate)
			require.NoError(t, a.wait("accept", c.ID()).err)
			if tt.later != nil {
				tt.later(w, c)
			}
			require.Equal(t, tt.layer, finding(t, w.finds(c.ID(), tt.code), tt.code).GetLayer())
			require.NoError(t, c.HangUp())
			requireOver(t, c)
			w.nothingLeft(room)
		})
	}
}
