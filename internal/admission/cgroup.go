package admission

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Control groups as the kernel documents them: Documentation/admin-guide/cgroup-v2.rst, and cgroup-v1/memory.rst and
// scheduler/sched-bwc.rst for the older kind. Both can be there at once, each with other controllers.

// group is the way to one of the process's control groups: folders below the root of the file system, from the process's own
// up to the highest that can be seen. The limits of all of them hold.
type group struct {
	v2   bool
	dirs []string
}

// groups finds the control groups that hold the process's CPU and memory. Where there are none, or they cannot be seen, it
// returns none.
func groups(root fs.FS) []group {
	memberships, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	mounts, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var found []group
	for line := range bytes.Lines(memberships) {
		// hierarchy:controllers:path, of the second version 0::path
		parts := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(parts) != 3 {
			continue
		}
		v2 := parts[0] == "0" && parts[1] == ""
		for _, controller := range []string{"cpu", "memory"} {
			if !v2 && !slices.Contains(strings.Split(parts[1], ","), controller) {
				continue
			}
			if top, point, ok := mountOf(mounts, v2, controller); ok {
				found = append(found, group{v2: v2, dirs: upward(top, point, parts[2])})
			}
			if v2 || parts[1] == "cpu,memory" {
				break // one folder for both
			}
		}
	}
	return found
}

// mountOf finds where a hierarchy is mounted: point is the folder, top the group that it shows.
func mountOf(mounts []byte, v2 bool, controller string) (top, point string, ok bool) {
	lines := bufio.NewScanner(bytes.NewReader(mounts))
	for lines.Scan() {
		// 36 35 98:0 /top /point rw,noatime master:1 - type source options (proc_pid_mountinfo(5))
		mount, system, cut := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(mount), strings.Fields(system)
		if !cut || len(left) < 5 || len(right) < 3 {
			continue
		}
		switch {
		case v2 && right[0] == "cgroup2":
		case !v2 && right[0] == "cgroup" && slices.Contains(strings.Split(right[2], ","), controller):
		default:
			continue
		}
		return left[3], left[4], true
	}
	return "", "", false
}

// upward lists the folders from the process's group up to the mount. In a container the group's path is often that of the
// host, which the container does not see: its own group is then what is mounted.
func upward(top, point, member string) []string {
	rest, inside := strings.CutPrefix(member, strings.TrimSuffix(top, "/"))
	if !inside || strings.HasPrefix(rest, "/..") || rest != "" && rest[0] != '/' {
		rest = ""
	}
	rest = strings.Trim(rest, "/")
	point = strings.Trim(path.Clean(point), "/")
	var dirs []string
	for rest != "" && rest != "." {
		dirs = append(dirs, path.Join(point, rest))
		rest = path.Dir(rest)
	}
	return append(dirs, point)
}

// quota is how many cores the process's groups allow; infinite if they do not say.
func quota(root fs.FS, groups []group) float64 {
	least := math.Inf(1)
	for _, g := range groups {
		for _, dir := range g.dirs {
			if g.v2 {
				least = min(least, quotaV2(root, dir))
			} else {
				least = min(least, quotaV1(root, dir))
			}
		}
	}
	return least
}

// quotaV2 reads "50000 100000", which is half a core, or "max 100000".
func quotaV2(root fs.FS, dir string) float64 {
	text, err := fs.ReadFile(root, path.Join(dir, "cpu.max"))
	if err != nil {
		return math.Inf(1)
	}
	parts := strings.Fields(string(text))
	if len(parts) == 0 || parts[0] == "max" {
		return math.Inf(1)
	}
	period := 100_000.0
	if len(parts) > 1 {
		if period, err = strconv.ParseFloat(parts[1], 64); err != nil || period <= 0 {
			return math.Inf(1)
		}
	}
	return cores(parts[0], period)
}

func quotaV1(root fs.FS, dir string) float64 {
	period, ok := number(root, path.Join(dir, "cpu.cfs_period_us"))
	text, err := fs.ReadFile(root, path.Join(dir, "cpu.cfs_quota_us"))
	if err != nil || !ok || period <= 0 {
		return math.Inf(1)
	}
	return cores(strings.TrimSpace(string(text)), period) // -1 is none
}

func cores(quota string, period float64) float64 {
	n, err := strconv.ParseFloat(quota, 64)
	if err != nil || n <= 0 {
		return math.Inf(1)
	}
	return n / period
}

// memoryGroup is the folder of the group whose memory ends first.
type memoryGroup struct {
	v2    bool
	dir   string
	limit float64 // bytes
}

// tightest finds it. ok is false if no group has a limit below what the machine has.
func tightest(root fs.FS, groups []group, machine float64) (tight memoryGroup, ok bool) {
	tight.limit = machine
	for _, g := range groups {
		names := []string{"memory.limit_in_bytes"}
		if g.v2 {
			names = []string{"memory.max", "memory.high"} // above high the kernel slows a group down until it hardly runs
		}
		for _, dir := range g.dirs {
			for _, name := range names {
				if limit, has := number(root, path.Join(dir, name)); has && limit < tight.limit {
					tight, ok = memoryGroup{v2: g.v2, dir: dir, limit: limit}, true
				}
			}
		}
	}
	return tight, ok
}

// use is what the kernel counts against the limit and cannot take back by itself: without what it has read of files
// and may forget. It is what Kubernetes calls the working set.
func (m memoryGroup) use(root fs.FS) (float64, error) {
	name, reclaimable := "memory.usage_in_bytes", "total_inactive_file"
	if m.v2 {
		name, reclaimable = "memory.current", "inactive_file"
	}
	used, ok := number(root, path.Join(m.dir, name))
	if !ok {
		return 0, fmt.Errorf("read %s: no number", path.Join("/", m.dir, name))
	}
	stat, err := fs.ReadFile(root, path.Join(m.dir, "memory.stat"))
	if err != nil {
		return 0, fmt.Errorf("read memory.stat: %w", err)
	}
	files, _ := keyed(stat, reclaimable)
	return max(0, used-files), nil
}

// number reads a file that holds one number. ok is false for anything else, such as "max".
func number(root fs.FS, name string) (n float64, ok bool) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
	return n, err == nil
}

// keyed finds the number after a word at the start of a line.
func keyed(text []byte, word string) (n float64, ok bool) {
	for line := range bytes.Lines(text) {
		parts := strings.Fields(string(line))
		if len(parts) < 2 || strings.TrimSuffix(parts[0], ":") != word {
			continue
		}
		n, err := strconv.ParseFloat(parts[1], 64)
		return n, err == nil
	}
	return 0, false
}

// machineMemory is what the machine has, in bytes.
func machineMemory(root fs.FS) (float64, error) {
	text, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("read the machine's memory: %w", err)
	}
	kibi, ok := keyed(text, "MemTotal")
	if !ok {
		return 0, errors.New("read the machine's memory: /proc/meminfo has no MemTotal")
	}
	return kibi * 1024, nil
}
