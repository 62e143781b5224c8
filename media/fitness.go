package media

import "time"

const (
	// fitAfter is how many packets in a row must be such as can be relayed before a
	// source that sent others is relayed: 1 s.
	fitAfter = 50
	// rateWindow is over how much sound the bitrate is measured.
	rateWindow = time.Second
	// lightAfter is for how many windows a source that was above the limit must stay
	// clearly below it: one whose bitrate varies about the limit is not switched to
	// and fro.
	lightAfter = 5
)

// fitness tells whether a source's packets can be relayed as they are, as far as
// their form goes. Its zero value believes so.
type fitness struct {
	doubt int // packets to come until it is believed again

	bytes int           // of this window
	span  time.Duration // sound of this window
	heavy int           // windows to come until it is believed again
}

// note takes a packet of so many bytes of payload for span of sound. proper says
// that the far end takes one like it; limit is in bits per second, none if not
// above zero.
func (f *fitness) note(proper bool, size int, span time.Duration, limit int) {
	switch {
	case !proper:
		f.doubt = fitAfter
	case f.doubt > 0:
		f.doubt--
	}
	f.bytes, f.span = f.bytes+size, f.span+span
	if f.span < rateWindow {
		return
	}
	rate := int(int64(f.bytes) * 8 * int64(time.Second) / int64(f.span))
	f.bytes, f.span = 0, 0
	switch {
	case limit <= 0:
		f.heavy = 0
	case rate > limit:
		f.heavy = lightAfter
	case f.heavy > 0 && rate <= limit-limit/10:
		f.heavy--
	}
}

func (f *fitness) fits() bool { return f.doubt == 0 && f.heavy == 0 }
