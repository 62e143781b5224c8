package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/settings"
)

// exitCallsLeft is the exit code of "drain" if calls are left after --timeout.
const exitCallsLeft = 6

const drainHelp = `Has a running connector take no new calls, and waits until the last one has ended. Live calls go on, and the
connector stays up: stop it afterwards, as Kubernetes does after a preStop hook, or have it take calls again.

Usage:
  livekit-connector drain [flags]

  --url URL       the connector's admin port; without it http://127.0.0.1: and $CONNECTOR_ADMIN_PORT, or 8085
  --timeout TIME  how long to wait, such as 5m, which it is without it; 0s does not wait
  --delay TIME    how long to wait before anything is asked, such as 5s, so that what sends calls here learns first that
                  this one goes; none without it
  --cancel        have it take calls again
  --json          JSON instead of text, one object a line

Exit codes: 0 no call is left, or the connector has ended; with --timeout 0s and --cancel: done; 1 no connector answers
there, or it refused; 2 wrong command line; 6 calls are left after --timeout, and no new ones are taken; 130 interrupted,
and no new calls are taken, unless that was in the time of --delay.
`

var drainFlags = []settings.Flag{
	{Name: "url"},
	{Name: "timeout"},
	{Name: "delay"},
	{Name: "cancel", Bool: true},
	{Name: "json", Bool: true},
	{Name: "help", Bool: true},
	{Name: "h", Bool: true},
}

const (
	drainPoll    = 250 * time.Millisecond
	drainRequest = 5 * time.Second // one request to the connector
	drainTell    = 10 * time.Second
)

// drainCommand is everything that begins with the word drain; args come behind it. The end of ctx interrupts it.
func drainCommand(ctx context.Context, args []string, env app.Env, stdout, stderr io.Writer) int {
	given, words, problems := settings.ParseArgs(args, drainFlags)
	if given["help"] != nil || given["h"] != nil {
		_, err := io.WriteString(stdout, drainHelp)
		return printed(err, stderr)
	}
	for _, word := range words {
		problems = append(problems, &settings.KeyError{Text: fmt.Sprintf("want flags only, got %q", word)})
	}
	d, wrong := newDrain(given, env, stdout)
	if problems = append(problems, wrong...); len(problems) > 0 {
		for _, problem := range problems {
			fmt.Fprintln(stderr, problem)
		}
		fmt.Fprintln(stderr, "livekit-connector drain --help lists every flag.")
		return exitUsage
	}
	defer d.client.CloseIdleConnections()
	err := d.do(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errCallsLeft):
		fmt.Fprintln(stderr, err)
		return exitCallsLeft
	case errors.Is(err, errNotAsked):
		fmt.Fprintln(stderr, err)
		return exitInterrupted
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "interrupted: no new calls are taken; livekit-connector drain --cancel has them taken again")
		return exitInterrupted
	default:
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
}

// errCallsLeft is wrapped by errors of drain.do after its timeout.
var errCallsLeft = errors.New("calls are left")

// errNotAsked is drain.do's error if it is interrupted in its delay.
var errNotAsked = errors.New("interrupted before the connector was asked: nothing has changed")

// drain asks a connector to drain.
type drain struct {
	url     string
	timeout time.Duration
	delay   time.Duration
	cancel  bool
	json    bool
	out     io.Writer
	client  *http.Client
	poll    time.Duration
}

// drained is what the connector answers.
type drained struct {
	Draining bool `json:"draining"`
	Stopping bool `json:"stopping"`
	Calls    int  `json:"calls"`
	Oldest   int  `json:"oldest_call_seconds"`
}

func newDrain(given map[string][]string, env app.Env, out io.Writer) (*drain, []error) {
	flag := func(name string) string {
		if texts := given[name]; len(texts) > 0 {
			return texts[len(texts)-1]
		}
		return ""
	}
	d := &drain{
		url: strings.TrimRight(flag("url"), "/"), timeout: app.DefaultConfig().DrainTimeout,
		cancel: flag("cancel") == "true", json: flag("json") == "true", out: out, poll: drainPoll,
		client: &http.Client{Transport: &http.Transport{}, Timeout: drainRequest}, // no proxy: the admin port is near
	}
	if d.url == "" {
		d.url = defaultAdminURL(env)
	}
	var problems []error
	if u, err := url.Parse(d.url); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" {
		problems = append(problems, &settings.KeyError{Where: "--url", Text: "want the URL of an admin port, such as http://127.0.0.1:8085"})
	}
	duration := func(name string, to *time.Duration) {
		text := flag(name)
		if text == "" {
			return
		}
		var err error
		if *to, err = time.ParseDuration(text); err != nil || *to < 0 {
			problems = append(problems, &settings.KeyError{Where: "--" + name, Text: fmt.Sprintf("want a duration such as 30s or 5m, got %q", text)})
		}
	}
	duration("timeout", &d.timeout)
	duration("delay", &d.delay)
	return d, problems
}

