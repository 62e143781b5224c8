package fakemeta

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/handset"
	"github.com/livekit-connector/livekit-connector/testdata"
)

func vector(t *testing.T, name string) string {
	t.Helper()
	b, err := testdata.SDP.ReadFile("sdp/" + name + ".sdp")
	require.NoError(t, err)
	return string(b)
}

const (
	liveOffer1     = "01-uic-offer-live-2026-10-02"
	liveOffer2     = "02-uic-offer-live-2025-10-17"
	docsOffer      = "05-uic-offer-metadocs-reference"
	docsAnswer     = "06-uic-answer-business-metadocs-reference"
	chromeOffer    = "07-bic-offer-business-metadocs-reference"
	docsMetaAnswer = "08-bic-answer-meta-metadocs-reference"
	webhookAnswer  = "09-bic-answer-meta-connect-webhook-metadocs-2024-08"
	sipAnswer      = "12-sip-bic-answer-sdes-metadocs-2025-05-masked"
	aiortcAnswer   = "14-uic-answer-aiortc-accepted-by-graph-2025-10-17"
	refusedAnswer  = "15-uic-answer-rejected-138008-handwritten"
	pionAnswer     = "17-uic-answer-pion-v4.2.26-to-01"
)

// masks replace what differs from call to call by its kind and length.
var masks = []struct {
	from *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`^o=- \d{13} `), "o=- MILLISECONDS "},
	{regexp.MustCompile(`^o=- \d{18,19} `), "o=- RANDOM "},
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`^m=audio \d+ `), "m=audio PORT "},
	{regexp.MustCompile(`^c=IN IP4 [\d.]+$`), "c=IN IP4 ADDRESS"},
	{regexp.MustCompile(`^a=candidate:\d+ 1 udp (\d+) [\d.]+ \d+ typ`), "a=candidate:N 1 udp $1 V4 PORT typ"},
	{regexp.MustCompile(`^a=candidate:\d+ 1 udp (\d+) [\da-f:]+ \d+ typ`), "a=candidate:N 1 udp $1 V6 PORT typ"},
	{regexp.MustCompile(`ufrag[ :][\w/+]{16}$`), "ufrag U16"},
	{regexp.MustCompile(`ufrag[ :][\w/+]{12}/[\w/+]$`), "ufrag U14"},
	{regexp.MustCompile(`^a=ice-pwd:[\w/+]{22}==$`), "a=ice-pwd:P22=="},
	{regexp.MustCompile(`^a=ice-pwd:[\w/+]{32}$`), "a=ice-pwd:P32"},
	{regexp.MustCompile(`sha-256( |:)([0-9A-F]{2}:){31}[0-9A-F]{2}$`), "sha-256 FINGERPRINT"},
	{regexp.MustCompile(`^a=ssrc:\d+ `), "a=ssrc:SSRC "},
	{regexp.MustCompile(`cname:[\w/+]{16}$`), "cname:C16"},
	{regexp.MustCompile(`audio#[\w/+]{11}$`), "audio#T11"},
}

func shape(sdp string) []string {
	lines := strings.Split(sdp, "\r\n")
	for i, l := range lines {
		for _, m := range masks {
			l = m.from.ReplaceAllString(l, m.to)
		}
		lines[i] = l
	}
	return lines
}

func testIdentity(dialect Dialect) identity {
	id := newIdentity(dialect, time.Now(), []netip.AddrPort{
		netip.MustParseAddrPort("192.0.2.1:3480"), netip.MustParseAddrPort("[2001:db8::1]:3480"),
	})
	id.fingerprint = "sha-256 " + strings.TrimSuffix(strings.Repeat("AB:", 32), ":")
	return id
}

func TestOffersHaveTheShapeOfTheVectors(t *testing.T) {
	for name, dialect := range map[string]Dialect{liveOffer1: DialectLive, liveOffer2: DialectLive, docsOffer: DialectDocs} {
		for range 20 { // random parts must never leave the shape
			require.Equal(t, shape(vector(t, name)), shape(testIdentity(dialect).offer()), name)
		}
	}
}

