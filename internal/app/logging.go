package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"time"

	"github.com/livekit/protocol/logger"
	"github.com/livekit/protocol/logger/zaputil"
	"github.com/pion/logging"
	"google.golang.org/protobuf/proto"
)

// NewLogger returns the logger of the process: text or JSON on w, secrets taken out of everything that passes.
func NewLogger(c LoggingConfig, w io.Writer) *slog.Logger {
	level, err := parseLevel(c.Level)
	if err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: redactAttr}
	if c.JSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func parseLevel(text string) (slog.Level, error) {
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
		return 0, fmt.Errorf("unknown level %q", text)
	}
}

// atLeast returns log without the records below a level. An empty level is info.
func atLeast(log *slog.Logger, text string) *slog.Logger {
	level, err := parseLevel(text)
	if err != nil {
		level = slog.LevelInfo
	}
	return slog.New(levelHandler{Handler: log.Handler(), level: level})
}

// levelHandler drops records below a level of its own.
type levelHandler struct {
	slog.Handler
	level slog.Level
}

// Enabled tells whether both levels let a record pass.
func (h levelHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level && h.Handler.Enabled(ctx, level)
}

// WithAttrs keeps the level.
func (h levelHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return levelHandler{Handler: h.Handler.WithAttrs(attrs), level: h.level}
}

// WithGroup keeps the level.
func (h levelHandler) WithGroup(name string) slog.Handler {
	return levelHandler{Handler: h.Handler.WithGroup(name), level: h.level}
}

// PionLogger lets Pion write into log. Each line has the scope, such as "ice" or "dtls", as attribute.
func PionLogger(log *slog.Logger, c LoggingConfig) logging.LoggerFactory {
	return pionFactory{log: atLeast(log, c.PionLevel)}
}

type pionFactory struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (f pionFactory) NewLogger(scope string) logging.LeveledLogger {
	return pionLogger{log: f.log.With("component", "pion", "scope", scope)}
}

type pionLogger struct{ log *slog.Logger }

// levelTrace is below debug: Pion's per-packet lines.
const levelTrace = slog.LevelDebug - 4

func (l pionLogger) write(level slog.Level, text string) {
	if l.log.Enabled(context.Background(), level) {
		emit(l.log, level, text)
	}
}

func (l pionLogger) writef(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		emit(l.log, level, fmt.Sprintf(format, args...))
	}
}

func (l pionLogger) Trace(msg string)               { l.write(levelTrace, msg) }
func (l pionLogger) Tracef(format string, a ...any) { l.writef(levelTrace, format, a) }
func (l pionLogger) Debug(msg string)               { l.write(slog.LevelDebug, msg) }
func (l pionLogger) Debugf(format string, a ...any) { l.writef(slog.LevelDebug, format, a) }
func (l pionLogger) Info(msg string)                { l.write(slog.LevelInfo, msg) }
func (l pionLogger) Infof(format string, a ...any)  { l.writef(slog.LevelInfo, format, a) }
func (l pionLogger) Warn(msg string)                { l.write(slog.LevelWarn, msg) }
func (l pionLogger) Warnf(format string, a ...any)  { l.writef(slog.LevelWarn, format, a) }
func (l pionLogger) Error(msg string)               { l.write(slog.LevelError, msg) }
func (l pionLogger) Errorf(format string, a ...any) { l.writef(slog.LevelError, format, a) }

// emit hands a finished text to the handler. slog's own methods want a constant message.
func emit(log *slog.Logger, level slog.Level, text string, args ...any) {
	var pc [1]uintptr
	runtime.Callers(4, pc[:])
	record := slog.NewRecord(time.Now(), level, text, pc[0])
	record.Add(args...)
	_ = log.Handler().Handle(context.Background(), record)
}

// LiveKitLogger lets LiveKit's libraries (lksdk.SetLogger, logger.SetLogger) write into log. Their errors become
// warnings: what is an error for a call is for us to say.
func LiveKitLogger(log *slog.Logger, c LoggingConfig) logger.Logger {
	return liveKitLogger{log: atLeast(log, c.LiveKitLevel).With("component", "livekit")}
}

type liveKitLogger struct{ log *slog.Logger }

func (l liveKitLogger) write(level slog.Level, msg string, err error, pairs []any) {
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	args := plain(pairs)
	if err != nil {
		args = append(args, "error", err)
	}
	emit(l.log, level, msg, args...)
}

// plain keeps values whose text is known to be harmless or can be searched for secrets. Structs and messages, which
// LiveKit logs whole, may hold tokens and are left out.
func plain(pairs []any) []any {
	args := make([]any, 0, len(pairs)+2)
	for i := 0; i+1 < len(pairs); i += 2 {
		key := fmt.Sprint(pairs[i])
		switch value := pairs[i+1].(type) {
		case string, bool, error, time.Duration, time.Time, fmt.Stringer, slog.LogValuer,
			int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64:
			args = append(args, key, textOf(value))
		}
	}
	return args
}

// textOf turns a Stringer into its text, unless slog knows the type better.
func textOf(value any) any {
	switch v := value.(type) {
	case error, time.Duration, time.Time, slog.LogValuer:
		return v
	case proto.Message:
		return hidden
	case fmt.Stringer:
		return v.String()
	default:
		return v
	}
}

func (l liveKitLogger) Debugw(msg string, pairs ...any) { l.write(slog.LevelDebug, msg, nil, pairs) }
func (l liveKitLogger) Infow(msg string, pairs ...any)  { l.write(slog.LevelInfo, msg, nil, pairs) }
func (l liveKitLogger) Warnw(msg string, err error, pairs ...any) {
	l.write(slog.LevelWarn, msg, err, pairs)
}

func (l liveKitLogger) Errorw(msg string, err error, pairs ...any) {
	l.write(slog.LevelWarn, msg, err, pairs)
}

func (l liveKitLogger) WithValues(pairs ...any) logger.Logger {
	return liveKitLogger{log: l.log.With(plain(pairs)...)}
}

func (l liveKitLogger) WithUnlikelyValues(pairs ...any) logger.UnlikelyLogger {
	return logger.NewUnlikelyLogger(l, pairs...)
}

func (l liveKitLogger) WithName(name string) logger.Logger {
	return liveKitLogger{log: l.log.With("name", name)}
}

func (l liveKitLogger) WithComponent(component string) logger.Logger {
	return l.WithName(component)
}
func (l liveKitLogger) WithCallDepth(int) logger.Logger { return l }
func (l liveKitLogger) WithItemSampler() logger.Logger  { return l }
func (l liveKitLogger) WithoutSampler() logger.Logger   { return l }
func (l liveKitLogger) WithDeferredValues() (logger.Logger, logger.DeferredFieldResolver) {
	return l, zaputil.NoOpDeferrer{}
}
