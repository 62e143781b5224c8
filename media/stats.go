package media

import "sync/atomic"

type lineCounters struct {
	relayed, silence, pauses, unheard, muted, shut, garbage, late, ahead atomic.Uint64
	switches, underruns, stalls, slips, writeErrors                      atomic.Uint64
}

// LineStats counts since the line was made. Relayed plus Silence is what was
// written; every other packet that a source offered is counted once among the
// reasons for not relaying it.
type LineStats struct {
	Relayed uint64 // packets of sources written
	Silence uint64 // frames of silence written

	Pauses  uint64 // DTX markers and empty packets, replaced by silence
	Unheard uint64 // while another source was heard
	Muted   uint64 // of a source that was muted or closed
	Shut    uint64 // before Open or after Close
	Garbage uint64 // not an Opus packet
	Late    uint64 // twice, or too late to have a place
	Ahead   uint64 // dropped because the line was too far ahead of the clock

	Switches    uint64 // times another source was heard
	Underruns   uint64 // times the source that was heard stopped without saying so
	Stalls      uint64 // times the process itself was late by more than it made up for
	Slips       uint64 // times the line followed a source with a slow clock
	WriteErrors uint64 // refused by the destination, of those written
}

// Stats returns the counters. Safe to call from any goroutine.
func (l *Line) Stats() LineStats {
	c := &l.counters
	return LineStats{
		Relayed: c.relayed.Load(), Silence: c.silence.Load(),
		Pauses: c.pauses.Load(), Unheard: c.unheard.Load(), Muted: c.muted.Load(), Shut: c.shut.Load(),
		Garbage: c.garbage.Load(), Late: c.late.Load(), Ahead: c.ahead.Load(),
		Switches: c.switches.Load(), Underruns: c.underruns.Load(), Stalls: c.stalls.Load(),
		Slips: c.slips.Load(), WriteErrors: c.writeErrors.Load(),
	}
}
