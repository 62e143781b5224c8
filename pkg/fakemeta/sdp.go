package fakemeta

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Dialect is one of the two ways in which Meta writes SDP.
type Dialect uint8

const (
	// DialectLive is what live calls have shown since 2025: no header extensions, an ice-pwd that ends in "==",
	// ptime:20, Opus limited to 16 kHz. It is the zero value.
	DialectLive Dialect = iota
	// DialectDocs is what Meta's reference still prints: header extensions, ufrag on candidates, plan-B ssrc lines.
	DialectDocs
)

// Opus parameters as the two dialects write them.
const (
	liveOpus = "maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;sprop-maxcapturerate=16000;useinbandfec=1"
	docsOpus = "minptime=10;useinbandfec=1"
)

// docsExtensions are the header extensions of the old dialect.
var docsExtensions = []string{
	"urn:ietf:params:rtp-hdrext:ssrc-audio-level",
	"http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
	"http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
}

// identity is what one call's media is called: the parts of an SDP that differ from call to call.
type identity struct {
	dialect     Dialect
	created     time.Time
	sessionID   uint64 // of the old dialect; the new one uses created
	ufrag, pwd  string
	fingerprint string // "sha-256 AA:BB:…"
	ssrc        uint32
	cname       string
	stream      string // msid
	track       string
	addrs       []netip.AddrPort // IPv4 first
}

// newIdentity draws the random parts. The fingerprint is filled in when the DTLS certificate is known.
func newIdentity(dialect Dialect, now time.Time, addrs []netip.AddrPort) identity {
	id := identity{
		dialect: dialect, created: now, stream: uuid.NewString(), addrs: addrs,
		sessionID: uint64(randomUint32())<<31 | uint64(randomUint32()>>1) | 1<<62,
	}
	for id.ssrc == 0 {
		id.ssrc = randomUint32()
	}
	if dialect == DialectLive {
		// 16 random bytes in base64 end in "==", which RFC 8839's ice-char does not allow. Meta does it all the same.
		id.ufrag, id.pwd = iceText(12), base64.StdEncoding.EncodeToString(randomBytes(16))
		id.cname, id.track = "WhatsAppAudioStream1", "WhatsAppTrack1"
	} else {
		id.ufrag, id.pwd = iceText(10)[:12]+"/"+iceText(3)[:1], iceText(24)
		id.cname, id.track = iceText(12), "audio#"+iceText(9)[:11]
	}
	return id
}

// iceText returns n random bytes in base64.
func iceText(n int) string { return base64.RawStdEncoding.EncodeToString(randomBytes(n)) }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func randomUint32() uint32 { return binary.BigEndian.Uint32(randomBytes(4)) }

// sdpWriter collects lines.
type sdpWriter struct{ strings.Builder }

func (w *sdpWriter) line(format string, args ...any) { fmt.Fprintf(w, format+"\r\n", args...) }

// additional are the codecs that Meta's settings know beside Opus, with their static payload types, RFC 3551 section 6.
// No offer with one of them was ever published: they are written as any WebRTC stack does, after Opus.
var additional = map[string]codec{"PCMU": {payload: "0", mapping: "PCMU/8000"}, "PCMA": {payload: "8", mapping: "PCMA/8000"}}

// offer writes Meta's offer of an inbound call: testdata/sdp/01 (live) and 05 (docs) are the models, line by line. names
// are the additional codecs of the number.
func (id identity) offer(names ...string) string {
	format := liveOpus
	if id.dialect == DialectDocs {
		format = docsOpus
	}
	extensions := make([]string, 0, len(docsExtensions))
	for i, uri := range docsExtensions {
		extensions = append(extensions, fmt.Sprintf("%d %s", i+1, uri))
	}
	codecs := []codec{{payload: "111", mapping: "opus/48000/2", format: format, twcc: true}}
	for _, name := range names {
		if c, known := additional[name]; known {
			codecs = append(codecs, c)
		}
	}
	codecs = append(codecs, codec{payload: "126", mapping: "telephone-event/8000"})
	return id.write(template{mid: "audio", setup: "actpass", extensions: extensions, codecs: codecs})
}

