package admission

import (
	"fmt"
	"os"
	"syscall"
)

// openFiles is how many descriptors the process may have. Go has raised the soft limit to the hard one by now.
func openFiles() (uint64, error) {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return limit.Cur, err
}

const ownFiles = "/proc/self/fd"

// countFiles asks the kernel, which since Linux 6.2 tells the number as the size of the folder (proc_pid_fd(5)). Before, all
// names are read, for which a descriptor is opened, too.
func countFiles() (int, error) {
	info, err := os.Stat(ownFiles)
	if err != nil {
		return 0, fmt.Errorf("look at %s: %w", ownFiles, err)
	}
	if n := info.Size(); n > 0 {
		return int(n), nil
	}
	folder, err := os.Open(ownFiles)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", ownFiles, err)
	}
	defer func() { _ = folder.Close() }() // nothing was written
	names, err := folder.Readdirnames(-1)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", ownFiles, err)
	}
	return len(names) - 1, nil
}
