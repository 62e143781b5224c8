package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// roughPath is a datagram path between the connector and Meta's relay that loses, repeats and swaps what the phone sends.
type roughPath struct {
	front, back *net.UDPConn
	peer        atomic.Pointer[net.UDPAddr]
	hurt        atomic.Int64
	working     sync.WaitGroup
}

// newRoughPath makes a path to a relay on a port of this machine.
func newRoughPath(t *testing.T, relay string) *roughPath {
	t.Helper()
	var (
		p   roughPath
		err error
	)
	p.front, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	to, err := net.ResolveUDPAddr("udp4", "127.0.0.1:"+relay)
	require.NoError(t, err)
	p.back, err = net.DialUDP("udp4", nil, to)
	require.NoError(t, err)
	p.working.Go(p.toRelay)
	p.working.Go(p.toConnector)
	t.Cleanup(func() {
		require.NoError(t, errors.Join(p.front.Close(), p.back.Close()))
		p.working.Wait()
	})
	return &p
}

func (p *roughPath) toRelay() {
	buf := make([]byte, 1500)
	for {
		n, from, err := p.front.ReadFromUDP(buf)
		if err != nil {
			return
		}
		p.peer.Store(from)
		_, _ = p.back.Write(buf[:n]) // as a network: unreliable
	}
}

func (p *roughPath) toConnector() {
	var (
		buf   = make([]byte, 1500)
		later []byte
		count int
	)
	for {
		n, err := p.back.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		peer := p.peer.Load()
		if err != nil || peer == nil {
			continue
		}
		send := func(b []byte) { _, _ = p.front.WriteToUDP(b, peer) }
		if rtp := n > 12 && buf[0]>>6 == 2 && (buf[1] < 192 || buf[1] > 223); !rtp { // RFC 5761 section 4
			send(buf[:n])
			continue
		}
		count++
		switch count % 20 {
		case 7: // lost
			p.hurt.Add(1)
			continue
		case 12: // after the next one
			p.hurt.Add(1)
			later = slices.Clone(buf[:n])
			continue
		case 17: // twice
			p.hurt.Add(1)
			send(buf[:n])
		}
		send(buf[:n])
		if later != nil {
			send(later)
			later = nil
		}
	}
}

// roughSDK is an application whose calls take a rough path.
type roughSDK struct {
	sdk
	t    *testing.T
	path *roughPath
}

var candidate = regexp.MustCompile(`127\.0\.0\.1 (\d+) typ`)

func (r *roughSDK) do(ctx context.Context, method string, args options) (options, error) {
	if d, ok := args["sdp"].(options); ok && method == "accept" {
		r.path = newRoughPath(r.t, candidate.FindStringSubmatch(d.text("sdp"))[1])
		port := r.path.front.LocalAddr().(*net.UDPAddr).Port
		args = args.with(options{"sdp": d.with(options{
			"sdp": candidate.ReplaceAllString(d.text("sdp"), fmt.Sprintf("127.0.0.1 %d typ", port)),
		})})
	}
	return r.sdk.do(ctx, method, args)
}

// ring places an inbound call whose caller says something, and returns it with a listener in its room.
func ring(t *testing.T, w *world, room string, says fakemeta.Speech) (*fakemeta.Call, *livekittest.Participant) {
	t.Helper()
	listener, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "listener"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Leave() })
	c, err := w.meta.User(userNumber).Call(wait(t), numberID, fakemeta.WithSpeech(says))
	require.NoError(t, err)
	return c, listener
}

// heardAll waits until a listener has heard the caller for so long as he speaks.
func heardAll(t *testing.T, listener *livekittest.Participant, says fakemeta.Speech, less int) []int16 {
	t.Helper()
	recording := listener.Heard("caller")
	said := len(says.Samples)/(speechRate/50) + int(says.Before/(20*time.Millisecond))
	require.NoError(t, recording.WaitCount(wait(t), said-less))
	pcm, err := recording.PCM(speechRate)
	require.NoError(t, err)
	return pcm
}

// The path from Meta loses one packet of twenty, repeats one and swaps two. The room gets each packet that came, once and
// in its place.
func TestRoomHearsACallerOnARoughPath(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	var rough *roughSDK
	a := w.newApplication(func(a *application) {
		rough = &roughSDK{sdk: a.sdk, t: t}
		a.sdk = rough
		a.accept = options{"roomName": "audio-rough", "participantIdentity": "caller"}
	})
	caller := says(speech(t, "caller"))
	c, listener := ring(t, w, "audio-rough", caller)
	require.NoError(t, a.wait("accept", c.ID()).err)
	pcm := heardAll(t, listener, caller, 0)
	require.Greater(t, rough.path.hurt.Load(), int64(50))
	seen := make(map[uint16]bool)
	for _, p := range listener.Heard("caller").Audio() {
		require.False(t, seen[p.Sequence], "twice")
		seen[p.Sequence] = true
	}
	// The recording conceals nothing, as a phone would: 20 ms of each 400 are silent.
	requireHeard(t, "room", caller.Samples, pcm)
	require.NoError(t, c.HangUp())
	requireOver(t, c)
	w.nothingLeft("audio-rough")
}

