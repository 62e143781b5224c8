package soak

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/livekit-connector/livekit-connector/bench/report"
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

// kept has Go's own tool compare the profiles of the beginning and the end.
func kept(ctx context.Context, folder string) ([]Kept, error) {
	arguments := []string{"tool", "pprof", "-top", "-sample_index=inuse_space", "-unit=B", "-nodecount=1000000", "-nodefraction=0"}
	arguments = append(arguments, "-diff_base", heapProfile(folder, "start"), heapProfile(folder, "end"))
	text, err := exec.CommandContext(ctx, "go", arguments...).Output()
	if err != nil {
		return nil, fmt.Errorf("compare heap profiles: %w", err)
	}
	all := parseKept(string(text))
	if len(all) == 0 {
		return nil, errors.New("compare heap profiles: nothing in them")
	}
	return all, nil
}

// keptLine is a line of `go tool pprof -top`: flat, flat%, sum%, cum, cum%, function.
var keptLine = regexp.MustCompile(`^\s*(-?\d+)B?\s+-?[\d.]+%\s+-?[\d.]+%\s+-?\d+B?\s+-?[\d.]+%\s+(.+)$`)

func parseKept(text string) (all []Kept) {
	for line := range strings.Lines(text) {
		m := keptLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		if n, err := strconv.ParseFloat(m[1], 64); err == nil {
			all = append(all, Kept{Function: strings.TrimSuffix(m[2], " (inline)"), Bytes: n})
		}
	}
	return all
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
