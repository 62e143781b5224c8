package media_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
)

// Fake codecs, of which every frame can be read back exactly: a source's packet
// carries the source's number and its own, a voice writes the latter into the
// sample that belongs to the source, the encoder writes the samples. So the phone's
// end can tell which packets of whom it heard, and in what order.

const (
	fakeRate = 16000
	fakeTag  = 0xEE // of a payload from the fake encoder
	// The samples that carry numbers; those before them are faded in.
	fakeFirst   = 100
	fakeSources = 110
)

type fakeCodecs struct {
	voices, encoders         int // open now
	made, encoded            int
	failVoices, failEncoders bool
	loss                     int
}

func (f *fakeCodecs) Rate() int { return fakeRate }

func (f *fakeCodecs) NewVoice(media.Codec) (media.Voice, error) {
	if f.failVoices {
		return nil, errors.New("no voice")
	}
	f.voices++
	f.made++
	return &fakeVoice{codecs: f}, nil
}

func (f *fakeCodecs) NewEncoder(media.Codec) (media.Encoder, error) {
	if f.failEncoders {
		return nil, errors.New("no encoder")
	}
	f.encoders++
	return &fakeEncoder{codecs: f}, nil
}

type fakeEncoder struct {
	codecs *fakeCodecs
	closed bool
}

func (e *fakeEncoder) Encode(pcm []int16, dst []byte) (int, error) {
	e.codecs.encoded++
	dst[0], dst[1] = toc20, fakeTag
	for i := range fakeSources {
		binary.BigEndian.PutUint16(dst[2+2*i:], uint16(pcm[fakeFirst+i]))
	}
	return 2 + 2*fakeSources, nil
}

func (e *fakeEncoder) Imitate([]byte) error { return nil }

func (e *fakeEncoder) SetExpectedLoss(percent int) error { e.codecs.loss = percent; return nil }

func (e *fakeEncoder) Close() {
	if !e.closed {
		e.closed = true
		e.codecs.encoders--
	}
}

// fakeVoice plays a packet per frame, in the order in which they come.
type fakeVoice struct {
	codecs *fakeCodecs
	queue  []*rtp.Packet
	empty  int
	stats  media.VoiceStats
	closed bool
	primed []byte
}

func (v *fakeVoice) Prime(payload []byte) { v.primed = append(v.primed, payload[len(payload)-1]) }

func (v *fakeVoice) Write(p *rtp.Packet, _ time.Duration) {
	v.queue = append(v.queue, p.Clone())
	v.stats.Packets++
}

func (v *fakeVoice) Read(pcm []int16, _ time.Duration) media.Sound {
	clear(pcm)
	if len(v.queue) == 0 {
		v.empty++
		v.stats.Concealed++
		return media.Sound{Level: 40, Active: v.empty < 5, Concealed: true}
	}
	p := v.queue[0].Payload
	v.queue = v.queue[1:]
	if len(p) <= 3 {
		v.empty = 100
		return media.Sound{Level: 127}
	}
	v.empty = 0
	v.stats.Decoded++
	if ticks, _ := media.OpusDuration(p); ticks < media.FrameSamples && len(v.queue) > 0 {
		v.queue = v.queue[1:] // 10 ms: two of them are a frame
	}
	pcm[fakeFirst+int(p[2])] = int16(p[len(p)-1])
	level := uint8(25)
	if p[3] != 0 {
		level = p[3]
	}
	return media.Sound{Level: level, Active: true}
}

func (v *fakeVoice) Finish(pcm []int16, now time.Duration) media.Sound {
	if len(v.queue) == 0 {
		clear(pcm)
		return media.Sound{Level: 127}
	}
	return v.Read(pcm, now)
}

func (v *fakeVoice) Pending(yield func(*rtp.Packet)) {
	for _, p := range v.queue {
		yield(p)
	}
}

func (v *fakeVoice) Recall(pcm []int16) { clear(pcm) }

