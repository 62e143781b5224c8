package soak

import (
	"fmt"
	"strings"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/speech"
	"github.com/livekit-connector/livekit-connector/media/resample/soxr"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

const (
	// listenTo is how much of a recording is listened to: what is said is in it at least once.
	listenTo   = 20 * time.Second
	listenRate = 16000
	// minDelivered and minDeliveredLossy are the shares of the packets due that have to come in each direction. The first
	// two seconds do not count: a dialled phone is heard to pick up, a track is subscribed to meanwhile.
	minDelivered, minDeliveredLossy = 0.95, 0.85
	subscribing                     = 2 * time.Second
	// minShare of a voice has to be heard; less when another speaks over it, or when packets were lost. Holes and jumps of
	// time are not judged: the machine that makes the calls is busy, and its own lateness is in every recording.
	minShare, minShareAmong, minShareLossy = 0.9, 0.7, 0.8
)

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

// listen says what was not heard well, empty if all was.
func (l *life) listen() string {
	var problems []string
	atPhone, rate := l.phone.Recording()
	heard, err := soxr.Convert(beginning(atPhone, rate), rate, listenRate)
	if err != nil {
		return err.Error()
	}
	for i, clip := range []*speech.Clip{l.options.clips.agent, l.options.clips.other}[:l.voices] {
		if problem := l.judge(clip, heard, l.voices > 1); problem != "" {
			problems = append(problems, fmt.Sprintf("voice %d on the phone: %s", i+1, problem))
		}
	}
	atAgent, err := l.people[0].Heard(callerIdentity).PCM(listenRate)
	if err != nil {
		return err.Error()
	}
	if problem := l.judge(l.options.clips.caller, beginning(atAgent, listenRate), false); problem != "" {
		problems = append(problems, "the phone in the room: "+problem)
	}
	return strings.Join(problems, "; ")
}

func beginning(pcm []int16, rate int) []int16 {
	return pcm[:min(len(pcm), int(listenTo.Seconds())*rate)]
}

// judge says what is wrong with how a clip was heard, empty if nothing.
func (l *life) judge(clip *speech.Clip, heard []int16, among bool) string {
	said, err := soxr.Convert(clip.PCM, clip.Rate, listenRate)
	if err != nil {
		return err.Error()
	}
	v := hearing.Compare(said, heard, listenRate)
	least := minShare
	switch {
	case among:
		least = minShareAmong
	case l.lossy:
		least = minShareLossy
	}
	if v.Found && v.Coverage >= least && (among || v.Similarity >= hearing.MinSimilarity) {
		return ""
	}
	return v.String()
}
