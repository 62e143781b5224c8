package report_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/bench/report"
)

func TestTargetsAreJudged(t *testing.T) {
	require.Equal(t, report.Verdict{Name: "a", Want: "at most 1.1 ms", Got: "1.1 ms", Outcome: report.Met},
		report.AtMost("a", "%.1f ms", 1.1, 1.1))
	require.Equal(t, report.Missed, report.AtMost("a", "%.1f", 1.1, 1.2).Outcome)
	require.Equal(t, report.Met, report.AtLeast("a", "%.1fx", 8, 9).Outcome)
	require.Equal(t, report.Missed, report.AtLeast("a", "%.1fx", 8, 7.9).Outcome)
	require.Equal(t, report.Missed, report.AtLeast("a", "%.1fx", 8, math.NaN()).Outcome, "no number meets a target")
}

func TestColumnsAreAligned(t *testing.T) {
	table := report.Table{Title: "Sizes", Columns: []string{"what", "µs"}}
	table.Add("short", "1")
	table.Add("rather long", "1000")
	require.Equal(t, strings.Join([]string{
		"Sizes", "",
		"  what           µs",
		"  -----------  ----",
		"  short           1",
		"  rather long  1000", "",
	}, "\n"), table.Text())
}

func TestAReportIsWrittenForPeopleAndPrograms(t *testing.T) {
	r := report.Report{
		Machine: report.ThisMachine(), Began: time.Now(),
		Sections: []report.Section{{
			Name: "part", Title: "A part", Notes: []string{strings.Repeat("word ", 60)},
			Targets: []report.Verdict{report.AtMost("cost", "%.0f ms", 2, 3), report.Unmeasured("memory", "little", "not run")},
			Tables:  []report.Table{{Columns: []string{"n"}, Rows: [][]string{{"7"}}}},
			Plots:   []report.Plot{{Name: "lines", Title: "Lines & <more>", LogY: true, Series: []report.Series{{Name: "a", Points: []report.Point{{X: 1, Y: 0.5}, {X: 20, Y: 300}, {X: 3, Y: 0}}}}}},
			Data:    map[string]int{"answer": 42},
		}},
	}
	folder := filepath.Join(t.TempDir(), "new")
	require.NoError(t, r.Write(folder))

	text, err := os.ReadFile(filepath.Join(folder, "report.txt"))
	require.NoError(t, err)
	for _, want := range []string{"A part\n======\n", "cost", "at most 2 ms", "3 ms", "MISSED", "not measured", "part-lines.svg", "libopus"} {
		require.Contains(t, string(text), want)
	}
	for line := range strings.Lines(string(text)) {
		require.LessOrEqual(t, len([]rune(line)), 180)
	}
	data, err := os.ReadFile(filepath.Join(folder, "report.json"))
	require.NoError(t, err)
	var back struct {
		Machine  report.Machine
		Sections []struct {
			Name    string
			Targets []report.Verdict
			Data    map[string]int
		}
	}
	require.NoError(t, json.Unmarshal(data, &back))
	require.Equal(t, r.Machine, back.Machine)
	require.Equal(t, 42, back.Sections[0].Data["answer"])
	require.Equal(t, r.Sections[0].Targets, back.Sections[0].Targets)

	svg, err := os.ReadFile(filepath.Join(folder, "part-lines.svg"))
	require.NoError(t, err)
	wellFormed(t, string(svg))
	require.Equal(t, 2, strings.Count(string(svg), "<circle"), "zero has no place on a logarithmic axis")
}

func TestPlotsOfAlmostNothingCanBeDrawn(t *testing.T) {
	for name, p := range map[string]report.Plot{
		"nothing":   {},
		"no points": {Series: []report.Series{{Name: "a"}}},
		"one point": {Series: []report.Series{{Points: []report.Point{{X: 3, Y: 0}}}}},
		"log":       {LogX: true, LogY: true, Series: []report.Series{{Points: []report.Point{{X: 10, Y: 10}}}}},
		"near one":  {Near: true, Series: []report.Series{{Points: []report.Point{{X: 3, Y: 5}}}}},
		"near none": {Near: true},
		"near":      {Near: true, Series: []report.Series{{Points: []report.Point{{X: 3, Y: .95}, {X: 4, Y: .99}}}}},
		"negative":  {Series: []report.Series{{Points: []report.Point{{X: -3, Y: -10}, {X: 5, Y: -2}}}}},
	} {
		svg := p.SVG()
		wellFormed(t, svg)
		require.NotContains(t, svg, "NaN", name)
		require.NotContains(t, svg, "Inf", name)
	}
}

func wellFormed(t *testing.T, svg string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
	}
}
