package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/impair"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/handset"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// allKeys are those of a phone.
const allKeys = "0123456789*#"

// hurtKeys is a network on which a press, which is eight packets, survives, but hardly ever whole.
var hurtKeys = impair.Model{Loss: 0.15, Jitter: 30 * time.Millisecond, Reorder: 0.05, Duplicate: 0.1}

// dtmfEvent is what LiveKit's Node library says of a key.
type dtmfEvent struct {
	Code  int    `json:"code"`
	Digit string `json:"digit"`
	From  string `json:"from"`
}

// pressed waits for so many keys and returns all that came.
func (k *rtcSpeaker) pressed(t *testing.T, count int) (keys []dtmfEvent) {
	t.Helper()
	raw, err := json.Marshal(k.must(t, "pressed", options{"count": count})["keys"])
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &keys))
	return keys
}

// press lets the user press keys, and returns when the last one was sent.
func press(t *testing.T, c *fakemeta.Call, keys string) {
	t.Helper()
	done, err := c.SendDTMF(keys)
	require.NoError(t, err)
	select {
	case <-done:
	case <-wait(t).Done():
		t.Fatalf("keys not pressed: %v", c.Timeline())
	}
}

// waitDTMF waits until the metric counts so many keys.
func (w *world) waitDTMF(direction, outcome string, n int) {
	w.t.Helper()
	ctx := wait(w.t)
	line := fmt.Sprintf("livekit_connector_dtmf_total{direction=%q,outcome=%q} %d\n", direction, outcome, n)
	for !strings.Contains(w.metrics(), line) {
		select {
		case <-time.After(50 * time.Millisecond): // polls a count; nothing is concluded from the time
		case <-ctx.Done():
			w.t.Fatalf("never counted: %s", line)
		}
	}
}

// The user presses every key, and two of them twice, while he speaks. An agent of LiveKit's Node library, and everybody
// else in the room, gets each once, as of a SIP call, whatever the way of the audio and whatever the network takes. The
// room hears his voice and no tone.
func TestAgentGetsEveryKeyOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config  func(*app.Config)
		network impair.Model
		codecs  []any
	}{
		"relayed":                      {},
		"transcoded":                   {config: func(c *app.Config) { c.Media.Mode = "transcode" }},
		"in G.711":                     {config: func(c *app.Config) { c.Media.G711 = "prefer" }, codecs: []any{"PCMU"}},
		"relayed on a bad network":     {network: hurtKeys},
		"transcoded on a bad network":  {config: func(c *app.Config) { c.Media.Mode = "transcode" }, network: hurtKeys},
		"in G.711 on a bad network":    {config: func(c *app.Config) { c.Media.G711 = "prefer" }, codecs: []any{"PCMA"}, network: hurtKeys},
		"relayed and lost in bursts":   {network: impair.Model{Loss: 0.05, Burst: 1.5}},
		"with keys for the phone, too": {config: func(c *app.Config) { c.DTMF.ToPhone = "events" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const keys = allKeys + "1100"
			var bad *impairedSDK
			s := newScene(t, "dtmf-to-room-"+name, worldOptions{config: test.config}, func(a *application) {
				a.w.meta.User(userNumber).SetSpeech(fakemeta.Speech{Samples: speech(t, "caller"), Rate: speechRate, Loop: true})
				if test.codecs != nil {
					require.NoError(t, enable(a.w, test.codecs...))
				}
				if test.network != (impair.Model{}) {
					impaired(t, &bad, impair.Model{}, test.network, nil)(a)
				}
			})
			agent := newRTCSpeaker(t, s, "agent", nil)
			press(t, s.call, keys)
			var want []dtmfEvent
			for _, k := range keys {
				want = append(want, dtmfEvent{Code: slices.Index([]rune(allKeys), k), Digit: string(k), From: "caller"})
			}
			require.Equal(t, want, agent.pressed(t, len(keys)))
			for i := range want { // the listener is of the Go SDK
				_, err := s.listener.Wait(wait(t), func(e livekittest.Event) bool {
					d, ok := e.Data.(*livekit.SipDTMF)
					return ok && e.Identity == "caller" && d.GetDigit() == want[i].Digit && int(d.GetCode()) == want[i].Code
				})
				require.NoError(t, err)
			}
			recording := s.listener.Heard("caller")
			require.NoError(t, recording.WaitCount(wait(t), 150))
			room := ear(t, recording.Packets())
			pcm, _ := room.Recording()
			require.Empty(t, hearing.Keys(pcm, speechRate), "keys are no sound in the room")
			if test.network == (impair.Model{}) {
				require.Zero(t, room.Report().Missing, "and no loss")
			}
			if strings.HasPrefix(name, "transcoded") {
				require.Zero(t, room.Report().TimestampJumps, "%v", room.Report().Jumps)
			}
			s.waitDTMF("to_room", "sent", len(keys))
			require.NoError(t, s.call.HangUp())
			requireOver(t, s.call)
			s.nothingLeft(s.room)
			require.Len(t, agent.pressed(t, 0), len(keys), "and no more of them")
			if bad != nil {
				require.Positive(t, bad.path.Load().Stats().Lost)
			}
			if name == "with keys for the phone, too" {
				require.Empty(t, s.call.Keys(), "what the phone pressed does not come back")
			}
		})
	}
}

