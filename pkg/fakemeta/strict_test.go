package fakemeta_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/relay"
)

// answered sets an inbound call up to the accept, with an answer that a test may have changed.
func answered(t *testing.T, srv *fakemeta.Server, b *business, change func(string) string) *fakemeta.Call {
	t.Helper()
	call := incoming(t, srv)
	sdp := b.answer(call.Offer())
	if change != nil {
		sdp = change(sdp)
	}
	for _, act := range []string{"pre_accept", "accept"} {
		status, got := action(t, srv, map[string]any{"action": act, "call_id": call.ID(), "session": session("answer", sdp)})
		require.Equal(t, http.StatusOK, status, "%v", got)
	}
	return call
}

// dead waits for the end of a call that Meta gives up.
func dead(t *testing.T, call *fakemeta.Call, code int) fakemeta.Report {
	t.Helper()
	over(t, call)
	r := call.Report()
	require.Equal(t, "meta", r.EndedBy)
	require.Equal(t, code, r.ErrorCode)
	return r
}

func TestPassiveBusinessDiesForWantOfMedia(t *testing.T) {
	t.Parallel()
	srv := start(t, fakemeta.Options{Timing: fakemeta.Timing{FirstMedia: time.Second}})
	call := answered(t, srv, newBusiness(t, businessOptions{passive: true}), nil)
	r := dead(t, call, fakemeta.CodeNoMediaToClient)
	require.Zero(t, r.Media.RTPSent)
	require.True(t, r.Media.Times.Connected.IsZero())
	require.Contains(t, strings.Join(r.Problems, "\n"), "passive")
}

func TestPassiveBusinessLivesInLenientMode(t *testing.T) {
	t.Parallel()
	srv := start(t, fakemeta.Options{LenientPassive: true})
	b := newBusiness(t, businessOptions{passive: true})
	call := answered(t, srv, b, nil)
	b.awaitVoice(call)
	require.NoError(t, call.HangUp())
}

func TestBusinessWithAnotherCertificateGetsNoMedia(t *testing.T) {
	t.Parallel()
	srv := start(t, fakemeta.Options{Timing: fakemeta.Timing{FirstMedia: time.Second, AcceptWindow: limit}})
	b := newBusiness(t, businessOptions{})
	call := incoming(t, srv)
	sdp := b.answer(call.Offer())
	i := strings.Index(sdp, "a=fingerprint:sha-256 ") + len("a=fingerprint:sha-256 ")
	wrong := "0"
	if sdp[i] == '0' {
		wrong = "1"
	}
	sdp = sdp[:i] + wrong + sdp[i+1:]
	accept := map[string]any{"action": "pre_accept", "call_id": call.ID(), "session": session("answer", sdp)}
	status, got := action(t, srv, accept)
	require.Equal(t, http.StatusOK, status, "%v", got)
	// A handshake may take longer than the patience of whoever was accepted.
	require.Eventually(t, func() bool { return len(call.Report().Problems) > 0 }, limit, 10*time.Millisecond)
	accept["action"] = "accept"
	status, got = action(t, srv, accept)
	require.Equal(t, http.StatusOK, status, "%v", got)
	r := dead(t, call, fakemeta.CodeNoMediaToClient)
	require.Contains(t, strings.Join(r.Problems, "\n"), "fingerprint")
}

func TestHandshakeBeforePreAcceptIsDropped(t *testing.T) {
	t.Parallel()
	srv := start(t, fakemeta.Options{})
	b := newBusiness(t, businessOptions{})
	call := incoming(t, srv)
	sdp := b.answer(call.Offer())
	require.Eventually(t, func() bool { return call.MediaStats().DroppedClientHellos > 0 }, limit, 10*time.Millisecond)
	require.Eventually(t, func() bool { return mediaState(call) == relay.StateNominated.String() }, limit, 10*time.Millisecond)
	status, _ := action(t, srv, map[string]any{"action": "pre_accept", "call_id": call.ID(), "session": session("answer", sdp)})
	require.Equal(t, http.StatusOK, status)
	b.awaitMedia(call) // after the repetition of the ClientHello
}

// mediaState is the last state of the media path that a call's timeline names.
func mediaState(call *fakemeta.Call) string {
	state := ""
	for _, m := range call.Timeline() {
		if m.Name == fakemeta.MomentMedia {
			state = m.Detail
		}
	}
	return state
}

