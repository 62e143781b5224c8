package main

import (
	"sync"
	"time"
)

const (
	// beat is what the metronome waits each time.
	beat = 10 * time.Millisecond
	// tooLate is a beat so late that audio paced by the same machine has holes, whoever sent it: a little more than what is
	// decoded is held back (docs/audio.md).
	tooLate = 15 * time.Millisecond
)

// metronome finds out whether the machine keeps time. A judgement on sound says little about the connector if nothing
// on the machine ran for the length of a syllable.
type metronome struct {
	quit  chan struct{}
	going sync.WaitGroup
	worst time.Duration // read after going
}

func startMetronome() *metronome {
	m := &metronome{quit: make(chan struct{})}
	m.going.Go(m.run)
	return m
}

func (m *metronome) run() {
	timer := time.NewTimer(beat)
	defer timer.Stop()
	for last := time.Now(); ; {
		select {
		case <-timer.C:
		case <-m.quit:
			return
		}
		now := time.Now()
		m.worst = max(m.worst, now.Sub(last)-beat)
		last = now
		timer.Reset(beat)
	}
}

// stop ends the metronome and returns how late its latest beat was.
func (m *metronome) stop() time.Duration {
	close(m.quit)
	m.going.Wait()
	return m.worst
}
