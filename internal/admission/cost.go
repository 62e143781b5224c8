package admission

import (
	"fmt"
	"math"
	"time"

	"github.com/livekit-connector/livekit-connector/media/opus"
)

// Cost is what one call takes.
type Cost struct {
	// CPU in cores: seconds of CPU time for each second of the call.
	CPU float64
	// Memory in bytes.
	Memory float64
}

func (c Cost) plus(o Cost) Cost     { return Cost{c.CPU + o.CPU, c.Memory + o.Memory} }
func (c Cost) minus(o Cost) Cost    { return Cost{c.CPU - o.CPU, c.Memory - o.Memory} }
func (c Cost) times(f float64) Cost { return Cost{c.CPU * f, c.Memory * f} }
func (c Cost) atLeastNothing() Cost { return Cost{max(0, c.CPU), max(0, c.Memory)} }

// Costs are those of each mode.
type Costs struct {
	Relay, Mix Cost
}

func (c *Costs) of(m Mode) Cost {
	if m == Mix {
		return c.Mix
	}
	return c.Relay
}

// benchmark is what calls took where docs/benchmark.md was measured: 5.03 ms and 1.03 MB a relayed call at 80 calls,
// 18.6 ms and 1.35 MB a mixed one of two speakers at 40; and what the speed test took there.
var benchmark = struct {
	Costs
	codec time.Duration
}{
	Costs: Costs{Relay: Cost{CPU: 0.0050, Memory: 1.1e6}, Mix: Cost{CPU: 0.0186, Memory: 1.4e6}},
	codec: 150 * time.Microsecond,
}

// How far a machine may be from the benchmark's before the speed test is taken to be wrong.
const minSlowness, maxSlowness = 0.25, 8

// DefaultCosts are those of the benchmark, on a machine that is so many times as slow.
func DefaultCosts(slowness float64) Costs {
	s := min(maxSlowness, max(minSlowness, slowness))
	c := benchmark.Costs
	c.Relay.CPU *= s
	c.Mix.CPU *= s
	return c
}

// Calibration is what the speed test found.
type Calibration struct {
	// Codec is the CPU time for one frame of 20 ms of speech, encoded and decoded.
	Codec time.Duration
	// Slowness is how many times as long that is as where the benchmark was measured.
	Slowness float64
}

// The speed test: so many frames, so many times. The fastest round counts, because whatever else happens only adds.
const (
	testRate   = 16000
	testFrames = 25
	testRounds = 6
)

// Calibrate encodes and decodes three seconds of sound and takes some twenty milliseconds of CPU time. It counts the time of its
// own thread, so that it finds the same on a machine that does other things too.
func Calibrate() (Calibration, error) {
	enc, err := opus.NewEncoder(opus.EncoderOptions{SampleRate: testRate, Bitrate: 22000})
	if err != nil {
		return Calibration{}, fmt.Errorf("make an encoder: %w", err)
	}
	dec, err := opus.NewDecoder(testRate)
	if err != nil {
		return Calibration{}, fmt.Errorf("make a decoder: %w", err)
	}
	n := opus.FrameSamples(testRate, 20*time.Millisecond)
	speech := voiced(testFrames * n)
	packet, pcm := make([]byte, opus.MaxPacketBytes), make([]int16, n)
	best := time.Duration(math.MaxInt64)
	for range testRounds {
		took, err := threadTime(func() error {
			for i := range testFrames {
				size, err := enc.Encode(speech[i*n:(i+1)*n], packet)
				if err != nil {
					return fmt.Errorf("encode: %w", err)
				}
				if _, err := dec.Decode(packet[:size], pcm); err != nil {
					return fmt.Errorf("decode: %w", err)
				}
			}
			return nil
		})
		if err != nil {
			return Calibration{}, err
		}
		best = min(best, took/testFrames)
	}
	return Calibration{Codec: best, Slowness: float64(best) / float64(benchmark.codec)}, nil
}

// voiced is a tone with overtones that comes and goes, to keep an encoder as busy as a voice does.
func voiced(n int) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		t := float64(i) / testRate
		pitch := 2 * math.Pi * (140*t + 2*math.Sin(2*math.Pi*3*t))
		level := 4000 * (1 + math.Sin(2*math.Pi*4*t))
		pcm[i] = int16(level * (math.Sin(pitch) + 0.6*math.Sin(2*pitch) + 0.4*math.Sin(5*pitch) + 0.2*math.Sin(11*pitch)) / 2.2)
	}
	return pcm
}
