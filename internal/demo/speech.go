package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
	"github.com/livekit-connector/livekit-connector/testdata"
)

// speechRate is the rate of all recordings here, in Hz.
const speechRate = 16000

// breath is how long the user waits before he speaks, and between two times.
const breath = time.Second

// speech is what is said in calls, mono at speechRate.
type speech struct {
	caller, greeting []int16
}

func loadSpeech() (s speech, err error) {
	if s.caller, err = loadWAV("audio/caller.wav"); err != nil {
		return s, err
	}
	s.greeting, err = loadWAV("audio/agent.wav")
	return s, err
}

func loadWAV(name string) ([]int16, error) {
	wav, err := testdata.Audio.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pcm, rate, err := hearing.ReadWAV(bytes.NewReader(wav))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if rate != speechRate {
		return nil, fmt.Errorf("read %s: its rate is %d Hz, not %d", name, rate, speechRate)
	}
	return pcm, nil
}

// once is what the phone says in a scripted call, and always what it says in calls by hand, over and over.
func (s speech) once() fakemeta.Speech {
	return fakemeta.Speech{Samples: s.caller, Rate: speechRate, Before: breath}
}

func (s speech) always() fakemeta.Speech {
	return fakemeta.Speech{Samples: s.caller, Rate: speechRate, Before: breath, After: breath, Loop: true}
}

// length is how long samples at speechRate last.
func length(pcm []int16) time.Duration { return time.Duration(len(pcm)) * time.Second / speechRate }
