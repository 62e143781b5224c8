package doctor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Status is how a line is meant.
type Status string

// The statuses. Skip is for what this configuration does not use, or what cannot be told because of another failure.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
	Skip Status = "skip"
)

// Line is one finding.
type Line struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Found  string `json:"found"`
	// Remedy is what to do; of what is good it is empty.
	Remedy string `json:"remedy,omitempty"`
}

func good(format string, args ...any) Line {
	return Line{Status: OK, Found: fmt.Sprintf(format, args...)}
}

func skipped(format string, args ...any) Line {
	return Line{Status: Skip, Found: fmt.Sprintf(format, args...)}
}
func doubtful(found, remedy string) Line { return Line{Status: Warn, Found: found, Remedy: remedy} }
func failed(found, remedy string) Line   { return Line{Status: Fail, Found: found, Remedy: remedy} }

// one is a finding with nothing beside it.
func one(l Line) []Line { return []Line{l} }

// Report is what Run found.
type Report struct {
	Lines []Line `json:"checks"`
	Good  int    `json:"ok"`
	Warns int    `json:"warnings"`
	Fails int    `json:"failures"`
	Skips int    `json:"skipped"`
	Took  string `json:"took"`
}

func (r *Report) add(l Line) {
	r.Lines = append(r.Lines, l)
	switch l.Status {
	case OK:
		r.Good++
	case Warn:
		r.Warns++
	case Fail:
		r.Fails++
	case Skip:
		r.Skips++
	}
}

// colors are ANSI's, by status.
var colors = map[Status]string{OK: "\x1b[32m", Warn: "\x1b[33m", Fail: "\x1b[31m", Skip: "\x1b[2m"}

const (
	colorOff   = "\x1b[0m"
	nameColumn = 12
)

// WriteText writes one line for each finding and a last one with their numbers, in color if told so.
func (r Report) WriteText(w io.Writer, color bool) error {
	var b bytes.Buffer
	for _, l := range r.Lines {
		status := fmt.Sprintf("%-4s", l.Status)
		if color {
			status = colors[l.Status] + status + colorOff
		}
		fmt.Fprintf(&b, "%s  %-*s  %s", status, nameColumn, l.Check, l.Found)
		if l.Remedy != "" {
			b.WriteString(" -> " + l.Remedy)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%s, %s, %d ok, %d skipped, in %s\n", count(r.Fails, "failure"), count(r.Warns, "warning"), r.Good, r.Skips, r.Took)
	_, err := w.Write(b.Bytes())
	return err
}

// WriteJSON writes one JSON object.
func (r Report) WriteJSON(w io.Writer) error {
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the report as JSON: %w", err)
	}
	_, err = w.Write(append(body, '\n'))
	return err
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
