package admission

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// The folders of testdata/machines are what a process sees of /proc and /sys/fs/cgroup.
func TestCapacity(t *testing.T) {
	const mib = 1 << 20
	for name, test := range map[string]struct {
		procs int // GOMAXPROCS, of 8 CPUs
		want  Capacity
		used  float64 // memory, what Go has in reserve included
	}{
		"v2":           {8, Capacity{1.5, "cgroup", 512 * mib, "cgroup"}, 300 * mib},
		"v2-max":       {8, Capacity{8, "machine", 16384 * mib, "machine"}, 40 * mib},
		"v2-nested":    {8, Capacity{2, "cgroup", 1024 * mib, "cgroup"}, 700 * mib},
		"v2-high":      {8, Capacity{8, "machine", 256 * mib, "cgroup"}, 100 * mib},
		"v1":           {8, Capacity{0.5, "cgroup", 256 * mib, "cgroup"}, 120 * mib},
		"v1-unlimited": {8, Capacity{8, "machine", 16384 * mib, "machine"}, 40 * mib},
		"v1-container": {8, Capacity{3, "cgroup", 2048 * mib, "cgroup"}, 64 * mib},
		"none":         {8, Capacity{8, "machine", 16384 * mib, "machine"}, 40 * mib},
		"cpuset":       {2, Capacity{2, "GOMAXPROCS", 16384 * mib, "machine"}, 40 * mib},
	} {
		t.Run(name, func(t *testing.T) {
			folder := name
			if name == "cpuset" {
				folder = "none"
			}
			p, err := findProcess(os.DirFS(filepath.Join("testdata", "machines", folder)), 8, test.procs)
			require.NoError(t, err)
			require.Equal(t, test.want, p.Capacity())
			debug.FreeOSMemory() // else what Go has in reserve depends on the tests before
			use, err := p.Use()
			require.NoError(t, err)
			require.Positive(t, use.CPU)
			require.LessOrEqual(t, use.Memory, test.used)
			require.Greater(t, use.Memory, test.used-30*mib)
		})
	}
}

func TestCapacityOfThisMachine(t *testing.T) {
	p, err := FindProcess()
	require.NoError(t, err)
	c := p.Capacity()
	require.Positive(t, c.Cores)
	require.Greater(t, c.Memory, 64e6)
	use, err := p.Use()
	require.NoError(t, err)
	require.Positive(t, use.CPU)
	require.Greater(t, use.Memory, 1e6)
}

func TestMachineWithoutProc(t *testing.T) {
	p, err := findProcess(os.DirFS(t.TempDir()), 4, 4)
	require.ErrorContains(t, err, "machine's memory")
	require.Equal(t, Capacity{Cores: 4, CoresFrom: "machine"}, p.Capacity())
	_, err = p.Use()
	require.ErrorContains(t, err, "process's memory")
}

func TestUpward(t *testing.T) {
	for _, test := range []struct {
		top, point, member string
		want               []string
	}{
		{"/", "/sys/fs/cgroup", "/", []string{"sys/fs/cgroup"}},
		{"/", "/sys/fs/cgroup", "/a/b", []string{"sys/fs/cgroup/a/b", "sys/fs/cgroup/a", "sys/fs/cgroup"}},
		{"/a", "/sys/fs/cgroup", "/a/b", []string{"sys/fs/cgroup/b", "sys/fs/cgroup"}},
		{"/a/b", "/sys/fs/cgroup", "/a/b", []string{"sys/fs/cgroup"}},
		{"/a", "/sys/fs/cgroup", "/ab", []string{"sys/fs/cgroup"}},
		{"/../..", "/sys/fs/cgroup", "/../../x", []string{"sys/fs/cgroup/x", "sys/fs/cgroup"}},
		{"/", "/sys/fs/cgroup", "/../x", []string{"sys/fs/cgroup"}},
	} {
		require.Equal(t, test.want, upward(test.top, test.point, test.member), "%+v", test)
	}
}

func TestCalibrationFindsAMachine(t *testing.T) {
	c, err := Calibrate()
	require.NoError(t, err)
	require.Positive(t, c.Codec)
	require.Positive(t, c.Slowness)
	require.Equal(t, benchmark.Costs, DefaultCosts(1))
	require.InDelta(t, 0.01, DefaultCosts(2).Relay.CPU, 1e-9)
	require.InDelta(t, DefaultCosts(maxSlowness).Mix.CPU, DefaultCosts(1000).Mix.CPU, 0)
}
