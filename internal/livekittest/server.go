package livekittest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"
)

// ErrNoBinary is returned by Start when there is no livekit-server to run.
var ErrNoBinary = errors.New("livekittest: no livekit-server binary; run `make livekit-server`, or set LIVEKIT_SERVER to one")

const (
	startTimeout = 20 * time.Second // ready in 50-210 ms on an idle machine
	startTries   = 3                // a free port may be taken between choosing and binding it
	stopTimeout  = 2 * time.Second  // from SIGTERM to SIGKILL
	pollInterval = 10 * time.Millisecond
)

// Options configure a Server. The zero value is a good test server.
type Options struct {
	// Binary is the path of livekit-server. Empty means $LIVEKIT_SERVER, else .cache/bin/livekit-server beside go.mod.
	Binary string
	// Port is the TCP port for signalling and API. Zero means a free one.
	Port int
	// APIKey and APISecret are the server's only credentials. Empty means random ones.
	APIKey, APISecret string
	// DepartureTimeout closes a room that long after its last participant left. Zero means the server's default, 20 s.
	DepartureTimeout time.Duration
	// LogLevel is the server's. Empty means info.
	LogLevel string
	// NodeIP is the address that clients are told to send media to, any of 127.0.0.0/8; the server itself listens on
	// 127.0.0.1 and never sends a check of its own. A network impairment listens on NodeIP and the server's UDPPort, and
	// carries what comes to 127.0.0.1. Empty means 127.0.0.1.
	NodeIP string
	// Webhooks are URLs that get the server's webhooks, signed with APIKey.
	Webhooks []string
	// LogOutput receives the server's log as it is written, beside Server.Log. Nil means nowhere.
	LogOutput io.Writer
}

// Server is a running livekit-server.
type Server struct {
	options           Options
	apiKey, apiSecret string
	port, udpPort     int
	log               syncBuffer
	client            *http.Client

	mu      sync.Mutex
	process *process // nil while stopped
}

// Start runs livekit-server and returns when it answers. End it with Stop.
func Start(ctx context.Context, options Options) (*Server, error) {
	var err error
	if options.Binary == "" {
		if options.Binary, err = findBinary(); err != nil {
			return nil, err
		}
	}
	s := &Server{
		options: options, port: options.Port, apiKey: options.APIKey, apiSecret: options.APISecret,
		client: &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second},
	}
	if s.apiKey == "" {
		s.apiKey = "API" + rand.Text()[:12]
	}
	if s.apiSecret == "" {
		s.apiSecret = rand.Text() + rand.Text()
	}
	for range startTries {
		if err = s.choosePorts(); err != nil {
			return nil, err
		}
		if err = s.run(ctx); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) choosePorts() (err error) {
	if s.options.Port == 0 {
		s.port, err = freePort(func(port int) (io.Closer, error) {
			return net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		})
		if err != nil {
			return fmt.Errorf("choose a TCP port: %w", err)
		}
	}
	s.udpPort, err = freePort(func(port int) (io.Closer, error) {
		return net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	})
	if err != nil {
		return fmt.Errorf("choose a UDP port: %w", err)
	}
	return nil
}

func (s *Server) config(stunAddr string) (string, error) {
	type settings = map[string]any
	level := s.options.LogLevel
	if level == "" {
		level = "info"
	}
	room := settings{}
	if s.options.DepartureTimeout > 0 {
		room["departure_timeout"] = max(1, int(s.options.DepartureTimeout.Seconds()))
	}
	nodeIP := s.options.NodeIP
	if nodeIP == "" {
		nodeIP = "127.0.0.1"
	}
	hooks := settings{}
	if len(s.options.Webhooks) > 0 {
		hooks["api_key"], hooks["urls"] = s.apiKey, s.options.Webhooks
	}
	body, err := yaml.Marshal(settings{
		"webhook":        hooks,
		"port":           s.port,
		"bind_addresses": []string{"127.0.0.1"},
		"keys":           settings{s.apiKey: s.apiSecret},
		"logging":        settings{"level": level, "json": true},
		"room":           room,
		"rtc": settings{
			"udp_port":                  s.udpPort,
			"tcp_port":                  0, // it ignores bind_addresses
			"use_external_ip":           false,
			"node_ip":                   nodeIP,
			"use_ice_lite":              s.options.NodeIP != "", // a check from 127.0.0.1 would show clients the way around
			"enable_loopback_candidate": true,
			"interfaces":                settings{"includes": []string{"lo"}},
			"stun_servers":              []string{stunAddr},
		},
	})
	return string(body), err
}

