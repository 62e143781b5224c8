package whatsapp

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
)

// MinVersion is the oldest Graph version that [ValidateVersion] takes without an allow-list.
const MinVersion = "23.0"

const minVersionMajor = 23

// ErrVersion is returned for a Graph version that is malformed, too old or not on the allow-list.
var ErrVersion = errors.New("whatsapp: cloud api version not supported")

// No leading zero: "024.0" would name another path than "24.0".
var versionForm = regexp.MustCompile(`^([1-9][0-9]{0,3})\.[0-9]{1,3}$`)

// ValidateVersion checks a Graph version in LiveKit's form: "24.0", without the "v" that Graph puts before it. With a non-empty allowed
// the version must be one of those, whatever its number; without, it must be MinVersion or newer. The error wraps ErrVersion.
func ValidateVersion(version string, allowed []string) error {
	major, ok := versionMajor(version)
	switch {
	case !ok:
		return fmt.Errorf("%w: want a form like 24.0, without a v", ErrVersion)
	case len(allowed) > 0 && !slices.Contains(allowed, version):
		return fmt.Errorf("%w: %s is not one of the allowed versions", ErrVersion, version)
	case len(allowed) == 0 && major < minVersionMajor:
		return fmt.Errorf("%w: %s is older than %s", ErrVersion, version, MinVersion)
	}
	return nil
}

func versionMajor(version string) (int, bool) {
	m := versionForm.FindStringSubmatch(version)
	if m == nil {
		return 0, false
	}
	major, err := strconv.Atoi(m[1])
	return major, err == nil
}
