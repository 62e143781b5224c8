package admission

import "syscall"

// openFiles is how many descriptors the process may have. Go has raised the soft limit to the hard one by now.
func openFiles() (uint64, error) {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return limit.Cur, err
}
