package admission

// What file descriptors are for.
const (
	filesPerCall     = 10  // measured: sockets of both legs, epoll's
	filesBeside      = 200 // ports, with what probes and metrics are asked on; connections to LiveKit, Meta and receivers; logs
	connectionsShare = 4   // one in so many is for the connections of the API's port, at most
)

// Connections are those of the API's port, which strangers can open.
type Connections struct {
	// Max is how many there may be, zero as many as there can.
	Max int
	// Files is how many descriptors one takes, one at least.
	Files int
}

// ShareFiles shares out the process's file descriptors: so many connections there may be, and so many calls there are
// descriptors for beside them, one at least. A call beyond them would lack a socket in the middle of its set-up, and the
// operator's port could not be reached. If the limit is not known, connections are as wanted and calls zero.
func ShareFiles(wanted Connections) (connections, calls int) {
	limit, err := openFiles()
	if err != nil {
		return wanted.Max, 0
	}
	return ShareOf(limit, wanted)
}

// ShareOf is ShareFiles for a process that may have so many descriptors.
func ShareOf(limit uint64, wanted Connections) (connections, calls int) {
	files := int(min(limit, 1<<30))
	connections = max(1, files/connectionsShare/max(1, wanted.Files))
	if wanted.Max > 0 {
		connections = min(connections, wanted.Max)
	}
	return connections, max(1, (files-filesBeside-connections*max(1, wanted.Files))/filesPerCall)
}

// FilesFor is how many descriptors the process must have for ShareOf to leave enough for so many calls.
func FilesFor(calls int, wanted Connections) int {
	others := calls*filesPerCall + filesBeside
	share := (others + connectionsShare - 2) / (connectionsShare - 1) // of others with it, rounded up
	if wanted.Max > 0 {
		share = min(share, wanted.Max*max(1, wanted.Files))
	}
	return others + share
}
