package soak

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/livekit-connector/livekit-connector/bench/report"
	"github.com/livekit-connector/livekit-connector/bench/rig"
)

// Kept is what one function allocated and what still lives when all calls are over, more than before the first one. It is
// estimated from one of every profileEvery bytes.
type Kept struct {
	Function string  `json:"function"`
	Bytes    float64 `json:"bytes"`
}

const (
	// keptFunctions is how many the report names, and keptLeast what each keeps at least, bytes.
	keptFunctions = 15
	keptLeast     = profileEvery
)

// heapProfile is where the heap's profile of a moment is.
func heapProfile(folder, when string) string { return filepath.Join(folder, "heap-"+when+".pprof") }

// kept compares the profiles of the beginning and the end.
func kept(ctx context.Context, folder string) (all []Kept, err error) {
	// Who asked for memory, not what of Go's runtime gave it.
	const hidden = `-hide=^runtime\.(mallocgc.*|newobject|makeslice|growslice)$`
	spots, err := rig.Top(ctx, hidden, "-sample_index=inuse_space", "-unit=B", "-diff_base", heapProfile(folder, "start"), heapProfile(folder, "end"))
	for _, s := range spots {
		if s.Flat != 0 { // the others only call
			all = append(all, Kept{Function: s.Function, Bytes: s.Flat})
		}
	}
	return all, err
}

func (r *Result) kept() report.Table {
	t := report.Table{Title: "What the heap keeps when all is over and did not hold before the first call, by its profile", Columns: []string{"allocated by", "kept"}}
	for _, k := range r.Kept {
		if k.Bytes >= keptLeast && len(t.Rows) < keptFunctions {
			t.Add(strings.TrimPrefix(k.Function, "github.com/livekit-connector/livekit-connector/"), fmt.Sprintf("%.2f MB", k.Bytes/1e6))
		}
	}
	return t
}
