package roomleg_test

import (
	"context"
	"slices"
	"testing"

	"github.com/livekit/protocol/livekit"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/internal/roomleg"
)

func TestOthersSeeAConnectorParticipant(t *testing.T) {
	b := newBench(t)
	human := b.human("r", "human")
	opts := b.options("r", "caller")
	opts.Name, opts.Metadata = "WhatsApp user", "m"
	opts.Attributes = map[string]string{"whatsapp.callStatus": "ringing", "keep": "1"}
	leg := b.join(opts)

	info, err := b.srv.Participant(b.ctx, "r", "caller")
	require.NoError(t, err)
	require.Equal(t, livekit.ParticipantInfo_CONNECTOR, info.Kind)
	require.Equal(t, []livekit.ParticipantInfo_KindDetail{livekit.ParticipantInfo_CONNECTOR_WHATSAPP}, info.KindDetails)
	require.Equal(t, "WhatsApp user", info.Name)
	require.Equal(t, "m", info.Metadata)
	require.Equal(t, opts.Attributes, info.Attributes)
	require.Equal(t, info.Sid, leg.SID())
	require.Empty(t, info.Tracks, "no track before the answer")

	require.NoError(t, leg.Publish(b.ctx))
	require.NoError(t, leg.Publish(b.ctx), "again")
	e := b.wait(human, livekittest.Is(livekittest.EventTrackPublished, "caller"))
	require.Equal(t, "caller", e.TrackName)
	require.Equal(t, livekit.TrackSource_MICROPHONE, e.Source)

	require.NoError(t, leg.SetAttributes(map[string]string{"whatsapp.callStatus": "active"}))
	b.wait(human, func(e livekittest.Event) bool {
		return e.Type == livekittest.EventAttributes && e.Attributes["whatsapp.callStatus"] == "active"
	})
	require.Equal(t, "1", human.Attributes("caller")["keep"])
	info, err = b.srv.Participant(b.ctx, "r", "caller")
	require.NoError(t, err)
	require.Len(t, info.Tracks, 1)
	require.Equal(t, "audio/opus", info.Tracks[0].MimeType)
}

func TestRoomHearsThePhoneFromTheFirstPacket(t *testing.T) {
	b := newBench(t)
	human := b.human("r", "human")
	leg := b.join(b.options("r", "caller"))
	// The caller speaks a moment before we know that the call is answered, and goes on. How much comes before somebody hears
	// is up to the machine, so its clock has no part in this: a second of it would be too much.
	voice := voiceOf('c', 60)
	write := func(from, to int) {
		for i := from; i < to; i++ {
			require.NoError(t, leg.WriteRTP(&rtp.Packet{
				Header:  rtp.Header{Version: 2, SequenceNumber: 100 + uint16(i), Timestamp: 5000 + uint32(i)*960},
				Payload: voice[i].Payload,
			}))
		}
	}
	write(0, 3)
	require.Zero(t, leg.Stats().Sent)
	b.eventually("the human", func() bool { return leg.View().Others == 1 })
	published := make(chan error, 1)
	go func() { published <- leg.Publish(b.ctx) }()
	b.eventually("the word that the call is answered", func() bool { return leg.View().Published })
	write(3, 30)
	require.NoError(t, <-published)
	b.wait(human, livekittest.Is(livekittest.EventTrackSubscribed, "caller"))
	b.eventually("the word that somebody hears", func() bool { return !leg.View().FirstHeard.IsZero() })
	require.NoError(t, say(leg, voice[30:], 130, 5000+30*960))

	require.NoError(t, human.Heard("caller").WaitCount(b.ctx, len(voice)))
	heard := human.Heard("caller").Audio()
	for i, p := range heard {
		require.Equal(t, voice[i].Payload, p.Payload, "packet %d", i)
		require.Equal(t, heard[0].Sequence+uint16(i), p.Sequence, "packet %d", i)
		require.Equal(t, heard[0].Timestamp+uint32(i)*960, p.Timestamp, "packet %d", i)
	}
	require.Zero(t, leg.Stats().Overflowed)
	require.Zero(t, leg.Stats().Unbound)
}

func TestPhoneHearsTheRoom(t *testing.T) {
	b := newBench(t)
	first := b.human("r", "first") // there before us
	track, err := first.Publish(livekittest.TrackOptions{})
	require.NoError(t, err)
	leg := b.join(b.options("r", "caller"))
	b.waitClosed(leg.Ready(), "ready")
	b.eventually("first track", func() bool { return leg.Stats().Listening == 1 })
	b.talk(track, 'f', 50, 0)

	second := b.human("r", "second") // came later, with a track that is no microphone
	track2, err := second.Publish(livekittest.TrackOptions{Source: livekit.TrackSource_SCREEN_SHARE_AUDIO})
	require.NoError(t, err)
	b.eventually("second track", func() bool { return leg.Stats().Listening == 2 })
	b.talk(track2, 's', 40, 10)

	require.NoError(t, second.Leave())
	b.eventually("second gone", func() bool { return leg.Stats().Listening == 1 })
	require.NoError(t, track.Unpublish())
	b.eventually("first unpublished", func() bool { return leg.Stats().Listening == 0 })

	again, err := first.Publish(livekittest.TrackOptions{})
	require.NoError(t, err)
	b.eventually("first again", func() bool { return leg.Stats().Listening == 1 })
	b.talk(again, 'g', 45, 5)
}

