package chain

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
)

// Fake runs f where time stands still while anything works and jumps when nothing does: in a bubble of testing/synctest,
// outside of a test. Not for use in tests, which have synctest themselves. f must end all goroutines it starts.
func Fake(f func() error) (err error) {
	err = errors.New("run in fake time: it did not come to its end")
	ok := testing.RunTests(
		func(string, string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: "fake time", F: func(t *testing.T) {
			synctest.Test(t, func(*testing.T) { err = f() })
		}}},
	)
	if err == nil && !ok {
		return fmt.Errorf("run in fake time: goroutines were left")
	}
	return err
}
