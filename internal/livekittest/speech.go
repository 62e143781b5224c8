package livekittest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/livekit-connector/livekit-connector/media/opus"
)

// maxRecording bounds what PCM lays out: a timestamp that jumps must not cost gigabytes.
const maxRecording = 30 * time.Minute

// Say encodes mono PCM as Opus packets of 20 ms, sends them in real time and returns when the last has left. sampleRate
// is one that Opus knows. The last frame is filled up with silence.
func (t *Track) Say(ctx context.Context, pcm []int16, sampleRate int) error {
	packets, err := Encode(pcm, sampleRate)
	if err != nil {
		return err
	}
	return t.Send(ctx, packets)
}

// Encode makes the packets that Say sends.
func Encode(pcm []int16, sampleRate int) ([]Packet, error) {
	encoder, err := opus.NewEncoder(opus.EncoderOptions{SampleRate: sampleRate})
	if err != nil {
		return nil, fmt.Errorf("encode speech: %w", err)
	}
	samples := opus.FrameSamples(sampleRate, frameDuration)
	var (
		packets []Packet
		buf     [opus.MaxPacketBytes]byte
	)
	for frame := range slices.Chunk(pcm, samples) {
		if len(frame) < samples {
			frame = append(slices.Clone(frame), make([]int16, samples-len(frame))...)
		}
		n, err := encoder.Encode(frame, buf[:])
		if err != nil {
			return nil, fmt.Errorf("encode speech: %w", err)
		}
		packets = append(packets, Packet{Payload: slices.Clone(buf[:n]), Level: Level(frame)})
	}
	return packets, nil
}

// PCM decodes the recording as mono PCM and lays it out by RTP timestamps, beginning with the first packet: what was
// lost or not sent is silence, and nothing is concealed. Tracks after the first are placed by when they arrived.
func (r *Recording) PCM(sampleRate int) ([]int16, error) {
	var (
		out   []int16
		begin time.Time
	)
	for _, stream := range r.streams() {
		if begin.IsZero() {
			begin = stream[0].Arrived
		}
		offset := int(stream[0].Arrived.Sub(begin) * time.Duration(sampleRate) / time.Second)
		if len(out) == 0 {
			offset = 0
		}
		var err error
		if out, err = layOut(out, stream, offset, sampleRate); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// streams splits the recording by RTP stream, in order of appearance, each in order of its timestamps.
func (r *Recording) streams() [][]HeardPacket {
	type key struct {
		trackSID string
		ssrc     uint32
	}
	var (
		streams [][]HeardPacket
		index   = make(map[key]int)
	)
	for _, p := range r.Packets() {
		if len(p.Payload) == 0 {
			continue
		}
		k := key{p.TrackSID, p.SSRC}
		i, known := index[k]
		if !known {
			i = len(streams)
			index[k] = i
			streams = append(streams, nil)
		}
		streams[i] = append(streams[i], p)
	}
	for _, stream := range streams {
		slices.SortStableFunc(stream, func(a, b HeardPacket) int {
			return int(int32(a.Timestamp - b.Timestamp)) // RTP arithmetic: modulo 2^32
		})
	}
	return streams
}

// layOut decodes a stream into out, the first packet at offset.
func layOut(out []int16, stream []HeardPacket, offset, sampleRate int) ([]int16, error) {
	decoder, err := opus.NewDecoder(sampleRate)
	if err != nil {
		return nil, fmt.Errorf("decode recording: %w", err)
	}
	buf := make([]int16, opus.FrameSamples(sampleRate, opus.MaxPacketDuration))
	limit := opus.FrameSamples(sampleRate, maxRecording)
	for _, p := range stream {
		n, err := decoder.Decode(p.Payload, buf)
		if err != nil {
			return nil, fmt.Errorf("decode recording, packet %d: %w", p.Sequence, err)
		}
		at := offset + int(uint64(p.Timestamp-stream[0].Timestamp)*uint64(sampleRate)/clockRate)
		if at+n > limit {
			return nil, errors.New("decode recording: timestamps jump")
		}
		if len(out) < at+n {
			out = append(out, make([]int16, at+n-len(out))...)
		}
		copy(out[at:], buf[:n])
	}
	return out, nil
}
