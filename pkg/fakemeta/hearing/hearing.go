// Package hearing compares what was said with what was heard. It finds out where
// in a recording a known piece of speech is, how loud it is, which parts of it
// are missing, and whether it still is the same speech.
//
// It judges piece by piece, a piece being what lies between two pauses: jitter
// buffers stretch and shorten silence, and a pause sent with DTX may come out a
// frame or two longer. So a lag that moves at a pause is no fault, and neither is
// a clock that drifts; one that moves inside a word is.
//
// It is made to tell a working audio path from a broken one, not to grade codecs:
// speech through Opus at 20 kb/s twice passes, and so does a lost packet here and
// there; a hole of 40 ms, a clipped first syllable, a word heard twice or out of
// order, another voice, noise or an echo do not.
package hearing

import (
	"fmt"
	"strings"
	"time"
)

// The limits Verdict.OK applies.
const (
	MinSimilarity = 0.75
	MinCoverage   = 0.95
	MaxGap        = 30 * time.Millisecond
	MaxTorn       = 30 * time.Millisecond
	MaxBetween    = 60 * time.Millisecond
	MaxEcho       = 0.25
	MaxNoise      = -15.0 // dB relative to the speech
	MaxGain       = 12.0  // dB, up or down
)

// Verdict is the result of Compare.
type Verdict struct {
	// Found says that the speech was found at all; without it all below is zero.
	Found bool
	// Lag is where in heard the first sample of said is, by the first piece that
	// was heard; negative when heard begins later than said.
	Lag time.Duration
	// Moved is how far the lags of the pieces that were heard lie apart: what pauses
	// and drift add up to. OK ignores it.
	Moved time.Duration
	// GainDB is how much louder heard is than said.
	GainDB float64
	// Coverage, 0 to 1, is the share of the speech (pauses excluded) that arrived
	// as it was said.
	Coverage float64
	// Similarity, up to 1, is the mean correlation of the spectrum's shape over
	// time. The same speech through a codec has above 0.9, another speech about 0.
	Similarity float64
	// First and Last say whether the first and the last syllable were heard.
	First, Last bool
	// LongestGap is the longest stretch of a piece in a row that is missing or is
	// something else, softer moments not counted; Gaps is the number of those
	// longer than MaxGap.
	LongestGap time.Duration
	Gaps       int
	// Echo, 0 to 1, is how strongly the speech is heard a second time on top of
	// itself, and EchoLag how much later (negative: earlier).
	Echo    float64
	EchoLag time.Duration
	// NoiseDB is how loud heard is in the pauses of said, relative to the speech.
	NoiseDB float64
	// Extra is how much of heard, outside of where said was found, is about as
	// loud as the speech. A looping speaker causes it; OK ignores it.
	Extra time.Duration
	// Between is how much of heard is about as loud as the speech (MaxNoise) where
	// the pauses of said are: extra sound from the first piece to the last.
	Between time.Duration
	// Pieces are the parts of said between its pauses, in order. There is one at
	// least.
	Pieces []Piece
	// Segments are the syllables of all pieces, in order.
	Segments []Segment
}

// Piece is what was said between two pauses: one or more words.
type Piece struct {
	// Start in said, and Length.
	Start, Length time.Duration
	// Lag as in Verdict, of this piece; a guess if it was not heard.
	Lag time.Duration
	// Torn is how far the lag moved inside the piece: something was cut out of it
	// or put in.
	Torn time.Duration
	// Score is the mean Similarity of its segments.
	Score float64
	// Heard says that most of it was heard.
	Heard bool
	// LostStart and LostEnd are what is missing of it at its edges, and Hole is the
	// longest part missing in between. All of a piece of which nothing is there
	// counts as LostStart. They are good to 5 ms.
	LostStart, LostEnd, Hole time.Duration
	// Repeats is how often it, or a part of it, was heard where it was not said. To
	// say all of said in a loop is no repetition.
	Repeats int
	// Elsewhere says that it was not heard in its place, but whole in another.
	Elsewhere bool
}

// problems says in plain words what is wrong with the piece.
func (p Piece) problems() []string {
	var all []string
	add := func(bad bool, what string, args ...any) {
		if bad {
			all = append(all, fmt.Sprintf(what, args...)+fmt.Sprintf(" in what was said at %d ms", p.Start.Milliseconds()))
		}
	}
	add(p.Elsewhere, "words are out of order")
	add(p.LostStart > MaxGap, "%d ms are lost at the start", p.LostStart.Milliseconds())
	add(p.LostEnd > MaxGap, "%d ms are lost at the end", p.LostEnd.Milliseconds())
	add(p.Hole > MaxGap, "there is a hole of %d ms", p.Hole.Milliseconds())
	add(p.Torn > MaxTorn, "time jumps by %d ms", p.Torn.Milliseconds())
	add(p.Repeats > 0, "words are repeated")
	return all
}

// Segment is a stretch of said with speech in it, of about a syllable.
type Segment struct {
	// Start in said, and Length.
	Start, Length time.Duration
	// Coverage, 0 to 1, is the share of its speech that arrived.
	Coverage float64
	// Similarity as in Verdict.
	Similarity float64
	// Heard is the judgement.
	Heard bool
}

// OK says that a human would have understood every word.
func (v Verdict) OK() bool { return len(v.Problems()) == 0 }

// Problems says in plain words what is wrong; empty means OK.
func (v Verdict) Problems() []string {
	if !v.Found {
		return []string{"the speech was not heard at all"}
	}
	var p []string
	add := func(bad bool, format string, args ...any) {
		if bad {
			p = append(p, fmt.Sprintf(format, args...))
		}
	}
	add(!v.First, "the beginning is clipped")
	add(!v.Last, "the end is missing")
	add(v.Coverage < MinCoverage, "only %.0f %% of the speech arrived", 100*v.Coverage)
	for _, one := range v.Pieces {
		p = append(p, one.problems()...)
	}
	add(v.Between > MaxBetween, "there are %d ms of sound in the pauses", v.Between.Milliseconds())
	add(v.Similarity < MinSimilarity, "it sounds different (similarity %.2f)", v.Similarity)
	add(v.Echo > MaxEcho, "it is heard twice, %d ms apart", v.EchoLag.Abs().Milliseconds())
	add(v.NoiseDB > MaxNoise, "the pauses are noisy (%.0f dB)", v.NoiseDB)
	add(v.GainDB > MaxGain || v.GainDB < -MaxGain, "the level is off by %+.0f dB", v.GainDB)
	return p
}

// String is the verdict in one sentence.
func (v Verdict) String() string {
	if !v.Found {
		return "The speech was not heard at all."
	}
	numbers := fmt.Sprintf("%.0f %% of the speech arrived %d ms after the start, similarity %.2f, level %+.1f dB, longest hole %d ms, lag moved by %d ms",
		100*v.Coverage, v.Lag.Milliseconds(), v.Similarity, v.GainDB, v.LongestGap.Milliseconds(), v.Moved.Milliseconds())
	if p := v.Problems(); len(p) > 0 {
		return "Not heard well: " + strings.Join(p, ", ") + " (" + numbers + ")."
	}
	return "Heard well: " + numbers + "."
}
