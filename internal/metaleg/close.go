package metaleg

import (
	"errors"
	"time"
)

// closeLimit is how long Pion may take to close. Its SRTP session waits for ever if
// a packet of an unknown SSRC comes when nobody accepts streams any more
// (pion/srtp v3.1.3, session_srtp.go, decrypt).
const closeLimit = 10 * time.Second

// errCloseStuck says that what Pion started is still there.
var errCloseStuck = errors.New("not closed in time")

// closeBounded closes something that may hang. Then its goroutine is left behind:
// better one of those than a call that never ends.
func closeBounded(closeIt func() error) error {
	closed := make(chan error, 1)
	go func() { closed <- closeIt() }()
	timer := time.NewTimer(closeLimit)
	defer timer.Stop()
	select {
	case err := <-closed:
		return err
	case <-timer.C:
		return errCloseStuck
	}
}
