package doctor

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// system is what the machine says of itself.
type system interface {
	// openFiles is how many descriptors the process may have.
	openFiles() (uint64, error)
	// memory is how many bytes it may have, 0 if nobody knows; cpus how many CPUs.
	memory() uint64
	cpus() int
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

func (machine) cpus() int                               { return runtime.GOMAXPROCS(0) } // heeds cgroup limits
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

// memory is the least of the machine's and of the container's, which sees its own cgroup at the top.
func (machine) memory() uint64 {
	var least uint64
	if body, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(body)) {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "MemTotal:" {
				kib, _ := strconv.ParseUint(fields[1], 10, 64)
				least = kib << 10
			}
		}
	}
	for _, name := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		body, err := os.ReadFile(name) //nolint:gosec // G304: one of these two
		if err != nil {
			continue
		}
		if limit, err := strconv.ParseUint(strings.TrimSpace(string(body)), 10, 64); err == nil && limit > 0 && (least == 0 || limit < least) {
			least = limit
		}
	}
	return least
}

// What a call costs; see docs/benchmark.md for CPU and memory, measured on one CPU of 2026.
const (
	filesPerCall = 10  // descriptors at most, measured
	filesBeside  = 200 // ports, HTTP connections, logs
	relayMillis  = 5.1 // CPU milliseconds per second, while packets are relayed
	mixMillis    = 24  // likewise while voices are mixed
	callBytes    = 1_350_000
	idleBytes    = 80_000_000
)

// descriptors compares the limit with what calls need.
func (e *examination) descriptors(context.Context) []Line {
	limit, err := e.o.system.openFiles()
	if err != nil {
		return one(skipped("the limit cannot be read"))
	}
	const remedy = "raise it: LimitNOFILE= (systemd), --ulimit nofile= (Docker), ulimit -n (shell)"
	calls := e.o.MaxActiveCalls
	enough := 0
	if limit > filesBeside {
		enough = int(min(limit-filesBeside, 1<<30) / filesPerCall)
	}
	switch {
	case calls > 0 && calls > enough:
		return one(failed(fmt.Sprintf("%d open files are allowed; max_active_calls %d may need %d", limit, calls, calls*filesPerCall+filesBeside), remedy))
	case calls == 0 && enough < 100:
		return one(doubtful(fmt.Sprintf("%d open files are allowed, enough for about %d calls", limit, enough), remedy))
	default:
		return one(good("%d open files are allowed, enough for about %d calls", limit, enough))
	}
}

// capacity compares CPU and memory with what calls need.
func (e *examination) capacity(context.Context) []Line {
	cpus, memory, calls := e.o.system.cpus(), e.o.system.memory(), e.o.MaxActiveCalls
	const usable = 0.8 // of a CPU: above it packets are late
	relayed, mixed := int(float64(cpus)*1000*usable/relayMillis), int(float64(cpus)*1000*usable/mixMillis)
	text := fmt.Sprintf("%s for about %d relayed or %d mixed calls", count(cpus, "CPU"), relayed, mixed)
	fit := relayed
	if memory > 0 {
		fits := 0
		if memory > idleBytes {
			fits = int((memory - idleBytes) / callBytes)
		}
		fit = min(fit, fits)
		text += fmt.Sprintf(", %d MB of memory for about %d", memory/1_000_000, fits)
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

// udpPorts compares the range with what calls need, one port each.
func (e *examination) udpPorts(context.Context) []Line {
	first, last, calls := e.o.RTC.PortMin, e.o.RTC.PortMax, e.o.MaxActiveCalls
	chosen := last != 0
	if !chosen {
		if first, last = e.o.system.freePorts(); last == 0 {
			return one(good("any free port"))
		}
	}
	const remedy = "widen rtc.port_range_start to rtc.port_range_end, and the firewall with it, or set both to 0"
	wide := last - first + 1
	used := max(0, e.o.system.udpPortsInUse(first, last))
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