func TestAudioBeforeAcceptIsClippedAndReported(t *testing.T) {
	t.Parallel()
	srv := start(t, fakemeta.Options{})
	b := newBusiness(t, businessOptions{})
	call := incoming(t, srv)
	sdp := b.answer(call.Offer())
	status, _ := action(t, srv, map[string]any{"action": "pre_accept", "call_id": call.ID(), "session": session("answer", sdp)})
	require.Equal(t, http.StatusOK, status)
	b.awaitMedia(call)
	require.NoError(t, b.phone.Start())
	require.Eventually(t, func() bool { _, early := call.Moment(fakemeta.MomentEarly); return early }, limit, 10*time.Millisecond)
	require.Equal(t, fakemeta.StatePreAccepted, call.State())
	b.awaitVoice(call) // for the user, this is the answer
	require.NoError(t, call.HangUp())
	over(t, call)
	r := call.Report()
	require.True(t, r.AnsweredEarly)
	require.Positive(t, r.EarlyPackets)
	require.False(t, r.OK())
}

func TestBusinessThatGoesAwayIsTerminated(t *testing.T) {
	t.Parallel()
	srv := start(t, fakemeta.Options{Timing: fakemeta.Timing{Silence: time.Second}})
	events := srv.Events()
	b := newBusiness(t, businessOptions{})
	call := answered(t, srv, b, nil)
	b.awaitVoice(call)
	require.NoError(t, b.phone.Start())
	heard(t, call.Handset(), 1) // from now on the business may not be silent, nor may this machine
	b.close()
	dead(t, call, fakemeta.CodeNoMediaToClient)
	e, err := events.NextCall(patience(t), call.ID(), "terminate")
	require.NoError(t, err)
	require.Equal(t, "FAILED", e.Status)
}

// TestWrongAudioIsReported sends, for each thing the handset complains about, packets of that kind.
func TestWrongAudioIsReported(t *testing.T) {
	t.Parallel()
	silence := []byte{0xF8, 0xFF, 0xFE}
	for name, tt := range map[string]struct {
		spoil func(i int, p *rtp.Packet)
		says  string
	}{
		"header extension": {func(_ int, p *rtp.Packet) { _ = p.SetExtension(1, []byte{0x7F}) }, "header extensions"},
		"60 ms packets":    {func(_ int, p *rtp.Packet) { p.Payload = []byte{0xFB, 0x03, 0xFF, 0xFE, 0xFF, 0xFE, 0xFF, 0xFE} }, "20 ms"},
		"not Opus":         {func(_ int, p *rtp.Packet) { p.Payload = []byte{0xFF} }, "decoded"},
		"lost packets":     {func(i int, p *rtp.Packet) { p.SequenceNumber += uint16(i / 10) }, "missing"},
		"timestamp jumps":  {func(i int, p *rtp.Packet) { p.Timestamp += uint32(i / 10 * 4800) }, "timestamp"},
		"no audio at all":  {nil, "no audio"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := start(t, fakemeta.Options{})
			b := newBusiness(t, businessOptions{})
			call := answered(t, srv, b, nil)
			b.awaitVoice(call)
			i := 0
			require.Eventually(t, func() bool {
				if tt.spoil == nil {
					return true
				}
				p := &rtp.Packet{
					Header:  rtp.Header{Version: 2, SequenceNumber: uint16(i), Timestamp: uint32(i * 960)},
					Payload: silence,
				}
				tt.spoil(i, p)
				i++
				return b.track.WriteRTP(p) == nil && call.MediaStats().RTPReceived >= 30
			}, limit, time.Millisecond)
			require.NoError(t, call.HangUp())
			over(t, call)
			r := call.Report()
			require.Contains(t, strings.Join(r.Problems, "\n"), tt.says)
			require.False(t, r.OK())
		})
	}
}

func TestOneWayMode(t *testing.T) {
	t.Parallel()
	srv := start(t, fakemeta.Options{OneWay: true})
	for direction, hears := range map[string]bool{"recvonly": false, "sendonly": true} {
		b := newBusiness(t, businessOptions{})
		call := answered(t, srv, b, func(sdp string) string { return strings.Replace(sdp, "a=sendrecv", "a="+direction, 1) })
		b.awaitMedia(call)
		require.NoError(t, b.phone.Start())
		require.Eventually(t, func() bool { return call.MediaStats().RTPReceived > 10 }, limit, 10*time.Millisecond)
		require.Equal(t, hears, call.Heard().Packets > 0)
		if hears {
			require.Zero(t, b.phone.Report().Packets)
		} else {
			heard(t, b.phone, 5)
		}
		require.NoError(t, call.HangUp())
		over(t, call)
	}
}

