package handset

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Press is a key that the business pressed for the phone: an RTP event (RFC 4733). No document of Meta's says that a
// phone takes them; this one does, and is as strict about them as the RFC lets a receiver be.
type Press struct {
	// Digit is one of 0-9, *, #, A-D; '?' for an event that is no key.
	Digit byte
	// Arrived is when its first packet came.
	Arrived time.Time
	// Duration is the longest that was told, Ended whether its end was.
	Duration time.Duration
	Ended    bool
	// Packets is how many told of it, Ends how many of those its end.
	Packets, Ends int
}

const (
	// leastVolume in -dBm0 is the softest that counts as a key (RFC 4733, section 2.3.4).
	leastVolume = 36
	// longestUpdate, in ticks of 8 kHz, is how far apart updates may be: 50 ms (section 2.5.1.2's natural interval is
	// that of the audio's packets; the older RFC 2833 recommends 50 ms).
	longestUpdate = 8000 / 20
	// endsAfter is how many audio packets may come before the end of a key has been said often enough.
	endsAfter = 5
)

// Keys is what the business pressed, in the order of the stream.
func (h *Handset) Keys() []Press {
	packets, o := h.Packets(), h.options()
	var all []Press
	for _, s := range split(packets, o) {
		all = append(all, newKeypad(o).read(s)...)
	}
	return all
}

// Digits is what was pressed, without what is no key.
func Digits(presses []Press) string {
	b := make([]byte, 0, len(presses))
	for _, p := range presses {
		if p.Digit != '?' {
			b = append(b, p.Digit)
		}
	}
	return string(b)
}

// keypad reads the events of one stretch and complains of what is wrong with them.
type keypad struct {
	ticks, frame int64 // of the audio's clock: in one tick of 8 kHz, and in an audio packet

	presses []Press
	open    *event // the newest, until it is judged
	end     uint32 // where the stream is, by what came last; valid with some
	some    bool
	lossy   bool // something is missing just before this packet
	faults  faults
}

func newKeypad(o Options) *keypad {
	return &keypad{ticks: o.Codec.clockRate() / 8000, frame: o.Codec.frameTicks()}
}

// event is a press that is not judged yet.
type event struct {
	Press
	code      byte
	timestamp uint32
	duration  uint16
	lossy     bool // something of it, or next to it, is missing
	audio     int  // packets of audio since
}

// faults counts what is wrong, by how it is said, in the order of their first time.
type faults struct {
	order []string
	count map[string]int
}

func (f *faults) add(is bool, what string) {
	if !is {
		return
	}
	if f.count == nil {
		f.count = make(map[string]int)
	}
	if f.count[what] == 0 {
		f.order = append(f.order, what)
	}
	f.count[what]++
}

func (f *faults) list() (all []string) {
	for _, what := range f.order {
		all = append(all, fmt.Sprintf(what, f.count[what]))
	}
	return all
}

// read goes through a stretch in the order of its sequence numbers.
func (k *keypad) read(s *stretch) []Press {
	for i := range s.packets {
		p := &s.packets[i]
		k.lossy = i > 0 && p.ext != s.packets[i-1].ext+1
		if k.open != nil {
			k.open.lossy = k.open.lossy || k.lossy
		}
		if p.event {
			k.takeEvent(p)
		} else {
			k.takeAudio(p)
		}
	}
	if k.open != nil && k.open.audio < endsAfter {
		k.open.lossy = true // more of it may be on its way
	}
	k.finish()
	return k.presses
}

func (k *keypad) takeAudio(p *numbered) {
	if e := k.open; e != nil {
		if e.audio == 0 {
			k.faults.add(!e.Ended && !e.lossy, "%d keys were let go without an end packet")
			over := int64(int32(p.Timestamp - k.end))
			k.faults.add(over < 0 && !e.lossy, "%d keys last into the audio that follows: their duration is not in ticks of 8 kHz, or the timestamps stood still")
			k.faults.add(over > 0 && !e.lossy, "%d keys are followed by a hole in the timestamps")
		}
		e.audio++
	}
	k.some, k.end = true, p.Timestamp+uint32(k.frame)
}

func (k *keypad) takeEvent(p *numbered) {
	if len(p.Payload) < 4 {
		k.faults.add(true, "%d packets of events are too short")
		return
	}
	k.faults.add(len(p.Payload) > 4, "%d packets of events are longer than one event")
	code, flags, duration := p.Payload[0], p.Payload[1], binary.BigEndian.Uint16(p.Payload[2:])
	k.faults.add(flags&0x40 != 0, "%d packets of events have the reserved bit set")
	k.faults.add(flags&0x3F > leastVolume, "%d packets of events are too soft to be a key")
	k.faults.add(duration == 0, "%d packets of events last no time")
	k.faults.add(int(code) >= len(digits), "%d packets tell of events that are no keys")
	if e := k.open; e == nil || p.Timestamp != e.timestamp || code != e.code {
		k.finish()
		k.begin(p, code, duration)
	} else {
		k.faults.add(p.Marker, "%d packets in the middle of a key have the marker")
		k.update(e, duration, flags&0x80 != 0)
	}
	e := k.open
	e.Packets++
	e.duration = max(e.duration, duration)
	if flags&0x80 != 0 {
		e.Ended = true
		e.Ends++
	}
	if e.audio == 0 {
		k.some, k.end = true, e.timestamp+uint32(int64(e.duration)*k.ticks)
	}
}

func (k *keypad) begin(p *numbered, code byte, duration uint16) {
	digit := byte('?')
	if int(code) < len(digits) {
		digit = digits[code]
	}
	k.open = &event{Press: Press{Digit: digit, Arrived: p.Arrived}, code: code, timestamp: p.Timestamp, lossy: k.lossy}
	k.faults.add(!p.Marker && !k.lossy, "%d keys begin without the marker")
	k.faults.add(duration > longestUpdate && !k.lossy, "%d keys are told of more than 50 ms late")
	k.faults.add(k.some && p.Timestamp != k.end && !k.lossy, "%d keys do not begin where the stream was: their timestamp is not the audio's")
}

// update checks a further packet of an event.
func (k *keypad) update(e *event, duration uint16, end bool) {
	grown := int(duration) - int(e.duration)
	switch {
	case e.Ended:
		k.faults.add(!end, "%d packets say that a key is held after its end")
		k.faults.add(grown != 0, "%d repeated ends differ")
	case end:
		k.faults.add(grown < 0, "%d packets tell of a shorter duration than before")
	default:
		k.faults.add(grown < 0, "%d packets tell of a shorter duration than before")
		k.faults.add(grown == 0, "%d updates of a key do not grow")
	}
	k.faults.add(grown > longestUpdate && !e.lossy, "%d updates of a key are more than 50 ms apart")
	k.faults.add(!e.Ended && e.audio > 0 && !e.lossy, "%d packets of a key come after audio that follows it")
}

// finish judges the newest event as a whole.
func (k *keypad) finish() {
	e := k.open
	if e == nil {
		return
	}
	k.open = nil
	k.faults.add(!e.Ended && e.audio == 0 && !e.lossy, "%d keys were let go without an end packet")
	k.faults.add(e.Ended && e.Ends != endPackets && !e.lossy, fmt.Sprintf("%%d keys do not say their end %d times", endPackets))
	e.Duration = time.Duration(e.duration) * time.Second / 8000
	k.presses = append(k.presses, e.Press)
}
