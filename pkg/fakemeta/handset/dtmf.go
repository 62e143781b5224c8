package handset

import (
	"fmt"
	"strings"
	"time"

	"github.com/pion/rtp"
)

const (
	// digits in the order of their event codes (RFC 4733, section 3.2).
	digits = "0123456789*#ABCD"

	// toneTicksPerFrame: a duration counts in the 8 kHz of telephone-event/8000,
	// though the timestamp counts in the 48 kHz of the audio.
	toneTicksPerFrame = 8000 / 50

	toneVolume = 10 // -10 dBm0
	endPackets = 3  // RFC 4733, section 2.5.1.4

	// DefaultDigitDuration is how long a phone holds a digit.
	DefaultDigitDuration = 100 * time.Millisecond
	// DefaultDigitPause is the time between two digits.
	DefaultDigitPause = 60 * time.Millisecond
)

// tone is a digit that is being sent or waits for it.
type tone struct {
	code          byte
	frames, pause int
	step          int
	ts            uint32
	done          chan struct{}
}

// SendDTMF presses digits (0-9, *, #, A-D) one after the other, each for
// DefaultDigitDuration, and returns at once. They replace the voice while they
// last, as in libwebrtc. The channel is closed when the last digit is sent; it
// never is if the phone stops before.
func (h *Handset) SendDTMF(keys string) (<-chan struct{}, error) {
	tones := make([]*tone, 0, len(keys))
	for _, key := range strings.ToUpper(keys) {
		code := strings.IndexRune(digits, key)
		if code < 0 {
			return nil, fmt.Errorf("handset: no DTMF digit %q", key)
		}
		tones = append(tones, &tone{
			code:   byte(code),
			frames: int(DefaultDigitDuration / frameDuration),
			pause:  int(DefaultDigitPause / frameDuration),
			done:   make(chan struct{}),
		})
	}
	if len(tones) == 0 {
		return nil, fmt.Errorf("handset: no DTMF digits")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.started || h.stopped {
		return nil, ErrNotRunning
	}
	h.tones = append(h.tones, tones...)
	return tones[len(tones)-1].done, nil
}

// currentTone is the digit to send now, if any. A digit that only waits out its
// pause leaves the frame to the voice.
func (h *Handset) currentTone() *tone {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.tones) == 0 {
		return nil
	}
	t := h.tones[0]
	if t.step < t.frames {
		return t
	}
	if t.step++; t.step >= t.frames+t.pause {
		h.tones = h.tones[1:]
	}
	return nil
}

// toneStep sends the packets of one 20 ms of a digit: the timestamp stays that of
// its start, the duration grows, and the end is said three times.
func (s *stream) toneStep(t *tone, ts uint32) {
	if t.step == 0 {
		t.ts = ts
	}
	t.step++
	duration := uint16(t.step * toneTicksPerFrame)
	s.send(s.tonePacket(t, duration, t.step == 1, false))
	if t.step < t.frames {
		return
	}
	for range endPackets {
		s.send(s.tonePacket(t, duration, false, true))
	}
	s.h.mu.Lock()
	s.h.sent.Digits++
	s.h.mu.Unlock()
	close(t.done)
}

func (s *stream) tonePacket(t *tone, duration uint16, marker, end bool) *rtp.Packet {
	flags := byte(toneVolume)
	if end {
		flags |= 0x80
	}
	return &rtp.Packet{
		Header: rtp.Header{
			Version:     2,
			Marker:      marker,
			PayloadType: s.h.opts.DTMFPayloadType,
			Timestamp:   t.ts,
			SSRC:        s.h.opts.SSRC,
		},
		Payload: []byte{t.code, flags, byte(duration >> 8), byte(duration)},
	}
}
