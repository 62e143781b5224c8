package admission

import (
	"fmt"
)

// Resource is how much of something is taken, and how much there may be. Calls, cores or bytes.
type Resource struct {
	Used float64
	// Limit is what calls are refused beyond; zero means that they are not.
	Limit float64
	// Total is what there is; for calls it is the limit.
	Total float64
}

// ratio is the share that is taken of the limit, or of all there is if there is no limit.
func (r Resource) ratio() float64 {
	whole := r.Limit
	if whole == 0 {
		whole = r.Total
	}
	if whole == 0 {
		return 0
	}
	return r.Used / whole
}

// over says whether that much more is too much.
func (r Resource) over(more float64) bool {
	const rounding = 1e-9
	return r.Limit > 0 && r.Used+more > r.Limit*(1+rounding)
}

// Load is what a node has taken.
type Load struct {
	// Files are counted in calls, of which there are descriptors for so many. What other things have taken of their share is
	// among those used.
	Calls, Files, CPU, Memory Resource
}

// Ratio is how full the node is: 1 or more says that it takes no more calls.
func (l Load) Ratio() float64 {
	return max(l.Calls.ratio(), l.Files.ratio(), l.CPU.ratio(), l.Memory.ratio())
}

// Load is the node's. It is no promise: others may ask in the meantime.
func (g *Gate) Load() Load {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.loadLocked()
}

func (g *Gate) loadLocked() Load {
	var expected, unseen Cost
	for m, n := range g.byMode {
		expected = expected.plus(g.costs.of(Mode(m)).times(float64(n)))
	}
	for p := range g.fresh {
		unseen = unseen.plus(g.unseenLocked(p))
	}
	cores, memory := g.window.cores(), g.window.memory()
	return Load{
		Calls: Resource{Used: float64(g.calls), Limit: float64(g.limits.Calls), Total: float64(g.limits.Calls)},
		Files: Resource{Used: float64(g.calls + g.limits.Files - g.filesLocked()), Limit: float64(g.limits.Files), Total: float64(g.limits.Files)},
		CPU: Resource{
			Used:  max(expected.CPU, cores+unseen.CPU),
			Limit: g.limits.CPU * g.capacity.Cores, Total: g.capacity.Cores,
		},
		Memory: Resource{
			Used:  max(g.window.base+expected.Memory, memory+unseen.Memory),
			Limit: g.limits.Memory * g.capacity.Memory, Total: g.capacity.Memory,
		},
	}
}

// Full returns the *LimitError that a call of a key and a number without bounds of their own would get now, or nil.
func (g *Gate) Full() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e := g.refusalLocked(Ask{Mode: Relay}); e != nil {
		return e
	}
	return nil
}

// lastResort is the least that a node which takes calls bids. It is below what any node with room bids, and above that of
// one which drains: if all are full, one of them is asked, and its refusal says why.
const lastResort = 1e-6

// Room is a bid for a call, in (0, 1]: more for more room, 1 for a node without calls.
func (g *Gate) Room(a Ask) float32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refusalLocked(a) != nil {
		return lastResort
	}
	if g.calls == 0 {
		return 1
	}
	l := g.loadLocked()
	taken := max(l.Ratio(),
		share(g.byKey[a.Key], bound(g.limits.ByKey, a.Key, g.limits.PerKey)),
		share(g.byNumber[a.PhoneNumberID], bound(g.limits.ByNumber, a.PhoneNumberID, g.limits.PerNumber)))
	return float32(max(2*lastResort, 1-taken))
}

func share(n, limit int) float64 {
	if limit == 0 {
		return 0
	}
	return float64(n) / float64(limit)
}

// bound is the limit of one key or number; zero means none.
func bound(by map[string]int, key string, otherwise int) int {
	if n, ok := by[key]; ok {
		return n
	}
	return otherwise
}

// filesLocked is how many calls there are file descriptors for: their share, or less if other things take of it.
func (g *Gate) filesLocked() int { return min(g.limits.Files, g.files.calls()) }

// refusalLocked is nil if there is a place for such a call.
func (g *Gate) refusalLocked(a Ask) *LimitError {
	if n := g.limits.Calls; n > 0 && g.calls >= n {
		return &LimitError{LimitCalls, fmt.Sprintf("%d of %d calls (max_active_calls)", g.calls, n)}
	}
	if n := bound(g.limits.ByKey, a.Key, g.limits.PerKey); n > 0 && g.byKey[a.Key] >= n {
		return &LimitError{LimitKey, fmt.Sprintf("%d of %d calls of this API key (limits.calls_per_key)", g.byKey[a.Key], n)}
	}
	if n := bound(g.limits.ByNumber, a.PhoneNumberID, g.limits.PerNumber); n > 0 && g.byNumber[a.PhoneNumberID] >= n {
		return &LimitError{LimitNumber, fmt.Sprintf("%d of %d calls of this phone number (limits.calls_per_number)", g.byNumber[a.PhoneNumberID], n)}
	}
	if n := g.filesLocked(); g.limits.Files > 0 && g.calls >= n {
		return &LimitError{LimitFiles, fmt.Sprintf("%d of %d calls that there are file descriptors for%s (LimitNOFILE=, --ulimit nofile=, ulimit -n)",
			g.calls, n, g.files.taken(n < g.limits.Files))}
	}
	if g.calls == 0 {
		return nil // neither a cost nor a measurement keeps a node empty
	}
	cost, l := g.costs.of(a.Mode), g.loadLocked()
	if l.CPU.over(cost.CPU) {
		return &LimitError{LimitCPU, fmt.Sprintf("%d calls use or will use %.2f of %.2f CPU cores (limits.max_cpu_utilization)",
			g.calls, l.CPU.Used, l.CPU.Limit)}
	}
	if l.Memory.over(cost.Memory) {
		return &LimitError{LimitMemory, fmt.Sprintf("%d calls use or will use %.0f of %.0f MiB memory (limits.max_memory_utilization)",
			g.calls, l.Memory.Used/mebi, l.Memory.Limit/mebi)}
	}
	return nil
}

const mebi = 1 << 20
