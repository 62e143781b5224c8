package relay_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/relay"
)

// patience bounds every wait; nothing takes that long unless it is broken.
const patience = time.Minute

func TestMain(m *testing.M) { leaks.Main(m) }

func listen(t *testing.T) *relay.Relay {
	t.Helper()
	r, err := relay.Listen(relay.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// await waits until done says so.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	require.Eventually(t, done, patience, 5*time.Millisecond, what)
}

func closed(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		require.FailNow(t, "waited too long", what)
	}
}

// receive takes the next of c.
func receive[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		require.FailNow(t, "waited too long", what)
	}
	return v
}

// business is a full ICE agent of another make: pion's peer connection.
type business struct {
	pc    *webrtc.PeerConnection
	track *webrtc.TrackLocalStaticRTP

	mu   sync.Mutex
	got  []*rtp.Packet
	done sync.WaitGroup
}

func newBusiness(t *testing.T, configure ...func(*webrtc.SettingEngine)) *business {
	t.Helper()
	var media webrtc.MediaEngine
	for pt, codec := range map[webrtc.PayloadType]webrtc.RTPCodecCapability{
		111: {MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2},
		126: {MimeType: "audio/telephone-event", ClockRate: 8000},
	} {
		require.NoError(t, media.RegisterCodec(webrtc.RTPCodecParameters{
			PayloadType: pt, RTPCodecCapability: codec,
		}, webrtc.RTPCodecTypeAudio))
	}
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetICEMaxBindingRequests(200)
	require.NoError(t, settings.SetAnsweringDTLSRole(webrtc.DTLSRoleClient))
	for _, c := range configure {
		c(&settings)
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(&media), webrtc.WithSettingEngine(settings))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	require.NoError(t, err)
	b := &business{pc: pc}
	t.Cleanup(func() {
		gone := make(chan error, 1)
		go func() {
			failure := pc.GracefulClose()
			b.done.Wait()
			gone <- failure
		}()
		require.NoError(t, receive(t, "close of the business", gone))
	})
	b.track, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "audio", "room")
	require.NoError(t, err)
	sender, err := pc.AddTrack(b.track)
	require.NoError(t, err)
	b.done.Go(func() {
		for {
			if _, _, err := sender.ReadRTCP(); err != nil {
				return
			}
		}
	})
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		b.done.Go(func() {
			for {
				p, _, err := track.ReadRTP()
				if err != nil {
					return
				}
				b.mu.Lock()
				b.got = append(b.got, p)
				b.mu.Unlock()
			}
		})
	})
	return b
}

func (b *business) received() []*rtp.Packet {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*rtp.Packet(nil), b.got...)
}

// answer gives the answer to Meta's offer.
func (b *business) answer(t *testing.T, s *relay.Session, addrs []netip.AddrPort) string {
	t.Helper()
	require.NoError(t, b.pc.SetRemoteDescription(webrtc.SessionDescription{
		Type: webrtc.SDPTypeOffer, SDP: metaSDP(s, addrs, "actpass", "audio"),
	}))
	answer, err := b.pc.CreateAnswer(nil)
	require.NoError(t, err)
	gathered := webrtc.GatheringCompletePromise(b.pc)
	require.NoError(t, b.pc.SetLocalDescription(answer))
	closed(t, "gathering", gathered)
	return b.pc.LocalDescription().SDP
}

// offer gives an offer to Meta; apply takes the answer.
func (b *business) offer(t *testing.T) string {
	t.Helper()
	offer, err := b.pc.CreateOffer(nil)
	require.NoError(t, err)
	gathered := webrtc.GatheringCompletePromise(b.pc)
	require.NoError(t, b.pc.SetLocalDescription(offer))
	closed(t, "gathering", gathered)
	return b.pc.LocalDescription().SDP
}

func (b *business) apply(t *testing.T, s *relay.Session, addrs []netip.AddrPort, setup string) {
	t.Helper()
	require.NoError(t, b.pc.SetRemoteDescription(webrtc.SessionDescription{
		Type: webrtc.SDPTypeAnswer, SDP: metaSDP(s, addrs, setup, "0"),
	}))
}

// metaSDP is Meta's side in the dialect of live offers.
func metaSDP(s *relay.Session, addrs []netip.AddrPort, setup, mid string) string {
	lines := []string{
		"v=0", "o=- 1790963543407 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE " + mid, "a=ice-lite",
		fmt.Sprintf("m=audio %d UDP/TLS/RTP/SAVPF 111 126", addrs[0].Port()), "c=IN IP4 " + addrs[0].Addr().String(),
		"a=rtcp:9 IN IP4 0.0.0.0",
	}
	for i, a := range addrs {
		lines = append(lines, fmt.Sprintf("a=candidate:%d 1 udp %d %s %d typ host generation 0 network-cost 50",
			i+1, 2122260223-i, a.Addr(), a.Port()))
	}
	lines = append(lines,
		"a=ice-ufrag:"+s.Ufrag(), "a=ice-pwd:"+s.Pwd(), "a=fingerprint:sha-256 "+s.Fingerprint(), "a=setup:"+setup,
		"a=mid:"+mid, "a=sendrecv", "a=msid:stream WhatsAppTrack1", "a=rtcp-mux", "a=rtpmap:111 opus/48000/2",
		"a=fmtp:111 maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;useinbandfec=1",
		"a=rtpmap:126 telephone-event/8000", "a=maxptime:20", "a=ptime:20",
		"a=ssrc:613016344 cname:WhatsAppAudioStream1")
	return strings.Join(lines, "\r\n") + "\r\n"
}

// remoteOf reads what Meta wants to know from an SDP of the business.
func remoteOf(t *testing.T, text string, role relay.DTLSRole) relay.Remote {
	t.Helper()
	var d sdp.SessionDescription
	require.NoError(t, d.UnmarshalString(text))
	attribute := func(key string) string {
		if v, ok := d.MediaDescriptions[0].Attribute(key); ok {
			return v
		}
		v, _ := d.Attribute(key)
		return v
	}
	_, fingerprint, _ := strings.Cut(attribute("fingerprint"), " ")
	return relay.Remote{
		Ufrag: attribute("ice-ufrag"), Pwd: attribute("ice-pwd"), Fingerprint: fingerprint, DTLSRole: role,
	}
}

// connect brings an inbound call up.
func connect(t *testing.T, r *relay.Relay, s *relay.Session, b *business) {
	t.Helper()
	answer := b.answer(t, s, r.Addrs())
	require.NoError(t, s.SetRemote(remoteOf(t, answer, relay.DTLSRoleServer)))
	closed(t, "DTLS", s.Connected())
	await(t, "the business to be connected", func() bool {
		return b.pc.ConnectionState() == webrtc.PeerConnectionStateConnected
	})
}
