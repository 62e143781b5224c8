package admission

// What calls need in file descriptors.
const (
	filesPerCall = 10  // measured: sockets of both legs, epoll's
	filesBeside  = 200 // ports, HTTP connections, logs
)

// CallsByFiles is how many calls the process has file descriptors for, one at least; zero if the limit is not known. A call
// beyond them would lack a socket in the middle of its set-up, and the operator's port could not be reached.
func CallsByFiles() int {
	limit, err := openFiles()
	if err != nil {
		return 0
	}
	return callsByFiles(limit)
}

func callsByFiles(limit uint64) int {
	if limit < filesBeside {
		return 1
	}
	return max(1, int(min(limit-filesBeside, 1<<30)/filesPerCall))
}
