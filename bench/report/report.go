// Package report writes what the benchmark found: one JSON document, one text that reads well in a terminal, and plots
// as SVG. Each part of the benchmark makes a [Section]; this package knows nothing of what is measured.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Report is one run of the benchmark.
type Report struct {
	Machine  Machine   `json:"machine"`
	Began    time.Time `json:"began"`
	Seconds  float64   `json:"seconds"`
	Sections []Section `json:"sections"`
}

// Section is one part of the benchmark.
type Section struct {
	// Name is a word for file names: "density".
	Name string `json:"name"`
	// Title is its heading, Notes say how to read it, one paragraph each.
	Title string   `json:"title"`
	Notes []string `json:"notes,omitempty"`
	// Targets are judged in Verdicts, in this order.
	Targets []Verdict `json:"targets,omitempty"`
	Tables  []Table   `json:"-"`
	Plots   []Plot    `json:"-"`
	// Data is everything that was measured, for programs.
	Data any `json:"data,omitempty"`
}

// Outcome says whether a target was met.
type Outcome string

// The outcomes.
const (
	Met         Outcome = "met"
	Missed      Outcome = "MISSED"
	NotMeasured Outcome = "not measured"
)

// Verdict is one target and what became of it.
type Verdict struct {
	Name    string  `json:"name"`
	Want    string  `json:"want"`
	Got     string  `json:"got"`
	Outcome Outcome `json:"outcome"`
}

// AtMost judges a value that should not be above the limit. The format is for both.
func AtMost(name, format string, limit, got float64) Verdict {
	return judge(name, "at most "+fmt.Sprintf(format, limit), fmt.Sprintf(format, got), got <= limit)
}

// AtLeast judges a value that should not be below the limit. The format is for both.
func AtLeast(name, format string, limit, got float64) Verdict {
	return judge(name, "at least "+fmt.Sprintf(format, limit), fmt.Sprintf(format, got), got >= limit)
}

// Unmeasured is the verdict on a target for which this run has no value.
func Unmeasured(name, want, why string) Verdict {
	return Verdict{Name: name, Want: want, Got: why, Outcome: NotMeasured}
}

func judge(name, want, got string, met bool) Verdict {
	v := Verdict{Name: name, Want: want, Got: got, Outcome: Missed}
	if met {
		v.Outcome = Met
	}
	return v
}

// Table is rows of text under headings. The first column is set to the left, the others to the right.
type Table struct {
	Title   string
	Columns []string
	Rows    [][]string
}

// Add appends a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Write puts report.json, report.txt and one SVG per plot into a folder, which it makes.
func (r *Report) Write(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // nothing secret
		return fmt.Errorf("make folder of the report: %w", err)
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	errs := []error{
		write(folder, "report.json", string(data)+"\n"),
		write(folder, "report.txt", r.Text()),
	}
	for _, s := range r.Sections {
		for _, p := range s.Plots {
			errs = append(errs, write(folder, s.Name+"-"+p.Name+".svg", p.SVG()))
		}
	}
	return errors.Join(errs...)
}

func write(folder, name, text string) error {
	if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil { //nolint:gosec // nothing secret
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// Text is the report for people.
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "livekit-connector benchmark, %s, %.0f s\n\n", r.Began.UTC().Format("2006-01-02 15:04 MST"), r.Seconds)
	b.WriteString(r.Machine.text())
	for _, s := range r.Sections {
		b.WriteString("\n" + s.Title + "\n" + strings.Repeat("=", len([]rune(s.Title))) + "\n")
		for _, note := range s.Notes {
			b.WriteString("\n" + wrap(note, textWidth))
		}
		if len(s.Targets) > 0 {
			b.WriteString("\n" + verdictTable(s.Targets).Text())
		}
		for i := range s.Tables {
			b.WriteString("\n" + s.Tables[i].Text())
		}
		for _, p := range s.Plots {
			fmt.Fprintf(&b, "\nPlot: %s-%s.svg (%s)\n", s.Name, p.Name, p.Title)
		}
	}
	return b.String()
}

func verdictTable(verdicts []Verdict) *Table {
	t := &Table{Title: "Targets", Columns: []string{"target", "wanted", "got", ""}}
	for _, v := range verdicts {
		t.Add(v.Name, v.Want, v.Got, string(v.Outcome))
	}
	return t
}

const textWidth = 120

// wrap breaks a paragraph into lines.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		n := len([]rune(word))
		switch {
		case column == 0:
		case column+1+n > width:
			b.WriteString("\n")
			column = 0
		default:
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += n
	}
	b.WriteString("\n")
	return b.String()
}

// Text is the table with aligned columns.
func (t *Table) Text() string {
	widths := make([]int, len(t.Columns))
	for _, row := range append([][]string{t.Columns}, t.Rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	if t.Title != "" {
		b.WriteString(t.Title + "\n\n")
	}
	line := func(cells []string) {
		var l strings.Builder
		for i, cell := range cells {
			pad := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if i == 0 {
				l.WriteString("  " + cell + pad)
			} else {
				l.WriteString("  " + pad + cell)
			}
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	line(t.Columns)
	rule := make([]string, len(widths))
	for i, w := range widths {
		rule[i] = strings.Repeat("-", w)
	}
	line(rule)
	for _, row := range t.Rows {
		line(row)
	}
	return b.String()
}