// In a dialled call keys go both ways once it is picked up; what was keyed in before the call was there is told to nobody.
func TestKeysOfADialledCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{config: func(c *app.Config) { c.DTMF.ToPhone = "events" }})
	listener, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: "dtmf-dialled", Identity: "listener"})
	require.NoError(t, err)
	defer func() { require.NoError(t, listener.Leave()) }()
	require.NoError(t, listener.SendDTMF(1, "1"), "to nobody")
	a := w.newApplication(nil)
	user := w.meta.User(userNumber)
	_, err = a.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": "dtmf-dialled", "participantIdentity": "caller"}))
	require.NoError(t, err)
	c, err := user.NextCall(wait(t))
	require.NoError(t, err)
	require.NoError(t, c.Wait(wait(t), fakemeta.StateRinging))
	require.NoError(t, c.PickUp())
	_, err = listener.Wait(wait(t), livekittest.Is(livekittest.EventTrackPublished, "caller"))
	require.NoError(t, err)
	require.NoError(t, listener.SendDTMF(3, "3"))
	w.waitDTMF("to_phone", "sent", 1)
	press(t, c, "7")
	_, err = listener.Wait(wait(t), livekittest.Is(livekittest.EventData, "caller"))
	require.NoError(t, err)
	w.waitDTMF("to_room", "sent", 1)
	until(t, func() string { // counted when it was sent
		if keys := handset.Digits(c.Keys()); keys != "3" {
			return fmt.Sprintf("the phone got %q", keys)
		}
		return ""
	})
	require.NoError(t, c.HangUp())
	requireOver(t, c)
	require.Empty(t, c.Heard().KeyProblems)
}

// An agent presses every key for the phone while it speaks. The phone gets them as events in the stream of the audio, by
// the letter of RFC 4733, or as tones, in order and once, and hears the agent afterwards as before.
func TestAgentPressesKeysForThePhone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		toPhone, mode, g711 string
		codecs              []any
	}{
		"as events, relayed":    {toPhone: "events", mode: "auto"},
		"as events, transcoded": {toPhone: "events", mode: "transcode"},
		"as events, in G.711":   {toPhone: "events", mode: "auto", g711: "prefer", codecs: []any{"PCMU"}},
		"as tones, relayed":     {toPhone: "tones", mode: "auto"},
		"as tones, transcoded":  {toPhone: "tones", mode: "transcode"},
		"as tones, in G.711":    {toPhone: "tones", mode: "auto", g711: "prefer", codecs: []any{"PCMA"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, "dtmf-to-phone-"+name, worldOptions{config: func(c *app.Config) {
				c.DTMF.ToPhone, c.Media.Mode = test.toPhone, test.mode
				if test.g711 != "" {
					c.Media.G711 = test.g711
				}
			}}, func(a *application) {
				if test.codecs != nil {
					require.NoError(t, enable(a.w, test.codecs...))
				}
			})
			agent := newRTCSpeaker(t, s, "agent", nil)
			said := speech(t, "agent")
			agent.say(t, said[:2*speechRate])
			agent.must(t, "press", options{"keys": allKeys})
			s.waitDTMF("to_phone", "sent", len(allKeys))
			require.NoError(t, s.listener.SendDTMF(0, "45", "caller"), "two in one packet, to the caller alone")
			require.NoError(t, s.listener.SendDTMF(9, "9", "agent"), "not to the caller")
			require.NoError(t, s.listener.SendDTMF(0, "1w2"), "no key")
			const all = allKeys + "45"
			s.waitDTMF("to_phone", "sent", len(all))
			agent.say(t, pcmOf(pause(200*time.Millisecond), said[2*speechRate:5*speechRate], pause(rest)))
			heardAtLeast(t, s.call, 20)

			r := s.call.Heard()
			requireContinuous(t, s.call) // and by the letter of RFC 4733
			pcm, rate := s.call.Recording()
			byEvent, bySound := handset.Digits(r.Keys), hearing.Digits(hearing.Keys(pcm, rate))
			if test.toPhone == "events" {
				require.Equal(t, all, byEvent)
				require.Empty(t, bySound)
				for _, k := range r.Keys {
					require.Equal(t, 100*time.Millisecond, k.Duration)
					require.Equal(t, 3, k.Ends)
				}
			} else {
				require.Equal(t, all, bySound)
				require.Empty(t, byEvent)
			}
			v := hearing.Compare(said[2*speechRate:5*speechRate], converted(t, pcm, rate, speechRate), speechRate)
			require.Greater(t, v.Coverage, 0.9, v.String())
			s.waitDTMF("to_phone", "invalid", 1)
			require.NoError(t, s.call.HangUp())
			requireOver(t, s.call)
			s.nothingLeft(s.room)
		})
	}
}

// On a bad network the phone still gets every key, and what it gets is what was sent.
func TestKeysForThePhoneOverABadNetwork(t *testing.T) {
	t.Parallel()
	var bad *impairedSDK
	s := newScene(t, "dtmf-to-phone-bad", worldOptions{config: func(c *app.Config) { c.DTMF.ToPhone = "events" }}, func(a *application) {
		impaired(t, &bad, hurtKeys, impair.Model{}, nil)(a)
	})
	agent := newRTCSpeaker(t, s, "agent", nil)
	agent.must(t, "press", options{"keys": allKeys})
	s.waitDTMF("to_phone", "sent", len(allKeys))
	heardAtLeast(t, s.call, 20)
	r := s.call.Heard()
	require.Equal(t, allKeys, handset.Digits(r.Keys))
	require.Empty(t, r.KeyProblems)
	require.Positive(t, r.Missing)
	require.NoError(t, s.call.HangUp())
	requireOver(t, s.call)
	s.nothingLeft(s.room)
}
