// Package leaks ends the tests of a package with a look for goroutines that they left behind.
package leaks

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines may take to end after the tests. goleak alone gives them half a second, which a busy machine
// takes away from them; and LiveKit's SDK notices only at its connect timeout that an attempt to join was given up.
const patience = time.Minute

// Main is all a TestMain has to do: it runs the tests, waits until their goroutines are gone, and ends the process. After tests
// that passed, a goroutine that stays is a failure.
func Main(m *testing.M) { goleak.VerifyTestMain(patient{m}) }

// patient are tests that wait for what they left behind.
type patient struct{ goleak.TestingM }

func (p patient) Run() int {
	code := p.TestingM.Run()
	if code == 0 {
		_ = Find() // VerifyTestMain looks itself, and tells of what is still there
	}
	return code
}

// Find waits until there are no goroutines but those of the runtime, the testing package and its caller. The error names those
// that stay.
func Find() error {
	end := time.Now().Add(patience)
	for {
		err := goleak.Find()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
