package fakemeta_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media/resample/soxr"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/handset"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
	"github.com/livekit-connector/livekit-connector/testdata"
)

const (
	pnid   = "100000000000001"
	token  = "EAAtoken"
	secret = "app secret"
	number = "15550001111"
	caller = "15550002222"
	limit  = time.Minute
)

// patience bounds what should happen soon.
func patience(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// over waits for the end of a call.
func over(t *testing.T, call *fakemeta.Call) {
	t.Helper()
	select {
	case <-call.Done():
	case <-patience(t).Done():
		t.Fatal("call lives on")
	}
}

// unhurried is Meta's time, but that phones ring at once: on a busy machine nothing else comes to pass by itself, and
// the webhooks of a call keep their order.
func unhurried() fakemeta.Timing {
	return fakemeta.Timing{
		Connect: 10 * time.Millisecond, Ringing: 15 * time.Millisecond,
		RingTimeout: limit, AcceptWindow: limit, FirstMedia: limit, Silence: limit, WebhookHeadStart: limit,
	}
}

// start runs a server with one number on it.
func start(t *testing.T, o fakemeta.Options) *fakemeta.Server {
	t.Helper()
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	srv, err := fakemeta.Start(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, srv.Close()) })
	require.NoError(t, srv.AddNumber(fakemeta.Number{
		PhoneNumberID: pnid, DisplayNumber: number, AccessToken: token, AppSecret: secret,
	}))
	return srv
}

// speech reads the first words of a recording that both sides know.
func speech(t *testing.T, name string) fakemeta.Speech {
	t.Helper()
	wav, err := testdata.Audio.ReadFile("audio/" + name + ".wav")
	require.NoError(t, err)
	samples, rate, err := hearing.ReadWAV(bytes.NewReader(wav))
	require.NoError(t, err)
	return fakemeta.Speech{Samples: samples[:3*rate], Rate: rate}
}

// sameSpeech checks that what was said is what was heard, first and last syllable included.
func sameSpeech(t *testing.T, said fakemeta.Speech, recording func() ([]int16, int)) {
	t.Helper()
	got, rate := recording()
	heard, err := soxr.Convert(got, rate, said.Rate)
	require.NoError(t, err)
	v := hearing.Compare(said.Samples, heard, said.Rate)
	require.True(t, v.OK(), v.String())
}

// graph makes one request of the Graph API.
func graph(t *testing.T, srv *fakemeta.Server, method, path, body string) (int, map[string]any) {
	t.Helper()
	return request(t, srv, method, path, body, http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}})
}

func request(t *testing.T, srv *fakemeta.Server, method, path, body string, header http.Header) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(patience(t), method, srv.GraphURL()+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header = header
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	answer := map[string]any{}
	if json.Unmarshal(raw, &answer) != nil {
		answer["raw"] = string(raw)
	}
	return res.StatusCode, answer
}

// action posts one call action.
func action(t *testing.T, srv *fakemeta.Server, fields map[string]any) (int, map[string]any) {
	t.Helper()
	body := map[string]any{"messaging_product": "whatsapp"}
	maps.Copy(body, fields)
	raw, err := json.Marshal(body)
	require.NoError(t, err)
	return graph(t, srv, http.MethodPost, "/v24.0/"+pnid+"/calls", string(raw))
}

func session(kind, sdp string) map[string]any { return map[string]any{"sdp_type": kind, "sdp": sdp} }

// code returns the error code of a Graph answer, zero for success.
func code(answer map[string]any) int {
	e, ok := answer["error"].(map[string]any)
	if !ok {
		return 0
	}
	return int(e["code"].(float64))
}

func details(answer map[string]any) string {
	e, _ := answer["error"].(map[string]any)
	d, _ := e["error_data"].(map[string]any)
	text, _ := d["details"].(string)
	return text
}

// business is a plain WebRTC peer that does what Meta wants, unless a test breaks it.
type business struct {
	t         *testing.T
	pc        *webrtc.PeerConnection
	track     *webrtc.TrackLocalStaticRTP
	phone     *handset.Handset // what it says and hears
	connected chan struct{}
	reading   sync.WaitGroup
}