// run starts the process and waits until the server answers.
func (s *Server) run(ctx context.Context) error {
	stunServer, err := startSTUN()
	if err != nil {
		return err
	}
	config, err := s.config(stunServer.addr())
	if err != nil {
		return errors.Join(fmt.Errorf("write livekit-server configuration: %w", err), stunServer.close())
	}
	cmd := exec.Command(s.options.Binary) //nolint:gosec,noctx // the binary under test; it outlives ctx and ends by Stop
	cmd.Env = append(os.Environ(), "LIVEKIT_CONFIG="+config)
	var output io.Writer = &s.log
	if s.options.LogOutput != nil {
		output = io.MultiWriter(&s.log, s.options.LogOutput)
	}
	cmd.Stdout, cmd.Stderr = output, output
	p, err := startProcess(cmd, stunServer.close)
	if err != nil {
		return errors.Join(fmt.Errorf("start livekit-server: %w", err), stunServer.close())
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err = s.waitReady(ctx, p); err != nil {
		p.signal(syscall.SIGKILL)
		<-p.exited
		return fmt.Errorf("wait for livekit-server: %w; its log ends with: %s", err, s.log.tail(600))
	}
	s.mu.Lock()
	s.process = p
	s.mu.Unlock()
	return nil
}

func (s *Server) waitReady(ctx context.Context, p *process) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.HTTPURL(), nil)
		if err != nil {
			return err
		}
		if resp, err := s.client.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK && s.isOurs(ctx) {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-p.exited:
			return fmt.Errorf("it exited: %w", p.err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// isOurs tells the server from another one that was faster to bind the port: it knows the key.
func (s *Server) isOurs(ctx context.Context) bool {
	_, err := s.Rooms(ctx)
	return err == nil
}

// URL returns the WebSocket URL that clients join by.
func (s *Server) URL() string { return fmt.Sprintf("ws://127.0.0.1:%d", s.port) }

// HTTPURL returns the URL of the server's APIs.
func (s *Server) HTTPURL() string { return fmt.Sprintf("http://127.0.0.1:%d", s.port) }

// UDPPort returns the port for media, of the server and of what it announces.
func (s *Server) UDPPort() int { return s.udpPort }

// APIKey returns the key that the server accepts.
func (s *Server) APIKey() string { return s.apiKey }

// APISecret returns the secret of APIKey.
func (s *Server) APISecret() string { return s.apiSecret }

// Log returns what the server has written so far, all runs of it.
func (s *Server) Log() string { return s.log.String() }

// PID returns the process ID, zero while the server is stopped.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return 0
	}
	return s.process.cmd.Process.Pid
}

// Stop ends the server and waits for it. It asks twice, so that the server tells its participants instead of waiting for
// them to leave, and kills it if that takes too long. It is idempotent.
func (s *Server) Stop() error {
	s.client.CloseIdleConnections()
	p := s.takeProcess()
	if p == nil {
		return nil
	}
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	again := time.NewTicker(pollInterval) // a second signal that comes too soon after the first is lost
	defer again.Stop()
	for {
		select {
		case <-p.exited:
			return nil
		case <-again.C:
			p.signal(syscall.SIGINT)
		case <-timer.C:
			p.signal(syscall.SIGKILL) // its HTTP server may wait 5 s for idle connections
			<-p.exited
			return nil
		}
	}
}

// Kill ends the server like a power cut and waits for the process to be gone. It is idempotent.
func (s *Server) Kill() {
	if p := s.takeProcess(); p != nil {
		p.signal(syscall.SIGKILL)
		<-p.exited
	}
}

// Restart runs the server again on the ports it had, killing it first if it runs. Rooms do not survive.
func (s *Server) Restart(ctx context.Context) error {
	s.Kill()
	return s.run(ctx)
}

func (s *Server) takeProcess() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.process
	s.process = nil
	return p
}

// findBinary looks where LIVEKIT_SERVER points, then where the Makefile builds it.
func findBinary() (string, error) {
	if path := os.Getenv("LIVEKIT_SERVER"); path != "" {
		if _, err := os.Stat(path); err != nil { //nolint:gosec // whoever runs the tests says what they run
			return "", fmt.Errorf("%w: %w", ErrNoBinary, err)
		}
		return path, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find livekit-server: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err = os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return "", ErrNoBinary
		}
	}
	path := filepath.Join(dir, ".cache", "bin", "livekit-server")
	if _, err = os.Stat(path); err != nil {
		return "", ErrNoBinary
	}
	return path, nil
}

// process is one run of the binary. exited is closed after Wait, which then has set err.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
}

// startProcess starts cmd in a goroutine that keeps its thread until the process is gone, because the kernel's
// parent-death signal (see dieWithParent) follows the thread that started the child. What serves the process is ended
// after it, unless it did not start.
func startProcess(cmd *exec.Cmd, afterwards func() error) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	dieWithParent(cmd)
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.exited)
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		p.err = errors.Join(cmd.Wait(), afterwards())
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// signal sends sig by process ID; a process that is gone already is no error here.
func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// syncBuffer is a bytes.Buffer for one writing process and any reader.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *syncBuffer) tail(n int) string {
	text := b.String()
	return text[max(0, len(text)-n):]
}
