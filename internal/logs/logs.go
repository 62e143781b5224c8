// Package logs makes the logger of the process. It writes text or JSON, has a level for each part of the connector that can
// be changed while the process runs, and is the last gate before the log: secrets are taken out of everything that passes,
// and so is what tells a person, unless the operator asked for that.
//
// The gate looks at every attribute and every message, whoever wrote it: our packages, Pion, LiveKit's SDK, net/http. What
// it does to a value is in mask.go. Packages know nothing of it: they take a *slog.Logger, and whoever makes them says by
// the attribute "component" which part they are.
package logs

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
)

// KeyComponent is the attribute that names a part of the connector and so chooses the level.
const KeyComponent = "component"

// The parts of the connector that have a level of their own.
const (
	API     = "api"     // livekit.Connector, the read API and what is proxied to livekit-server
	Webhook = "webhook" // Meta's webhooks
	Node    = "node"    // the calls of this machine, as a whole
	Call    = "call"    // the course of each call
	MetaLeg = "metaleg" // the connection of a call to Meta
	RoomLeg = "roomleg" // the participant of a call in its room
	Graph   = "graph"   // requests to Meta's Graph API
	Notify  = "notify"  // events that are posted to the operator's own servers
	Rules   = "rules"   // what becomes of users' calls
	WebRTC  = "webrtc"  // what Pion says of connections to Meta
	LiveKit = "livekit" // what LiveKit's SDK says of rooms
	Admin   = "admin"   // the operator's port
	App     = "app"     // start, stop, secrets; also all lines that name no part
)

// Components returns the names of all parts, sorted.
func Components() []string {
	all := []string{API, Webhook, Node, Call, MetaLeg, RoomLeg, Graph, Notify, Rules, WebRTC, LiveKit, Admin, App}
	slices.Sort(all)
	return all
}

// Config says what is logged, and how.
type Config struct {
	// Level is that of all parts which Components does not name; "" is info.
	Level string
	// Components holds levels by part.
	Components map[string]string
	// JSON writes an object a line instead of text.
	JSON bool
	// PII lets phone numbers, user IDs, names and whole call IDs pass. Secrets never do.
	PII bool
}

// New returns a logger that writes to w, one Write a line. A level that does not exist counts as info: whoever reads a
// configuration asks ParseLevel.
func New(c Config, w io.Writer) *slog.Logger {
	gate := &gate{pii: c.PII}
	// The levels decide; what passes them is written.
	options := &slog.HandlerOptions{Level: slog.Level(-128), ReplaceAttr: gate.attr}
	var out slog.Handler = slog.NewTextHandler(w, options)
	if c.JSON {
		out = slog.NewJSONHandler(w, options)
	}
	levels := newLevels(c)
	return slog.New(&handler{out: out, levels: levels, component: App, level: levels.of(App)})
}

// handler asks the levels, and gives every line one component: the innermost that was bound.
type handler struct {
	out       slog.Handler
	levels    *Levels
	component string
	level     *slog.LevelVar
	grouped   bool // out has an open group, in which the component would be lost
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if !h.grouped {
		r.AddAttrs(slog.String(KeyComponent, h.component))
	}
	return h.out.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	kept := make([]slog.Attr, 0, len(attrs))
	for _, a := range attrs {
		if a.Key != KeyComponent || h.grouped {
			kept = append(kept, a)
			continue
		}
		next.component = a.Value.String()
		next.level = h.levels.of(next.component)
	}
	if len(kept) > 0 {
		next.out = h.out.WithAttrs(kept)
	}
	return &next
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.out, next.grouped = h.out.WithGroup(name), true
	return &next
}

// Levels are the levels of all parts. They may be read and set while lines are being written.
type Levels struct {
	vars map[string]*slog.LevelVar // never changed
}

// LevelsOf returns the levels of a logger that New made, nil of any other.
func LevelsOf(log *slog.Logger) *Levels {
	if h, ok := log.Handler().(*handler); ok {
		return h.levels
	}
	return nil
}

func newLevels(c Config) *Levels {
	l := &Levels{vars: make(map[string]*slog.LevelVar)}
	general, _ := ParseLevel(c.Level)
	for _, name := range Components() {
		level := general
		if own, ok := c.Components[name]; ok {
			level, _ = ParseLevel(own)
		}
		l.vars[name] = new(slog.LevelVar)
		l.vars[name].Set(level)
	}
	return l
}

// of returns the level of a part; one that nobody has heard of has the level of App.
func (l *Levels) of(component string) *slog.LevelVar {
	if v, ok := l.vars[component]; ok {
		return v
	}
	return l.vars[App]
}

// Set gives a part a level, or all parts if component is "". It returns false for a part that does not exist.
func (l *Levels) Set(component string, level slog.Level) bool {
	if component == "" {
		for _, v := range l.vars {
			v.Set(level)
		}
		return true
	}
	v, ok := l.vars[component]
	if ok {
		v.Set(level)
	}
	return ok
}

// All returns the levels by part, in lower case.
func (l *Levels) All() map[string]string {
	all := make(map[string]string, len(l.vars))
	for name, v := range maps.All(l.vars) {
		all[name] = strings.ToLower(v.Level().String())
	}
	return all
}

// ParseLevel reads debug, info, warn or error; "" is info. With an error it returns info.
func ParseLevel(text string) (slog.Level, error) {
	switch strings.ToLower(text) {
	case "debug":
		return slog.LevelDebug, nil
	case "", "info":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	default:
		return slog.LevelInfo, fmt.Errorf("%q is not one of debug, info, warn and error", text)
	}
}
