package metaleg

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
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

func TestParseRemoteReadsWhatMetaSends(t *testing.T) {
	opus := payload{media.CodecOpus, 111}
	only := []payload{opus}
	echoed := []payload{opus, {media.CodecPCMU, 0}, {media.CodecPCMA, 8}}
	for name, want := range map[string]remoteSDP{
		"01": {mid: "audio", setup: "actpass", offered: only, audio: opus, event: 126, hasEvent: true},
		"02": {mid: "audio", setup: "actpass", offered: only, audio: opus, event: 126, hasEvent: true},
		"05": {mid: "audio", setup: "actpass", offered: only, audio: opus, event: 126, hasEvent: true},
		"08": {mid: "0", setup: "active", offered: echoed, audio: opus, event: 126, hasEvent: true},
		"09": {mid: "0", setup: "active", offered: echoed, audio: opus, event: 126, hasEvent: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseRemote(vector(t, name), G711Off.choose)
			require.NoError(t, err)
			require.Equal(t, want, *got)
		})
	}
}

func TestParseRemoteSaysWhatIsWrong(t *testing.T) {
	live := vector(t, "01")
	without := func(prefix string) string {
		var keep []string
		for line := range strings.SplitSeq(live, "\r\n") {
			if !strings.HasPrefix(line, prefix) {
				keep = append(keep, line)
			}
		}
		return strings.Join(keep, "\r\n")
	}
	replaced := func(from, to string) string {
		require.Contains(t, live, from)
		return strings.Replace(live, from, to, 1)
	}
	tests := map[string]struct{ text, reason string }{
		"SDES answer":          {vector(t, "12"), "SDES"},
		"SDES offer":           {vector(t, "13"), "SDES"},
		"masked offer":         {vector(t, "11"), "ice-pwd"},
		"nothing":              {" \r\n", "empty"},
		"no SDP":               {"hello", "does not parse"},
		"no audio":             {live[:strings.Index(live, "m=audio")], "no audio"},
		"video":                {live + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\n", "not audio: video"},
		"two audio sections":   {live + live[strings.Index(live, "m=audio"):], "more than one audio"},
		"rejected audio":       {replaced("m=audio 3480", "m=audio 0"), "port 0"},
		"plain RTP":            {replaced("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "transport is RTP/AVP"},
		"odd transport":        {replaced("UDP/TLS/RTP/SAVPF", "TCP/RTP/AVP"), "transport is (unknown)"},
		"no rtcp-mux":          {without("a=rtcp-mux"), "rtcp-mux"},
		"not lite":             {without("a=ice-lite"), "not ice-lite"},
		"no ufrag":             {without("a=ice-ufrag"), "ice-ufrag"},
		"no password":          {without("a=ice-pwd"), "ice-pwd"},
		"short password":       {replaced("+219v9nKr3xSQIn8s+Fy8g==", "short"), "ice-pwd"},
		"no candidate":         {without("a=candidate"), "no UDP candidate"},
		"no fingerprint":       {without("a=fingerprint"), "no fingerprint"},
		"sha-1":                {replaced("sha-256 75:", "sha-1 75:"), "fingerprint is sha-1"},
		"short fingerprint":    {replaced("75:85:", "75:"), "fingerprint is malformed"},
		"no setup":             {without("a=setup"), "setup is (none)"},
		"holdconn":             {replaced("setup:actpass", "setup:holdconn"), "setup is holdconn"},
		"no mid":               {without("a=mid"), "no mid"},
		"on hold":              {replaced("a=sendrecv", "a=inactive"), "inactive"},
		"one way":              {replaced("a=sendrecv", "a=recvonly"), "recvonly"},
		"no Opus":              {replaced("opus/48000/2", "PCMU/8000"), "no opus"},
		"Opus not in the line": {replaced("SAVPF 111 126", "SAVPF 126"), "no opus"},
		"only G.711":           {replaced("SAVPF 111 126", "SAVPF 8 0 126"), "media.g711"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parseRemote(tt.text, G711Off.choose)
			require.ErrorIs(t, err, ErrSDP)
			require.ErrorContains(t, err, tt.reason)
			for _, secret := range []string{"219v9nKr3", "NvPeRHRlBReaRYCZ", "75:85", "57.144"} {
				require.NotContains(t, err.Error(), secret)
			}
		})
	}
}

func TestLocalSDP(t *testing.T) {
	got, err := localSDP(vector(t, "17"))
	require.NoError(t, err)
	require.Equal(t, strings.ReplaceAll(`v=0
o=- 4692733322165509142 1795355894 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE audio
a=msid-semantic: WMS bridge
m=audio 9 UDP/TLS/RTP/SAVPF 111 126
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:2070692838 1 udp 2130706431 192.0.2.2 60209 typ host generation 0
a=candidate:3932658255 1 udp 2130706431 fd00::2 43973 typ host generation 0
a=end-of-candidates
a=ice-ufrag:LCunjLpZhwmzJixO
a=ice-pwd:hvaQLxMslIkodBOHDThlmNxSvxTPUbeH
a=fingerprint:sha-256 9A:51:8F:A7:07:1B:14:57:6F:B6:25:9D:25:A2:BE:E3:D7:51:22:3F:7C:F3:BD:13:AC:AF:51:C1:F7:6F:B3:00
a=setup:active
a=mid:audio
a=sendrecv
a=msid:bridge audio
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=fmtp:111 maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;sprop-maxcapturerate=16000;useinbandfec=1
a=rtpmap:126 telephone-event/8000
a=maxptime:20
a=ptime:20
a=ssrc:1819386091 cname:bridge
`, "\n", "\r\n"), got)
}

func TestLocalSDPRefusesWhatItCannotRead(t *testing.T) {
	own := vector(t, "17")
	for name, tt := range map[string]struct{ text, reason string }{
		"no SDP":       {"q=0\r\n", "does not parse"},
		"two sections": {own + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", "2 media sections"},
		"no password":  {strings.Replace(own, "a=ice-pwd:", "a=x:", 1), "lacks ice-pwd"},
		"no ssrc":      {strings.ReplaceAll(own, "a=ssrc:", "a=x:"), "lacks ssrc"},
		"one way":      {strings.Replace(own, "a=sendrecv", "a=recvonly", 1), "lacks sendrecv"},
		"no rtpmap":    {strings.Replace(own, "a=rtpmap:126", "a=x:126", 1), "lacks rtpmap"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := localSDP(tt.text)
			require.ErrorContains(t, err, tt.reason)
			require.NotContains(t, err.Error(), "hvaQLx")
		})
	}
}

func FuzzParseRemote(f *testing.F) {
	for _, name := range []string{"01", "05", "08", "11", "12"} {
		f.Add(vector(f, name))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := parseRemote(text, G711Prefer.choose); err != nil {
			require.ErrorIs(t, err, ErrSDP)
		} else {
			require.NotEmpty(t, r.mid)
		}
	})
}

func TestEventGapClosesTheHolesOfKeyPresses(t *testing.T) {
	var g eventGap
	const event = true
	for i, step := range []struct {
		seq   uint16
		event bool
		want  uint16
	}{
		{65530, false, 65530},
		{65531, event, 0},
		{65532, event, 0},
		{65533, false, 65531},
		{65529, false, 65529}, // from before the key, after it
		{65535, false, 65533},
		{65534, false, 65532}, // reordered
		{0, event, 0},
		{2, false, 65535}, // 1 is lost, and stays so
		{1, event, 0},     // it was an event, too late to matter
		{3, false, 0},
		{6, event, 0}, // 4 and 5 are missing
		{7, event, 0},
		{8, false, 3},
		{4, false, 1}, // comes late, and finds its number
		{11, event, 0},
		{9, false, 4},
		{5, false, 2},
		{12, false, 6}, // 10 is lost: one number, not two
		{112, false, 106},
		{111, false, 105},
		{40000, false, 39994}, // a jump is not ours
		{39000, false, 38994},
		{20000, event, 0},
		{39001, false, 38995},
	} {
		if step.event {
			g.take(step.seq)
			continue
		}
		h := rtpHeader(step.seq)
		g.close(&h)
		require.Equal(t, step.want, h.SequenceNumber, "step %d", i)
	}
}

// A key that is held for long is more events than are remembered.
func TestEventGapOfAKeyThatIsHeld(t *testing.T) {
	var g eventGap
	number := func(seq uint16) uint16 {
		h := rtpHeader(seq)
		g.close(&h)
		return h.SequenceNumber
	}
	require.EqualValues(t, 1, number(1))
	for seq := range uint16(1000) {
		g.take(3 + seq) // 2 is missing
	}
	require.EqualValues(t, 3, number(1003))
	require.EqualValues(t, 4, number(1004))
	require.Zero(t, testing.AllocsPerRun(100, func() { g.take(g.newest + 1) }))
}

func rtpHeader(seq uint16) rtp.Header { return rtp.Header{Version: 2, SequenceNumber: seq} }
