package micro

import (
	"fmt"
	"runtime"
	"time"

	"github.com/pion/rtp"

	"github.com/livekit-connector/livekit-connector/bench/chain"
	"github.com/livekit-connector/livekit-connector/bench/quality"
	"github.com/livekit-connector/livekit-connector/bench/speech"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/codec"
	"github.com/livekit-connector/livekit-connector/media/jitter"
	"github.com/livekit-connector/livekit-connector/media/opus"
	"github.com/livekit-connector/livekit-connector/media/resample"
)

// The names of stages, for all sides.
const (
	PhoneRelay   = "relay, phone to room"
	LineRelay    = "relay, room to phone"
	Jitter       = "jitter buffer, in and out"
	Decode       = "Opus decode"
	EncodePhone  = "Opus encode, to the phone"
	EncodeRoom   = "Opus encode, to the room"
	Voice        = "jitter buffer and Opus decode"
	Down         = "resample 48 to 16 kHz"
	Up           = "resample 16 to 48 kHz"
	UpG711       = "resample 8 to 16 kHz"
	mixOf        = "mix of %d, without codecs"
	Limited      = "mix of 2, without codecs, too loud"
	wholeOf      = "whole mixed frame, %d speakers"
	loudSpeakers = 2
)

// MixOf names the stage of a mix without codecs.
func MixOf(speakers int) string { return fmt.Sprintf(mixOf, speakers) }

// WholeOf names the stage of a mix with all that belongs to it.
func WholeOf(speakers int) string { return fmt.Sprintf(wholeOf, speakers) }

// Mixes and Wholes are how many speakers are measured.
var (
	Mixes  = []int{2, 5, 20, 100}
	Wholes = []int{1, 2, 5, 20}
)

// Stages are those of livekit-connector, at the product's settings.
func Stages() []Stage {
	all := []Stage{
		{Name: PhoneRelay, New: phoneRelay},
		{Name: LineRelay, Chain: chain.Line("line", media.ModeAuto, 0), Speakers: 1},
		{Name: Jitter, New: jitterBuffer},
		{Name: Decode, New: decode},
		{Name: Voice, New: voice},
		{Name: EncodePhone, New: func() (func(), error) { return encode(codec.ToPhone()) }},
		{Name: EncodeRoom, New: func() (func(), error) { return encode(codec.ToRoom()) }},
		{Name: Down, New: func() (func(), error) { return resampling(48000, 16000) }},
		{Name: Up, New: func() (func(), error) { return resampling(16000, 48000) }},
		{Name: UpG711, New: func() (func(), error) { return resampling(8000, 16000) }},
	}
	for _, n := range Mixes {
		all = append(all, Stage{Name: MixOf(n), Chain: bareLine(n, false), Speakers: n})
	}
	all = append(all, Stage{Name: Limited, Chain: bareLine(loudSpeakers, true), Speakers: loudSpeakers})
	for _, n := range Wholes {
		all = append(all, Stage{Name: WholeOf(n), Chain: chain.Line("line", media.ModeTranscode, n), Speakers: n})
	}
	return all
}

// Packets is what a participant says, and PCM the same at a rate.
func Packets() ([][]byte, error) {
	c, err := quality.NewClip(1, 0, speech.AgentFile)
	if err != nil {
		return nil, err
	}
	return c.Packets, nil
}

// Frames is speech as frames of PCM at rate Hz.
func Frames(rate int) ([][]int16, error) {
	packets, err := Packets()
	if err != nil {
		return nil, err
	}
	d, err := opus.NewDecoder(rate)
	if err != nil {
		return nil, fmt.Errorf("decode speech: %w", err)
	}
	var all [][]int16
	for _, p := range packets {
		pcm := make([]int16, rate/50)
		if _, err := d.Decode(p, pcm); err != nil {
			return nil, fmt.Errorf("decode speech: %w", err)
		}
		all = append(all, pcm)
	}
	return all, nil
}

func phoneRelay() (func(), error) {
	packets, err := Packets()
	if err != nil {
		return nil, err
	}
	r := media.NewRelay(&counter{})
	p := rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 1}}
	return func() {
		p.Payload = packets[int(p.SequenceNumber)%len(packets)]
		_ = r.WriteRTP(&p) // counter takes all
		p.SequenceNumber++
		p.Timestamp += media.FrameSamples
	}, nil
}

