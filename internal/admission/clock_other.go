//go:build !linux

package admission

import (
	"errors"
	"time"
)

// processTime is known on Linux alone.
func processTime() (time.Duration, error) {
	return 0, errors.New("ask for the CPU time: it is known on Linux alone")
}

// threadTime is how long f takes.
func threadTime(f func() error) (time.Duration, error) {
	began := time.Now()
	err := f()
	return time.Since(began), err
}
