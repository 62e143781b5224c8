//go:build !linux

package admission

import "errors"

// openFiles is known on Linux only.
func openFiles() (uint64, error) { return 0, errors.ErrUnsupported }

func countFiles() (int, error) { return 0, errors.ErrUnsupported }
