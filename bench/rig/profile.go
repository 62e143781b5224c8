package rig

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// Spot is one function in a profile.
type Spot struct {
	Function string
	// Flat is what the function itself has, in the unit of the profile, and FlatShare of all, 0 to 1; Total and TotalShare
	// with all that it calls.
	Flat, FlatShare, Total, TotalShare float64
}

// Top has Go's own tool list every function of a profile, most first. The arguments are those of `go tool pprof -top`: a unit,
// the sample, the file.
func Top(ctx context.Context, arguments ...string) ([]Spot, error) {
	all := append([]string{"tool", "pprof", "-top", "-nodecount=1000000", "-nodefraction=0"}, arguments...)
	text, err := exec.CommandContext(ctx, "go", all...).Output() //nolint:gosec // files of ours
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	spots := ParseTop(string(text))
	if len(spots) == 0 {
		return nil, errors.New("read profile: nothing in it")
	}
	return spots, nil
}

// topLine is a line of `go tool pprof -top`: flat, flat%, sum%, cum, cum%, function. A difference may be negative.
var topLine = regexp.MustCompile(`^\s*(-?[\d.]+)[a-zA-Z]*\s+(-?[\d.]+)%\s+-?[\d.]+%\s+(-?[\d.]+)[a-zA-Z]*\s+(-?[\d.]+)%\s+(.+)$`)

// ParseTop reads what `go tool pprof -top` writes.
func ParseTop(text string) (spots []Spot) {
	for line := range strings.Lines(text) {
		m := topLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		s := Spot{Function: strings.TrimSuffix(m[5], " (inline)")}
		var errs [4]error
		for i, v := range []*float64{&s.Flat, &s.FlatShare, &s.Total, &s.TotalShare} {
			*v, errs[i] = strconv.ParseFloat(m[1+i], 64)
		}
		s.FlatShare, s.TotalShare = s.FlatShare/100, s.TotalShare/100
		if errors.Join(errs[:]...) == nil {
			spots = append(spots, s)
		}
	}
	return spots
}
