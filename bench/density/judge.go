package density

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/speech"
	"github.com/livekit-connector/livekit-connector/media/opus"
	"github.com/livekit-connector/livekit-connector/media/resample/soxr"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// arrival is one packet that somebody got.
type arrival struct {
	at        time.Time
	source    uint32
	sequence  uint16
	timestamp uint32
	payload   []byte
}

// arrivals is what somebody heard, for one writer and any reader.
type arrivals struct {
	mu  sync.Mutex
	all []arrival
}

func (a *arrivals) add(p arrival) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, p)
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.all)
}

// between returns what arrived from one moment up to another.
func (a *arrivals) between(from, to time.Time) []arrival {
	a.mu.Lock()
	defer a.mu.Unlock()
	return within(a.all, from, to)
}

func within(all []arrival, from, to time.Time) (some []arrival) {
	for _, p := range all {
		if !p.at.Before(from) && p.at.Before(to) {
			some = append(some, p)
		}
	}
	return some
}

// Reception is how one direction of many calls arrived.
type Reception struct {
	// Delivered is the share of the packets due that came, over all calls; Worst that of the call with the fewest.
	Delivered float64 `json:"delivered"`
	Worst     float64 `json:"worst"`
	// P50, P99 and Max say how much later packets came than the earliest of their call, in milliseconds, compared with
	// their RTP timestamps. The lateness of the load itself is in it.
	P50 float64 `json:"late_p50_ms"`
	P99 float64 `json:"late_p99_ms"`
	Max float64 `json:"late_max_ms"`
	// LongestPause between two packets of a call, in milliseconds.
	LongestPause float64 `json:"longest_pause_ms"`
}

// receive judges what came in an interval of that length, by call.
func receive(calls [][]arrival, length time.Duration) (r Reception) {
	due := float64(length) / float64(speech.FrameDuration)
	r.Worst = math.Inf(1)
	var late []time.Duration
	var came float64
	for _, packets := range calls {
		came += min(float64(len(packets)), due) // what one call has too much does not help another
		r.Worst = min(r.Worst, float64(len(packets))/due)
		late = append(late, lateness(packets)...)
		for i := 1; i < len(packets); i++ {
			r.LongestPause = max(r.LongestPause, milliseconds(packets[i].at.Sub(packets[i-1].at)))
		}
	}
	r.Delivered = came / due / float64(len(calls))
	if len(late) > 0 {
		slices.Sort(late)
		r.P50, r.P99, r.Max = quantile(late, .5), quantile(late, .99), quantile(late, 1)
	}
	return r
}

// total is how many packets came in all calls.
func total(calls [][]arrival) (n int) {
	for _, packets := range calls {
		n += len(packets)
	}
	return n
}

// lateness of each packet against the earliest one of the same source: how much longer it was on its way.
func lateness(packets []arrival) []time.Duration {
	late := make([]time.Duration, 0, len(packets))
	for len(packets) > 0 {
		first := packets[0]
		n := slices.IndexFunc(packets, func(p arrival) bool { return p.source != first.source })
		if n < 0 {
			n = len(packets)
		}
		begin, earliest := len(late), time.Duration(math.MaxInt64)
		for _, p := range packets[:n] {
			said := time.Duration(int32(p.timestamp-first.timestamp)) * time.Second / 48000
			transit := p.at.Sub(first.at) - said
			earliest = min(earliest, transit)
			late = append(late, transit)
		}
		for i := begin; i < len(late); i++ {
			late[i] -= earliest
		}
		packets = packets[n:]
	}
	return late
}

// quantile of sorted values, in milliseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	return milliseconds(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))])
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Sound is the judgement of recordings: of a sample of calls, since it takes time.
type Sound struct {
	// Calls that were judged, and Good ones of them: one voice was understood word by word, or of several each was heard.
	Calls int `json:"calls"`
	Good  int `json:"good"`
	// Verdicts say in words what was heard, voice by voice.
	Verdicts []string `json:"verdicts"`
}

// listenRate is the sample rate of recordings: a phone's.
const listenRate = 16000

// minShare of a voice must be heard when others speak over it. A voice that is not there is not found at all.
const minShare = 0.7

// listen looks for every clip in what one call got.
func (s *Sound) listen(packets []arrival, clips ...*speech.Clip) error {
	heard, err := decode(packets, listenRate)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	good := true
	for _, clip := range clips {
		said, err := soxr.Convert(clip.PCM, clip.Rate, listenRate)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		v := hearing.Compare(said, heard, listenRate)
		if len(clips) == 1 {
			good = v.OK()
			s.Verdicts = append(s.Verdicts, v.String())
			continue
		}
		good = good && v.Found && v.Coverage >= minShare
		s.Verdicts = append(s.Verdicts, fmt.Sprintf("found: %t, %.0f %% of it, similarity %.2f", v.Found, 100*v.Coverage, v.Similarity))
	}
	s.Calls++
	if good {
		s.Good++
	}
	return nil
}

// decode lays packets out by their sequence numbers; what is missing is concealed.
func decode(packets []arrival, rate int) ([]int16, error) {
	packets = slices.Clone(packets)
	slices.SortStableFunc(packets, func(a, b arrival) int { return cmp.Compare(int16(a.sequence-b.sequence), 0) })
	decoder, err := opus.NewDecoder(rate)
	if err != nil {
		return nil, err
	}
	frame := opus.FrameSamples(rate, speech.FrameDuration)
	buf := make([]int16, opus.FrameSamples(rate, opus.MaxPacketDuration))
	var pcm []int16
	for i, p := range packets {
		if i > 0 {
			for missing := min(int(int16(p.sequence-packets[i-1].sequence))-1, 50); missing > 0; missing-- {
				if err := decoder.Conceal(buf[:frame]); err != nil {
					return nil, err
				}
				pcm = append(pcm, buf[:frame]...)
			}
		}
		n, err := decoder.Decode(p.payload, buf)
		if err != nil {
			return nil, err
		}
		pcm = append(pcm, buf[:n]...)
	}
	return pcm, nil
}
