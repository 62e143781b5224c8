package media

// phase is where the packets of an open line come from.
type phase uint8

const (
	// phaseSilence: nobody is heard, the line sends silence by itself.
	phaseSilence phase = iota
	// phaseRelay: the packets of one source, as they come.
	phaseRelay
	// phaseMix: frames that the line decodes, sums and encodes by itself.
	phaseMix
)

// demand is what the sources ask of the line.
type demand uint8

const (
	demandNone  demand = iota // nobody to hear
	demandRelay               // one source that can be relayed as it is
	demandMix                 // several, or one that must be decoded
)

// next is the phase that follows p when the sources demand d. A mix begins at
// once, because the sound that demands it is there already; it ends only when it is
// settled that one source or none is left, because what ends it may be a pause for
// breath.
func next(p phase, d demand, settled bool) phase {
	switch {
	case d == demandMix:
		return phaseMix
	case p == phaseMix && !settled:
		return phaseMix
	case d == demandRelay:
		return phaseRelay
	default:
		return phaseSilence
	}
}
