package media

import "time"

// What the E-model knows of a codec: G.113 appendix I, except for Opus, for which
// the ITU has published nothing.
const (
	// bplG711 is the robustness of G.711 with a concealment of G.711 appendix I's kind.
	bplG711 = 25.1
	// bplOpus is assumed: between the 10 of GSM EFR, which predicts as much from frame
	// to frame as SILK does, and the 25.1 of G.711. In-band FEC is not in it, because
	// what FEC recovers is not counted as lost.
	bplOpus = 19
)

const (
	// ratingBase is R0 - Is with all defaults of G.107 table 3, for a line that adds
	// nothing of its own.
	ratingBase = 93.2
	// noticed is the one-way delay in ms from which conversation suffers: 177.3 in
	// the fit of G.107's Idd by Cole and Rosenbluth (SIGCOMM CCR 31(2), 2001).
	noticed = 177.3
	// worstImpairment is the impairment of a stream of which nothing arrives (G.107).
	worstImpairment = 95
)

// Quality is what the quality of one direction of a call is estimated from.
type Quality struct {
	Codec Codec
	// Delay is from mouth to ear, one way: half the round trips, jitter buffers, and
	// what coding and packets take.
	Delay time.Duration
	// Loss is the share of the sound that had to be made up, 0 to 1: packets that
	// never came or came too late, without those that redundancy brought back.
	Loss float64
	// Burst is the mean number of lost packets in a row, divided by what random
	// loss of the same rate would make of it. 1 is random, and so is anything less.
	Burst float64
}

// Rating is the E-model's R, 0 to 93.2: ITU-T G.107 without what a digital line
// between two headsets does not have (echo, noise, loudness), and without
// advantage for mobility:
//
//	R      = 93.2 - Id - Ie,eff
//	Id     = 0.024 d + 0.11 (d - 177.3) for d > 177.3, d in ms
//	Ie,eff = Ie + (95 - Ie) Ppl / (Ppl / BurstR + Bpl), Ppl in percent
//
// Ie is 0 for G.711 by definition. It is taken as 0 for Opus too: its wideband
// speech at 20 kb/s is better than G.711's, which a scale for narrowband cannot
// say. So the value says what the network took away, not which codec is finer.
func (q Quality) Rating() float64 {
	d := max(0, q.Delay.Seconds()*1000)
	id := 0.024 * d
	if d > noticed {
		id += 0.11 * (d - noticed)
	}
	bpl := float64(bplG711)
	if q.Codec == CodecOpus {
		bpl = bplOpus
	}
	ppl := 100 * min(max(0, q.Loss), 1)
	ie := worstImpairment * ppl / (ppl/max(1, q.Burst) + bpl)
	return max(0, ratingBase-id-min(ie, worstImpairment))
}

// MOS is the estimated mean opinion score of G.107 annex B: 1 is bad, 4.41 is the
// best that this scale has.
func (q Quality) MOS() float64 {
	r := q.Rating()
	return max(1, 1+0.035*r+r*(r-60)*(100-r)*7e-6)
}
