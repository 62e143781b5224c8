// Package sdklog carries the log lines of LiveKit's Go SDK into log/slog.
//
// The SDK is chatty and careless: it writes join requests, SDP and candidates, and its error texts can hold URLs with
// metadata in them and whole access tokens. So keys pass by an allow-list and texts are scrubbed. All of it is debug, of the
// component "livekit": what the SDK calls an error is usually survived, it repeats it every few seconds while a server is
// away, for every call, and what becomes of the call is said by those who use the SDK.
package sdklog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/livekit/protocol/logger"
	"github.com/livekit/protocol/logger/zaputil"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// passed are the keys whose values are known to hold neither secrets nor personal data. All others are dropped.
var passed = map[string]bool{
	"closed": true, "delay": true, "duration": true, "elapsed": true, "fullReconnect": true, "kind": true,
	"participantID": true, "reason": true, "reconnectCount": true, "roomID": true,
	"source": true, "state": true, "status": true, "timeout": true, "trackID": true, "transport": true,
}

var (
	tokenText = regexp.MustCompile(`eyJ[\w-]+\.[\w-]*\.?[\w-]*`)
	queryText = regexp.MustCompile(`\?[^\s"']+`)
)

// Scrub returns text without access tokens and without the query part of URLs.
func Scrub(text string) string {
	return queryText.ReplaceAllString(tokenText.ReplaceAllString(text, "<token>"), "?<query>")
}

// Error returns an error with err's scrubbed text, or nil. It keeps what errors.Is finds for context errors only,
// because anything deeper (url.Error) would bring the text back.
func Error(err error) error {
	if err == nil {
		return nil
	}
	var urlErr *url.Error
	text := err.Error()
	if errors.As(err, &urlErr) && urlErr.Err != nil {
		text = urlErr.Err.Error()
	}
	scrubbed := &scrubbedError{text: Scrub(text)}
	for _, kept := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, kept) {
			scrubbed.cause = kept
		}
	}
	return scrubbed
}

type scrubbedError struct {
	text  string
	cause error
}

func (e *scrubbedError) Error() string { return e.text }

func (e *scrubbedError) Unwrap() error { return e.cause }

// sdkLogger implements LiveKit's logger.Logger.
type sdkLogger struct {
	out    *slog.Logger
	doomed *doom // nil if nobody watches
}

// doom is a channel to be closed once.
type doom struct {
	once sync.Once
	ch   chan struct{}
}

// New returns a logger for the SDK that writes its errors, warnings and infos to out, and its debug lines nowhere. A nil out
// discards.
func New(out *slog.Logger) logger.Logger { return sdkLogger{out: component(out)} }

func component(out *slog.Logger) *slog.Logger {
	if out == nil {
		return slog.New(slog.DiscardHandler)
	}
	return out.With("component", "livekit")
}

// WatchJoin is New for one attempt to join by a single peer connection. The channel is closed when that attempt cannot
// succeed any more: the SDK reads from the server before it has stored its own offer, and on a busy machine the server's
// answer wins that race and is refused (engine.go, OnJoinResponse: Start before SetLocalOffer; seen in one of 200 joins).
// The SDK only logs that, and then waits for its connect timeout. Whoever watches tries again with a new Room.
func WatchJoin(out *slog.Logger) (logger.Logger, <-chan struct{}) {
	d := &doom{ch: make(chan struct{})}
	return sdkLogger{out: component(out), doomed: d}, d.ch
}

var global sync.Once

// SetGlobal gives the SDK's process-wide logger, which Pion uses inside all rooms, to out; nil discards it. Only the first
// call of the process counts: the SDK reads that variable without a lock.
func SetGlobal(out *slog.Logger) {
	global.Do(func() { lksdk.SetLogger(pionLogger{New(out).(sdkLogger)}) })
}

// pionLogger is an sdkLogger that LiveKit's adapter for Pion can ask for its level (logger.ZapLogger). Of any other logger
// it does not ask, and formats every trace and debug line of Pion's for nothing: that costs time with each packet, and
// printing tracks while they are being set up is a data race.
type pionLogger struct{ sdkLogger }

// ToZap is part of logger.ZapLogger. Nobody calls it here.
func (pionLogger) ToZap() *zap.SugaredLogger { return zap.NewNop().Sugar() }

// ComponentLeveler is part of logger.ZapLogger.
func (l pionLogger) ComponentLeveler() logger.ZapComponentLeveler { return l }

// ComponentLevel lets Pion's warnings and errors pass.
func (l pionLogger) ComponentLevel(string) zapcore.LevelEnabler {
	return zap.LevelEnablerFunc(func(level zapcore.Level) bool {
		return level >= zapcore.WarnLevel && l.out.Enabled(context.Background(), slog.LevelDebug)
	})
}

// WithMinLevel is part of logger.ZapLogger.
func (l pionLogger) WithMinLevel(zapcore.LevelEnabler) logger.Logger { return l }

func (l sdkLogger) Debugw(string, ...any) {}

func (l sdkLogger) Infow(msg string, keysAndValues ...any) {
	l.log("info", msg, nil, keysAndValues)
}

func (l sdkLogger) Warnw(msg string, err error, keysAndValues ...any) {
	l.log("warning", msg, err, keysAndValues)
}

func (l sdkLogger) Errorw(msg string, err error, keysAndValues ...any) {
	if l.doomed != nil && err != nil && msg == "could not set remote description" &&
		strings.Contains(err.Error(), "stable->SetRemote(answer)") {
		l.doomed.once.Do(func() { close(l.doomed.ch) })
	}
	l.log("error", msg, err, keysAndValues)
}

func (l sdkLogger) log(severity, msg string, err error, keysAndValues []any) {
	ctx := context.Background() // the SDK's logger has none
	if !l.out.Enabled(ctx, slog.LevelDebug) {
		return
	}
	attrs := append(attributes(keysAndValues), slog.String("severity", severity), slog.String("sdk", Scrub(msg)))
	if err != nil {
		attrs = append(attrs, slog.String("error", Scrub(err.Error())))
	}
	l.out.LogAttrs(ctx, slog.LevelDebug, "livekit sdk", attrs...)
}

func attributes(keysAndValues []any) []slog.Attr {
	var attrs []slog.Attr
	for i := 0; i+1 < len(keysAndValues); i += 2 {
		key, ok := keysAndValues[i].(string)
		if !ok || !passed[key] {
			continue
		}
		attrs = append(attrs, slog.String(key, Scrub(fmt.Sprint(keysAndValues[i+1]))))
	}
	return attrs
}

func (l sdkLogger) WithValues(keysAndValues ...any) logger.Logger {
	attrs := attributes(keysAndValues)
	if len(attrs) == 0 {
		return l
	}
	args := make([]any, len(attrs))
	for i, a := range attrs {
		args[i] = a
	}
	return sdkLogger{out: l.out.With(args...), doomed: l.doomed}
}

func (l sdkLogger) WithUnlikelyValues(keysAndValues ...any) logger.UnlikelyLogger {
	return logger.NewUnlikelyLogger(l, keysAndValues...)
}

func (l sdkLogger) WithDeferredValues() (logger.Logger, logger.DeferredFieldResolver) {
	return l, zaputil.NoOpDeferrer{}
}

func (l sdkLogger) WithName(string) logger.Logger      { return l }
func (l sdkLogger) WithComponent(string) logger.Logger { return l }
func (l sdkLogger) WithCallDepth(int) logger.Logger    { return l }
func (l sdkLogger) WithItemSampler() logger.Logger     { return l }
func (l sdkLogger) WithoutSampler() logger.Logger      { return l }
