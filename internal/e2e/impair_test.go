package e2e_test

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/impair"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/handset"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// badNetworks are what calls have to live with.
var badNetworks = map[string]impair.Model{
	"random": {Loss: 0.05, Jitter: 30 * time.Millisecond, Reorder: 0.02, Duplicate: 0.02},
	"bursts": {Loss: 0.05, Burst: 3, Jitter: 30 * time.Millisecond},
}

// underway is how many packets may be missing at any moment because others overtook them.
const underway = 3

// impairedSDK is an application whose inbound calls reach Meta over a bad network.
type impairedSDK struct {
	sdk
	t        *testing.T
	up, down impair.Model // to Meta, from Meta
	path     atomic.Pointer[impair.Proxy]
}

func (i *impairedSDK) do(ctx context.Context, method string, args options) (options, error) {
	if d, ok := args["sdp"].(options); ok && method == "accept" {
		port, err := strconv.ParseUint(candidate.FindStringSubmatch(d.text("sdp"))[1], 10, 16)
		if err != nil {
			return nil, err
		}
		p, err := impair.Listen(impair.ProxyOptions{
			Target: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)), Up: i.up, Down: i.down, Seed: 3, MediaOnly: true,
		})
		if err != nil {
			return nil, err
		}
		i.t.Cleanup(func() { _ = p.Close() })
		i.path.Store(p)
		args = args.with(options{"sdp": d.with(options{
			"sdp": candidate.ReplaceAllString(d.text("sdp"), fmt.Sprintf("127.0.0.1 %d typ", p.Addr().Port())),
		})})
	}
	return i.sdk.do(ctx, method, args)
}

// impaired lets an application's calls take a bad network to Meta.
func impaired(t *testing.T, to **impairedSDK, up, down impair.Model, accept options) func(*application) {
	t.Helper()
	return func(a *application) {
		*to = &impairedSDK{sdk: a.sdk, t: t, up: up, down: down}
		a.sdk = *to
		a.accept = a.accept.with(accept)
	}
}

// nobody is who an ear says nothing to.
type nobody struct{}

func (nobody) WriteRTP(*rtp.Packet) error    { return nil }
func (nobody) WriteRTCP([]rtcp.Packet) error { return nil }

// ear hears a recording of the room as any client does, which conceals what is lost. What livekit-server puts in when a
// track begins or pauses is left out: its silence is longer than ours, and fits in nowhere.
func ear(t *testing.T, heard []livekittest.HeardPacket) *handset.Handset {
	t.Helper()
	h, err := handset.New(handset.Options{Sender: nobody{}})
	require.NoError(t, err)
	h.MarkAnswered()
	for _, p := range heard {
		if p.Silence && len(p.Payload) != len(media.SilenceFrame) {
			continue
		}
		h.HandleRTP(&rtp.Packet{
			Header:  rtp.Header{Version: 2, PayloadType: handset.DefaultPayloadType, SequenceNumber: p.Sequence, Timestamp: p.Timestamp, SSRC: p.SSRC},
			Payload: p.Payload,
		}, p.Arrived)
	}
	return h
}

// judgeIntelligible judges what came over a network that lost so many packets meanwhile: all is there but for what was lost
// beyond concealment, in its order, once. What is left of a word may resemble another word more than itself.
func judgeIntelligible(t *testing.T, who string, said, heard []int16, lost uint64) (problem string) {
	t.Helper()
	v := hearing.Compare(said, heard, speechRate)
	t.Logf("%s: %s", who, v)
	var elsewhere time.Duration
	for _, p := range v.Pieces {
		if p.Elsewhere {
			elsewhere += p.Length
		}
	}
	// Bursts take what they like, and next to each as much again is concealed.
	taken := 2 * time.Duration(lost) * media.FrameDuration
	share := taken.Seconds() * speechRate / float64(len(said))
	if !v.Found || v.Coverage < min(0.85, 1-share) || v.Similarity < hearing.MinSimilarity || v.Echo > hearing.MaxEcho ||
		v.Moved > maxMovedMixed || elsewhere > taken {
		return fmt.Sprintf("%s: %s; ", who, v)
	}
	return ""
}

// The network between Meta and the connector is bad. The room hears the phone: relayed, it gets each packet that came,
// once; transcoded, it gets a stream without a hole.
func TestRoomHearsThePhoneOverABadNetwork(t *testing.T) {
	t.Parallel()
	for name, model := range badNetworks {
		for _, mode := range []string{"auto", "transcode"} {
			t.Run(name+" "+mode, func(t *testing.T) {
				t.Parallel()
				takes(t, func(n int) string {
					return roomHearsThePhone(t, fmt.Sprint("impair-from-phone-", name, "-", mode, "-", n), mode, model)
				})
			})
		}
	}
}

func roomHearsThePhone(t *testing.T, room, mode string, model impair.Model) (problem string) {
	t.Helper()
	w := newWorld(t, worldOptions{})
	var bad *impairedSDK
	a := w.newApplication(func(a *application) {
		a.accept = options{"roomName": room, "participantIdentity": "caller"}
		impaired(t, &bad, impair.Model{}, model, options{"participantAttributes": options{"lk.connector.media": mode}})(a)
	})
	said := says(speech(t, "caller"))
	c, listener := ring(t, w, room, said)
	require.NoError(t, a.wait("accept", c.ID()).err)
	recording, want := listener.Heard("caller"), len(said.Samples)/(speechRate/50)+60
	_, err := recording.Wait(wait(t), func(livekittest.HeardPacket) bool { want--; return want <= 0 })
	require.NoError(t, err)
	heard := ear(t, recording.Packets())
	report, network := heard.Report(), bad.path.Load().Stats()
	require.Greater(t, network.Lost, uint64(5))
	require.Zero(t, report.Duplicates)
	require.Zero(t, report.TimestampJumps, "%v", report.Jumps)
	if mode == "auto" {
		require.Positive(t, report.Missing)
		require.LessOrEqual(t, report.Missing, int(network.Lost)+underway, "nothing is lost but what the network lost")
	} else {
		require.Zero(t, report.Missing+report.Reordered)
	}
	pcm, _ := heard.Recording()
	require.NoError(t, c.HangUp())
	requireOver(t, c)
	w.nothingLeft(room)
	return judgeIntelligible(t, room, said.Samples, pcm, network.Lost)
}

