package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/logs"
)

// logLine is what the demo reads of a line of the connector's JSON log.
type logLine struct {
	Time    time.Time `json:"time"`
	Level   string    `json:"level"`
	Message string    `json:"msg"`
	URL     string    `json:"url"`
	CallID  string    `json:"callID"`
	Reason  string    `json:"reason"`
	Error   string    `json:"error"`
	// Started is when the request for a call came, and StagesMs how long after that it reached a stage, in ms.
	Started  time.Time        `json:"started"`
	StagesMs map[string]int64 `json:"stagesMs"`
}

// connectorLog takes the connector's log: all of it goes into a file, what is about calls is kept.
type connectorLog struct {
	mu      sync.Mutex // guards all below
	file    io.Writer
	partial []byte // of a line
	last    string // line
	lines   []logLine
	grown   chan struct{} // closed and replaced with every line that is kept
}

func newConnectorLog(file io.Writer) *connectorLog {
	return &connectorLog{file: file, grown: make(chan struct{})}
}

// Write implements io.Writer for the process.
func (l *connectorLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		line, rest, whole := bytes.Cut(l.partial, []byte("\n"))
		if !whole {
			break
		}
		l.takeLocked(line)
		l.partial = rest
	}
	l.partial = slices.Clone(l.partial)
	return l.file.Write(p)
}

func (l *connectorLog) takeLocked(line []byte) {
	l.last = string(line)
	var parsed logLine
	if json.Unmarshal(line, &parsed) != nil || (parsed.CallID == "" && parsed.URL == "") {
		return
	}
	l.lines = append(l.lines, parsed)
	close(l.grown)
	l.grown = make(chan struct{})
}

// lastText is the last line that was written, JSON or not.
func (l *connectorLog) lastText() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// wait returns the first kept line, past or to come, that match accepts.
func (l *connectorLog) wait(ctx context.Context, match func(logLine) bool) (logLine, error) {
	for seen := 0; ; {
		l.mu.Lock()
		lines, grown := slices.Clone(l.lines[seen:]), l.grown
		l.mu.Unlock()
		if i := slices.IndexFunc(lines, match); i >= 0 {
			return lines[i], nil
		}
		seen += len(lines)
		select {
		case <-grown:
		case <-ctx.Done():
			return logLine{}, context.Cause(ctx)
		}
	}
}

// waitEnd returns the line that tells of a call's end.
func (l *connectorLog) waitEnd(ctx context.Context, callID string) (logLine, error) {
	id := logs.ID(callID)
	return l.wait(ctx, func(l logLine) bool { return l.CallID == id && l.Message == "call ended" })
}

// troubles are the warnings and errors about a call.
func (l *connectorLog) troubles(callID string) []logLine {
	id := logs.ID(callID)
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.lines), func(line logLine) bool {
		return line.CallID != id || (line.Level != "WARN" && line.Level != "ERROR")
	})
}
