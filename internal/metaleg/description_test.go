package metaleg_test

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/metaleg"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

func vector(tb testing.TB, name string) string {
	tb.Helper()
	found, err := filepath.Glob("../../testdata/sdp/" + name + "-*.sdp")
	require.NoError(tb, err)
	require.Len(tb, found, 1)
	raw, err := os.ReadFile(found[0])
	require.NoError(tb, err)
	return string(raw)
}

// requireLines checks a description line by line against patterns.
func requireLines(tb testing.TB, patterns []string, text string) {
	tb.Helper()
	require.True(tb, strings.HasSuffix(text, "\r\n"))
	lines := strings.Split(strings.TrimSuffix(text, "\r\n"), "\r\n")
	for _, line := range lines {
		require.NotContains(tb, line, "\n")
	}
	for i, pattern := range patterns {
		require.Less(tb, i, len(lines), "no line for %s", pattern)
		require.Regexp(tb, "^(?:"+pattern+")$", lines[i])
	}
	require.Len(tb, lines, len(patterns))
}

// ours is what a description of ours has to look like, from the rules for the
// business' SDP (Meta's integration guide and FAQ).
func ours(mid, setup, fmtp string) []string {
	return []string{
		`v=0`,
		`o=- \d+ \d+ IN IP4 0\.0\.0\.0`,
		`s=-`,
		`t=0 0`,
		`a=group:BUNDLE ` + mid,
		`a=msid-semantic: WMS livekit-connector`,
		`m=audio 9 UDP/TLS/RTP/SAVPF 111 126`,
		`c=IN IP4 0\.0\.0\.0`,
		`a=rtcp:9 IN IP4 0\.0\.0\.0`,
		`a=candidate:\d+ 1 udp \d+ 127\.0\.0\.1 \d+ typ host generation 0`,
		`a=end-of-candidates`,
		`a=ice-ufrag:[A-Za-z0-9]{16}`,
		`a=ice-pwd:[A-Za-z0-9]{32}`,
		`a=fingerprint:sha-256 ([0-9A-F]{2}:){31}[0-9A-F]{2}`,
		`a=setup:` + setup,
		`a=mid:` + mid,
		`a=sendrecv`,
		`a=msid:livekit-connector audio`,
		`a=rtcp-mux`,
		`a=rtpmap:111 opus/48000/2`,
		`a=fmtp:111 ` + regexp.QuoteMeta(fmtp),
		`a=rtpmap:126 telephone-event/8000`,
		`a=maxptime:20`,
		`a=ptime:20`,
		`a=ssrc:\d+ cname:livekit-connector`,
	}
}

func TestEveryOfferOfMetaIsAnswered(t *testing.T) {
	const live = "maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;sprop-maxcapturerate=16000;useinbandfec=1"
	s := newStack(t, loopback())
	for name, fmtp := range map[string]string{
		"01": live,
		"02": live,
		"05": "minptime=10;useinbandfec=1",
	} {
		t.Run(name, func(t *testing.T) {
			offer := vector(t, name)
			l, answer, err := s.Answer(t.Context(), offer)
			require.NoError(t, err)
			defer func() { require.NoError(t, l.Close()) }()
			requireLines(t, ours("audio", "active", fmtp), answer)
			require.NoError(t, fakemeta.CheckAnswer(answer, offer))
		})
	}
}

func TestEveryAnswerOfMetaIsApplied(t *testing.T) {
	s := newStack(t, loopback())
	for _, name := range []string{"08", "09"} {
		t.Run(name, func(t *testing.T) {
			l, offer, err := s.Offer(t.Context())
			require.NoError(t, err)
			defer func() { require.NoError(t, l.Close()) }()
			requireLines(t, ours("0", "actpass", "minptime=20;useinbandfec=1"), offer)
			require.NoError(t, fakemeta.CheckOffer(offer))
			require.NoError(t, l.SetAnswer(vector(t, name)))
			require.NoError(t, l.Err())
		})
	}
}

func TestWhatMetaSendsInOtherModesIsRefused(t *testing.T) {
	s := newStack(t, loopback())
	for name, reason := range map[string]string{"11": "ice-pwd", "12": "SDES", "13": "SDES"} {
		t.Run(name, func(t *testing.T) {
			_, _, err := s.Answer(t.Context(), vector(t, name))
			require.ErrorIs(t, err, metaleg.ErrSDP)
			require.ErrorContains(t, err, reason)
			l, _, err := s.Offer(t.Context())
			require.NoError(t, err)
			require.ErrorIs(t, l.SetAnswer(vector(t, name)), metaleg.ErrSDP)
			require.NoError(t, l.Close())
		})
	}
}