// The other direction: what the connector sends is one stream without a hole, the network takes its share, and the phone
// understands what is left, relayed or mixed.
func TestPhoneHearsTheRoomOverABadNetwork(t *testing.T) {
	t.Parallel()
	for name, model := range badNetworks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var bad *impairedSDK
			s := newScene(t, "impair-to-phone-"+name, worldOptions{}, impaired(t, &bad, model, impair.Model{}, nil))
			agent, human := newSpeaker(t, s, "agent"), newSpeaker(t, s, "human")
			oneThenTwo(t, s, agent, human, func() uint64 { return bad.path.Load().Stats().Lost })
			r := s.call.Heard()
			network := bad.path.Load().Stats()
			require.Positive(t, r.Missing)
			require.LessOrEqual(t, r.Missing, int(network.Lost)+underway, "nothing is lost but what the network lost")
			requireOneStream(t, r)
			require.NoError(t, s.call.HangUp())
			requireOver(t, s.call)
			s.nothingLeft(s.room)
		})
	}
}

// requireOneStream is requireContinuous for a network that loses, doubles and swaps.
func requireOneStream(t *testing.T, r handset.Report) {
	t.Helper()
	require.Equal(t, 1, r.SSRCs)
	require.Zero(t, r.TimestampJumps, "%v", r.Jumps)
	require.Zero(t, r.Garbage+r.NotTwentyMS+r.WrongPayloadType+r.WithExtension+r.EarlyPackets)
}

// oneThenTwo lets an agent speak alone, which is relayed, and then together with a human, which is mixed, and judges what
// the phone understood of either. lost is what the network took so far.
func oneThenTwo(t *testing.T, s *scene, agent, human *speaker, lost func() uint64) {
	t.Helper()
	low := lowPass(speech(t, "agent"))
	takes(t, func(int) string {
		said := low[:4*speechRate]
		begin, before := heardSoFar(s.call), lost()
		agent.say(t, packets(t, pcmOf(said, pause(rest))))
		return judgeIntelligible(t, "relayed", said, heardSince(t, s, begin), lost()-before)
	})
	takes(t, func(int) string {
		const sung = 7 * time.Second
		begin, before := heardSoFar(s.call), lost()
		atOnce(t, agent.uttering(t, pcmOf(low, pause(rest))), human.uttering(t, pcmOf(linnet.sing(sung), pause(rest))))
		heard := heardSince(t, s, begin)
		return judgeIntelligible(t, "mixed", low, lowPass(heard), lost()-before) + linnet.judgeMostly(heard, sung)
	})
}

// judgeMostly says what is wrong if a warble was not heard for so long, but for holes that may be the network's.
func (w warble) judgeMostly(heard []int16, length time.Duration) (problem string) {
	var sum time.Duration
	all := w.songs(heard)
	for _, s := range all {
		sum += s.length - s.hole
	}
	if (sum - length).Abs() > length/10 {
		return fmt.Sprintf("the warble at %v Hz was heard %v", w.low, all)
	}
	return ""
}

// The network between the connector and livekit-server loses one packet of twenty and delays each by another time. The
// phone hears what one says, relayed, and what two say, mixed, in one stream.
func TestPhoneHearsARoomBehindABadNetwork(t *testing.T) {
	t.Parallel()
	const node = "127.0.0.2"
	server, err := livekittest.Start(wait(t), livekittest.Options{NodeIP: node})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	port := uint16(server.UDPPort())
	network, err := impair.Listen(impair.ProxyOptions{
		Front: netip.AddrPortFrom(netip.MustParseAddr(node), port), Target: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port),
		Seed: 11, MediaOnly: true,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, network.Close()) })
	bad := impair.Model{Loss: 0.05, Jitter: 30 * time.Millisecond}
	s := newScene(t, "impair-room", worldOptions{livekit: server}, func(*application) { network.Impair(bad, bad) })
	network.Impair(impair.Model{}, impair.Model{}) // for all but the connector, which is in the room

	agent, human := newSpeaker(t, s, "agent"), newSpeaker(t, s, "human")
	oneThenTwo(t, s, agent, human, func() uint64 { return network.Stats().Lost })
	require.Greater(t, network.Stats().Lost, uint64(20))
	r := s.call.Heard()
	t.Logf("missing %d in %d runs of %d, lost %d", r.Missing, r.LossRuns, r.Packets, network.Stats().Lost)
	requireOneStream(t, r)
	require.LessOrEqual(t, r.Missing, int(network.Stats().Lost)+underway)
	require.Zero(t, r.Duplicates)
	require.NoError(t, s.call.HangUp())
	requireOver(t, s.call)
	s.nothingLeft(s.room)
	counts := s.toMeta(t)
	require.Positive(t, counts["relayed"])
	require.Positive(t, counts["mixed"])
}
