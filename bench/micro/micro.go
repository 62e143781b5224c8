// Package micro measures what each stage of the audio path costs for 20 ms of one stream: CPU time and allocations.
//
// It counts CPU time of the process, not time of day, because the machine may do other things too. Stages that are
// driven by a clock run in fake time, where waiting costs nothing; what the fake clock itself costs is in both sides.
package micro

import (
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/pion/rtp"

	"github.com/livekit-connector/livekit-connector/bench/chain"
	"github.com/livekit-connector/livekit-connector/media"
)

// Stage is something that is done once in 20 ms.
type Stage struct {
	// Name is the same on all sides.
	Name string
	// New makes a function that does it once. Either this or Chain is set.
	New func() (frame func(), err error)
	// Chain is played to by so many Speakers.
	Chain    chain.Maker
	Speakers int
	// Loud makes the speakers as loud as they can be.
	Loud bool
}

// Cost is what one frame takes.
type Cost struct {
	Stage string `json:"stage"`
	Side  string `json:"side"`
	// Median and Min of the repeats, in nanoseconds of CPU time.
	Median float64 `json:"median_ns"`
	Min    float64 `json:"min_ns"`
	// Allocs and Bytes are the least of the repeats.
	Allocs float64 `json:"allocs"`
	Bytes  float64 `json:"bytes"`
}

// usage is what the process has used so far.
type usage struct {
	cpu           time.Duration
	allocs, bytes uint64
}

func now() usage {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // cannot fail with these arguments
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{cpu: time.Duration(r.Utime.Nano() + r.Stime.Nano()), allocs: m.Mallocs, bytes: m.TotalAlloc}
}

// samples are the repeats of one stage.
type samples struct{ ns, allocs, bytes []float64 }

// add takes note of what so many frames used.
func (s *samples) add(before, after usage, frames int) {
	n := float64(frames)
	s.ns = append(s.ns, float64(after.cpu-before.cpu)/n)
	s.allocs = append(s.allocs, float64(after.allocs-before.allocs)/n)
	s.bytes = append(s.bytes, float64(after.bytes-before.bytes)/n)
}

func (s *samples) cost(stage, side string) Cost {
	slices.Sort(s.ns)
	return Cost{
		Stage: stage, Side: side, Median: s.ns[len(s.ns)/2], Min: s.ns[0], Allocs: slices.Min(s.allocs), Bytes: slices.Min(s.bytes),
	}
}

// loop repeats a frame for about batch of CPU time, as often as asked for.
func loop(frame func(), batch time.Duration, repeats int) *samples {
	n := 1
	for { // how many make a batch
		before := now()
		for range n {
			frame()
		}
		if spent := now().cpu - before.cpu; spent >= batch/4 {
			n = max(1, int(float64(n)*float64(batch)/float64(spent)))
			break
		}
		n *= 4
	}
	s := &samples{}
	for range repeats {
		before := now()
		for range n {
			frame()
		}
		s.add(before, now(), n)
	}
	return s
}

// counter is where chains write to.
type counter struct{ packets int }

// WriteRTP counts.
func (c *counter) WriteRTP(*rtp.Packet) error {
	c.packets++
	return nil
}

// Times of a chain that is played to.
const (
	settle   = 2 * time.Second
	interval = 10 * time.Second
)

// play lets so many speakers talk through a chain and measures an interval. Call it in fake time.
func play(m chain.Maker, speakers int, packets [][]byte, s *samples) error {
	dst := &counter{}
	c, err := m.New(dst)
	if err != nil {
		return fmt.Errorf("make %s: %w", m.Name, err)
	}
	defer c.Close()
	sources := make([]media.Writer, speakers)
	for i := range sources {
		if sources[i], err = c.Source(); err != nil {
			return fmt.Errorf("add source to %s: %w", m.Name, err)
		}
	}
	time.Sleep(media.FrameDuration / 3) // off what starts with the chain
	var p rtp.Packet
	var before usage
	start := time.Now()
	frames := int((settle + interval) / media.FrameDuration)
	for n := range frames {
		if n == int(settle/media.FrameDuration) {
			before = now()
			dst.packets = 0
		}
		for i, w := range sources {
			p = rtp.Packet{Header: rtp.Header{
				Version: 2, PayloadType: media.OpusPayloadType, SSRC: uint32(1 + i),
				SequenceNumber: uint16(n), Timestamp: uint32(n * media.FrameSamples),
			}, Payload: packets[(n+i*17)%len(packets)]}
			_ = w.WriteRTP(&p) // what is not heard is not counted
		}
		time.Sleep(time.Until(start.Add(time.Duration(n+1) * media.FrameDuration)))
	}
	after := now()
	want := int(interval / media.FrameDuration)
	if dst.packets < want-5 {
		return fmt.Errorf("%s wrote %d packets, not %d", m.Name, dst.packets, want)
	}
	s.add(before, after, want)
	return nil
}
