// Package latency measures in real time how long sound takes through whole audio paths: from the arrival of a packet of
// one speaker at the bridge to the departure of the same sound for the phone. It follows that speaker's voice in what the
// phone hears, so it needs no cooperation of what it measures.
package latency

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/chain"
	"github.com/livekit-connector/livekit-connector/bench/listen"
	"github.com/livekit-connector/livekit-connector/bench/quality"
	"github.com/livekit-connector/livekit-connector/bench/speech"
	"github.com/livekit-connector/livekit-connector/internal/impair"
)

// Scenario is who speaks.
type Scenario struct {
	Name string
	// Speakers at once, the one that is followed included.
	Speakers int
	// Turns lets the second one speak in turns of turn, with as much between them: the path has to change its way.
	Turns bool
}

const turn = 3 * time.Second

// Scenarios are all of the benchmark.
func Scenarios() []Scenario {
	return []Scenario{
		{Name: "relay", Speakers: 1},
		{Name: "mix of 2", Speakers: 2},
		{Name: "mix of 5", Speakers: 5},
		{Name: "mix of 20", Speakers: 20},
		{Name: "relay, mix of 2, relay ...", Speakers: 2, Turns: true},
	}
}

// network is a condition.
type network struct {
	Name  string
	Model impair.Model
}

func networks() []network {
	return []network{
		{"clean", impair.Model{}},
		{"30 ms jitter, 5 % loss", impair.Model{Loss: 0.05, Jitter: 30 * time.Millisecond}},
	}
}

// Result is what was measured of one path.
type Result struct {
	Scenario string `json:"scenario"`
	Network  string `json:"network"`
	Chain    string `json:"chain"`
	// Delay of sound, good to half a millisecond: the encoder's lookahead is in it.
	Delay quality.Delay `json:"delay"`
	// Spent is how long a packet was in the hands of the path before its source could go on: all of a relay's delay.
	Spent quality.Delay `json:"spent"`
	// Late is how much too late packets were handed over because the machine did something else.
	Late quality.Delay `json:"late"`
	// Similarity tells how surely the voice was followed: near 1 alone, less among others.
	Similarity float64 `json:"similarity"`
}

// soft is how loud the others are, so that the voice that is followed stands out. Decoding and mixing do not get
// cheaper by it.
const soft = 0.05

// clips are what all runs need.
type clips struct{ voice, other *quality.Clip }

func newClips(lossPercent int, short bool) (c clips, err error) {
	files := []string{speech.AgentFile, speech.CallerFile}
	others := []string{speech.CallerFile, speech.AgentFile}
	if short {
		files, others = files[:1], others[:1]
	}
	if c.voice, err = quality.NewClip(1, lossPercent, files...); err != nil {
		return c, err
	}
	c.other, err = quality.NewClip(soft, lossPercent, others...)
	return c, err
}

// start is when the speakers begin, phase by how much later each one does than the one before.
const (
	start = 311 * time.Millisecond // half a frame off what starts with the path, and off the slots of a pacer
	phase = 3700 * time.Microsecond
	trail = time.Second
)

// streams are the voice and the others.
func (c clips) streams(s Scenario, n network) []chain.Stream {
	all := []chain.Stream{{Packets: c.voice.Packets, Start: start, Network: n.Model, Seed: 1}}
	for i := 1; i < s.Speakers; i++ {
		from := i * len(c.other.Packets) / s.Speakers // each says something else
		packets := slices.Concat(c.other.Packets[from:], c.other.Packets[:from])
		if !s.Turns {
			all = append(all, chain.Stream{Packets: packets, Start: start + time.Duration(i)*phase, Network: n.Model, Seed: uint64(1 + i)})
		}
	}
	if s.Turns {
		all = append(all, c.turns(n)...)
	}
	return all
}

// turns are those of the second speaker, each a stream of its own as after a mute.
func (c clips) turns(n network) (all []chain.Stream) {
	const packets = int(turn / speech.FrameDuration)
	for from := packets / 2; from+packets <= len(c.other.Packets); from += 2 * packets {
		all = append(all, chain.Stream{
			Packets: c.other.Packets[from : from+packets], Network: n.Model, Seed: uint64(from),
			Start: start + phase + time.Duration(from)*speech.FrameDuration,
		})
	}
	return all
}

// Run measures all paths side by side, at the same time with the same packets. Call it in real time.
func Run(makers []chain.Maker, s Scenario, n network, c clips) ([]Result, error) {
	streams := c.streams(s, n)
	length := start + time.Duration(len(c.voice.Packets))*speech.FrameDuration + trail
	results, errs := make([]Result, len(makers)), make([]error, len(makers))
	var wg sync.WaitGroup
	for i, m := range makers {
		wg.Go(func() {
			// They are not to work in the same moment.
			time.Sleep(time.Duration(i) * speech.FrameDuration / time.Duration(len(makers)))
			rec, err := chain.Play(m, streams, length)
			if err != nil {
				errs[i] = err
				return
			}
			results[i], errs[i] = measure(rec, c.voice)
			results[i].Scenario, results[i].Network, results[i].Chain = s.Name, n.Name, m.Name
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", makers[i].Name, s.Name, err)
		}
	}
	return results, nil
}

func measure(rec *chain.Recording, voice *quality.Clip) (Result, error) {
	sound, err := chain.Hear(rec.Departures)
	if err != nil {
		return Result{}, err
	}
	if len(rec.Departures) == 0 {
		return Result{}, fmt.Errorf("nothing was heard")
	}
	offset := min(len(sound.PCM), max(0, int((start-rec.Departures[0].At).Seconds()*listen.Rate)))
	m := listen.Follow(voice.Said, listen.Floats(sound.PCM[offset:]), -40*time.Millisecond, 400*time.Millisecond)
	return Result{
		Delay:      quality.DelayOf(quality.Delays(m, voice, sound, offset, rec.Arrivals[0])),
		Spent:      quality.DelayOf(rec.Spent),
		Late:       quality.DelayOf(rec.Late),
		Similarity: m.Similarity,
	}, nil
}