func TestAnswersHaveTheShapeOfTheVectors(t *testing.T) {
	p, err := checkSDP(vector(t, chromeOffer), nil, sdpPolicy{})
	require.NoError(t, err)
	for _, name := range []string{docsMetaAnswer, webhookAnswer} {
		require.Equal(t, shape(vector(t, name)), shape(testIdentity(DialectDocs).answer(p, "active", sdpPolicy{})), name)
	}
}

func TestLiveAnswerFollowsTheLiveOffer(t *testing.T) {
	p, err := checkSDP(vector(t, chromeOffer), nil, sdpPolicy{})
	require.NoError(t, err)
	got := shape(testIdentity(DialectLive).answer(p, "passive", sdpPolicy{}))
	want := shape(vector(t, liveOffer1))
	for i, l := range want {
		l = strings.Replace(l, "BUNDLE audio", "BUNDLE 0", 1)
		l = strings.Replace(l, "mid:audio", "mid:0", 1)
		want[i] = strings.Replace(l, "actpass", "passive", 1)
	}
	require.Equal(t, want, got)
}

func TestLiveAnswerEchoesPayloadTypes(t *testing.T) {
	offer := strings.NewReplacer("SAVPF 111 126", "SAVPF 107 101", ":111 ", ":107 ", ":126 ", ":101 ",
		"a=ice-lite\r\n", "").Replace(vector(t, liveOffer1))
	p, err := checkSDP(offer, nil, sdpPolicy{})
	require.NoError(t, err)
	require.Equal(t, uint8(107), p.payload)
	require.Equal(t, uint8(101), p.dtmf)
	answer := testIdentity(DialectLive).answer(p, "active", sdpPolicy{})
	for l := range strings.SplitSeq(vector(t, sipAnswer), "\r\n") {
		if strings.HasPrefix(l, "a=rtpmap") || strings.HasPrefix(l, "a=fmtp") || strings.Contains(l, "ptime") {
			require.Contains(t, answer, l+"\r\n", "as in the published live answer of a SIP call")
		}
	}
}

func TestPublishedAnswersPass(t *testing.T) {
	for answer, offer := range map[string]string{docsAnswer: docsOffer, aiortcAnswer: liveOffer2, pionAnswer: liveOffer1} {
		require.NoError(t, CheckAnswer(vector(t, answer), vector(t, offer)), answer)
	}
	require.NoError(t, CheckOffer(vector(t, chromeOffer)))
}

func TestPublishedRefusal(t *testing.T) {
	var e *SDPError
	require.ErrorAs(t, CheckAnswer(vector(t, refusedAnswer), vector(t, liveOffer1)), &e)
	require.Equal(t, RuleFingerprint, e.Rule)
}

