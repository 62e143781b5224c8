package metaleg

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/pion/logging"
)

// componentPion is the part of the connector as which Pion's lines are logged.
const componentPion = "webrtc"

// legLog is a leg's loggers. A leg is made before Meta says which call it is for; Bind adds that.
type legLog struct {
	base      *slog.Logger
	own, pion atomic.Pointer[slog.Logger]
}

func newLegLog(base *slog.Logger) *legLog {
	l := &legLog{base: base}
	l.bind()
	return l
}

func (l *legLog) bind(attrs ...any) {
	l.own.Store(l.base.With(attrs...))
	l.pion.Store(l.base.With("component", componentPion).With(attrs...))
}

func (l *legLog) leg() *slog.Logger { return l.own.Load() }

// Bind says for which call the leg is: the attributes stand in all its lines from now on, Pion's too.
func (l *Leg) Bind(attrs ...any) { l.log.bind(attrs...) }

// pionLog gives Pion's warnings and errors to slog, at debug level: to us they
// are details of a leg whose outcome is reported otherwise. What Pion says below
// that level is left out, for it holds ICE user names.
type pionLog struct{ log *legLog }

// NewLogger implements logging.LoggerFactory.
func (p pionLog) NewLogger(scope string) logging.LeveledLogger {
	return scopeLog{log: p.log, scope: scope}
}

type scopeLog struct {
	log   *legLog
	scope string
}

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
	s.log.pion.Load().Debug("pion reports", "pion", s.scope, "severity", severity, "detail", msg)
}

func (s scopeLog) detailf(severity, format string, args []any) {
	if s.log.pion.Load().Enabled(context.Background(), slog.LevelDebug) {
		s.detail(severity, fmt.Sprintf(format, args...))
	}
}