// trackSender is a handset's way into a track.
type trackSender struct{ track *webrtc.TrackLocalStaticRTP }

func (s trackSender) WriteRTP(p *rtp.Packet) error  { return s.track.WriteRTP(p) }
func (s trackSender) WriteRTCP([]rtcp.Packet) error { return nil }
func loopback(ip net.IP) bool                       { return ip.IsLoopback() }
func opusCapability() webrtc.RTPCodecCapability {
	return webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
}

type businessOptions struct {
	passive bool
	says    fakemeta.Speech
}

func newBusiness(t *testing.T, o businessOptions) *business {
	t.Helper()
	var codecs webrtc.MediaEngine
	require.NoError(t, codecs.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: opusCapability(), PayloadType: 111}, webrtc.RTPCodecTypeAudio))
	require.NoError(t, codecs.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: "audio/telephone-event", ClockRate: 8000,
	}, PayloadType: 126}, webrtc.RTPCodecTypeAudio))
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(loopback)
	settings.SetICEMaxBindingRequests(200) // 40 s: by itself Pion gives a pair up after 1.4
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	if !o.passive {
		require.NoError(t, settings.SetAnsweringDTLSRole(webrtc.DTLSRoleClient))
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(&codecs), webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	require.NoError(t, err)
	b := &business{t: t, pc: pc, connected: make(chan struct{})}
	b.track, err = webrtc.NewTrackLocalStaticRTP(opusCapability(), "audio", "business")
	require.NoError(t, err)
	sender, err := pc.AddTrack(b.track)
	require.NoError(t, err)
	b.phone, err = handset.New(handset.Options{Sender: trackSender{b.track}, Voice: o.says.Samples, Rate: o.says.Rate})
	require.NoError(t, err)
	b.phone.MarkAnswered()
	b.reading.Go(func() {
		for {
			if _, _, err := sender.ReadRTCP(); err != nil {
				return
			}
		}
	})
	var connected atomic.Bool
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected && connected.CompareAndSwap(false, true) {
			close(b.connected)
		}
	})
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			p, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			b.phone.HandleRTP(p, time.Now())
		}
	})
	t.Cleanup(b.close)
	return b
}

func (b *business) close() {
	b.phone.Stop()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = b.pc.GracefulClose()
		b.reading.Wait()
	}()
	select {
	case <-closed:
	case <-time.After(limit):
		b.t.Error("Pion did not close: the first packet came when it accepted streams no more (srtp, decrypt)")
	}
}

// gathered applies a description and returns it with its candidates.
func (b *business) gathered(d webrtc.SessionDescription, err error) string {
	b.t.Helper()
	require.NoError(b.t, err)
	done := webrtc.GatheringCompletePromise(b.pc)
	require.NoError(b.t, b.pc.SetLocalDescription(d))
	select {
	case <-done:
	case <-patience(b.t).Done():
		b.t.Fatal("candidates were not gathered")
	}
	return b.pc.LocalDescription().SDP
}

// answer answers Meta's offer.
func (b *business) answer(offer string) string {
	b.t.Helper()
	require.NoError(b.t, b.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}))
	return b.gathered(b.pc.CreateAnswer(nil))
}

// offer makes an offer.
func (b *business) offer() string {
	b.t.Helper()
	return b.gathered(b.pc.CreateOffer(nil))
}

// accept applies Meta's answer.
func (b *business) accept(answer string) {
	b.t.Helper()
	require.NoError(b.t, b.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}))
}

// awaitMedia waits for ICE and for DTLS at both ends: one is done before the other.
func (b *business) awaitMedia(call *fakemeta.Call) {
	b.t.Helper()
	select {
	case <-b.connected:
	case <-patience(b.t).Done():
		b.t.Fatal("media path did not come up")
	}
	require.Eventually(b.t, func() bool { return !call.MediaStats().Times.Connected.IsZero() }, limit, time.Millisecond)
}

// awaitVoice waits for the media path of an answered call and for the user's first packet on it, since Pion, when it is
// closed while that comes, does not end.
func (b *business) awaitVoice(call *fakemeta.Call) {
	b.t.Helper()
	b.awaitMedia(call)
	heard(b.t, b.phone, 1)
}
