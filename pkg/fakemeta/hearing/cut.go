package hearing

const (
	// unitFrames is about a syllable: 150 ms.
	unitFrames = 15
	// minPause is the shortest pause between two pieces, 80 ms: longer than the closure of a stop inside a word.
	minPause = 8
	// minPiece is what can be found by itself; what is shorter belongs to its neighbour.
	minPiece = 10
)

// unit is a stretch of said of about a syllable, and where it was heard.
type unit struct {
	from, to int // frames of said
	piece    int
	lag      int // samples
}

// stretch is a run of frames, from up to to.
type stretch struct{ from, to int }

// cut divides speech into pieces at its pauses and each piece into units.
func cut(speech []bool) (pieces []stretch, units []unit) {
	pieces = join(stretches(speech, minPause))
	for i, p := range pieces {
		n := p.to - p.from
		count := max(1, (n+unitFrames/2)/unitFrames)
		for k := range count {
			units = append(units, unit{from: p.from + k*n/count, to: p.from + (k+1)*n/count, piece: i})
		}
	}
	return pieces, units
}

// stretches are the runs that are set, gaps shorter than bridge included.
func stretches(set []bool, bridge int) []stretch {
	var all []stretch
	for t, s := range set {
		switch n := len(all); {
		case !s:
		case n > 0 && t-all[n-1].to < bridge:
			all[n-1].to = t + 1
		default:
			all = append(all, stretch{t, t + 1})
		}
	}
	return all
}

// join gives pieces too short to be found to the nearer neighbour.
func join(all []stretch) []stretch {
	for i := 0; i < len(all) && len(all) > 1; {
		if all[i].to-all[i].from >= minPiece {
			i++
			continue
		}
		first := i // of the two that become one
		if i == len(all)-1 || i > 0 && all[i].from-all[i-1].to < all[i+1].from-all[i].to {
			first = i - 1
		}
		all[first].to = all[first+1].to
		all = append(all[:first+1], all[first+2:]...)
		i = first
	}
	return all
}
