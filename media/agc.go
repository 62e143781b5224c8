package media

import (
	"math"
	"time"
)

const (
	// agcTarget is where speech is brought to, in dB below full scale: as RMS over what
	// is speech (the active speech level of ITU-T P.56). Telephony is about there, and
	// peaks of speech, 12 to 18 dB higher, have room.
	agcTarget = -20.0
	// agcRange is the most that is amplified or attenuated, in dB.
	agcRange = 12.0
	// agcUp and agcDown are how fast the gain changes, in dB per second of speech: slow
	// enough not to level the stress of words, and to come down soon from what is too loud.
	agcUp, agcDown = 3.0, 12.0
	// agcMemory is over how much speech its level is measured.
	agcMemory = 2 * time.Second
	// agcSpeech is how far above the noise a frame has to be to be speech, and agcLeast
	// how loud at least.
	agcSpeech, agcLeast = 10.0, -60.0
	// agcFloorRise is how fast the estimate of the noise, which is a minimum, rises: in dB
	// per second. A word ends before it gets anywhere.
	agcFloorRise = 2.0
	// What stays within agcSteady dB of its mean for agcSteadyTime is noise, or a tone.
	agcSteady     = 3.0
	agcSteadyTime = 400 * time.Millisecond
	// agcNoiseFall is how fast noise that was found is forgotten, in dB per second.
	agcNoiseFall = 0.5
	// agcSilent is digital silence, which says nothing of the noise.
	agcSilent = -90.0
	// agcNoise is what noise may be amplified to. Noise that is louder by itself is not
	// amplified at all.
	agcNoise = -50.0
)

// agc is a slow automatic gain control for a mix. It measures the level of what is
// speech and moves its gain to where that level is agcTarget. Its gate: in pauses the
// gain stands still, and it never brings noise above agcNoise. The limiter behind it
// takes what is too loud meanwhile. Its zero value has a gain of 1. Nothing is
// allocated.
type agc struct {
	started bool
	floor   float64 // of what is heard, in dB
	noise   float64 // that was found beyond doubt, in dB
	mean    float64 // of the newest frames, in dB
	steady  int     // frames in a row near it
	speech  float64 // mean power of speech; full scale is 1
	frames  float64 // of speech in it, at most agcMemory
	gain    float64 // in dB
}

// apply multiplies a frame by the gain, which moves within it in a straight line.
func (a *agc) apply(sum []int32) {
	before := a.gain
	a.follow(meanPower(sum))
	if before == 0 && a.gain == 0 {
		return
	}
	from, to := decibelGain(before), decibelGain(a.gain)
	slope := (to - from) / float32(len(sum))
	for i, v := range sum {
		from += slope
		sum[i] = int32(float32(v) * from)
	}
}

// follow takes the power of a frame and moves the gain.
func (a *agc) follow(power float64) {
	level := 10 * math.Log10(power+1e-12)
	if level < agcSilent {
		a.steady = 0
		return
	}
	if !a.started {
		a.started, a.floor, a.noise, a.mean = true, level, agcSilent, level
	}
	a.floor = min(level, a.floor+agcFloorRise*FrameDuration.Seconds())
	a.noise = max(agcSilent, a.noise-agcNoiseFall*FrameDuration.Seconds())
	if a.steady++; math.Abs(level-a.mean) > agcSteady {
		a.steady, a.mean = 0, level
	}
	a.mean += (level - a.mean) / 8
	if a.steady >= int(agcSteadyTime/FrameDuration) {
		a.floor, a.noise = max(a.floor, a.mean), max(a.noise, a.mean)
	}
	if level < max(agcLeast, a.floor+agcSpeech) {
		return
	}
	a.frames = min(a.frames+1, float64(agcMemory/FrameDuration))
	a.speech += (power - a.speech) / a.frames
	want := agcTarget - 10*math.Log10(a.speech)
	want = min(want, max(0, agcNoise-a.noise))
	want = max(-agcRange, min(agcRange, want))
	step := want - a.gain
	a.gain += max(-agcDown*FrameDuration.Seconds(), min(agcUp*FrameDuration.Seconds(), step))
}

// meanPower of a frame; that of a square wave of full scale is 1.
func meanPower(sum []int32) float64 {
	var energy float64
	for _, v := range sum {
		energy += float64(v) * float64(v)
	}
	return energy / float64(max(1, len(sum))) / (1 << 30)
}

func decibelGain(db float64) float32 { return float32(math.Pow(10, db/20)) }
