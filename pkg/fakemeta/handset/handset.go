// Package handset is the WhatsApp user's phone behind Meta's relay: it says
// known speech in the way WhatsApp does, keeps every packet it gets, and judges
// them afterwards.
//
// It sends Opus (or G.711) of 20 ms, one SSRC, no header extensions, on a clock with
// absolute deadlines, and RTCP beside it. What it gets it only files away; the
// decoding and judging happen in Report and Recording, so that a busy machine
// cannot make the phone lose audio.
package handset

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/livekit-connector/livekit-connector/media/resample/soxr"
)

const (
	frameDuration = 20 * time.Millisecond

	// DefaultPayloadType is Meta's own for Opus.
	DefaultPayloadType = 111
	// DefaultDTMFPayloadType is Meta's own for telephone-event/8000.
	DefaultDTMFPayloadType = 126
	// DefaultBitrate is what Meta's offers ask for: maxaveragebitrate=20000.
	DefaultBitrate = 20000
	// DefaultRate is the phone's sample rate in both directions:
	// maxplaybackrate=16000.
	DefaultRate = 16000
	// DefaultCNAME is what live offers carry.
	DefaultCNAME = "WhatsAppAudioStream1"
	// DefaultRTCPInterval is libwebrtc's for audio.
	DefaultRTCPInterval = 5 * time.Second
)

// Sender is the way to the business; relay.Session is one.
type Sender interface {
	// WriteRTP must not keep p.
	WriteRTP(p *rtp.Packet) error
	// WriteRTCP sends one compound packet.
	WriteRTCP(packets []rtcp.Packet) error
}

// Fate is what happens to one packet of the phone on its way.
type Fate int

// The fates a packet can have.
const (
	// Deliver sends the packet as it should be.
	Deliver Fate = iota
	// Drop loses it.
	Drop
	// Duplicate sends it twice.
	Duplicate
	// Swap sends it after the packet that follows it.
	Swap
)

// Options is a phone and what its user says. Zero values mean what a WhatsApp
// phone does; only Sender is needed.
type Options struct {
	// Sender takes what the phone sends.
	Sender Sender
	// Voice is what the user says: mono PCM16 at Rate, not copied. None makes the
	// user silent.
	Voice []int16
	// Packets are what the user says as Opus of 20 ms each, in place of Voice and
	// its silences: for phones by the hundred, whose encoders would take all the
	// time there is. They are neither copied nor changed.
	Packets [][]byte
	// Rate in Hz of Voice and of the Recording: 8000, 12000, 16000, 24000 or
	// 48000. Zero means DefaultRate.
	Rate int
	// Loop says Voice over and over, with both silences around it each time, or
	// Packets.
	Loop bool
	// SilenceBefore and SilenceAfter surround Voice; frames of silence are sent.
	SilenceBefore, SilenceAfter time.Duration

	// Codec of both directions. In G.711 the Recording is at 8000 Hz, whatever Rate is,
	// Packets must be G.711, and nothing that is lost is concealed.
	Codec Codec
	// PayloadType, DTMFPayloadType of both directions, and the SSRC, CNAME and
	// Bitrate (bits per second) of what is sent. Zero SSRC picks one; it must be
	// the one in Meta's SDP, or WebRTC stacks drop the audio.
	PayloadType, DTMFPayloadType uint8
	SSRC                         uint32
	CNAME                        string
	Bitrate                      int
	// RTCPInterval between reports; zero means DefaultRTCPInterval.
	RTCPInterval time.Duration
	// Impair decides the fate of the n-th RTP packet sent, counted from 0. Nil
	// delivers all. It runs on the phone's clock.
	Impair func(n uint64) Fate
	// Logger takes what goes wrong; nil discards it.
	Logger *slog.Logger
}