func jitterBuffer() (func(), error) {
	packets, err := Packets()
	if err != nil {
		return nil, err
	}
	b := jitter.New(jitter.Options{Duration: media.OpusDuration, Redundant: media.OpusHasFEC})
	p := rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 1}}
	at := time.Duration(0)
	payload := make([]byte, 0, 1500)
	return func() {
		p.Payload = packets[int(p.SequenceNumber)%len(packets)]
		b.Put(&p, at)
		if q := b.Front(); q != nil {
			payload = b.Payload(q, payload)
			b.Pop()
		}
		p.SequenceNumber++
		p.Timestamp += media.FrameSamples
		at += media.FrameDuration
	}, nil
}

func decode() (func(), error) {
	packets, err := Packets()
	if err != nil {
		return nil, err
	}
	d, err := opus.NewDecoder(codec.PhoneRate)
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	pcm, n := make([]int16, codec.PhoneRate/50), 0
	return func() {
		_, _ = d.Decode(packets[n%len(packets)], pcm) // they were decoded before
		n++
	}, nil
}

func voice() (func(), error) {
	packets, err := Packets()
	if err != nil {
		return nil, err
	}
	c, err := codec.New(codec.ToPhone())
	if err != nil {
		return nil, fmt.Errorf("make codecs: %w", err)
	}
	v, err := c.NewVoice(media.CodecOpus)
	if err != nil {
		return nil, fmt.Errorf("make voice: %w", err)
	}
	p := rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 1}}
	at := time.Duration(0)
	pcm := make([]int16, codec.PhoneRate/50)
	return func() {
		p.Payload = packets[int(p.SequenceNumber)%len(packets)]
		v.Write(&p, at)
		v.Read(pcm, at+media.FrameDuration/2)
		p.SequenceNumber++
		p.Timestamp += media.FrameSamples
		at += media.FrameDuration
	}, nil
}

func encode(o codec.Options) (func(), error) {
	frames, err := Frames(o.Rate)
	if err != nil {
		return nil, err
	}
	c, err := codec.New(o)
	if err != nil {
		return nil, fmt.Errorf("make codecs: %w", err)
	}
	e, err := c.NewEncoder(media.CodecOpus)
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	payload, n := make([]byte, opus.MaxPacketBytes), 0
	return func() {
		_, _ = e.Encode(frames[n%len(frames)], payload) // any PCM can be encoded
		n++
	}, nil
}

func resampling(from, to int) (func(), error) {
	frames, err := Frames(from)
	if err != nil {
		return nil, err
	}
	f, err := resample.NewFilter(from, to)
	if err != nil {
		return nil, fmt.Errorf("make filter: %w", err)
	}
	r := resample.New(f)
	out, n := make([]int16, to/50+1), 0
	return func() {
		_, _ = r.Resample(frames[n%len(frames)], out) // out has room
		n++
	}, nil
}

// bareLine is a line whose voices and encoder do nothing: mixer, limiter and pacer are left.
func bareLine(voices int, loud bool) chain.Maker {
	return chain.Maker{Name: "line", New: func(dst media.Writer) (chain.Chain, error) {
		frames, err := Frames(codec.PhoneRate)
		if err != nil {
			return nil, err
		}
		if loud {
			frames = louder(frames)
		}
		p := media.NewPacer(runtime.GOMAXPROCS(0))
		l := media.NewLine(dst, media.LineOptions{Pacer: p, Codecs: bareCodecs{frames}, MaxVoices: voices, Mode: media.ModeTranscode})
		l.Open()
		return &bare{pacer: p, line: l}, nil
	}}
}

// louder makes frames so loud that two of them are too much.
func louder(frames [][]int16) [][]int16 {
	out := make([][]int16, len(frames))
	for i, f := range frames {
		out[i] = make([]int16, len(f))
		for j, v := range f {
			out[i][j] = int16(max(-32768, min(32767, 4*int(v))))
		}
	}
	return out
}
