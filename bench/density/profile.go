package density

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/report"
	"github.com/livekit-connector/livekit-connector/bench/rig"
)

// hotSpots is how many places of a profile the report names.
const hotSpots = 15

// hotSpot is one function in a CPU profile.
type hotSpot struct {
	Function string `json:"function"`
	// Self is the share of the CPU time in the function itself, Total with all that it calls.
	Self  float64 `json:"self"`
	Total float64 `json:"total"`
}

// profile keeps what the bridge spends its time and its memory on with the calls that there are.
func (s *stage) profile(ctx context.Context, row *Row) error {
	if s.options.Profile <= 0 {
		return nil
	}
	name := func(kind string) string {
		return filepath.Join(s.options.Folder, fmt.Sprintf("%s-%s-%d.%s.pb.gz", row.Candidate, row.Mode, len(s.calls), kind))
	}
	cpu := fmt.Sprintf("/debug/pprof/profile?seconds=%.0f", s.options.Profile.Seconds())
	if err := rig.Save(ctx, s.bridge.Debug+cpu, name("cpu")); err != nil {
		return fmt.Errorf("take CPU profile: %w", err)
	}
	if err := rig.Save(ctx, s.bridge.Debug+"/debug/pprof/heap", name("heap")); err != nil {
		return fmt.Errorf("take heap profile: %w", err)
	}
	top, err := rig.Top(ctx, "-unit=ms", name("cpu"))
	if err != nil {
		s.log.Warn("the profile is kept, but not in the report", "error", err)
	}
	row.Profile = spotsOf(top)
	row.profiled = len(s.calls)
	return nil
}

// parseTop reads what Go's tool tells of a profile of CPU time.
func parseTop(text string) []hotSpot { return spotsOf(rig.ParseTop(text)) }

func spotsOf(top []rig.Spot) (spots []hotSpot) {
	for _, s := range top {
		spots = append(spots, hotSpot{Function: s.Function, Self: s.FlatShare, Total: s.TotalShare})
	}
	return spots
}

// hot tables are the functions that take the most time themselves, and those that take it with what they call.
func (r *Row) hot(took time.Duration) []report.Table {
	if len(r.Profile) == 0 {
		return nil
	}
	title := fmt.Sprintf("%s: where CPU time goes with %d calls (profile of %v)", r.name(), r.profiled, took)
	self := report.Table{Title: title, Columns: []string{"function", "itself", "with what it calls"}}
	for _, h := range r.Profile[:min(hotSpots, len(r.Profile))] {
		if h.Self > 0 {
			self.Add(shortName(h.Function), percentOf(h.Self), percentOf(h.Total))
		}
	}
	return []report.Table{self, r.hotPackages()}
}

// hotPackages sums the time that functions take themselves.
func (r *Row) hotPackages() report.Table {
	t := report.Table{Columns: []string{"package", "itself"}}
	sums := make(map[string]float64)
	for _, h := range r.Profile {
		sums[packageOf(h.Function)] += h.Self
	}
	for range hotSpots {
		most := ""
		for name, sum := range sums {
			if most == "" || sum > sums[most] || sum == sums[most] && name < most {
				most = name
			}
		}
		if sums[most] < 0.005 {
			break
		}
		t.Add(most, percentOf(sums[most]))
		delete(sums, most)
	}
	return t
}

// packageOf is the import path of a function such as "github.com/pion/ice/v4.(*Conn).Write".
func packageOf(function string) string {
	slash := strings.LastIndexByte(strings.SplitN(function, "(", 2)[0], '/') + 1
	name, _, _ := strings.Cut(function[slash:], ".")
	return shortName(function[:slash] + name)
}

// shortName leaves out what many names begin with.
func shortName(function string) string {
	const limit = 84
	function = strings.TrimPrefix(strings.TrimPrefix(function, "github.com/"), "livekit-connector/livekit-connector/")
	if len(function) > limit {
		return "..." + function[len(function)-limit+3:]
	}
	return function
}

func percentOf(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }
