package fakemeta

import (
	"fmt"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/livekit-connector/livekit-connector/media/resample/soxr"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/handset"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/relay"
)

// Speech is what a handset says once the call is answered. The zero value is silence, sent as such.
type Speech struct {
	// Samples are 16 bit, mono, at Rate; not copied.
	Samples []int16
	// Packets are Opus of 20 ms each to say in place of Samples, Before and After; not copied. They cost nothing to
	// say, which matters with hundreds of calls.
	Packets [][]byte
	// Rate in Hz: 8000, 12000, 16000, 24000 or 48000. Zero: 16000. It is the rate of the recording as well.
	Rate int
	// Before and After surround the samples with silence.
	Before, After time.Duration
	// Loop says it over and over, with both silences each time.
	Loop bool
}

func (s Speech) empty() bool { return s.Samples == nil && s.Packets == nil && s.Rate == 0 }

// session is a call's path to the business; relay.Session is one.
type session interface {
	handset.Sender
	Fingerprint() string
	SetRemote(relay.Remote) error
	Silence()
	Err() error
	Stats() relay.Stats
	Close() error
}

// onRTP is called by the relay for each packet of the business.
func (c *Call) onRTP(p *rtp.Packet, arrived time.Time) {
	c.lastHeard.Store(arrived.UnixNano())
	if !c.answered.Load() {
		c.early.Add(1)
	}
	if c.firstRTP.CompareAndSwap(0, arrived.UnixNano()) {
		c.signal(signal{name: MomentFirstRTP})
	}
	if !c.deaf.Load() {
		c.phone.HandleRTP(p, arrived)
	}
}

// onRTCP keeps an established call alive, as Meta documents it.
func (c *Call) onRTCP(packets []rtcp.Packet) {
	c.lastHeard.Store(time.Now().UnixNano())
	c.phone.HandleRTCP(packets)
	for _, p := range packets {
		if _, bye := p.(*rtcp.Goodbye); bye && c.byes.Add(1) == 1 {
			c.signal(signal{name: MomentBye})
		}
	}
}

func (c *Call) onState(s relay.State) { c.signal(signal{name: MomentMedia, state: s}) }

// signal never blocks the relay for longer than the call lives.
func (c *Call) signal(s signal) {
	select {
	case c.signals <- s:
	case <-c.over:
	}
}

// Handset returns the user's phone in this call. It belongs to the call: do not start or stop it.
func (c *Call) Handset() *handset.Handset { return c.phone }

// Heard returns what the handset made of the packets so far. It is complete after Done.
func (c *Call) Heard() handset.Report { return c.phone.Report() }

// Recording returns what the user heard since the answer: mono samples and their rate in Hz.
func (c *Call) Recording() (samples []int16, rate int) { return c.phone.Recording() }

// SendDTMF makes the user press keys (0-9, *, #, A-D): RFC 4733 events in the audio stream. The channel is closed
// when the last one is sent.
func (c *Call) SendDTMF(keys string) (<-chan struct{}, error) { return c.phone.SendDTMF(keys) }

// Keys returns the keys that the business pressed for the user so far, as RTP events. Tones of keys are in the Recording,
// where hearing.Keys finds them.
func (c *Call) Keys() []handset.Press { return c.phone.Keys() }

// Compare tells how well the user heard what was said to him. It fails if said.Rate is not between 8 and 96 kHz.
func (c *Call) Compare(said Speech) (hearing.Verdict, error) {
	pcm, rate := c.phone.Recording()
	want := said.Rate
	if want == 0 {
		want = handset.DefaultRate
	}
	heard, err := soxr.Convert(pcm, rate, want)
	if err != nil {
		return hearing.Verdict{}, fmt.Errorf("compare with what was said: %w", err)
	}
	return hearing.Compare(said.Samples, heard, want), nil
}

// MediaStats returns what the relay counted for this call.
func (c *Call) MediaStats() relay.Stats { return c.session.Stats() }

// Report is the judgement on one call.
type Report struct {
	CallID    string
	Direction Direction
	State     string
	// Answered says that the call was accepted or picked up, or that RTP made the client believe so.
	Answered bool
	// AnsweredEarly: RTP came before accept and started the caller's timer.
	AnsweredEarly bool
	// EarlyPackets is how many RTP packets came before the answer.
	EarlyPackets int64
	// Duration since the answer, in Meta's time.
	Duration time.Duration
	// EndedBy is "user", "business" or "meta", empty while the call lives; ErrorCode is zero if it completed.
	EndedBy   string
	ErrorCode int
	// Problems is what the business did wrong without being refused for it, and what the handset complains about.
	Problems []string
	Heard    handset.Report
	Media    relay.Stats
	Timeline []Moment
}

// OK says that the call was answered and nobody has anything to complain about.
func (r *Report) OK() bool { return r.Answered && len(r.Problems) == 0 }

// Report judges the call so far. It is complete after Done.
func (c *Call) Report() Report {
	_, early := c.Moment(MomentEarly)
	_, d, answered := c.talk()
	c.mu.Lock()
	r := Report{
		CallID: c.id, Direction: c.direction, State: c.state.String(), Answered: answered, AnsweredEarly: early,
		EarlyPackets: c.early.Load(), Duration: d, EndedBy: c.ending.By, ErrorCode: c.ending.Code,
		Problems: append([]string{}, c.problems...), Timeline: append([]Moment(nil), c.timeline...),
	}
	c.mu.Unlock()
	r.Heard, r.Media = c.phone.Report(), c.session.Stats()
	if answered {
		r.Problems = append(r.Problems, r.Heard.Problems()...)
	}
	return r
}
