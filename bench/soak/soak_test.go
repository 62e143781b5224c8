package soak

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/bench/report"
	"github.com/livekit-connector/livekit-connector/internal/call"
)

func TestAHundredCallsHoldEveryKindByItsShare(t *testing.T) {
	d := newDeck(1, time.Minute)
	counts := make(map[string]int)
	for i := range 200 {
		p := d.next()
		counts[p.name]++
		require.LessOrEqual(t, p.talk, time.Minute)
		require.GreaterOrEqual(t, p.talk, shortest)
		if i == len(kinds)-1 {
			require.Len(t, counts, len(kinds), "a short run has all of them")
		}
	}
	sum := 0
	for _, k := range kinds {
		require.Equal(t, 2*k.share, counts[k.name], k.name)
		sum += k.share
	}
	require.Equal(t, 100, sum)
}

func TestReasonsAreThoseThatThereAre(t *testing.T) {
	known := make(map[string]bool)
	for _, r := range call.Reasons() {
		known[r.String()] = true
	}
	for _, k := range kinds {
		require.Equal(t, k.end == dialFails, len(k.reasons) == 0, k.name)
		for _, reason := range k.reasons {
			require.True(t, known[reason], reason)
		}
	}
}

// Calls come and go in waves: what they need is no growth, and a leak is found below it.
func TestTrendsTellALeakFromCalls(t *testing.T) {
	var at, calls, level, leaking []float64
	for i := range 150 {
		at = append(at, float64(10*i))
		c := 40 + 5*math.Sin(float64(i)/7)
		calls = append(calls, c)
		noise := float64(i*7919%13-6) / 2
		level = append(level, 30+46*c+noise)
		leaking = append(leaking, 30+46*c+noise+float64(i))
	}
	tr := fit(at, calls, level)
	require.InDelta(t, 46, tr.perCall, 1)
	require.InDelta(t, 0, tr.growth, 3)
	require.Less(t, tr.margin, 3.)
	tr = fit(at, calls, leaking)
	require.InDelta(t, 149, tr.growth, 3)

	constant := make([]float64, len(at))
	tr = fit(at, constant, at)
	require.InDelta(t, 1490, tr.growth, 1e-6, "a number of calls that never changes")
	require.InDelta(t, 0, tr.margin, 1e-6)
	require.True(t, math.IsInf(fit(at[:3], calls[:3], level[:3]).margin, 1))
}

func TestLabelsAreRead(t *testing.T) {
	const labels = `direction="inbound",result="success",reason="meta_closed"}`
	require.Equal(t, "success", label(labels, "result"))
	require.Equal(t, "meta_closed", label(labels, "reason"))
	require.Equal(t, "inbound", label(labels, "direction"))
	require.Empty(t, label(labels, "on"))
}

func TestARunThatFailedEarlyIsReportedAndMeetsNothing(t *testing.T) {
	folder := t.TempDir()
	r := Result{Calls: 40, Seconds: 1800}
	section := r.Section(os.ErrDeadlineExceeded)
	require.Equal(t, report.Missed, section.Targets[0].Outcome)
	for _, v := range section.Targets {
		if v.Name != "calls that ended for a reason that no kind of call has" {
			require.NotEqual(t, report.Met, v.Outcome, v.Name)
		}
	}
	whole := report.Report{Sections: []report.Section{section}}
	require.NoError(t, whole.Write(folder))

	require.Error(t, Publish(&whole, folder), "there is no soak.md")
	page := filepath.Join(folder, "soak.md")
	require.NoError(t, os.WriteFile(page, []byte("# Soak\n\n"+resultBegins+"\nold\n"+resultEnds+"\n\nend\n"), 0o600))
	require.NoError(t, Publish(&whole, folder))
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	require.NotContains(t, string(text), "old")
	require.Contains(t, string(text), "![Goroutines](soak-goroutines.svg)")
	require.Contains(t, string(text), resultEnds+"\n\nend\n")
	require.FileExists(t, filepath.Join(folder, "soak-heap.svg"))
}
