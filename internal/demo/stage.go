package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// Ports that are easy to type, used by demos that stay up if they are free.
const (
	liveKitPort   = 7880
	connectorPort = 8080
	graphPort     = 8090
	controlPort   = 8091
)

// stage is everything that runs. set builds it, close takes it down in reverse.
type stage struct {
	out              *printer
	preferFixedPorts bool

	folder       string // for logs and what calls by hand leave
	speech       speech
	notes        *notebook
	liveKit      *livekittest.Server
	meta         *fakemeta.Server
	connector    *process
	connectorLog *connectorLog
	connectorURL string
	app          *application
	greeter      *greeter

	closers []closer
}

type closer struct {
	name  string
	close func() error
}

// onClose says, right where a thing is made, who ends it.
func (s *stage) onClose(name string, f func() error) {
	s.closers = append(s.closers, closer{name: name, close: f})
}

func (s *stage) close() error {
	var errs []error
	for _, c := range slices.Backward(s.closers) {
		if err := c.close(); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", c.name, err))
		}
	}
	s.closers = nil
	return errors.Join(errs...)
}

// set starts all parts, each of which the next one needs.
func (s *stage) set(ctx context.Context) (err error) {
	began := time.Now()
	s.notes = newNotebook()
	if s.speech, err = loadSpeech(); err != nil {
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	binary, err := connectorBinary(root)
	if err != nil {
		return err
	}
	if err := needInterface(); err != nil {
		return err
	}
	s.folder = filepath.Join(root, ".cache", "demo")
	if err := os.MkdirAll(s.folder, 0o755); err != nil { //nolint:gosec // logs of invented calls
		return fmt.Errorf("make a folder for logs: %w", err)
	}
	for _, start := range []func(context.Context) error{
		s.startLiveKit, s.startMeta,
		func(ctx context.Context) error { return s.startConnector(ctx, binary) },
		s.startPeople,
	} {
		if err := start(ctx); err != nil {
			return err
		}
	}
	s.out.printf("Everything runs, after %d ms. Logs are in %s.\n\n", time.Since(began).Milliseconds(), s.folder)
	return nil
}

func (s *stage) startLiveKit(ctx context.Context) error {
	log, err := s.logFile("livekit-server.log")
	if err != nil {
		return err
	}
	s.liveKit, err = livekittest.Start(ctx, livekittest.Options{Port: s.port(liveKitPort), LogOutput: log})
	if err != nil {
		return fmt.Errorf("start livekit-server: %w", err)
	}
	s.onClose("livekit-server", s.liveKit.Stop)
	s.out.printf("%-15s %s  (process %d)\n", "livekit-server", s.liveKit.URL(), s.liveKit.PID())
	return nil
}

// startMeta needs no application yet: a number gets its webhook when there is one.
func (s *stage) startMeta(context.Context) error {
	log, err := s.logFile("fakemeta.log")
	if err != nil {
		return err
	}
	s.meta, err = fakemeta.Start(fakemeta.Options{
		Addr: s.address(graphPort), ControlAddr: s.address(controlPort),
		Logger: slog.New(slog.NewTextHandler(log, nil)), Speech: s.speech.always(),
	})
	if err != nil {
		return fmt.Errorf("start the fake Meta: %w", err)
	}
	s.onClose("the fake Meta", s.meta.Close)
	s.out.printf("%-15s %s  (control API %s)\n", "fake Meta", s.meta.GraphURL(), s.meta.ControlURL())
	return nil
}

func (s *stage) startConnector(ctx context.Context, binary string) error {
	file, err := s.logFile("connector.log")
	if err != nil {
		return err
	}
	s.connectorLog = newConnectorLog(file)
	p, url, err := startConnector(ctx, connectorOptions{
		binary: binary, liveKitURL: s.liveKit.URL(), apiKey: s.liveKit.APIKey(), secret: s.liveKit.APISecret(),
		port: s.port(connectorPort), graphURL: s.meta.GraphURL(), log: s.connectorLog,
		environment: environment(os.Environ()),
	})
	if err != nil {
		return fmt.Errorf("%w (its log: %s)", err, filepath.Join(s.folder, "connector.log"))
	}
	s.onClose("the connector", p.stop)
	s.connector, s.connectorURL = p, url
	s.out.printf("%-15s %s  (process %d)\n", "connector", url, p.cmd.Process.Pid)
	return nil
}

// startPeople starts the application and the agent, and registers the application's webhook at Meta.
func (s *stage) startPeople(ctx context.Context) (err error) {
	sdk := lksdk.NewConnectorClient(s.connectorURL, s.liveKit.APIKey(), s.liveKit.APISecret())
	if s.app, err = startApplication(sdk, s.notes); err != nil {
		return err
	}
	s.onClose("the application", s.app.close)
	err = s.meta.AddNumber(fakemeta.Number{
		PhoneNumberID: numberID, DisplayNumber: businessNumber, AccessToken: metaToken, AppSecret: appSecret,
		WebhookURL: s.app.url, VerifyToken: verifyToken,
	})
	if err != nil {
		return err
	}
	if err = s.meta.VerifyWebhook(ctx, numberID); err != nil {
		return err
	}
	s.out.printf("%-15s %s  (verified by Meta's challenge)\n", "application", s.app.url)
	if s.greeter, err = startGreeter(ctx, s.liveKit, s.speech.greeting, s.notes); err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	s.onClose("the agent", s.greeter.close)
	s.out.printf("%-15s worker %q, registered at livekit-server\n", "agent", agentName)
	return nil
}

// logFile opens a file for the log of a part; close closes it after the part.
func (s *stage) logFile(name string) (io.Writer, error) {
	f, err := os.Create(filepath.Join(s.folder, name)) //nolint:gosec // names of ours
	if err != nil {
		return nil, fmt.Errorf("open a log: %w", err)
	}
	s.onClose(name, f.Close)
	return f, nil
}

// port is the preferred port if it may and can be had, else zero.
func (s *stage) port(preferred int) int {
	if !s.preferFixedPorts {
		return 0
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", loopback(preferred))
	if err != nil {
		return 0
	}
	_ = l.Close()
	return preferred
}

func (s *stage) address(preferred int) string { return loopback(s.port(preferred)) }

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// moduleRoot is where go.mod lies, from the working directory upwards.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("run the demo inside of the repository, with `make demo`")
		}
	}
}

func connectorBinary(root string) (string, error) {
	path := filepath.Join(root, "bin", "livekit-connector")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("there is no connector to show: run `make build`, or `make demo`, which does (%w)", err)
	}
	return path, nil
}

// needInterface says in words what else fails as a timeout: LiveKit's client library gathers no loopback addresses.
func needInterface() error {
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list network interfaces: %w", err)
	}
	for _, i := range all {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 {
			return nil
		}
	}
	return errors.New("no network interface but loopback is up: LiveKit's client library needs one, though nothing leaves the machine")
}

// environment is ours without what would configure the connector behind the demo's back.
func environment(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(entry string) bool {
		return strings.HasPrefix(entry, "LIVEKIT_") || strings.HasPrefix(entry, "CONNECTOR_")
	})
}
