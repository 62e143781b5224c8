package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// conversation is a call in which both sides said something at once: what each said, and what the other heard of it.
type conversation struct {
	call                        *fakemeta.Call
	phoneSaid, roomHeard        []int16
	roomSaid, phoneHeard        []int16
	roomSent, roomGot, phoneGot map[string]bool // payloads
	phoneHeardAt                int             // Hz
}

// converse lets both sides speak in a call: an inbound one whose accept has these options, or an outbound one.
func converse(t *testing.T, w *world, room string, accept options, outbound bool) conversation {
	t.Helper()
	const caller = "caller"
	agent, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "agent"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = agent.Leave() })
	a := w.newApplication(func(a *application) {
		a.accept = options{"roomName": room, "participantIdentity": caller}.with(accept)
	})
	said := says(speech(t, "caller")[:4*speechRate])
	c := conversation{phoneSaid: said.Samples, roomSaid: speech(t, "agent")[:4*speechRate]}
	user := w.meta.User(userNumber)
	if outbound {
		user.SetSpeech(said)
		_, err = a.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": room, "participantIdentity": caller}))
		require.NoError(t, err)
		c.call, err = user.NextCall(wait(t))
		require.NoError(t, err)
		require.NoError(t, c.call.Wait(wait(t), fakemeta.StateRinging))
		require.NoError(t, c.call.PickUp())
	} else {
		c.call, err = user.Call(wait(t), numberID, fakemeta.WithSpeech(said))
		require.NoError(t, err)
		require.NoError(t, a.wait("accept", c.call.ID()).err)
	}
	c.exchange(t, agent, caller)
	hangUp(t, &scene{world: w, room: room, call: c.call})
	return c
}

// exchange lets the room speak while the phone does.
func (c *conversation) exchange(t *testing.T, agent *livekittest.Participant, caller string) {
	t.Helper()
	track, err := agent.Publish(livekittest.TrackOptions{Name: "agent"})
	require.NoError(t, err)
	require.NoError(t, track.WaitHeard(wait(t)))
	sent := packets(t, pcmOf(pause(400*time.Millisecond), c.roomSaid, pause(rest)))
	require.NoError(t, track.Send(wait(t), sent))
	recording := agent.Heard(caller)
	want := (len(c.phoneSaid)+speechRate)/(speechRate/50) + 20 // a second of silence before it, some delay
	_, err = recording.Wait(wait(t), func(livekittest.HeardPacket) bool { want--; return want <= 0 })
	require.NoError(t, err)
	heardAtLeast(t, c.call, 20)

	c.roomSent, c.roomGot, c.phoneGot = map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, p := range sent {
		c.roomSent[string(p.Payload)] = true
	}
	for _, p := range recording.Audio() {
		c.roomGot[string(p.Payload)] = true
	}
	for _, p := range c.call.Handset().Packets() {
		c.phoneGot[string(p.Payload)] = true
	}
	c.roomHeard = decode(t, recording.Packets())
	c.phoneHeard, c.phoneHeardAt = c.call.Recording()
}

// relayed counts the packets of the room that came to the phone as they were.
func (c *conversation) relayed() (n int) {
	for p := range c.roomSent {
		if c.phoneGot[p] {
			n++
		}
	}
	return n
}

// A setting, of the connector or of a call, sends both directions through decoder, mix and encoder.
func TestTranscoding(t *testing.T) {
	t.Parallel()
	transcode := func(c *app.Config) { c.Media.Mode = media.ModeTranscode.String() }
	for name, tt := range map[string]struct {
		config     func(*app.Config)
		attributes options
		transcodes bool
		gain       float64 // to the phone; to the room the opposite
	}{
		"by setting":            {transcode, nil, true, 0},
		"by attribute":          {nil, options{"lk.connector.media": "transcode"}, true, 0},
		"not, by attribute":     {transcode, options{"lk.connector.media": "auto"}, false, 0},
		"for the sake of level": {func(c *app.Config) { c.Media.GainToPhone, c.Media.GainToRoom = 6, -6 }, nil, true, 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c conversation
			takes(t, func(n int) string {
				room := fmt.Sprintf("transcode-%s-%d", name, n)
				c = converse(t, newWorld(t, worldOptions{config: tt.config}), room, options{"participantAttributes": tt.attributes}, false)
				return judgeMixed(t, "the room", c.phoneSaid, c.roomHeard) + judgeMixed(t, "the phone", c.roomSaid, c.phoneHeard)
			})
			require.InDelta(t, tt.gain, hearing.Compare(c.roomSaid, c.phoneHeard, speechRate).GainDB, 1.5)
			require.InDelta(t, -tt.gain, hearing.Compare(c.phoneSaid, c.roomHeard, speechRate).GainDB, 1.5)
			if tt.transcodes {
				require.Less(t, c.relayed(), 10, "but for silence, nothing comes through as it was")
			} else {
				require.Greater(t, c.relayed(), 190, "4 s of the agent's packets come through as they were")
			}
		})
	}
}

// enable lets Meta's number have calls in further codecs.
func enable(w *world, codecs ...any) error {
	return w.meta.AddNumber(fakemeta.Number{
		PhoneNumberID: numberID, DisplayNumber: business, AccessToken: metaToken, AppSecret: "app-secret",
		Settings: map[string]any{"status": "ENABLED", "audio": map[string]any{"additional_codecs": codecs}},
	})
}

// A number whose settings name G.711 has its calls in it when the connector is configured to prefer it, both ways, in
// either law. What is heard is of a telephone's band.
func TestCallInG711(t *testing.T) {
	t.Parallel()
	prefer := worldOptions{config: func(c *app.Config) { c.Media.G711 = "prefer" }}
	for name, codecs := range map[string][]any{"PCMU": {"PCMU", "PCMA"}, "PCMA": {"PCMA"}} {
		for direction, outbound := range map[string]bool{"in": false, "out": true} {
			t.Run(name+" "+direction, func(t *testing.T) {
				t.Parallel()
				takes(t, func(n int) string {
					w := newWorld(t, prefer)
					require.NoError(t, enable(w, codecs...))
					c := converse(t, w, fmt.Sprintf("g711-%s-%s-%d", direction, name, n), nil, outbound)
					return c.judgeTelephone(t, name)
				})
			})
		}
	}
}

// judgeTelephone checks that the call was in G.711 of this law, and says what was wrong if the sides did not hear each
// other.
func (c *conversation) judgeTelephone(t *testing.T, name string) (problem string) {
	t.Helper()
	require.Regexp(t, `a=rtpmap:\d+ `+name+`/8000\r`, c.call.Answer())
	require.Equal(t, 8000, c.phoneHeardAt)
	for _, p := range c.call.Handset().Packets() {
		require.Equal(t, map[string]uint8{"PCMU": 0, "PCMA": 8}[name], p.PayloadType)
		require.Len(t, p.Payload, 160)
	}
	return judgeNarrow(t, "the room", c.phoneSaid, c.roomHeard) +
		judgeNarrow(t, "the phone", c.roomSaid, converted(t, c.phoneHeard, c.phoneHeardAt, speechRate))
}
