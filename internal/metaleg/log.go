package metaleg

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// pionLog gives Pion's warnings and errors to slog, at debug level: to us they
// are details of a leg whose outcome is reported otherwise. What Pion says below
// that level is left out, for it holds ICE user names.
type pionLog struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (p pionLog) NewLogger(scope string) logging.LeveledLogger {
	return scopeLog{p.log.With("pion", scope)}
}

type scopeLog struct{ log *slog.Logger }

func (s scopeLog) Trace(string)          {}
func (s scopeLog) Tracef(string, ...any) {}
func (s scopeLog) Debug(string)          {}
func (s scopeLog) Debugf(string, ...any) {}
func (s scopeLog) Info(string)           {}
func (s scopeLog) Infof(string, ...any)  {}

func (s scopeLog) Warn(msg string) { s.detail("warning", msg) }
func (s scopeLog) Warnf(format string, args ...any) {
	s.detailf("warning", format, args)
}
func (s scopeLog) Error(msg string) { s.detail("error", msg) }
func (s scopeLog) Errorf(format string, args ...any) {
	s.detailf("error", format, args)
}

func (s scopeLog) detail(severity, msg string) {
	s.log.Debug("pion reports", "severity", severity, "detail", msg)
}

func (s scopeLog) detailf(severity, format string, args []any) {
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		s.detail(severity, fmt.Sprintf(format, args...))
	}
}
