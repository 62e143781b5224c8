package fakemeta_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(settled{m}) }

// settled ends when the goroutines of the tests have. goleak waits half a second for them, which is not enough on a
// busy machine for what Pion and net/http end without waiting for it.
type settled struct{ *testing.M }

// Run implements goleak.TestingM.
func (s settled) Run() int {
	code := s.M.Run()
	for begin := time.Now(); code == 0 && goleak.Find() != nil && time.Since(begin) < limit; {
	}
	return code
}