func TestKeysOfTheUser(t *testing.T) {
	t.Parallel()
	srv := start(t, fakemeta.Options{})
	b := newBusiness(t, businessOptions{})
	call := answered(t, srv, b, nil)
	b.awaitVoice(call)
	_, err := call.SendDTMF("1#")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return b.phone.Report().Events >= 2*(5+3) }, limit, 20*time.Millisecond)
	require.NotNil(t, call.Handset())
	require.NoError(t, call.HangUp())
}

func TestVanishedPhone(t *testing.T) {
	t.Parallel()
	srv := start(t, fakemeta.Options{})
	b := newBusiness(t, businessOptions{})
	call := answered(t, srv, b, nil)
	b.awaitMedia(call)
	heard(t, b.phone, 5)
	call.Vanish()
	spoken := func() int { return int(call.Handset().Spoken().Packets) }
	most := spoken() + 1 // one may be on its way out
	require.Eventually(t, func() bool { return spoken() > most+10 }, limit, 10*time.Millisecond)
	require.LessOrEqual(t, len(b.phone.Packets()), most)
	require.Equal(t, 1, srv.ActiveCalls())
	status, _ := action(t, srv, map[string]any{"action": "terminate", "call_id": call.ID()})
	require.Equal(t, http.StatusOK, status)
	over(t, call)
}

func TestBothDialectsAndSetupsCarryMedia(t *testing.T) {
	t.Parallel()
	for _, dialect := range []fakemeta.Dialect{fakemeta.DialectLive, fakemeta.DialectDocs} {
		for _, setup := range []fakemeta.SetupMode{fakemeta.SetupActive, fakemeta.SetupPassive, fakemeta.SetupActpass} {
			srv := start(t, fakemeta.Options{Dialect: dialect, AnswerSetup: setup, DeadIPv6: true})
			b := newBusiness(t, businessOptions{})
			status, _ := action(t, srv, map[string]any{"action": "connect", "to": caller, "session": session("offer", b.offer())})
			require.Equal(t, http.StatusOK, status)
			call, err := srv.User(caller).NextCall(patience(t))
			require.NoError(t, err)
			b.accept(call.Answer())
			b.awaitMedia(call)
			require.NoError(t, call.HangUp())
		}
		srv := start(t, fakemeta.Options{Dialect: dialect, DeadIPv6: true})
		b := newBusiness(t, businessOptions{})
		call := answered(t, srv, b, nil)
		b.awaitVoice(call)
		require.NoError(t, call.HangUp())
	}
}

// TestIPv6 offers both families; Pion does not gather ::1, so the media takes the other one.
func TestIPv6(t *testing.T) {
	t.Parallel()
	srv := start(t, fakemeta.Options{RelayAddrs: []netip.AddrPort{
		netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0"),
	}})
	require.Len(t, srv.RelayAddrs(), 2)
	b := newBusiness(t, businessOptions{})
	call := answered(t, srv, b, nil)
	require.Contains(t, call.Offer(), " udp 2122262783 ::1 ", "the candidate with the higher priority")
	b.awaitVoice(call)
	require.NoError(t, call.HangUp())
}

func TestManyCallsLeaveNothing(t *testing.T) {
	t.Parallel()
	srv := start(t, fakemeta.Options{KeepEnded: 5})
	for i := range 100 {
		call := incoming(t, srv)
		require.Equal(t, i+1, call.Index())
		require.Equal(t, fakemeta.Inbound, call.Direction())
		require.Equal(t, caller, call.User().WaID())
		status, _ := action(t, srv, map[string]any{"action": "accept", "call_id": call.ID(), "session": session("answer", goodAnswer(t))})
		require.Equal(t, http.StatusOK, status)
		require.NoError(t, call.HangUp())
		over(t, call)
	}
	require.Zero(t, srv.ActiveCalls())
	require.Len(t, srv.Calls(), 5)
}

func TestCloseHangsUp(t *testing.T) {
	t.Parallel()
	srv := start(t, fakemeta.Options{ControlAddr: "127.0.0.1:0"})
	sub := srv.Events()
	call := incoming(t, srv)
	require.NoError(t, srv.Close())
	require.NoError(t, srv.Close())
	over(t, call)
	require.Zero(t, srv.ActiveCalls())
	_, err := srv.User(caller).Call(t.Context(), pnid)
	require.Error(t, err)
	for err = nil; err == nil; {
		_, err = sub.Next(patience(t))
	}
	require.ErrorIs(t, err, fakemeta.ErrClosed)
	sub.Close()
	sub.Close()
}