// A caller who does not wait for the business to speak first.
func TestRoomHearsWhatIsSaidAtTheMomentOfTheAnswer(t *testing.T) {
	t.Parallel()
	caller := fakemeta.Speech{Samples: speech(t, "caller"), Rate: speechRate}
	t.Run("inbound", func(t *testing.T) {
		t.Parallel()
		takes(t, func(take int) string {
			w := newWorld(t, worldOptions{})
			room := fmt.Sprint("audio-first-in-", take)
			a := w.newApplication(func(a *application) {
				a.accept = options{"roomName": room, "participantIdentity": "caller"}
			})
			c, listener := ring(t, w, room, caller)
			require.NoError(t, a.wait("accept", c.ID()).err)
			heard := heardAll(t, listener, caller, 5)
			require.NoError(t, c.HangUp())
			requireOver(t, c)
			return misheard(t, "room", caller.Samples, heard)
		})
	})
	t.Run("outbound", func(t *testing.T) {
		t.Parallel()
		takes(t, func(take int) string {
			w := newWorld(t, worldOptions{})
			room := fmt.Sprint("audio-first-out-", take)
			listener, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "listener"})
			require.NoError(t, err)
			defer func() { require.NoError(t, listener.Leave()) }()
			user := w.meta.User(userNumber)
			user.SetSpeech(caller)
			a := w.newApplication(nil)
			_, err = a.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": room, "participantIdentity": "caller"}))
			require.NoError(t, err)
			c, err := user.NextCall(wait(t))
			require.NoError(t, err)
			require.NoError(t, c.Wait(wait(t), fakemeta.StateRinging))
			require.NoError(t, c.PickUp())
			heard := heardAll(t, listener, caller, 5)
			require.NoError(t, c.HangUp())
			requireOver(t, c)
			return misheard(t, "room", caller.Samples, heard)
		})
	})
}

// Everybody in the room hears the caller's first words; who comes later hears the rest.
func TestEveryListenerHearsTheCaller(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	const room = "audio-listeners"
	a := w.newApplication(func(a *application) {
		a.accept = options{"roomName": room, "participantIdentity": "caller"}
	})
	second, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "second"})
	require.NoError(t, err)
	defer func() { require.NoError(t, second.Leave()) }()
	rest := speech(t, "agent") // what is said when the last listener is there; he has seconds to come
	caller := fakemeta.Speech{Samples: pcmOf(speech(t, "caller"), rest), Rate: speechRate}
	c, first := ring(t, w, room, caller)
	require.NoError(t, a.wait("accept", c.ID()).err)
	require.NoError(t, first.Heard("caller").WaitCount(wait(t), 100)) // two seconds
	late, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "late"})
	require.NoError(t, err)
	defer func() { require.NoError(t, late.Leave()) }()
	requireHeard(t, "first", caller.Samples, heardAll(t, first, caller, 10))
	requireHeard(t, "second", caller.Samples, heardAll(t, second, caller, 10))
	requireHeard(t, "late", rest, heardAll(t, late, fakemeta.Speech{Samples: rest}, 10))
	require.NoError(t, c.HangUp())
	requireOver(t, c)
}

// Keys pressed in mid-sentence replace the voice while they last, and nothing else: no packet of theirs is taken for
// audio, and no number is missing where they were.
func TestKeysLeaveNoHoleInTheVoice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	a := w.newApplication(func(a *application) {
		a.accept = options{"roomName": "audio-keys", "participantIdentity": "caller"}
	})
	caller := says(speech(t, "caller"))
	c, listener := ring(t, w, "audio-keys", caller)
	require.NoError(t, a.wait("accept", c.ID()).err)
	recording := listener.Heard("caller")
	require.NoError(t, recording.WaitCount(wait(t), 150))
	press(t, c, "12#")
	require.NoError(t, recording.WaitCount(wait(t), 350))
	var gaps int
	all := recording.Audio()
	for i, p := range all[1:] {
		require.Equal(t, all[i].Sequence+1, p.Sequence, "packet %d", i)
		require.Greater(t, len(p.Payload), 4, "an event is no audio")
		if step := p.Timestamp - all[i].Timestamp; step != 960 {
			require.EqualValues(t, 6*960, step, "as long as a key was pressed")
			gaps++
		}
	}
	require.Equal(t, 3, gaps)
	require.NoError(t, c.HangUp())
	requireOver(t, c)
}