// defaultAdminURL is where the connector of this machine, or of this container, listens.
func defaultAdminURL(env app.Env) string {
	port := fmt.Sprint(app.DefaultConfig().Admin.Port)
	for _, pair := range env.Environ {
		if value, ok := strings.CutPrefix(pair, "CONNECTOR_ADMIN_PORT="); ok && value != "" {
			port = value
		}
	}
	return "http://127.0.0.1:" + port
}

func (d *drain) do(ctx context.Context) error {
	if d.delay > 0 {
		select {
		case <-time.After(d.delay):
		case <-ctx.Done():
			return errNotAsked
		}
	}
	method := http.MethodPost
	if d.cancel {
		method = http.MethodDelete
	}
	now, err := d.ask(ctx, method)
	if err != nil {
		return err
	}
	if d.cancel {
		return d.tell(now, "calls are taken again")
	}
	if d.timeout == 0 {
		return d.tell(now, fmt.Sprintf("draining: %s", now))
	}
	return d.wait(ctx, now)
}

// wait tells of the calls that are left until none is.
func (d *drain) wait(ctx context.Context, now drained) error {
	again := time.NewTicker(d.poll)
	defer again.Stop()
	timeout := time.NewTimer(d.timeout)
	defer timeout.Stop()
	told, at := -1, time.Time{}
	for {
		switch {
		case now.Calls == 0:
			return d.tell(now, "drained: no call is left")
		case !now.Draining:
			return errors.New("somebody has the connector take calls again: the drain is over")
		case now.Calls != told || time.Since(at) > drainTell:
			told, at = now.Calls, time.Now()
			if err := d.tell(now, fmt.Sprintf("draining: %s", now)); err != nil {
				return err
			}
		}
		select {
		case <-again.C:
		case <-timeout.C:
			return fmt.Errorf("%w after %v: %s; no new ones are taken", errCallsLeft, d.timeout, now)
		case <-ctx.Done():
			return ctx.Err()
		}
		next, err := d.ask(ctx, http.MethodGet)
		switch {
		case err == nil:
			now = next
		case errors.Is(err, syscall.ECONNREFUSED):
			return d.tell(drained{Draining: true, Stopping: true}, "the connector has ended")
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, errTransport): // what did not answer just now may be busy
			return err
		}
	}
}

// errTransport is wrapped by errors of ask when nothing answered.
var errTransport = errors.New("no connector answers")

// ask makes one request and says what is wrong with who answered.
func (d *drain) ask(ctx context.Context, method string) (drained, error) {
	var now drained
	req, err := http.NewRequestWithContext(ctx, method, d.url+"/drain", http.NoBody)
	if err != nil {
		return now, fmt.Errorf("ask the connector: %w", err)
	}
	res, err := d.client.Do(req)
	if err != nil {
		if cause, ok := errors.AsType[*url.Error](err); ok {
			err = cause.Err
		}
		return now, fmt.Errorf("%w at %s: %w: is it running, and is that its admin port (admin.port in its configuration)", errTransport, d.url, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return now, fmt.Errorf("%w at %s: %w", errTransport, d.url, err)
	}
	var refused struct {
		Error string `json:"error"`
	}
	if res.StatusCode == http.StatusConflict && json.Unmarshal(body, &refused) == nil && refused.Error != "" {
		return now, errors.New(refused.Error)
	}
	var shape map[string]json.RawMessage
	if res.StatusCode == http.StatusOK && json.Unmarshal(body, &shape) == nil && shape["draining"] != nil {
		if err = json.Unmarshal(body, &now); err == nil {
			return now, nil
		}
	}
	return now, fmt.Errorf("%s answers %s /drain with %s and is no connector's admin port: look at --url (admin.port in the connector's configuration, not port)",
		d.url, method, res.Status)
}

func (s drained) String() string {
	calls := fmt.Sprintf("%d calls left", s.Calls)
	if s.Calls == 1 {
		calls = "1 call left"
	}
	if s.Oldest > 0 {
		calls += fmt.Sprintf(", the oldest %v old", time.Duration(s.Oldest)*time.Second)
	}
	return calls
}

// tell writes one line.
func (d *drain) tell(now drained, text string) error {
	if !d.json {
		_, err := fmt.Fprintln(d.out, text)
		return err
	}
	return json.NewEncoder(d.out).Encode(now)
}