// TestEveryRuleRefusesOneWrongSDP breaks a good answer, and a good offer, in one way each.
func TestEveryRuleRefusesOneWrongSDP(t *testing.T) {
	good := vector(t, pionAnswer)
	print2 := "a=fingerprint:sha-256 " + strings.TrimSuffix(strings.Repeat("00:", 32), ":") + "\r\n"
	tests := []struct {
		name string
		rule SDPRule
		wrong,
		right string // right is replaced by wrong
	}{
		{"empty", RuleSyntax, "", good},
		{"JSON in JSON", RuleSyntax, `{"sdp":"v=0`, "v=0"},
		{"not a line", RuleSyntax, "hello\r\n", "s=-\r\n"},
		{"no s= line", RuleSyntax, "", "s=-\r\n"},
		{"short m= line", RuleSyntax, "m=audio 9", "m=audio 9 UDP/TLS/RTP/SAVPF 111 126"},
		{"port that is no number", RuleSyntax, "m=audio x ", "m=audio 9 "},
		{"LF line ends", RuleLineEnds, "s=-\n", "s=-\r\n"},
		{"no CRLF at the end", RuleLineEnds, "a=end-of-candidates", "a=end-of-candidates\r\n"},
		{"video", RuleAudioOnly, "m=video 9 ", "m=audio 9 "},
		{"a second m-line", RuleOneMedia, "a=end-of-candidates\r\nm=audio 0 UDP/TLS/RTP/SAVPF 111\r\n", "a=end-of-candidates\r\n"},
		{"port 0", RulePort, "m=audio 0 ", "m=audio 9 "},
		{"SDES profile", RuleProtocol, "RTP/SAVP ", "UDP/TLS/RTP/SAVPF "},
		{"no rtcp-mux", RuleRTCPMux, "", "a=rtcp-mux\r\n"},
		{"no fingerprint", RuleFingerprint, "a=x:", "a=fingerprint:"},
		{"two fingerprints, one per level", RuleFingerprint, "a=setup:active\r\n" + print2, "a=setup:active\r\n"},
		{"sha-384", RuleFingerprint, "sha-384 ", "sha-256 "},
		{"short fingerprint", RuleFingerprint, "sha-256 ", "sha-256 9A:"},
		{"no hexadecimal", RuleFingerprint, "sha-256 ZZ:", "sha-256 9A:"},
		{"no separators", RuleFingerprint, "FB300", "FB:30:0"},
		{"no ufrag", RuleCredentials, "a=x:", "a=ice-ufrag:"},
		{"short pwd", RuleCredentials, "a=ice-pwd:short", "a=ice-pwd:hvaQLxMslIkodBOHDThlmNxSvxTPUbeH"},
		{"ice-lite", RuleICELite, "a=rtcp-mux\r\na=ice-lite\r\n", "a=rtcp-mux\r\n"},
		{"no setup", RuleSetup, "", "a=setup:active\r\n"},
		{"actpass in an answer", RuleSetup, "a=setup:actpass", "a=setup:active"},
		{"holdconn", RuleSetup, "a=setup:holdconn", "a=setup:active"},
		{"no mid", RuleMid, "", "a=mid:audio\r\n"},
		{"another mid", RuleMid, "a=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 126\r\nc=IN IP4 0.0.0.0\r\na=setup:active\r\na=mid:0\r\n", "a=group:BUNDLE audio\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 126\r\nc=IN IP4 0.0.0.0\r\na=setup:active\r\na=mid:audio\r\n"},
		{"no bundle", RuleBundle, "", "a=group:BUNDLE audio\r\n"},
		{"bundle of another mid", RuleBundle, "BUNDLE 0", "BUNDLE audio"},
		{"recvonly", RuleDirection, "a=recvonly", "a=sendrecv"},
		{"sendonly", RuleDirection, "a=sendonly", "a=sendrecv"},
		{"inactive", RuleDirection, "a=inactive", "a=sendrecv"},
		{"two sources", RuleSSRC, "a=ssrc:1 cname:x\r\na=sendrecv", "a=sendrecv"},
		{"ssrc-group", RuleSSRC, "a=ssrc-group:FID 1819386091 2\r\na=sendrecv", "a=sendrecv"},
		{"ssrc that is no number", RuleSSRC, "a=ssrc:x cname:x\r\na=sendrecv", "a=sendrecv"},
		{"two tracks", RuleSSRC, "a=msid:bridge other\r\na=sendrecv", "a=sendrecv"},
		{"no Opus", RuleOpus, "PCMU/8000", "opus/48000/2"},
		{"mono Opus", RuleOpus, "opus/48000\r", "opus/48000/2\r"},
		{"a codec that was not offered", RulePayload, "SAVPF 111 0 126", "SAVPF 111 126"},
		{"Opus under another number", RulePayload, "SAVPF 96 126", "SAVPF 111 126"},
		{"telephone-event at 48 kHz", RuleDTMF, "telephone-event/48000", "telephone-event/8000"},
		{"ptime 40", RulePtime, "a=ptime:40\r\na=sendrecv", "a=sendrecv"},
		{"maxptime 10", RulePtime, "a=maxptime:10\r\na=sendrecv", "a=sendrecv"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wrong := strings.ReplaceAll(good, tt.right, tt.wrong)
			if tt.name == "no separators" {
				wrong = strings.Replace(good, ":B3:00", "B300", 1)
			}
			if tt.name == "Opus under another number" {
				wrong = strings.NewReplacer("SAVPF 111", "SAVPF 96", ":111 ", ":96 ").Replace(good)
			}
			require.NotEqual(t, good, wrong, "the test breaks something")
			var e *SDPError
			require.ErrorAs(t, CheckAnswer(wrong, vector(t, liveOffer1)), &e)
			require.Equal(t, tt.rule, e.Rule, e.Error())
			require.NotEmpty(t, e.Details)
		})
	}
}

