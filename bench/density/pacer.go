package density

import (
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/speech"
)

// slots are the places within 20 ms in which participants speak, so that not all do at once.
const slots = 20

const slotLength = speech.FrameDuration / slots

// pacer lets all participants speak, each every 20 ms, on one goroutine. A frame that is late does not make the next one
// late.
type pacer struct {
	quit chan struct{}
	done chan struct{}

	mu       sync.Mutex // guards all below
	speakers [slots][]*participant
	next     int
	worst    time.Duration // how late a slot was at most since taken
}

func startPacer() *pacer {
	p := &pacer{quit: make(chan struct{}), done: make(chan struct{})}
	go p.run()
	return p
}

func (p *pacer) add(s *participant) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.speakers[p.next%slots] = append(p.speakers[p.next%slots], s)
	p.next++
}

// takeWorst returns how late the pacer was at most since the last call.
func (p *pacer) takeWorst() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	worst := p.worst
	p.worst = 0
	return worst
}

func (p *pacer) run() {
	defer close(p.done)
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; n++ {
		due := start.Add(time.Duration(n) * slotLength)
		timer.Reset(time.Until(due))
		select {
		case <-p.quit:
			return
		case <-timer.C:
		}
		p.mu.Lock()
		p.worst = max(p.worst, time.Since(due))
		speakers := p.speakers[n%slots]
		p.mu.Unlock()
		for _, s := range speakers {
			s.speak()
		}
	}
}

// stop ends the pacer and waits for it. No participant speaks any more.
func (p *pacer) stop() {
	close(p.quit)
	<-p.done
}
