package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
)

// portFound is the API's port: free, a connector's at url, or neither.
type portFound struct {
	// listener is of a free port, if the doctor has to answer on it; it is closed at the end of the run.
	listener net.Listener
	url      string
	err      error
}

// openAPIPort listens on the API's port if nobody does.
func (e *examination) openAPIPort(ctx context.Context) portFound {
	if len(e.o.Ports) == 0 || len(e.o.Ports[0].Addresses) == 0 || strings.HasSuffix(e.o.Ports[0].Addresses[0], ":0") {
		return portFound{} // nobody knows where a connector would listen
	}
	p := e.o.Ports[0]
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", p.Addresses[0])
	switch {
	case err == nil && e.o.wants("webhook") && e.o.Webhook.PublicURL != "":
		e.mu.Lock()
		defer e.mu.Unlock()
		e.listeners = append(e.listeners, l)
		return portFound{listener: l}
	case err == nil:
		_ = l.Close() // nothing came
		return portFound{}
	}
	found := portFound{err: err}
	if errors.Is(err, syscall.EADDRINUSE) {
		found.url, _ = e.ownURL(ctx, p.Addresses[0])
	}
	return found
}

// ports listens on each port for a moment, or finds a connector there.
func (e *examination) ports(ctx context.Context) []Line {
	var lines []Line
	var free, own []string
	for i, p := range e.o.Ports {
		for j, address := range p.Addresses {
			_, number, _ := net.SplitHostPort(address)
			if number == "0" {
				continue
			}
			var err error
			if i == 0 && j == 0 {
				found := e.apiPort()
				if err = found.err; found.url != "" {
					own = append(own, p.Key+" "+number)
					continue
				}
			} else if err = tryListen(ctx, address); errors.Is(err, syscall.EADDRINUSE) {
				if _, ok := e.ownURL(ctx, address); ok {
					own = append(own, p.Key+" "+number)
					continue
				}
			}
			if err != nil {
				lines = append(lines, portProblem(p.Key, number, address, err))
				continue
			}
			free = append(free, p.Key+" "+number)
		}
	}
	var fine []string
	if len(free) > 0 {
		fine = append(fine, "free: "+strings.Join(free, ", "))
	}
	if len(own) > 0 {
		fine = append(fine, "a connector listens already: "+strings.Join(own, ", "))
	}
	switch {
	case len(fine) > 0:
		lines = append(lines, good("%s", strings.Join(fine, "; ")))
	case len(lines) == 0:
		return one(skipped("each port is any free one"))
	}
	return lines
}

func portProblem(key, number, address string, err error) Line {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return failed(fmt.Sprintf("%s %s is taken by another program", key, number), "stop that program (ss -ltnp shows it), or set another "+key)
	case errors.Is(err, os.ErrPermission):
		return failed(fmt.Sprintf("%s %s may not be listened on", key, number), "set "+key+" above 1023, or give the program CAP_NET_BIND_SERVICE")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		host, _, _ := net.SplitHostPort(address)
		return failed(fmt.Sprintf("%s: this machine has no address %s", key, host), "mend bind_addresses")
	default:
		return failed(fmt.Sprintf("%s %s: %s", key, number, cause(err)), "set another "+key+", or mend bind_addresses")
	}
}

func tryListen(ctx context.Context, address string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}

// ownURL asks whether who listens at an address is a connector: its probes or its metrics tell. No proxy stands between, and
// a certificate for another name than 127.0.0.1 is fine.
func (e *examination) ownURL(ctx context.Context, address string) (string, bool) {
	ctx, cancel := context.WithTimeout(ctx, e.o.bounds.own)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", false
	}
	if addr, err := netip.ParseAddr(host); err != nil || addr.IsUnspecified() {
		host = "127.0.0.1"
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // G402: on this machine, nothing secret is sent
	}}
	own := &examination{client: client}
	for _, scheme := range []string{"http", "https"} {
		where := scheme + "://" + net.JoinHostPort(host, port)
		for path, marks := range map[string][]string{"/livez": {`{"status":`, `"checks":`}, "/metrics": {"livekit_connector_"}} {
			a, err := own.get(ctx, where+path, nil)
			isLacking := func(mark string) bool { return !strings.Contains(string(a.body), mark) }
			if err == nil && a.status != http.StatusBadRequest && !slices.ContainsFunc(marks, isLacking) {
				return where, true
			}
		}
	}
	return "", false
}