func TestRelaxedRules(t *testing.T) {
	offer, err := parseDescription(vector(t, liveOffer1))
	require.NoError(t, err)
	oneWay := strings.Replace(vector(t, pionAnswer), "a=sendrecv", "a=recvonly\r\na=ptime:40", 1)
	p, err := checkSDP(oneWay, offer, sdpPolicy{anyPtime: true, anyDirection: true})
	require.NoError(t, err)
	require.Equal(t, "recvonly", p.direction)
	require.ErrorContains(t, CheckAnswer(vector(t, pionAnswer), "x"), "read offer")
}

func TestRemarks(t *testing.T) {
	offer, err := parseDescription(vector(t, liveOffer1))
	require.NoError(t, err)
	p, err := checkSDP(strings.Replace(vector(t, pionAnswer), "a=sendrecv", "a=cryptex\r\na=extmap:1 urn:x\r\na=sendrecv", 1), offer, sdpPolicy{})
	require.NoError(t, err)
	require.Len(t, p.remarks, 2)
}

// Numbers whose settings name them may be called, and call, in G.711.
func TestAdditionalCodecs(t *testing.T) {
	n := &number{settings: map[string]any{"audio": map[string]any{"additional_codecs": []any{"PCMA", "PCMU"}}}}
	require.Equal(t, []string{"PCMA", "PCMU"}, n.additionalCodecs())
	policy := sdpPolicy{additional: n.additionalCodecs()}

	offer := testIdentity(DialectLive).offer(n.additionalCodecs()...)
	require.Contains(t, offer, " UDP/TLS/RTP/SAVPF 111 8 0 126\r\n")
	require.Contains(t, offer, "a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n")
	ours, err := parseDescription(offer)
	require.NoError(t, err)
	good := strings.NewReplacer("SAVPF 111 126", "SAVPF 0 126", "a=rtpmap:111 opus/48000/2", "a=rtpmap:0 PCMU/8000").
		Replace(vector(t, pionAnswer))
	p, err := checkSDP(good, ours, policy)
	require.NoError(t, err)
	require.Equal(t, handset.PCMU, p.codec)
	require.Zero(t, p.payload)
	require.NoError(t, CheckAnswer(good, offer))

	plain, err := parseDescription(testIdentity(DialectLive).offer())
	require.NoError(t, err)
	_, err = checkSDP(good, plain, sdpPolicy{})
	require.ErrorContains(t, err, "opus/48000/2 is required", "it was not enabled")

	theirs := strings.NewReplacer("SAVPF 111 126", "SAVPF 0 8 111 126", "a=ice-lite\r\n", "").Replace(vector(t, liveOffer1))
	p, err = checkSDP(theirs, nil, policy)
	require.NoError(t, err)
	require.Equal(t, handset.PCMU, p.codec, "the first one of the offer")
	require.Contains(t, testIdentity(DialectLive).answer(p, "active", policy), " UDP/TLS/RTP/SAVPF 0 8 111 126\r\n")
	p, err = checkSDP(theirs, nil, sdpPolicy{})
	require.NoError(t, err)
	require.Equal(t, handset.Opus, p.codec)
	require.Equal(t, uint8(111), p.payload)
	require.Contains(t, testIdentity(DialectLive).answer(p, "active", sdpPolicy{}), " UDP/TLS/RTP/SAVPF 111 126\r\n")
}
