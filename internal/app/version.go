package app

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// Set by the linker: see the Makefile.
var (
	version = "dev"
	commit  = "unknown"
)

// Version is the version of this build, such as "v0.1.0" or "dev".
func Version() string { return version }

// RegisterBuildInfo adds livekit_connector_build_info, which is always 1 and has the version in its labels.
func RegisterBuildInfo(reg prometheus.Registerer) error {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "livekit_connector", Name: "build_info", Help: "Version of this build; always 1.",
		ConstLabels: prometheus.Labels{"version": version, "commit": commit, "goversion": runtime.Version()},
	})
	info.Set(1)
	if err := reg.Register(info); err != nil {
		return fmt.Errorf("register build info: %w", err)
	}
	return nil
}

// VersionText is what --version prints: version, commit, Go, libopus and the libraries whose versions matter in a bug report.
func VersionText(libopus string) string {
	text := fmt.Sprintf("livekit-connector %s\ncommit     %s\ngo         %s %s/%s\nlibopus    %s\n",
		version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH, libopus)
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return text
	}
	shown := map[string]string{
		"github.com/pion/webrtc/v4":           "pion",
		"github.com/livekit/server-sdk-go/v2": "livekit",
	}
	for _, module := range build.Deps {
		if name := shown[module.Path]; name != "" {
			text += fmt.Sprintf("%-10s %s\n", name, module.Version)
		}
	}
	return text
}