func (v *fakeVoice) Depth() time.Duration { return time.Duration(len(v.queue)) * media.FrameDuration }

func (v *fakeVoice) Stats() media.VoiceStats { return v.stats }

func (v *fakeVoice) Close() {
	if !v.closed {
		v.closed = true
		v.codecs.voices--
	}
}

// speaker is a source whose packets the fake codecs understand.
type speaker struct {
	*media.Source
	voice
	id    byte
	toc   byte
	vad   byte  // second byte: 0x80 is speech for SILK
	level uint8 // in dB below full scale, measured by whoever decodes; 0 is loud
	sent  []int // numbers of packets that had sound in them
}

func newSpeaker(s *studio, id byte) *speaker {
	return &speaker{
		Source: s.line.AddSource(string('a'+rune(id)), media.SourceOptions{}),
		voice:  voice{ssrc: 100 + uint32(id), seq: uint16(id) * 4001, ts: uint32(id) * 1e7}, id: id, toc: toc20, vad: 1,
	}
}

// silk makes the speaker one whose encoder finds voice in each packet, or none.
func (sp *speaker) silk(found bool) {
	sp.toc, sp.vad = tocSILK, 0
	if found {
		sp.vad = 0x80
	}
}

func (sp *speaker) next() *rtp.Packet {
	p := sp.packet()
	p.Payload[0], p.Payload[1], p.Payload[2], p.Payload[3] = sp.toc, sp.vad, sp.id, sp.level
	if sp.n == 255 {
		sp.n = 0
	}
	return p
}

func (sp *speaker) say(t *testing.T) {
	t.Helper()
	p := sp.next()
	sp.sent = append(sp.sent, int(p.Payload[5]))
	require.NoError(t, sp.WriteRTP(p))
}

func (sp *speaker) pause(t *testing.T) {
	t.Helper()
	p := sp.next()
	if sp.n--; sp.n == 0 {
		sp.n = 255
	}
	p.Payload = p.Payload[:1]
	require.NoError(t, sp.WriteRTP(p))
}

// quiet lets the speaker's time go by without a packet.
func (sp *speaker) quiet(d time.Duration) { sp.ts += uint32(d / time.Millisecond * 48) }

// together lets the speakers talk side by side for n packets.
func (s *studio) together(t *testing.T, n int, speakers ...*speaker) {
	t.Helper()
	for range n {
		for _, sp := range speakers {
			sp.say(t)
		}
		s.pass(media.FrameDuration)
	}
}

// heardOf returns the numbers of the packets of speaker id that reached the phone,
// relayed or mixed, in their order.
func (s *studio) heardOf(id byte) (numbers []int) {
	for _, w := range s.dst.all() {
		switch {
		case w.isSilence():
		case w.Payload[1] == fakeTag:
			if n := binary.BigEndian.Uint16(w.Payload[2+2*int(id):]); n != 0 {
				numbers = append(numbers, int(n))
			}
		case w.Payload[2] == id:
			numbers = append(numbers, int(w.Payload[len(w.Payload)-1]))
		}
	}
	return numbers
}

// inMixingStudio is inStudio with a line that can mix.
func inMixingStudio(t *testing.T, o media.LineOptions, f func(t *testing.T, s *studio, codecs *fakeCodecs)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		codecs := &fakeCodecs{}
		s := &studio{dst: &recorder{}, pacer: media.NewPacer(1)}
		defer s.pacer.Close()
		o.Pacer, o.Codecs = s.pacer, codecs
		s.line = media.NewLine(s.dst, o)
		s.line.Open()
		start := time.Now()
		f(t, s, codecs)
		s.requireOnTime(t, start, 300*time.Millisecond)
		s.line.Close()
		n := s.dst.count()
		s.pacer.Close()
		require.Equal(t, n, s.dst.count(), "written after Close")
		require.Zero(t, codecs.voices, "voices given back")
		require.Zero(t, codecs.encoders, "encoders given back")
		requireContinuous(t, s.dst.all())
	})
}
