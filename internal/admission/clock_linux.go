package admission

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// processTime is the CPU time that the process has had, of all its threads.
func processTime() (time.Duration, error) { return clock(unix.CLOCK_PROCESS_CPUTIME_ID) }

// threadTime is the CPU time that f takes on its thread: time for which others had the CPU is not in it.
func threadTime(f func() error) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := clock(unix.CLOCK_THREAD_CPUTIME_ID)
	if err != nil {
		return 0, err
	}
	if err = f(); err != nil {
		return 0, err
	}
	after, err := clock(unix.CLOCK_THREAD_CPUTIME_ID)
	return after - before, err
}

// clock reads one that counts to the nanosecond. What getrusage(2) tells of a thread is as old as the scheduler's last
// look at it, some milliseconds.
func clock(id int32) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		return 0, fmt.Errorf("ask for the CPU time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}
