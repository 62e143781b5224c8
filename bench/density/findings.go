package density

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Row is one candidate in one mode.
type Row struct {
	Candidate string `json:"candidate"`
	Mode      Mode   `json:"mode"`
	Steps     []Step `json:"steps"`
	// End says why there are no more steps.
	End string `json:"end"`
	// Profile is the CPU time by function after the last step, the largest first.
	Profile []hotSpot `json:"-"`

	idle     usage // with no calls
	busy     bool  // see Options.Busy
	profiled int   // calls when the profile was taken
}

// Step is what was measured with one number of calls.
type Step struct {
	Calls   int     `json:"calls"`
	Seconds float64 `json:"seconds"`
	// CPUPerCall is the bridge's CPU time in milliseconds for one second of one call. Used is the share of its CPUs.
	// CPUPerPacket is it in microseconds for each packet that came through, there should be 100 of a call in a second:
	// the one to compare when many did not.
	CPUPerCall   float64 `json:"cpu_ms_per_call_second"`
	Used         float64 `json:"share_of_cpus"`
	CPUPerPacket float64 `json:"cpu_us_per_packet"`
	// Others is the share of its CPUs that went to something else: above a few per cent lateness is not the bridge's, and
	// its CPU time is too little, for who finds a queue of packets after each wait wakes up less often. Waited is how
	// long its threads waited for a CPU, for each other too. BusyCPUs says how busy each CPU of the machine was, with
	// whatever; LoadUsed how many CPUs the load took.
	Others   float64   `json:"others_on_its_cpus"`
	Waited   float64   `json:"waited_for_cpu"`
	BusyCPUs []float64 `json:"busy_cpus"`
	LoadUsed float64   `json:"load_cpus"`
	// ServerUsed is livekit-server's part of it.
	ServerUsed float64 `json:"livekit_server_cpus"`
	// Memory of one call, in bytes: what the bridge has more than with no calls. Resident is all.
	Memory   float64 `json:"bytes_per_call"`
	Resident int64   `json:"resident_bytes"`
	// Of one call: what the bridge has more than with no calls.
	Goroutines float64 `json:"goroutines_per_call"`
	Sockets    float64 `json:"sockets_per_call"`
	Files      float64 `json:"files_per_call"`
	Threads    int     `json:"threads"`
	// Allocations and bytes of them on Go's heap, for one second of one call.
	Allocations    float64 `json:"allocations_per_call_second"`
	AllocatedBytes float64 `json:"allocated_bytes_per_call_second"`
	// GCs in the interval, and the longest pause of recent ones in milliseconds.
	GCs     float64 `json:"gcs"`
	GCPause float64 `json:"gc_pause_max_ms"`

	AtPhone      Reception `json:"at_phone"`
	AtAgent      Reception `json:"at_agent"`
	SoundAtPhone Sound     `json:"sound_at_phone"`
	SoundAtAgent Sound     `json:"sound_at_agent"`
	// LoadLate is how late the participants spoke at most, milliseconds: the load's own fault.
	LoadLate float64 `json:"load_late_max_ms"`
}

// newStep works out the costs of calls from the usage before and after an interval. The bridge ran on the given CPUs.
func newStep(calls int, cpus []int, idle, before, after usage) Step {
	procs := len(cpus)
	length := after.at.Sub(before.at)
	n, callSeconds := float64(calls), float64(calls)*length.Seconds()
	share := func(d time.Duration) float64 { return float64(d) / float64(length) }
	metric := func(name string) float64 { return after.metrics[name] - before.metrics[name] }
	more := func(name string) float64 { return (after.metrics[name] - idle.metrics[name]) / n }
	s := Step{
		Calls: calls, Seconds: length.Seconds(),
		CPUPerCall: milliseconds(after.cpu-before.cpu) / callSeconds, Used: share(after.cpu-before.cpu) / float64(procs),
		Waited: share(after.waited-before.waited) / float64(procs), LoadUsed: share(after.load - before.load), ServerUsed: share(after.server - before.server),
		Memory: float64(after.resident-idle.resident) / n, Resident: after.resident,
		Goroutines: more("go_goroutines"),
		Sockets:    float64(after.sockets-idle.sockets) / n, Files: float64(after.files-idle.files) / n,
		Threads:     after.threads,
		Allocations: metric("go_memstats_mallocs_total") / callSeconds, AllocatedBytes: metric("go_memstats_alloc_bytes_total") / callSeconds,
		GCs: metric("go_gc_duration_seconds_count"), GCPause: 1000 * after.metrics[`go_gc_duration_seconds{quantile="1"}`],
	}
	for i := range min(len(before.busy), len(after.busy)) {
		s.BusyCPUs = append(s.BusyCPUs, share(after.busy[i]-before.busy[i]))
		if slices.Contains(cpus, i) {
			s.Others += s.BusyCPUs[i] / float64(procs)
		}
	}
	s.Others -= s.Used
	return s
}

