package soak

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/livekit-connector/livekit-connector/bench/report"
)

// The result stands between these lines of soak.md.
const (
	resultBegins = "<!-- result -->"
	resultEnds   = "<!-- end of result -->"
)

// Publish puts a report's text into soak.md of a folder, and its plots beside it.
func Publish(r *report.Report, folder string) error {
	page := filepath.Join(folder, "soak.md")
	text, err := os.ReadFile(page) //nolint:gosec // the folder is the caller's choice
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	before, rest, found := strings.Cut(string(text), resultBegins)
	_, after, ended := strings.Cut(rest, resultEnds)
	if !found || !ended {
		return fmt.Errorf("publish: %s lacks the lines %q and %q", page, resultBegins, resultEnds)
	}
	var b strings.Builder
	b.WriteString(before + resultBegins + "\n\n```\n" + strings.TrimSpace(r.Text()) + "\n```\n\n")
	var errs []error
	for _, s := range r.Sections {
		for _, p := range s.Plots {
			name := s.Name + "-" + p.Name + ".svg"
			fmt.Fprintf(&b, "![%s](%s)\n\n", p.Title, name)
			errs = append(errs, os.WriteFile(filepath.Join(folder, name), []byte(p.SVG()), 0o644)) //nolint:gosec // nothing secret
		}
	}
	b.WriteString(resultEnds + after)
	errs = append(errs, os.WriteFile(page, []byte(b.String()), 0o644)) //nolint:gosec // nothing secret
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}