func (o *Options) setDefaults() {
	if o.Rate == 0 {
		o.Rate = DefaultRate
	}
	if o.PayloadType == 0 {
		o.PayloadType = o.Codec.payloadType()
	}
	if o.DTMFPayloadType == 0 {
		o.DTMFPayloadType = DefaultDTMFPayloadType
	}
	for o.SSRC == 0 {
		o.SSRC = rand.Uint32()
	}
	if o.CNAME == "" {
		o.CNAME = DefaultCNAME
	}
	if o.Bitrate == 0 {
		o.Bitrate = DefaultBitrate
	}
	if o.RTCPInterval == 0 {
		o.RTCPInterval = DefaultRTCPInterval
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// fitCodec brings Voice to the one rate of G.711, if that is spoken.
func (o *Options) fitCodec() (err error) {
	if o.Codec == Opus || o.Rate == g711Rate {
		return nil
	}
	if o.Voice, err = soxr.Convert(o.Voice, o.Rate, g711Rate); err != nil {
		return fmt.Errorf("convert voice for G.711: %w", err)
	}
	o.Rate = g711Rate
	return nil
}

// ErrNotRunning is returned by SendDTMF when the phone does not speak.
var ErrNotRunning = errors.New("handset: not running")

// Handset is one phone in one call. It is safe for concurrent use. Stop it if it
// was started.
type Handset struct {
	// Constant after New.
	quit chan struct{}
	done chan struct{}

	mu      sync.Mutex // guards all below; never held while sending
	opts    Options    // constant after Start
	enc     encoder    // constant after Start; nil if Options.Packets are said
	started bool
	stopped bool
	sent    sent
	tones   []*tone
	got     inbound
}

// New makes a phone; it neither sends nor needs Stop before Start.
func New(o Options) (*Handset, error) {
	if o.Sender == nil {
		return nil, errors.New("handset: no sender")
	}
	o.setDefaults()
	if err := o.fitCodec(); err != nil {
		return nil, err
	}
	h := &Handset{quit: make(chan struct{}), done: make(chan struct{})}
	if err := h.equip(o); err != nil {
		return nil, err
	}
	return h, nil
}

// equip makes what o needs.
func (h *Handset) equip(o Options) (err error) {
	h.opts = o
	if o.Packets != nil {
		if _, err = newDecoder(o); err != nil { // for the recording
			return fmt.Errorf("create decoder: %w", err)
		}
		return nil
	}
	if h.enc, err = newEncoder(o); err != nil {
		return fmt.Errorf("create voice encoder: %w", err)
	}
	return nil
}

// Negotiate sets what SDP agreed on, before Start: the codec and the payload types
// of both directions.
func (h *Handset) Negotiate(c Codec, payloadType, dtmfPayloadType uint8) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.started {
		return errors.New("handset: started before")
	}
	o, same := h.opts, c == h.opts.Codec
	o.Codec, o.PayloadType, o.DTMFPayloadType = c, payloadType, dtmfPayloadType
	o.setDefaults()
	if err := o.fitCodec(); err != nil {
		return err
	}
	if same {
		h.opts = o
		return nil
	}
	return h.equip(o)
}

// options returns a copy.
func (h *Handset) options() Options {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.opts
}

// SSRC is the one of everything the phone sends.
func (h *Handset) SSRC() uint32 { return h.options().SSRC }

// Start begins to speak and to report by RTCP. What the Sender refuses is counted
// and lost, as on a path that is not up yet. A phone starts once.
func (h *Handset) Start() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.started || h.stopped {
		return errors.New("handset: started before")
	}
	h.started = true
	go h.speak()
	return nil
}

// Stop ends speaking and waits for the phone's goroutine. What is received later
// is still filed. Later calls do nothing.
func (h *Handset) Stop() {
	h.mu.Lock()
	first := !h.stopped
	h.stopped = true
	started := h.started
	h.mu.Unlock()
	if first {
		close(h.quit)
	}
	if started {
		<-h.done
	}
}

// Spoken is how much the phone sent.
type Spoken struct {
	// Packets of RTP, Reports of RTCP (compound packets) and Digits of DTMF.
	Packets, Reports, Digits uint64
	// Refused counts what the Sender returned an error for.
	Refused uint64
	// Began is when the first packet was due; VoiceEnded when the user had said
	// everything once, zero before.
	Began, VoiceEnded time.Time
}

// Spoken returns what the phone sent so far.
func (h *Handset) Spoken() Spoken {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sent.Spoken
}
