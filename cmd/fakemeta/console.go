package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// console writes log lines for a person to follow: time, call, event, facts. Call IDs are left out where the call's
// number is known.
type console struct {
	mu    *sync.Mutex
	out   io.Writer
	attrs []slog.Attr
}

func newConsole(out io.Writer) *console { return &console{mu: &sync.Mutex{}, out: out} }

// Enabled implements slog.Handler.
func (c *console) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// WithAttrs implements slog.Handler.
func (c *console) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &console{mu: c.mu, out: c.out, attrs: append(append([]slog.Attr(nil), c.attrs...), attrs...)}
}

// WithGroup implements slog.Handler; groups are not used.
func (c *console) WithGroup(string) slog.Handler { return c }

// Handle implements slog.Handler.
func (c *console) Handle(_ context.Context, r slog.Record) error {
	attrs := append([]slog.Attr(nil), c.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	event, who, facts := r.Message, "", []string{}
	for _, a := range attrs {
		switch value := a.Value.String(); a.Key {
		case "call":
			who = "#" + value
		case "moment":
			event = value
		case "detail":
			facts = append(facts, value)
		case "callID":
			if len(value) > 12 {
				value = "…" + value[len(value)-12:]
			}
			if who == "" {
				facts = append(facts, "call "+value)
			}
		default:
			facts = append(facts, a.Key+"="+value)
		}
	}
	line := fmt.Sprintf("%s %-4s %s", r.Time.Format("15:04:05.000"), who, event)
	if len(facts) > 0 {
		line += "  " + strings.Join(facts, " ")
	}
	if r.Level >= slog.LevelWarn {
		line += "  [" + strings.ToLower(r.Level.String()) + "]"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := io.WriteString(c.out, line+"\n")
	return err
}