func TestMutedTrackGivesWay(t *testing.T) {
	b := newBench(t)
	a, c := b.human("r", "a"), b.human("r", "c")
	trackA, err := a.Publish(livekittest.TrackOptions{})
	require.NoError(t, err)
	trackC, err := c.Publish(livekittest.TrackOptions{})
	require.NoError(t, err)
	leg := b.join(b.options("r", "caller"))
	b.eventually("two tracks", func() bool { return leg.Stats().Listening == 2 })

	muted := func() bool {
		return slices.ContainsFunc(leg.View().Tracks, func(t roomleg.TrackView) bool { return t.Participant == "a" && t.Muted })
	}
	b.talk(trackA, 'a', 30, 0)
	trackA.SetMuted(true)
	b.eventually("the mute", muted)
	b.talk(trackC, 'c', 50, 10)
	trackA.SetMuted(false)
	b.eventually("the end of the mute", func() bool { return !muted() })
	b.talk(trackA, 'A', 30, 30)
}

func TestEncryptedTrackIsRefused(t *testing.T) {
	b := newBench(t)
	human := b.human("r", "human")
	secret, err := human.Publish(livekittest.TrackOptions{Encryption: livekit.Encryption_GCM})
	require.NoError(t, err)
	plain, err := human.Publish(livekittest.TrackOptions{})
	require.NoError(t, err)
	leg := b.join(b.options("r", "caller"))
	b.eventually("the plain track", func() bool { return leg.Stats().Listening == 1 })
	b.talk(plain, 'p', 20, 0)
	require.Equal(t, 1, leg.Stats().Listening)

	// Its publisher can see why nobody answers.
	unheard := func(want string) func(livekittest.Event) bool {
		return func(e livekittest.Event) bool {
			return e.Type == livekittest.EventAttributes && e.Identity == "caller" && e.Attributes[roomleg.AttributeUnheard] == want
		}
	}
	b.wait(human, unheard(secret.SID()+":encrypted"))
	require.EqualValues(t, 1, leg.Stats().Refused[roomleg.RefusedEncrypted])
	require.Zero(t, leg.Stats().Refused[roomleg.RefusedCodec])
	require.NoError(t, secret.Unpublish())
	b.wait(human, unheard(""))
	require.EqualValues(t, 1, leg.Stats().Refused[roomleg.RefusedEncrypted], "once")
}

func TestReadyWaitsForSomebodyToTalkWith(t *testing.T) {
	b := newBench(t)
	leg := b.join(b.options("r", "caller"))
	silent := b.human("r", "silent")
	select {
	case <-leg.Ready():
		require.Fail(t, "ready in a room with a participant without a track")
	default:
	}
	_, err := silent.Publish(livekittest.TrackOptions{})
	require.NoError(t, err)
	b.waitClosed(leg.Ready(), "ready by audio")

	b.participant(livekittest.ParticipantOptions{Room: "phones", Identity: "sip", Kind: livekit.ParticipantInfo_SIP})
	other := b.join(b.options("phones", "caller"))
	b.waitClosed(other.Ready(), "ready by another telephone")
}

func TestJoinFailsClearly(t *testing.T) {
	b := newBench(t)
	for name, change := range map[string]func(*roomleg.Options){
		"no room":     func(o *roomleg.Options) { o.Room = "" },
		"no identity": func(o *roomleg.Options) { o.Identity = "" },
		"bad secret":  func(o *roomleg.Options) { o.APISecret = "no-such-secret-no-such-secret-no-such" },
		"bad secret, agents": func(o *roomleg.Options) {
			o.APISecret = "no-such-secret-no-such-secret-no-such"
			o.Agents = []*livekit.RoomAgentDispatch{{AgentName: "a"}}
		},
		"nobody there": func(o *roomleg.Options) { o.URL = "ws://127.0.0.1:1" },
	} {
		t.Run(name, func(t *testing.T) {
			opts := b.options("r", "caller")
			change(&opts)
			_, err := roomleg.Join(b.ctx, opts)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "eyJ", "no token in the text")
			t.Log(err)
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(b.ctx)
		cancel()
		_, err := roomleg.Join(ctx, b.options("r", "caller"))
		require.ErrorIs(t, err, context.Canceled)
	})
}