func TestAnswersAreRefusedForTheirMidAndTheirLeg(t *testing.T) {
	s := newStack(t, loopback())
	l, _, err := s.Offer(t.Context())
	require.NoError(t, err)
	err = l.SetAnswer(vector(t, "01"))
	require.ErrorIs(t, err, metaleg.ErrSDP)
	require.ErrorContains(t, err, "mid")
	require.NoError(t, l.SetAnswer(vector(t, "08")), "a refused answer does not spoil the leg")
	require.NoError(t, l.Close())

	l, _, err = s.Answer(t.Context(), vector(t, "01"))
	require.NoError(t, err)
	require.Error(t, l.SetAnswer(vector(t, "08")))
	require.NoError(t, l.Close())
}

func TestOfferThatLeavesNoClientRole(t *testing.T) {
	_, _, err := newStack(t, loopback()).Answer(t.Context(), strings.Replace(vector(t, "01"), "actpass", "active", 1))
	require.ErrorIs(t, err, metaleg.ErrSDP)
	require.ErrorContains(t, err, "active")
}

func TestOfferWithOtherPayloadTypes(t *testing.T) {
	offer := strings.NewReplacer("SAVPF 111 126", "SAVPF 107 101", ":111 ", ":107 ", ":126 ", ":101 ").Replace(vector(t, "01"))
	l, answer, err := newStack(t, loopback()).Answer(t.Context(), offer)
	require.NoError(t, err)
	require.Contains(t, answer, "m=audio 9 UDP/TLS/RTP/SAVPF 107 101\r\n")
	require.Contains(t, answer, "a=rtpmap:107 opus/48000/2\r\n")
	require.Contains(t, answer, "a=rtpmap:101 telephone-event/8000\r\n")
	require.NoError(t, fakemeta.CheckAnswer(answer, offer))
	require.NoError(t, l.Close())
}

func TestNATAddressesStandForLocalOnes(t *testing.T) {
	for _, ip := range []string{"203.0.113.7", "203.0.113.7/127.0.0.1"} {
		c := loopback()
		c.NAT1To1IPs = []string{ip}
		l, offer, err := newStack(t, c).Offer(t.Context())
		require.NoError(t, err)
		require.Regexp(t, `a=candidate:\d+ 1 udp \d+ 203\.0\.113\.7 \d+ typ host`, offer)
		require.NotContains(t, offer, "127.0.0.1")
		require.NoError(t, l.Close())
	}
}

func TestFiltersChooseAddresses(t *testing.T) {
	s := newStackOfBothFamilies(t)
	l, offer, err := s.Offer(t.Context())
	require.NoError(t, err)
	require.Contains(t, offer, " 127.0.0.1 ")
	require.Contains(t, offer, " "+public6+" ")
	require.NoError(t, l.Close())

	c := loopback()
	c.KeepIP = func(ip net.IP) bool { return !ip.IsLoopback() }
	_, _, err = newStack(t, c).Offer(t.Context())
	require.ErrorIs(t, err, metaleg.ErrNoAddress)

	c = loopback()
	c.KeepInterface = func(string) bool { return false }
	_, _, err = newStack(t, c).Offer(t.Context())
	require.ErrorIs(t, err, metaleg.ErrNoAddress)
}

func TestDeadServersDelayNothing(t *testing.T) {
	dead, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer dead.Close()
	stun := metaleg.ICEServer{URLs: []string{"stun:" + dead.LocalAddr().String()}}
	turn := metaleg.ICEServer{URLs: []string{"turn:" + dead.LocalAddr().String()}, Username: "u", Credential: "topsecret"}
	for name, servers := range map[string][]metaleg.ICEServer{"STUN": {stun}, "TURN": {turn}, "both": {stun, turn}} {
		t.Run(name, func(t *testing.T) {
			c := loopback()
			c.ICEServers = servers
			s, err := metaleg.New(c)
			require.NoError(t, err)
			l, offer, err := s.Offer(t.Context())
			require.NoError(t, err)
			require.True(t, l.Gathering(), "nobody waited for Pion to give them up, which is after 5 s")
			require.Contains(t, offer, "127.0.0.1")
			require.NotContains(t, offer, "topsecret")
			require.NoError(t, l.Close())
			l, _, err = s.Answer(t.Context(), vector(t, "01"))
			require.NoError(t, err)
			require.True(t, l.Gathering())
			require.NoError(t, l.Close())
		})
	}
}
