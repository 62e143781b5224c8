package g711

import (
	"errors"
	"math"
)

// ErrBuffer is returned when a payload or PCM buffer has an unusable length.
var ErrBuffer = errors.New("g711: buffer length not usable")

// In samples, at 8 per millisecond.
const (
	ms = SampleRate / 1000

	// The pitch that concealment looks for: 66 to 200 Hz, as Appendix I to G.711.
	minPitch = 5 * ms
	maxPitch = 15 * ms
	// What is compared to find it.
	window = 20 * ms
	// Three periods are repeated at most, and a quarter of one before them makes
	// their seam.
	history = 3*maxPitch + maxPitch/4

	// A loss begins to fade after fadeAfter and is silent after silentAfter.
	fadeAfter   = 10 * ms
	silentAfter = 60 * ms
	// Every stepAfter of a loss one period more is repeated, so that it does not
	// sound like a buzzer.
	stepAfter = 10 * ms
)

// Decoder turns the payloads of one stream into PCM and makes up for those that
// were lost: it repeats the last periods of the voice's pitch, more of them as
// the loss goes on, fades within 60 ms, and blends into what comes next. The
// method is that of ITU-T G.711 Appendix I without its delay of 3.75 ms: the seam
// before a loss is mended behind it. A Decoder starts nothing and need not be
// closed.
type Decoder struct {
	law  Law
	past [history]int16 // what was heard last, the newest at the end

	lost    int            // samples made up since the last payload
	before  [history]int16 // past as it was before them
	period  int            // of the pitch
	periods int            // repeated in turn
	cycle   [history]int16 // what is repeated, periods*period long
	at      int            // in cycle
	offset  float32        // step at the seam, taken back over seam samples
	seam    int
}

// NewDecoder makes a decoder.
func NewDecoder(law Law) *Decoder {
	return &Decoder{law: law}
}

// Reset forgets everything heard, as if the decoder were new.
func (d *Decoder) Reset() error {
	*d = Decoder{law: d.law}
	return nil
}

// Samples is how many samples Decode gives for payload.
func (d *Decoder) Samples(payload []byte) (int, error) {
	if len(payload) == 0 {
		return 0, ErrBuffer
	}
	return len(payload), nil
}

// Decode writes the audio of payload into pcm and returns the number of samples:
// one per octet. A payload longer than pcm is an error. Neither slice is kept.
func (d *Decoder) Decode(payload []byte, pcm []int16) (samples int, err error) {
	if len(payload) == 0 || len(payload) > len(pcm) {
		return 0, ErrBuffer
	}
	pcm = pcm[:d.law.Decode(payload, pcm)]
	if d.lost > 0 {
		d.blend(pcm)
		d.lost = 0
	}
	d.remember(pcm)
	return len(pcm), nil
}

// DecodeFEC conceals: G.711 carries no redundancy.
func (d *Decoder) DecodeFEC(_ []byte, pcm []int16) error {
	return d.Conceal(pcm)
}

// Conceal writes into pcm what probably was said in audio that got lost.
func (d *Decoder) Conceal(pcm []int16) error {
	if len(pcm) == 0 {
		return ErrBuffer
	}
	for i := range pcm {
		pcm[i] = d.next()
	}
	d.remember(pcm)
	return nil
}

// next makes up one sample.
func (d *Decoder) next() int16 {
	if d.lost >= silentAfter {
		return 0
	}
	switch {
	case d.lost == 0:
		d.before = d.past
		d.period = d.pitch()
		d.begin(1)
	case d.lost%stepAfter == 0 && d.periods < 3:
		// One period more, from the same place in it.
		old, at := d.cycle[d.at], d.at%d.period
		d.begin(d.periods + 1)
		d.at, d.offset = at, float32(old)-float32(d.cycle[at])
	}
	v := float32(d.cycle[d.at])
	d.at = (d.at + 1) % (d.periods * d.period)
	if d.seam > 0 {
		quarter := d.period / 4
		v += d.offset * float32(d.seam) / float32(quarter+1)
		d.seam--
	}
	if d.lost > fadeAfter {
		v *= float32(silentAfter-d.lost) / (silentAfter - fadeAfter)
	}
	d.lost++
	return clip(v)
}

// begin makes the cycle of the last periods before the loss.
func (d *Decoder) begin(periods int) {
	past := d.before[:]
	length, quarter := periods*d.period, d.period/4
	d.periods, d.at = periods, 0
	last := past[len(past)-length:]
	copy(d.cycle[:], last)
	// The end of the cycle runs into what stood before its beginning.
	before := past[len(past)-length-quarter:]
	for i := range quarter {
		w := float32(i+1) / float32(quarter+1)
		end := length - quarter + i
		d.cycle[end] = clip(float32(d.cycle[end])*(1-w) + float32(before[i])*w)
	}
	// The cycle begins as if that stood before it; in truth the end of past does.
	d.offset = float32(past[len(past)-1]) - float32(past[len(past)-length-1])
	d.seam = quarter
}

// blend lets what was made up run on under the first samples of pcm: for a
// quarter of a period, and 4 ms more for each 10 ms of loss, at most 10 ms.
func (d *Decoder) blend(pcm []int16) {
	n := min(d.period/4+4*ms*(d.lost/(10*ms)), 10*ms, len(pcm))
	for i := range n {
		w := float32(i+1) / float32(n+1)
		pcm[i] = clip(float32(pcm[i])*w + float32(d.next())*(1-w))
	}
}

func (d *Decoder) remember(pcm []int16) {
	if len(pcm) >= len(d.past) {
		copy(d.past[:], pcm[len(pcm)-len(d.past):])
		return
	}
	kept := copy(d.past[:], d.past[len(pcm):])
	copy(d.past[kept:], pcm)
}

// pitch is the lag at which the end of past is most like itself.
func (d *Decoder) pitch() int {
	end := d.past[len(d.past)-window:]
	best, lag := float32(math.Inf(-1)), maxPitch
	for p := minPitch; p <= maxPitch; p++ {
		earlier := d.past[len(d.past)-window-p:][:window]
		var product, energy float32
		for i, v := range end {
			e := float32(earlier[i])
			product += float32(v) * e
			energy += e * e
		}
		// One more keeps silence from dividing by nothing.
		if q := product / float32(math.Sqrt(float64(energy)+1)); q > best {
			best, lag = q, p
		}
	}
	return lag
}

func clip(v float32) int16 {
	return int16(max(math.MinInt16, min(math.MaxInt16, v)))
}