// answer writes Meta's answer to the business' offer: testdata/sdp/08 and 09 are the models of the old dialect. No
// complete live answer was ever published; the new dialect follows its offers and the live SIP answer of file 12:
// the business' mid and payload types echoed, nothing but Opus, telephone-event and what the number's settings enable.
func (id identity) answer(to *peer, setup string, policy sdpPolicy) string {
	t := template{mid: to.mid, setup: setup, answer: true, mixed: to.mixed}
	for _, c := range to.codecs {
		_, enabled := policy.codecOf(c)
		switch {
		case c.is("opus/48000/2"):
			c.format = docsOpus
			if id.dialect == DialectLive {
				c.format = liveOpus
			}
		case id.dialect == DialectLive && !enabled && !c.is("telephone-event/8000"), strings.HasPrefix(strings.ToLower(c.mapping), "red/"):
			continue // RED is always dropped
		default:
			c.format = ""
		}
		t.codecs = append(t.codecs, c)
	}
	for _, e := range to.extensions {
		if _, uri, ok := strings.Cut(e, " "); ok && slices.Contains(docsExtensions, uri) {
			t.extensions = append(t.extensions, e)
		}
	}
	return id.write(t)
}

// template is what differs between an offer and an answer.
type template struct {
	mid, setup    string
	extensions    []string
	codecs        []codec
	answer, mixed bool
}

func (id identity) write(t template) string {
	w := &sdpWriter{}
	docs := id.dialect == DialectDocs
	session := strconv.FormatInt(id.created.UnixMilli(), 10)
	if docs {
		session = strconv.FormatUint(id.sessionID, 10)
	}
	w.line("v=0")
	w.line("o=- %s 2 IN IP4 127.0.0.1", session)
	w.line("s=-")
	w.line("t=0 0")
	w.line("a=group:BUNDLE %s", t.mid)
	if docs && t.mixed {
		w.line("a=extmap-allow-mixed")
	}
	w.line("a=msid-semantic: WMS %s", id.stream)
	w.line("a=ice-lite")
	id.writeTransport(w, t)
	w.line("a=fingerprint:%s", id.fingerprint)
	w.line("a=setup:%s", t.setup)
	w.line("a=mid:%s", t.mid)
	if docs {
		for _, e := range t.extensions {
			w.line("a=extmap:%s", e)
		}
	}
	w.line("a=sendrecv")
	if !docs {
		w.line("a=msid:%s %s", id.stream, id.track)
	}
	w.line("a=rtcp-mux")
	writeCodecs(w, t.codecs)
	if !docs {
		w.line("a=maxptime:20")
		w.line("a=ptime:20")
	}
	w.line("a=ssrc:%d cname:%s", id.ssrc, id.cname)
	if docs {
		w.line("a=ssrc:%d msid:%s %s", id.ssrc, id.stream, id.track)
		w.line("a=ssrc:%d mslabel:%s", id.ssrc, id.stream)
		w.line("a=ssrc:%d label:%s", id.ssrc, id.track)
	}
	return w.String()
}

// writeTransport writes the m= line and all that ICE needs. The IPv6 candidate comes second and is preferred: its
// priority is higher. There is no end-of-candidates.
func (id identity) writeTransport(w *sdpWriter, t template) {
	payloads := make([]string, 0, len(t.codecs))
	for _, c := range t.codecs {
		payloads = append(payloads, c.payload)
	}
	first := id.addrs[0]
	w.line("m=audio %d UDP/TLS/RTP/SAVPF %s", first.Port(), strings.Join(payloads, " "))
	w.line("c=IN %s %s", family(first.Addr()), first.Addr())
	w.line("a=rtcp:9 IN IP4 0.0.0.0")
	for _, a := range id.addrs {
		priority, suffix := uint32(2122260223), ""
		if a.Addr().Is6() {
			priority = 2122262783
		}
		if id.dialect == DialectDocs {
			priority -= 2122260223 - 2113937151
			suffix = " ufrag " + id.ufrag
		}
		w.line("a=candidate:%d 1 udp %d %s %d typ host generation 0 network-cost 50%s",
			randomUint32(), priority, a.Addr(), a.Port(), suffix)
	}
	w.line("a=ice-ufrag:%s", id.ufrag)
	w.line("a=ice-pwd:%s", id.pwd)
	if id.dialect == DialectDocs && t.answer {
		w.line("a=ice-options:trickle") // although it is lite
	}
}

func writeCodecs(w *sdpWriter, codecs []codec) {
	for _, c := range codecs {
		w.line("a=rtpmap:%s %s", c.payload, c.mapping)
		if c.twcc {
			w.line("a=rtcp-fb:%s transport-cc", c.payload)
		}
		if c.format != "" {
			w.line("a=fmtp:%s %s", c.payload, c.format)
		}
	}
}

func family(a netip.Addr) string {
	if a.Is6() {
		return "IP6"
	}
	return "IP4"
}
