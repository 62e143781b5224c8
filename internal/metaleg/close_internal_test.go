package metaleg

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCloseEndsThoughPionHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		began := time.Now()
		err := closeBounded(func() error { <-release; return nil })
		require.ErrorIs(t, err, errCloseStuck)
		require.Equal(t, closeLimit, time.Since(began))
		close(release)
		synctest.Wait()

		require.NoError(t, closeBounded(func() error { return nil }))
		failed := errors.New("failed")
		require.ErrorIs(t, closeBounded(func() error { return failed }), failed)
	})
}
