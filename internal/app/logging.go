package app

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/internal/settings"
)

// LoggingConfig is about the log, which goes to standard error.
type LoggingConfig struct {
	Level      string            `yaml:"level" help:"Least level that is logged: debug, info, warn or error. What the WebRTC and LiveKit libraries say is debug."`
	Components map[string]string `yaml:"components" help:"Levels of single parts, instead of level: {call: debug, webhook: warn}. docs/logs.md has their names. The admin port changes them while the connector runs."`
	JSON       bool              `yaml:"json" help:"Log JSON objects instead of text."`
}

// NewLogger returns the logger of the process: text or JSON on w. Secrets are taken out of everything that passes, and phone
// numbers, names and call IDs, which hold phone numbers, unless the configuration asks for them.
func NewLogger(c *Config, w io.Writer) *slog.Logger {
	return logs.New(logs.Config{Level: c.Logging.Level, Components: c.Logging.Components, JSON: c.Logging.JSON, PII: c.LogPII}, w)
}

// logOf is the logger of a part of the connector.
func (a *App) logOf(component string) *slog.Logger { return a.log.With(logs.KeyComponent, component) }

func (v *validation) logging(c *LoggingConfig) {
	if _, err := logs.ParseLevel(c.Level); err != nil {
		v.add("logging.level", "%s", err.Error())
	}
	known := logs.Components()
	for name, level := range c.Components {
		if !slices.Contains(known, name) {
			v.add("logging.components", "there is no component %.40q%s", name, settings.Suggest(name, known))
			continue
		}
		if _, err := logs.ParseLevel(level); err != nil {
			v.add("logging.components", "%s: %s", name, err.Error())
		}
	}
}

// registerLogLevel adds to the operator's port what shows and changes the levels of the log until the process ends:
// GET /log/level, and PUT /log/level?level=debug for all parts or with &component=call for one. A logger that package logs
// has not made has no levels.
func registerLogLevel(mux *http.ServeMux, log *slog.Logger) {
	levels := logs.LevelsOf(log)
	if levels == nil {
		return
	}
	show := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(levels.All())
	}
	mux.HandleFunc("GET /log/level", func(w http.ResponseWriter, _ *http.Request) { show(w) })
	mux.HandleFunc("PUT /log/level", func(w http.ResponseWriter, r *http.Request) {
		component, text := r.URL.Query().Get("component"), r.URL.Query().Get("level")
		level, err := logs.ParseLevel(text)
		switch {
		case text == "" || err != nil:
			http.Error(w, "level must be debug, info, warn or error: PUT /log/level?level=debug&component=call", http.StatusBadRequest)
			return
		case !levels.Set(component, level):
			http.Error(w, fmt.Sprintf("there is no component %.40q%s; all are: %s", component,
				settings.Suggest(component, logs.Components()), strings.Join(logs.Components(), ", ")), http.StatusBadRequest)
			return
		}
		// At the highest level, so that it is seen whatever the level is now: an operator must know who made the log silent.
		log.Error("log level changed", "of", component, "to", strings.ToLower(level.String()))
		show(w)
	})
}
