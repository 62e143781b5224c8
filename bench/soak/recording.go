package soak

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/media/resample/soxr"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/handset"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

const rtpClock = 48000 // Opus: RFC 7587, section 4.1

// recording is the beginning of what one end heard, and when it came.
type recording struct {
	pcm   []int16 // at listenRate, listenTo at most
	marks []mark  // in order of samples
}

// mark says when the packet came that a sample is the first one of.
type mark struct {
	sample  int
	arrived time.Time
}

func newRecording(pcm []int16, marks []mark) *recording {
	return &recording{pcm: pcm[:min(len(pcm), duration(listenTo))], marks: marks}
}

func phoneRecording(h *handset.Handset) (*recording, error) {
	pcm, rate := h.Recording()
	pcm, err := soxr.Convert(pcm[:min(len(pcm), int(listenTo.Seconds())*rate)], rate, listenRate)
	if err != nil {
		return nil, fmt.Errorf("listen to the phone: %w", err)
	}
	var marks []mark
	for _, m := range h.Timeline() {
		marks = append(marks, mark{sample: int(int64(m.Sample) * listenRate / int64(rate)), arrived: m.Arrived})
	}
	return newRecording(pcm, marks), nil
}

// agentRecording has marks of the first stream alone: livekittest places all others by when they came.
func agentRecording(r *livekittest.Recording) (*recording, error) {
	pcm, err := r.PCM(listenRate)
	if err != nil {
		return nil, fmt.Errorf("listen to the agent: %w", err)
	}
	var packets []livekittest.HeardPacket
	for _, p := range r.Packets() {
		if len(p.Payload) > 0 && (len(packets) == 0 || p.SSRC == packets[0].SSRC && p.TrackSID == packets[0].TrackSID) {
			packets = append(packets, p)
		}
	}
	// RTP timestamps wrap.
	slices.SortStableFunc(packets, func(a, b livekittest.HeardPacket) int { return cmp.Compare(int32(a.Timestamp-b.Timestamp), 0) })
	var marks []mark
	for _, p := range packets {
		ticks := int64(p.Timestamp - packets[0].Timestamp)
		marks = append(marks, mark{sample: int(ticks * listenRate / rtpClock), arrived: p.Arrived})
	}
	return newRecording(pcm, marks), nil
}

// since returns so many samples from the first one on that can be what was said from a moment on: nothing of it is in a
// packet that came before it was said. What was said before the recording began, or is beyond its end, is silence; if that
// is more than half, it is nil.
//
// It goes by when each packet came, not by a clock: machines that stall put the samples of a stream elsewhere for a while.
func (r *recording) since(moment time.Time, samples int) []int16 {
	from, found := 0, false
	for _, m := range r.marks {
		if m.arrived.Before(moment) {
			continue
		}
		// The last that can be in this packet was said when it came.
		if first := m.sample - min(samples, int(m.arrived.Sub(moment)*listenRate/time.Second)); !found || first < from {
			from, found = first, true
		}
	}
	if !found {
		return nil
	}
	before := min(samples, max(0, -from)) // the recording began
	rest := r.pcm[min(max(0, from), len(r.pcm)):]
	if 2*min(len(rest), samples-before) < samples {
		return nil
	}
	heard := make([]int16, samples)
	copy(heard[before:], rest)
	return heard
}

// save keeps the recording as a WAV file.
func (r *recording) save(file string) error {
	f, err := os.Create(file) //nolint:gosec // where the operator wants it
	if err != nil {
		return fmt.Errorf("keep a recording: %w", err)
	}
	if err = errors.Join(hearing.WriteWAV(f, r.pcm, listenRate), f.Close()); err != nil {
		return fmt.Errorf("keep a recording: %w", err)
	}
	return nil
}
