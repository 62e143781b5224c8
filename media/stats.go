package media

import (
	"math"
	"sync/atomic"
	"time"
)

type lineCounters struct {
	relayed, silence, mixed                                               atomic.Uint64
	voiced, pauses, unheard, muted, shut, garbage, late, ahead            atomic.Uint64
	switches, underruns, stalls, slips, writeErrors, codecErrors, evicted atomic.Uint64
	recovered                                                             atomic.Uint64
	keys, keysCut, keyed, events                                          atomic.Uint64

	moves [3][3]atomic.Uint64 // from phase to phase
}

// LineStats counts since the line was made. Relayed plus Silence plus Mixed plus
// Events is what was written. Every packet that a source offered is counted once: in
// Relayed, in Voiced, or among the reasons for which it was not heard.
type LineStats struct {
	Relayed uint64 // packets of sources written
	Silence uint64 // frames of silence written
	Mixed   uint64 // frames encoded and written
	Events  uint64 // packets of RTP events written (KeyEvents)

	Voiced  uint64 // packets decoded for the mix
	Pauses  uint64 // DTX markers and empty packets, replaced by silence
	Unheard uint64 // while another source was heard, or as noise beside a mix
	Muted   uint64 // of a source that was muted or closed
	Shut    uint64 // before Open or after Close
	Garbage uint64 // no packet of the source's codec
	Late    uint64 // twice, or too late to have a place
	Ahead   uint64 // dropped because the line was too far ahead of the clock
	Keyed   uint64 // dropped because a key was said in their place

	Keys    uint64 // keys that were said to the end
	KeysCut uint64 // keys that were still to be said when the line was closed

	Recovered uint64 // lost packets taken from the redundancy of later ones; counted beside, as packets

	Switches    uint64 // times another source was relayed without a mix between
	Underruns   uint64 // times the source that was relayed stopped without saying so
	Stalls      uint64 // times the process itself was late by more than it made up for
	Slips       uint64 // times the line followed a source with a slow clock
	WriteErrors uint64 // refused by the destination, of those written
	CodecErrors uint64 // codecs that could not be made or did not work
	Evicted     uint64 // times a source lost its place in a full mix

	ToMix     uint64 // mixes begun, out of a relay or silence
	ToRelay   uint64 // mixes that ended in a relay
	ToSilence uint64 // mixes that ended in silence

	RelayTime, MixTime, SilenceTime time.Duration // from Open on

	VoicesMax  int           // most sources decoded at once
	Voices     VoiceStats    // sums over all sources, greatest values of what is no sum
	Encoded    uint64        // frames encoded, those to warm encoders included
	EncodeTime time.Duration // spent in the encoder
	Limited    uint64        // frames in which the limiter worked
	LimitDB    float64       // most that it took away
	LevelDB    float64       // RMS of the mixed frames below full scale, negative; -Inf without any
	PeakDB     float64       // highest sample of them
}

// Stats returns the counters. Safe to call from any goroutine.
func (l *Line) Stats() LineStats {
	c := &l.counters
	st := LineStats{
		Relayed: c.relayed.Load(), Silence: c.silence.Load(), Mixed: c.mixed.Load(), Voiced: c.voiced.Load(),
		Pauses: c.pauses.Load(), Unheard: c.unheard.Load(), Muted: c.muted.Load(), Shut: c.shut.Load(),
		Garbage: c.garbage.Load(), Late: c.late.Load(), Ahead: c.ahead.Load(), Recovered: c.recovered.Load(),
		Switches: c.switches.Load(), Underruns: c.underruns.Load(), Stalls: c.stalls.Load(),
		Slips: c.slips.Load(), WriteErrors: c.writeErrors.Load(), CodecErrors: c.codecErrors.Load(),
		Evicted: c.evicted.Load(),
		Events:  c.events.Load(), Keyed: c.keyed.Load(), Keys: c.keys.Load(), KeysCut: c.keysCut.Load(),
		ToMix:   c.moves[phaseRelay][phaseMix].Load() + c.moves[phaseSilence][phaseMix].Load(),
		ToRelay: c.moves[phaseMix][phaseRelay].Load(), ToSilence: c.moves[phaseMix][phaseSilence].Load(),
		LevelDB: math.Inf(-1), PeakDB: math.Inf(-1),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	spent := l.spent
	if l.state == lineOpen {
		spent[l.phase] += l.pacer.now() - l.phaseAt
	}
	st.RelayTime, st.MixTime, st.SilenceTime = spent[phaseRelay], spent[phaseMix], spent[phaseSilence]
	if l.mix != nil {
		l.mix.report(&st)
	}
	return st
}

// meter measures a mix.
type meter struct {
	past       VoiceStats // of voices that are gone
	voicesMax  int
	frames     uint64 // encoded
	encodeTime time.Duration
	limits     uint64
	least      float32 // gain of the limiter less 1: the zero value is none
	energy     float64
	samples    uint64
	peak       int32
}

func (m *meter) voices(n int) { m.voicesMax = max(m.voicesMax, n) }

func (m *meter) gone(v VoiceStats) { addStats(&m.past, v) }

func (m *meter) encoded(d time.Duration) {
	m.frames++
	m.encodeTime += d
}

func (m *meter) limited(gain float32) {
	if gain < 1 {
		m.limits++
		m.least = min(m.least, gain-1)
	}
}

func (m *meter) level(pcm []int16) {
	var energy int64
	var high, low int16
	for _, v := range pcm {
		energy += int64(v) * int64(v)
		high, low = max(high, v), min(low, v)
	}
	m.energy += float64(energy)
	m.samples += uint64(len(pcm))
	m.peak = max(m.peak, int32(high), -int32(low))
}

// report fills in what the mix knows. Called with the line's lock held.
func (m *mix) report(st *LineStats) {
	t := &m.meter
	st.VoicesMax, st.Encoded, st.EncodeTime, st.Limited = t.voicesMax, t.frames, t.encodeTime, t.limits
	st.LimitDB = -20 * math.Log10(float64(1+t.least))
	if t.samples > 0 {
		st.LevelDB = 10 * math.Log10(t.energy/float64(t.samples)/(1<<30))
		st.PeakDB = 20 * math.Log10(float64(t.peak)/(1<<15))
	}
	st.Voices = t.past
	for i := range m.places {
		if v := m.places[i].voice; v != nil {
			addStats(&st.Voices, v.Stats())
		}
	}
}

// addStats adds v to sum. Of what is no count the greatest stays.
func addStats(sum *VoiceStats, v VoiceStats) {
	sum.Packets += v.Packets
	sum.Decoded += v.Decoded
	sum.Duplicate += v.Duplicate
	sum.Late += v.Late
	sum.Recovered += v.Recovered
	sum.Concealed += v.Concealed
	sum.Garbage += v.Garbage
	sum.Discarded += v.Discarded
	sum.Stretched += v.Stretched
	sum.Shortened += v.Shortened
	sum.Underruns += v.Underruns
	sum.Jitter = max(sum.Jitter, v.Jitter)
	sum.Target = max(sum.Target, v.Target)
	sum.Depth = max(sum.Depth, v.Depth)
	sum.MaxDepth = max(sum.MaxDepth, v.MaxDepth)
	if math.Abs(v.DriftPPM) > math.Abs(sum.DriftPPM) {
		sum.DriftPPM = v.DriftPPM
	}
}
