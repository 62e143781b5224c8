package admission

import (
	"fmt"
	"math"
	"slices"
)

// What file descriptors are for.
const (
	filesPerCall     = 10  // measured: sockets of both legs, epoll's
	filesBeside      = 200 // the other ports with 50 connections each; connections to LiveKit, Meta and receivers; logs
	connectionsShare = 4   // one in so many is for the connections of the API's port, at most
)

// Files are the process's file descriptors.
type Files struct {
	// Open is how many there are, Limit how many there may be.
	Open, Limit int
}

// CountFiles counts those of this process.
func CountFiles() (Files, error) {
	limit, err := openFiles()
	if err != nil {
		return Files{}, fmt.Errorf("find the limit of open files: %w", err)
	}
	open, err := countFiles()
	if err != nil {
		return Files{}, fmt.Errorf("count open files: %w", err)
	}
	return Files{Open: open, Limit: int(min(limit, 1<<30))}, nil
}

const (
	// filesSpare are kept for what opens between two counts. Of a small limit it is one in filesSpareShare.
	filesSpare      = 50
	filesSpareShare = 8
	// fileWindowSize is how many counts are remembered. Calls that are being set up have not opened all of theirs, so for some
	// seconds others seem to have fewer than they do.
	fileWindowSize = 10
)

// fileWindow is how many descriptors other things than calls had open at the last counts. The zero value knows nothing.
type fileWindow struct {
	others []int // oldest first, at most fileWindowSize
	last   Files
}

// add takes a count while there were so many calls.
func (w *fileWindow) add(f Files, calls int) {
	if len(w.others) >= fileWindowSize {
		w.others = w.others[1:]
	}
	w.others, w.last = append(w.others, max(0, f.Open-calls*filesPerCall)), f
}

// calls is how many there can be beside the others; without a count as many as you like.
func (w *fileWindow) calls() int {
	if len(w.others) == 0 {
		return math.MaxInt
	}
	spare := min(filesSpare, w.last.Limit/filesSpareShare)
	return max(0, (w.last.Limit-spare-slices.Max(w.others))/filesPerCall)
}

// taken is what an error says if others take of the calls' share.
func (w *fileWindow) taken(byOthers bool) string {
	if !byOthers {
		return ""
	}
	return fmt.Sprintf(" beside what else is open, %d of %d in all", w.last.Open, w.last.Limit)
}

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