// good says that the audio did not suffer; on a busy machine, that the bridge did its work.
func (s *Step) good(busy bool) bool {
	delivered := min(s.AtPhone.Delivered, s.AtAgent.Delivered)
	if busy {
		return delivered >= minDone
	}
	return delivered >= minDelivered && max(s.AtPhone.P99, s.AtAgent.P99) <= maxLate
}

// end says why a step is the last one, empty if it is not.
func (s *Step) end(busy bool) string {
	switch {
	case s.Used >= usedUp:
		return "the bridge used up its CPUs"
	case s.good(busy):
		return ""
	case s.Used >= nearlyUsedUp:
		return "the audio suffered"
	default:
		return "the audio suffered while the bridge had CPU to spare: see the load and what else the machine did"
	}
}

// best is the step with the most calls whose audio did not suffer, nil if there is none.
func (r *Row) best() *Step {
	for i := len(r.Steps) - 1; i >= 0; i-- {
		if r.Steps[i].good(r.busy) {
			return &r.Steps[i]
		}
	}
	return nil
}

// unheard says that a step is worth nothing, however little it cost: of the calls that were listened to none was good.
// Among several voices each is found on the busiest machine; a single one may have holes there.
func (r *Row) unheard(s *Step) bool {
	return s.SoundAtPhone.Calls > 0 && s.SoundAtPhone.Good == 0 && (r.Mode == Mix || !r.busy)
}

// at is the step with that number of calls, nil if it was not measured.
func (r *Row) at(calls int) *Step {
	for i := range r.Steps {
		if r.Steps[i].Calls == calls {
			return &r.Steps[i]
		}
	}
	return nil
}

// fit is a straight line through the CPU use of a row, in CPUs: base + perCall * calls.
type fit struct{ base, perCall float64 }

// fitted finds the line with the least squares through the steps whose audio did not suffer. It needs two.
func (r *Row) fitted(procs int) (f fit, ok bool) {
	var n, sx, sy, sxx, sxy float64
	for _, s := range r.Steps {
		if !s.good(r.busy) {
			continue // it did less than its work
		}
		x, y := float64(s.Calls), s.Used*float64(procs)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	d := n*sxx - sx*sx
	if n < 2 || d == 0 {
		return fit{}, false
	}
	f.perCall = (n*sxy - sx*sy) / d
	f.base = (sy - f.perCall*sx) / n
	return f, f.perCall > 0
}

// callsAt is how many calls use that much CPU.
func (f fit) callsAt(cpus float64) int { return int(math.Floor((cpus - f.base) / f.perCall)) }

// capacity says how many calls a core takes, in words, with a mark when no such number was measured.
func (r *Row) capacity(procs int) string {
	f, ok := r.fitted(procs)
	if !ok || len(r.Steps) == 0 {
		return "-"
	}
	calls := f.callsAt(perCore)
	if last := r.Steps[len(r.Steps)-1].Calls; calls > last {
		return fmt.Sprintf("~%d", calls)
	}
	return fmt.Sprint(calls)
}

// perCore is the share of a core up to which it is loaded in earnest.
const perCore = 0.7

// parseCPUs reads a list of CPUs as taskset takes it: "1", "2-3", "0,4-7".
func parseCPUs(list string) (cpus []int, err error) {
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil || from < 0 || from > to {
			return nil, fmt.Errorf("list of CPUs must be like 0,2-3, not %q", list)
		}
		for i := from; i <= to; i++ {
			cpus = append(cpus, i)
		}
	}
	return cpus, nil
}
