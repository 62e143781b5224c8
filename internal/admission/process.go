package admission

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
)

// Capacity is what there is for the process.
type Capacity struct {
	// Cores of CPU, and from where that is known: "machine" (those that the process may run on), "cgroup", "GOMAXPROCS" or
	// "configuration".
	Cores     float64
	CoresFrom string
	// Memory in bytes, from "machine" or "cgroup"; zero if it is not known.
	Memory     float64
	MemoryFrom string
}

// Process measures the process it runs in.
type Process struct {
	root     fs.FS
	capacity Capacity
	group    memoryGroup
	grouped  bool // group is where memory ends first
}

// FindProcess finds out what there is for this process. With an error it still knows the cores.
func FindProcess() (*Process, error) {
	return findProcess(os.DirFS("/"), runtime.NumCPU(), runtime.GOMAXPROCS(0))
}

// findProcess does so in a file system; usable are the CPUs of the process's cpuset, as Go counts them.
func findProcess(root fs.FS, usable, procs int) (*Process, error) {
	p := &Process{root: root, capacity: Capacity{Cores: float64(usable), CoresFrom: "machine"}}
	groups := groups(root)
	if q := quota(root, groups); q < p.capacity.Cores {
		p.capacity.Cores, p.capacity.CoresFrom = q, "cgroup"
	}
	// Go's own choice is never below what the groups allow, so a smaller one is somebody's.
	if n := float64(procs); n < p.capacity.Cores {
		p.capacity.Cores, p.capacity.CoresFrom = n, "GOMAXPROCS"
	}
	machine, err := machineMemory(root)
	if err != nil {
		return p, err
	}
	p.capacity.Memory, p.capacity.MemoryFrom = machine, "machine"
	if p.group, p.grouped = tightest(root, groups, machine); p.grouped {
		p.capacity.Memory, p.capacity.MemoryFrom = p.group.limit, "cgroup"
	}
	return p, nil
}

// Capacity is what was found at the start. Limits that are changed while the process runs are seen at its next start.
func (p *Process) Capacity() Capacity { return p.capacity }

// Use measures. Of memory it is all that counts against the limit: the group's, if a group has one, with others that
// may be in it, because the kernel ends us for their sake too; else the process's own. What Go holds in reserve for the
// next call is not counted.
func (p *Process) Use() (Use, error) {
	cpu, err := processTime()
	if err != nil {
		return Use{}, err
	}
	var memory float64
	if p.grouped {
		memory, err = p.group.use(p.root)
	} else {
		memory, err = p.resident()
	}
	if err != nil {
		return Use{}, err
	}
	return Use{CPU: cpu, Memory: max(0, memory-reserve())}, nil
}

// resident is what of the process is in memory (proc_pid_statm(5)).
func (p *Process) resident() (float64, error) {
	text, err := fs.ReadFile(p.root, "proc/self/statm")
	if err != nil {
		return 0, fmt.Errorf("read the process's memory: %w", err)
	}
	parts := strings.Fields(string(text))
	if len(parts) < 2 {
		return 0, errors.New("read the process's memory: /proc/self/statm has another form")
	}
	pages, err := strconv.ParseFloat(parts[1], 64)
	if err != nil {
		return 0, fmt.Errorf("read the process's memory: %w", err)
	}
	return pages * float64(os.Getpagesize()), nil
}

// reserve is what Go holds free and has not given back yet.
func reserve() float64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return float64(sample[0].Value.Uint64())
}
