//go:build !linux

package doctor

import "errors"

func (machine) openFiles() (uint64, error) { return 0, errors.ErrUnsupported }

func (machine) clockSynchronised() (synchronised, known bool) { return false, false }
