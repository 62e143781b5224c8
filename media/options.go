package media

// Mode says when a Line decodes.
type Mode uint8

const (
	// ModeAuto relays a source that is heard alone and can be relayed as it is, and
	// mixes in every other case.
	ModeAuto Mode = iota
	// ModeTranscode mixes always, one source too: level and format are then the
	// line's own, at the price of decoder, encoder and their delay.
	ModeTranscode
)

func (m Mode) String() string {
	if m == ModeTranscode {
		return "transcode"
	}
	return "auto"
}

const (
	// DefaultMaxRelayBitrate is about twice what Opus needs for speech at full band.
	DefaultMaxRelayBitrate = 64_000
	// DefaultMaxVoices is how many speakers at once anybody can follow, with one to
	// spare for music behind them.
	DefaultMaxVoices = 5
)

// LineOptions say how a Line works. Only Pacer is required.
type LineOptions struct {
	// Pacer is the clock. It must outlive the line.
	Pacer *Pacer
	// Codecs makes voices and encoders. Without it a line never mixes: it relays one
	// source at a time, whatever that sends.
	Codecs Codecs
	// Codec is what the destination takes. Anything but Opus needs Codecs.
	Codec Codec
	// Mode may be changed later with SetMode. ModeTranscode needs Codecs.
	Mode Mode
	// MaxRelayBitrate in bits per second of payload: a source above it, over a
	// second, is mixed rather than relayed. Zero means DefaultMaxRelayBitrate,
	// negative no limit.
	MaxRelayBitrate int
	// MaxVoices is how many sources are decoded at once at most; the others wait for
	// a place. Zero means DefaultMaxVoices.
	MaxVoices int
	// GainDB amplifies the mix, before its limiter. A relay cannot be amplified, so
	// any gain but 0 implies ModeTranscode.
	GainDB float64
	// AGC brings speech to one level, slowly: -20 dB of full scale, by 12 dB at most,
	// without amplifying noise in pauses. GainDB comes on top. It implies ModeTranscode,
	// too.
	AGC bool
	// ExpectedLoss is what the encoder begins with; see SetExpectedLoss.
	ExpectedLoss int
	// OnPanic is told of a panic in what a packet or the clock set off, with its
	// value, while the stack is still there. The line is of no use after that and
	// should be closed. It must not block. Nil lets the panic end the process.
	OnPanic func(v any)
}

// levels reports whether sound has to be decoded for the sake of its level.
func (o *LineOptions) levels() bool {
	return o.Mode == ModeTranscode || o.GainDB != 0 || o.AGC
}

// SourceOptions say what a source sends. The zero value is plain Opus.
type SourceOptions struct {
	// Codec of the payloads, of those inside RED if RED is set.
	Codec Codec
	// RED is set for a stream whose payloads are RFC 2198 redundancy.
	RED bool
	// AudioLevelID is the number of the header extension that carries the audio
	// level (RFC 6464), as negotiated; 0 if there is none.
	AudioLevelID uint8
}

// SetMode changes how the line works from the next packet on.
func (l *Line) SetMode(m Mode) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.options.Mode = m
}

// SetExpectedLoss says how many percent of the line's packets the far end loses,
// as its RTCP receiver reports tell. The encoder guards against as much; a relay
// carries what its source sent.
func (l *Line) SetExpectedLoss(percent int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.options.ExpectedLoss = percent
	if l.mix != nil && l.mix.encoder != nil {
		l.countLocked(l.mix.encoder.SetExpectedLoss(percent))
	}
}

// SetCodec says what the destination takes, where that became known only after
// NewLine: a phone that is rung decides with its answer. Without effect after Open.
func (l *Line) SetCodec(c Codec) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == lineShut {
		l.options.Codec = c
	}
}
