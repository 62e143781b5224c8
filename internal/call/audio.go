package call

import (
	"math"
	"time"

	"github.com/livekit-connector/livekit-connector/media"
)

// Audio says how a call treats what is said. Its zero value relays packets as they come and decodes nothing.
type Audio struct {
	// Mode is for both directions.
	Mode media.Mode
	// ToPhone and ToRoom are the options of the two lines. The call sets Pacer, Mode and Codec itself. Without Codecs
	// nothing can be decoded: no mix, no gain, no G.711.
	ToPhone, ToRoom media.LineOptions
}

// Network is what packets and reports tell of the way between Meta and us.
type Network struct {
	// Reports is how many receiver reports Meta has sent.
	Reports uint64
	// Loss is the share of our packets that Meta missed before its newest report, 0 to 1; Lost how many in all.
	Loss float64
	Lost uint64
	// Jitter of our packets as Meta sees it.
	Jitter time.Duration
	// RTT is the mean round trip; zero if no report told.
	RTT time.Duration
	// Sent is how many packets we sent.
	Sent uint64

	// Expected packets of Meta's by their numbering, Missed of them did not come, in Gaps runs.
	Expected, Missed, Gaps uint64
	// ReceivedJitter is that of Meta's packets.
	ReceivedJitter time.Duration
}

// newLine makes the line to the phone. Its codec is Meta's choice, which for an outbound call comes with the answer.
func (c *Call) newLine() *media.Line {
	o := c.opts.Audio.ToPhone
	o.Pacer, o.Mode, o.Codec, o.OnPanic = c.opts.Pacer, c.opts.Audio.Mode, c.opts.Meta.Codec(), c.silenced
	return media.NewLine(c.opts.Meta, o)
}

// hearPhone gives what the phone says its way into the room: packets of Opus as they come, all else decoded and encoded
// anew, by a line of which the phone is the one source. Keys go their own way. The codec is known by now.
func (c *Call) hearPhone(room RoomLeg) {
	c.passKeys(room)
	o, codec := c.opts.Audio.ToRoom, c.opts.Meta.Codec()
	if codec == media.CodecOpus && c.opts.Audio.Mode == media.ModeAuto && o.GainDB == 0 && !o.AGC {
		r := media.NewRelay(room)
		c.setToRoom(r, nil)
		c.opts.Meta.SetSink(media.Guard(r, c.silenced)) // it is called by the connection to Meta
		return
	}
	o.Pacer, o.Mode, o.Codec, o.OnPanic = c.opts.Pacer, media.ModeTranscode, media.CodecOpus, c.silenced
	l := media.NewLine(room, o)
	c.setToRoom(nil, l)
	source := l.AddSource("phone", media.SourceOptions{Codec: codec})
	l.Open()
	c.opts.Meta.SetSink(source)
}

func (c *Call) setToRoom(r *media.Relay, l *media.Line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.relay, c.toRoom = r, l
}

// deafen ends what hearPhone began. Nothing is written to the room leg after it returned, but by a relay in the middle
// of a packet.
func (c *Call) deafen() {
	c.mu.Lock()
	l := c.toRoom
	c.mu.Unlock()
	if l != nil {
		defer l.Close()
	}
	c.opts.Meta.SetKeys(nil)
	c.opts.Meta.SetSink(nil)
}

// guard tracks how much loss the encoder has to guard against.
type guard struct {
	reports uint64 // seen
	loss    float64
	percent int // last set
}

const (
	// forget is what is left of a loss in the next report that has none: reports come every 5 s or so, and loss comes
	// in spells.
	forget = 0.7
	// maxGuard is the most loss in percent that the encoder is told: beyond it redundancy takes the bits of the speech.
	maxGuard = 30
)

// next takes a report and returns the loss in percent to guard against, never less than least. Loss is believed at once
// and forgotten slowly.
func (g *guard) next(n Network, least int) (percent int, changed bool) {
	if n.Reports == g.reports {
		return g.percent, false
	}
	g.reports = n.Reports
	g.loss = max(n.Loss, g.loss*forget)
	percent = max(least, min(maxGuard, int(math.Round(g.loss*100))))
	changed = percent != g.percent
	g.percent = percent
	return percent, changed
}

// adapt tells the encoder towards the phone what the phone misses.
func (c *Call) adapt() {
	n := c.opts.Meta.Network() // not under the lock: it may take others
	if percent, changed := c.expect(n); changed {
		c.line.SetExpectedLoss(percent)
	}
}

// expect is guard.next under the call's lock.
func (c *Call) expect(n Network) (percent int, changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.guard.next(n, c.opts.Audio.ToPhone.ExpectedLoss)
}
