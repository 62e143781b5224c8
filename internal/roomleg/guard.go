package roomleg

import "github.com/livekit-connector/livekit-connector/internal/panics"

// guard is deferred, itself, where a goroutine of the leg begins and where the SDK's and Pion's goroutines enter it: a
// panic there ends this leg, and not the process with everybody's calls. What may panic holds locks by defers only.
func (l *Leg) guard(where panics.Place) {
	if v := recover(); v != nil {
		l.broken(where, v)
	}
}

// guardError is guard where an error is wanted.
func (l *Leg) guardError(err *error) {
	if v := recover(); v != nil {
		l.broken(panics.Call, v)
		*err = &panics.Error{Place: panics.Call}
	}
}

// broken ends the leg after a panic.
func (l *Leg) broken(where panics.Place, v any) {
	l.opts.Panics.Caught(where, l.log, v)
	l.finish(&panics.Error{Place: where})
}

// brokenAudio is broken for what packets set off.
func (l *Leg) brokenAudio(v any) { l.broken(panics.Audio, v) }
