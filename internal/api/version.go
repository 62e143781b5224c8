package api

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Cloud API versions that are taken when Options.CheckVersion is nil. Calling needs 23.0; 26.0 is the newest that the
// connector was tried with.
const (
	DefaultMinVersion = "23.0"
	DefaultMaxVersion = "26.0"
)

var versionPattern = regexp.MustCompile(`^(\d{1,4})\.(\d{1,4})$`)

// VersionsBetween returns an Options.CheckVersion that takes lowest, highest and what lies between, written as "23.0".
func VersionsBetween(lowest, highest string) (func(version string) error, error) {
	from, ok := parseVersion(lowest)
	if !ok {
		return nil, fmt.Errorf(`version %q of the Cloud API is not written as "23.0"`, lowest)
	}
	to, ok := parseVersion(highest)
	if !ok {
		return nil, fmt.Errorf(`version %q of the Cloud API is not written as "23.0"`, highest)
	}
	if to < from {
		return nil, fmt.Errorf("no Cloud API version lies between %s and %s", lowest, highest)
	}
	return func(version string) error {
		v, ok := parseVersion(version)
		switch {
		case !ok && strings.HasPrefix(version, "v"):
			return fmt.Errorf(`write it without "v", from %s to %s`, lowest, highest)
		case !ok && version == "":
			return fmt.Errorf("whatsapp_cloud_api_version is required, from %s to %s", lowest, highest)
		case !ok:
			return errors.New(`write it as "` + lowest + `", up to ` + highest)
		case v < from || v > to:
			return fmt.Errorf("use one from %s to %s", lowest, highest)
		default:
			return nil
		}
	}, nil
}

// parseVersion turns "23.1" into 23*10000+1.
func parseVersion(version string) (int, bool) {
	m := versionPattern.FindStringSubmatch(version)
	if m == nil {
		return 0, false
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	return major*10000 + minor, true
}
