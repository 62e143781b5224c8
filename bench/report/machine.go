package report

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/livekit-connector/livekit-connector/media/opus"
)

// Machine is what the numbers belong to.
type Machine struct {
	CPU     string `json:"cpu"`
	CPUs    int    `json:"cpus"`
	Memory  string `json:"memory"`
	Kernel  string `json:"kernel"`
	System  string `json:"system"`
	Go      string `json:"go"`
	Libopus string `json:"libopus"`
	Commit  string `json:"commit"`
	// Load is the load average of one minute when the run began: what else the machine did.
	Load string `json:"load"`
}

// ThisMachine reads the facts. What cannot be read stays empty.
func ThisMachine() Machine {
	commit, _ := exec.Command("git", "describe", "--always", "--dirty").Output() //nolint:noctx // local and short
	load, _, _ := strings.Cut(read("/proc/loadavg"), " ")
	return Machine{
		CPU: field("/proc/cpuinfo", "model name"), CPUs: countLines("/proc/cpuinfo", "processor"),
		Memory: field("/proc/meminfo", "MemTotal"), Kernel: strings.TrimSpace(read("/proc/sys/kernel/osrelease")),
		System: strings.Trim(strings.TrimPrefix(line("/etc/os-release", "PRETTY_NAME="), "PRETTY_NAME="), `"`),
		Go:     runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH, Libopus: opus.Version(),
		Commit: strings.TrimSpace(string(commit)), Load: load,
	}
}

func (m Machine) text() string {
	return fmt.Sprintf("  machine  %s, %d CPUs, %s; load average at the start %s\n  system   %s, Linux %s\n  built    commit %s, %s, %s\n",
		m.CPU, m.CPUs, m.Memory, m.Load, m.System, m.Kernel, m.Commit, m.Go, m.Libopus)
}

func read(path string) string {
	data, err := os.ReadFile(path) //nolint:gosec // one of a few files of the system
	if err != nil {
		return ""
	}
	return string(data)
}

// line is the first line of a file that begins with prefix.
func line(path, prefix string) string {
	for l := range strings.Lines(read(path)) {
		if strings.HasPrefix(l, prefix) {
			return strings.TrimSpace(l)
		}
	}
	return ""
}

// field is the value of the first line "name : value".
func field(path, name string) string {
	_, value, _ := strings.Cut(line(path, name), ":")
	return strings.TrimSpace(value)
}

func countLines(path, prefix string) (n int) {
	for l := range strings.Lines(read(path)) {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}
