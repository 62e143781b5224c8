package media

// SetCodec says what the destination takes, where that became known only after
// NewLine: a phone that is rung decides with its answer. Without effect after Open.
func (l *Line) SetCodec(c Codec) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == lineShut {
		l.options.Codec = c
	}
}
