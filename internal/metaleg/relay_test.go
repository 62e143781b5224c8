package metaleg_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/internal/metaleg"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/relay"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// patience bounds every wait for an event.
const patience = time.Minute

// meta is Meta's side of one call over a fake relay.
type meta struct {
	t       *testing.T
	relay   *relay.Relay
	session *relay.Session
	ssrc    uint32
	// candidates are those of the SDP; the relay's by default.
	candidates []netip.AddrPort
	setup      string
	formats    string // audio payload types, in order
	typ        uint8  // the payload type that it sends

	mu    sync.Mutex
	heard []*rtp.Packet
	rtcp  [][]rtcp.Packet // compounds
	came  chan struct{}   // holds one: a packet came
	seq   uint16
}

func newRelay(t *testing.T) *relay.Relay {
	t.Helper()
	r, err := relay.Listen(relay.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func newMeta(t *testing.T, r *relay.Relay) *meta {
	t.Helper()
	m := &meta{t: t, relay: r, ssrc: 613016344, candidates: r.Addrs(), setup: "actpass", formats: "111", typ: 111, came: make(chan struct{}, 1)}
	s, err := r.NewSession(relay.SessionOptions{
		OnRTP: func(p *rtp.Packet, _ time.Time) {
			m.mu.Lock()
			m.heard = append(m.heard, p)
			m.mu.Unlock()
			m.signal()
		},
		OnRTCP: func(compound []rtcp.Packet) {
			m.mu.Lock()
			m.rtcp = append(m.rtcp, compound)
			m.mu.Unlock()
			m.signal()
		},
	})
	require.NoError(t, err)
	m.session = s
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return m
}

func (m *meta) signal() {
	select {
	case m.came <- struct{}{}:
	default:
	}
}

// sdp is what live calls show, with this session's identity.
func (m *meta) sdp(mid string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("v=0\r\no=- 1790963543407 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0")
	line("a=group:BUNDLE %s", mid)
	line("a=msid-semantic: WMS 7da83f2b-4810-4fe9-b568-5c88eb1b1724\r\na=ice-lite")
	line("m=audio %d UDP/TLS/RTP/SAVPF %s 126", m.candidates[0].Port(), m.formats)
	line("c=IN IP4 127.0.0.1\r\na=rtcp:9 IN IP4 0.0.0.0")
	for i, c := range m.candidates {
		priority := 2122260223
		if c.Addr().Is6() {
			priority = 2122262783 // Meta prefers IPv6
		}
		line("a=candidate:%d 1 udp %d %s %d typ host generation 0 network-cost 50", i+1, priority, c.Addr(), c.Port())
	}
	line("a=ice-ufrag:%s\r\na=ice-pwd:%s", m.session.Ufrag(), m.session.Pwd())
	line("a=fingerprint:sha-256 %s", m.session.Fingerprint())
	line("a=setup:%s\r\na=mid:%s\r\na=sendrecv", m.setup, mid)
	line("a=msid:7da83f2b-4810-4fe9-b568-5c88eb1b1724 WhatsAppTrack1\r\na=rtcp-mux")
	for format := range strings.FieldsSeq(m.formats) {
		switch format {
		case "0":
			line("a=rtpmap:0 PCMU/8000")
		case "8":
			line("a=rtpmap:8 PCMA/8000")
		default:
			line("a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc")
			line("a=fmtp:111 maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;sprop-maxcapturerate=16000;useinbandfec=1")
		}
	}
	line("a=rtpmap:126 telephone-event/8000\r\na=maxptime:20\r\na=ptime:20")
	line("a=ssrc:%d cname:WhatsAppAudioStream1", m.ssrc)
	return b.String()
}

// take gives Meta our description; role is Meta's.
func (m *meta) take(own string, role relay.DTLSRole) {
	m.t.Helper()
	var d sdp.SessionDescription
	require.NoError(m.t, d.UnmarshalString(own))
	get := func(key string) string {
		value, ok := d.MediaDescriptions[0].Attribute(key)
		require.True(m.t, ok, key)
		return value
	}
	require.NoError(m.t, m.session.SetRemote(relay.Remote{
		Ufrag: get("ice-ufrag"), Pwd: get("ice-pwd"),
		Fingerprint: strings.TrimPrefix(get("fingerprint"), "sha-256 "), DTLSRole: role,
	}))
}

// say sends n packets whose payload begins with mark.
func (m *meta) say(mark string, n int) {
	m.t.Helper()
	for range n {
		m.seq++
		require.NoError(m.t, m.session.WriteRTP(&rtp.Packet{
			Header:  rtp.Header{Version: 2, PayloadType: m.typ, SSRC: m.ssrc, SequenceNumber: m.seq, Timestamp: uint32(m.seq) * 960},
			Payload: []byte(mark),
		}))
	}
}

// until waits for a state of this side.
func (m *meta) until(what string, ok func() bool) {
	m.t.Helper()
	deadline := time.After(patience)
	for {
		m.mu.Lock()
		done := ok()
		m.mu.Unlock()
		if done {
			return
		}
		select {
		case <-m.came:
		case <-deadline:
			require.FailNow(m.t, "never happened: "+what)
		}
	}
}

// ear is a sink that says when something came.
type ear struct {
	mu      sync.Mutex
	packets []*rtp.Packet
	came    chan struct{}
}

func newEar() *ear { return &ear{came: make(chan struct{}, 1)} }

func (e *ear) WriteRTP(p *rtp.Packet) error {
	e.mu.Lock()
	e.packets = append(e.packets, p.Clone())
	e.mu.Unlock()
	select {
	case e.came <- struct{}{}:
	default:
	}
	return nil
}

func (e *ear) waitFor(t *testing.T, n int) []*rtp.Packet {
	t.Helper()
	deadline := time.After(patience)
	for {
		e.mu.Lock()
		got := append([]*rtp.Packet(nil), e.packets...)
		e.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-e.came:
		case <-deadline:
			require.FailNow(t, "heard too little", "%d of %d packets", len(got), n)
		}
	}
}

func loopback() metaleg.Config {
	return metaleg.Config{
		IncludeLoopback: true, IPv4Only: true,
		KeepInterface: func(name string) bool { return name == "lo" },
	}
}

func newStack(t *testing.T, c metaleg.Config) *metaleg.Stack {
	t.Helper()
	s, err := metaleg.New(c)
	require.NoError(t, err)
	s.GatherAll()
	return s
}

func closed(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		require.FailNow(t, what+" never came")
	}
}

// connect makes an inbound call that is up.
func connect(t *testing.T, s *metaleg.Stack, m *meta) *metaleg.Leg {
	t.Helper()
	l, answer, err := s.Answer(t.Context(), m.sdp("audio"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	m.take(answer, relay.DTLSRoleServer)
	closed(t, "connection", l.Connected())
	closed(t, "Meta's connection", m.session.Connected())
	return l
}

func packet(seq uint16, payload string) *rtp.Packet {
	p := &rtp.Packet{
		Header: rtp.Header{
			Version: 2, PayloadType: 96, SSRC: 7, SequenceNumber: seq, Timestamp: uint32(seq) * 960, Marker: seq == 1,
			Extension: true, ExtensionProfile: 0xBEDE, CSRC: []uint32{9},
		},
		Payload: []byte(payload),
	}
	_ = p.SetExtension(3, []byte{1, 2})
	return p
}
