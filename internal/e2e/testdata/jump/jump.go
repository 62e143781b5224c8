// This file is laid over the connector's main package (go build -overlay) by TestClockSteps: it lets a test set the clock of
// one process. Every reading of the wall clock by the Go runtime goes through the kernel's vDSO function, whose address the
// runtime keeps in a variable; here that function adds seconds which the test writes into a file. The monotonic clock is left
// alone, as it is when an administrator or NTP sets a machine's clock.
package main

/*
#include <time.h>

typedef int (*gettime)(int, struct timespec *);

static gettime real;
static volatile long *offset;

static int jumped(int clock, struct timespec *ts) {
	int r = real(clock, ts);
	if (clock == 0) ts->tv_sec += *offset;
	return r;
}

static void *install(void *vdso, void *shared) {
	real = (gettime)vdso;
	offset = (volatile long *)shared;
	return (void *)jumped;
}
*/
import "C"

import (
	"os"
	"syscall"
	"unsafe"
)

//go:linkname vdsoClockgettimeSym runtime.vdsoClockgettimeSym
var vdsoClockgettimeSym unsafe.Pointer

func init() {
	f, err := os.Open(os.Getenv("CLOCK_OFFSET_FILE"))
	if err != nil {
		panic(err)
	}
	shared, err := syscall.Mmap(int(f.Fd()), 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil || vdsoClockgettimeSym == nil {
		panic("the clock cannot be shifted")
	}
	vdsoClockgettimeSym = C.install(vdsoClockgettimeSym, unsafe.Pointer(&shared[0]))
}
