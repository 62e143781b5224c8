package soak

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/speech"
	"github.com/livekit-connector/livekit-connector/media/resample/soxr"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

const (
	// listenTo is how much of a recording is listened to: what is said, in a loop, is in it whole at least once.
	listenTo   = 20 * time.Second
	listenRate = 16000
	// minDelivered and minDeliveredLossy are the shares of the packets due that have to come in each direction. The first
	// two seconds do not count: a dialled phone is heard to pick up, a track is subscribed to meanwhile.
	minDelivered, minDeliveredLossy = 0.95, 0.85
	subscribing                     = 2 * time.Second
	// minShare of a voice has to be heard; less when another speaks over it, or when packets were lost. Holes and jumps of
	// time are not judged: the machine that makes the calls is busy, and its own lateness is in every recording.
	minShare, minShareAmong, minShareLossy = 0.9, 0.7, 0.8
	// latestHeard is how much later than it was said something may be heard. Codecs and buffers take a tenth of it, a machine
	// that stalls more. What would have to be later still is taken for something else.
	latestHeard = 1500 * time.Millisecond
	// silentDB of full scale: what is softer on average is no sound, not even somebody else's.
	silentDB = -60
)

// Class is what became of a voice on its way.
type Class string

// The classes, from good to bad.
const (
	// HeardWell is speech that came whole enough.
	HeardWell Class = "heard well"
	// HeardBadly is speech that is where it should be, and not whole.
	HeardBadly Class = "heard badly"
	// NotPlaced is sound upon which what was said cannot be laid anywhere between the moment it was said and latestHeard
	// after it: another voice, noise, speech beyond recognition. There are no numbers to tell of it.
	NotPlaced Class = "heard something else"
	// NothingHeard is silence.
	NothingHeard Class = "heard nothing"
)

var classes = []Class{HeardWell, HeardBadly, NotPlaced, NothingHeard}

// delivered says what is wrong with how many packets came, empty if nothing.
func (l *life) delivered() string {
	least := minDelivered
	if l.lossy {
		least = minDeliveredLossy
	}
	due := (l.ended.Sub(l.began) - subscribing).Seconds() / speech.FrameDuration.Seconds()
	if due < 300 {
		return "" // too short to say
	}
	var problems []string
	for who, n := range map[string]int{"the phone": len(l.phone.Handset().Packets()), "the agent": len(l.people[0].Heard(callerIdentity).Audio())} {
		if share := float64(n) / due; share < least {
			problems = append(problems, fmt.Sprintf("%s got %.0f %% of its packets", who, 100*share))
		}
	}
	return strings.Join(problems, ", ")
}

// listen judges what both ends heard: the worst of all voices, and what was not heard well. Nobody may speak any more.
func (l *life) listen() (worst Class, unheard string, err error) {
	phone, err := phoneRecording(l.phone.Handset())
	if err != nil {
		return "", "", err
	}
	agent, err := agentRecording(l.people[0].Heard(callerIdentity))
	if err != nil {
		return "", "", err
	}
	worst = HeardWell
	var problems []string
	add := func(who string, clip *speech.Clip, begun []time.Time, r *recording, among bool) {
		c, words, judgeErr := l.judge(clip, begun, r, among)
		if c != HeardWell {
			problems = append(problems, who+": "+words)
		}
		worst, err = worse(worst, c), errors.Join(err, judgeErr)
	}
	for i, s := range l.sayings {
		add(fmt.Sprintf("voice %d on the phone", i+1), s.clip, s.begun, phone, l.voices > 1)
	}
	caller := l.options.voices.Caller
	add("the phone in the room", caller, rounds(l.phone.Handset().Spoken().Began, l.ended, caller), agent, false)
	if err == nil && worst != HeardWell {
		for end, r := range map[string]*recording{"phone": phone, "room": agent} {
			err = errors.Join(err, r.save(filepath.Join(l.options.Folder, fmt.Sprintf("unheard-%s-%s.wav", l.user, end))))
		}
		problems = append(problems, fmt.Sprintf("the recordings are unheard-%s-*.wav", l.user))
	}
	return worst, strings.Join(problems, "; "), err
}

func worse(a, b Class) Class {
	for _, c := range classes {
		if c == a {
			return b
		}
		if c == b {
			return a
		}
	}
	return b
}

// rounds are the moments at which a clip that is played over and over begins.
func rounds(began, ended time.Time, clip *speech.Clip) (begun []time.Time) {
	if began.IsZero() {
		return nil
	}
	for at := began; at.Before(ended); at = at.Add(time.Duration(len(clip.Packets)) * speech.FrameDuration) {
		begun = append(begun, at)
	}
	return begun
}

// judge says how a clip was heard that was begun at those moments, and what is wrong with it if it was not heard well.
func (l *life) judge(clip *speech.Clip, begun []time.Time, r *recording, among bool) (Class, string, error) {
	said, err := soxr.Convert(clip.PCM, clip.Rate, listenRate)
	if err != nil {
		return "", "", err
	}
	b := bar{share: minShare, similarity: hearing.MinSimilarity}
	switch {
	case among: // the other voice is in the sound as well
		b = bar{share: minShareAmong}
	case l.lossy:
		b.share = minShareLossy
	}
	c, words := b.judge(said, begun, r)
	return c, words, nil
}

// bar is what a voice must reach to be heard well.
type bar struct{ share, similarity float64 }

func (b bar) reached(v hearing.Verdict) bool {
	return v.Found && v.Coverage >= b.share && v.Similarity >= b.similarity
}

// judge looks for what was said, at listenRate, once for each moment at which it was begun to be said, and only where it can
// have been heard then: not before, and not later than latestHeard. One time that was heard well is enough; words tell of
// the best one.
func (b bar) judge(said []int16, begun []time.Time, r *recording) (c Class, words string) {
	best, rounds, sounding := hearing.Verdict{}, 0, false
	for _, at := range begun {
		heard := r.since(at, len(said)+duration(latestHeard))
		if heard == nil {
			continue
		}
		rounds++
		sounding = sounding || levelDB(heard) > silentDB
		v := hearing.CompareWithin(said, heard, listenRate, 0, latestHeard)
		if b.reached(v) {
			return HeardWell, ""
		}
		if v.Found && (!best.Found || v.Coverage > best.Coverage) {
			best = v
		}
	}
	switch {
	case best.Found:
		return HeardBadly, best.String()
	case rounds == 0:
		return NotPlaced, "no time that it was said is in the recording"
	case sounding:
		return NotPlaced, fmt.Sprintf("there is sound, but not this speech at any time from when it was said to %v later", latestHeard)
	default:
		return NothingHeard, "nothing heard"
	}
}

// levelDB is the mean power in dB of full scale.
func levelDB(pcm []int16) float64 {
	var sum float64
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return 10 * math.Log10(sum/float64(max(1, len(pcm)))/(32768*32768)+1e-30)
}

// duration is how many samples a time has.
func duration(d time.Duration) int { return int(d.Seconds() * listenRate) }
