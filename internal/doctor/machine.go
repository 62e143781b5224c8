package doctor

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/livekit-connector/livekit-connector/internal/admission"
)

// system is what the machine says of itself.
type system interface {
	// openFiles is how many descriptors the process may have.
	openFiles() (uint64, error)
	// capacity is what there is for the process, and what calls cost on it.
	capacity() (admission.Capacity, admission.Costs)
	// clockSynchronised says whether the kernel's clock is kept in step, and whether that is known.
	clockSynchronised() (synchronised, known bool)
	// udpPortsInUse counts those between two ports, -1 if nobody knows.
	udpPortsInUse(first, last int) int
	// freePorts is the range from which the kernel takes ports that nobody chose; both are 0 if nobody knows.
	freePorts() (first, last int)
	// proxy is http.ProxyFromEnvironment.
	proxy(*http.Request) (*url.URL, error)
	// roots are the certificates to trust, nil for the system's.
	roots() *x509.CertPool
}

// machine is this one.
type machine struct{}

func (machine) proxy(r *http.Request) (*url.URL, error) { return http.ProxyFromEnvironment(r) }
func (machine) roots() *x509.CertPool                   { return nil }

// udpPortsInUse reads the kernel's tables: binding the ports would take them from calls.
func (machine) udpPortsInUse(first, last int) int {
	used := map[uint64]bool{}
	for _, name := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		body, err := os.ReadFile(name) //nolint:gosec // G304: one of these two
		if err != nil {
			if name == "/proc/net/udp" {
				return -1
			}
			continue // no IPv6
		}
		for line := range strings.Lines(string(body)) {
			fields := strings.Fields(line)
			if len(fields) < 2 {
				continue
			}
			_, hex, ok := strings.Cut(fields[1], ":")
			port, err := strconv.ParseUint(hex, 16, 16)
			if ok && err == nil && int(port) >= first && int(port) <= last {
				used[port] = true
			}
		}
	}
	return len(used)
}

func (machine) freePorts() (first, last int) {
	body, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0, 0
	}
	if _, err = fmt.Sscan(string(body), &first, &last); err != nil {
		return 0, 0
	}
	return first, last
}

// capacity asks as a connector does at its start.
func (machine) capacity() (admission.Capacity, admission.Costs) {
	var c admission.Capacity
	if p, _ := admission.FindProcess(); p != nil { // with an error it knows the cores
		c = p.Capacity()
	}
	found, err := admission.Calibrate()
	if err != nil {
		found.Slowness = 1
	}
	return c, admission.DefaultCosts(found.Slowness)
}

// idleBytes is what a connector without calls has in memory.
const idleBytes = 80e6

// descriptors compares the limit with what calls need.
func (e *examination) descriptors(context.Context) []Line {
	limit, err := e.o.system.openFiles()
	if err != nil {
		return one(skipped("the limit cannot be read"))
	}
	const remedy = "raise it: LimitNOFILE= (systemd), --ulimit nofile= (Docker), ulimit -n (shell)"
	calls := e.o.MaxActiveCalls
	_, enough := admission.ShareOf(limit, e.o.Connections)
	switch {
	case calls > 0 && calls > enough:
		return one(failed(fmt.Sprintf("%d open files are allowed; max_active_calls %d may need %d", limit, calls, admission.FilesFor(calls, e.o.Connections)), remedy))
	case calls == 0 && enough < 100:
		return one(doubtful(fmt.Sprintf("%d open files are allowed, enough for about %d calls", limit, enough), remedy))
	default:
		return one(good("%d open files are allowed, enough for about %d calls", limit, enough))
	}
}

// capacity compares CPU and memory with what calls need.
func (e *examination) capacity(context.Context) []Line {
	there, costs := e.o.system.capacity()
	l, calls := &e.o.Limits, e.o.MaxActiveCalls
	cores := cmp.Or(l.CPUs, there.Cores)
	share := cmp.Or(l.MaxCPU, 1)
	relayed, mixed := int(cores*share/cmp.Or(l.RelayCost, costs.Relay.CPU)), int(cores*share/cmp.Or(l.MixCost, costs.Mix.CPU))
	text := fmt.Sprintf("%.3g CPU cores for about %d relayed or %d mixed calls", cores, relayed, mixed)
	fit := relayed
	if there.Memory > 0 {
		fits := int(max(0, there.Memory*cmp.Or(l.MaxMemory, 1)-idleBytes) / costs.Mix.Memory)
		fit = min(fit, fits)
		text += fmt.Sprintf(", %.0f MB of memory for about %d", there.Memory/1e6, fits)
	}
	switch {
	case calls > fit:
		return one(doubtful(fmt.Sprintf("max_active_calls is %d, and here are %s", calls, text), "lower max_active_calls, or give more CPU and memory"))
	case calls > mixed:
		return one(good("%s; max_active_calls %d is too many if all of them mix", text, calls))
	default:
		return one(good("%s", text))
	}
}

// udpRange is from where calls take their ports, and whether the configuration chose it.
func (e *examination) udpRange() (first, last int, chosen bool) {
	if e.o.RTC.PortMax != 0 {
		return e.o.RTC.PortMin, e.o.RTC.PortMax, true
	}
	first, last = e.o.system.freePorts()
	return first, last, false
}

// udpPorts compares the range with what calls need, one port each.
func (e *examination) udpPorts(context.Context) []Line {
	first, last, chosen := e.udpRange()
	if last == 0 {
		return one(good("any free port"))
	}
	calls := e.o.MaxActiveCalls
	const remedy = "widen rtc.port_range_start to rtc.port_range_end, and the firewall with it, or set both to 0"
	wide := last - first + 1
	used := e.udpInUse
	text := fmt.Sprintf("%d to %d has %d ports, %d of them in use now", first, last, wide, used)
	switch {
	case chosen && calls > wide:
		return one(failed(fmt.Sprintf("%s; max_active_calls is %d and each call needs one", text, calls), remedy))
	case chosen && used == wide:
		return one(failed(text, remedy+"; ss -lunp shows who has them"))
	case chosen && calls == 0 && wide < 100:
		return one(doubtful(text+"; each call needs one", remedy))
	default:
		return one(good("%s", text))
	}
}
