package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/doctor"
)

// Nothing here leaves the machine: no check of the network runs without being named.
func TestDoctorTellsByItsExitCode(t *testing.T) {
	up := httptest.NewServer(http.NotFoundHandler())
	defer up.Close()
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"good":               {[]string{"--only", "config,descriptors", "--skip=descriptors"}, exitOK, "ok    config        complete, from the environment and the command line\n0 failures"},
		"no such file":       {[]string{"--only=config", "--rules-file=nowhere.yaml"}, exitUsage, "fail  config        --rules-file"},
		"a failure":          {[]string{"--only=livekit"}, exitFailed, "is no livekit-server -> mend ws_url"},
		"wrong settings":     {[]string{"--only=livekit", "--port=x"}, exitUsage, "fail  config        --port: port: want a whole number"},
		"skipped by setting": {[]string{"--only=stun,nat,join,webhook", "--stun=none"}, exitOK, "4 skipped"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := do(complete(up.URL), append([]string{"doctor"}, test.args...)...)
			require.Equal(t, test.code, code, stdout+stderr)
			require.Contains(t, stdout, test.want)
			require.Empty(t, stderr)
			require.NotContains(t, stdout, "\x1b", "no terminal")
		})
	}
}

func TestDoctorRefusesCommandLines(t *testing.T) {
	for arg, want := range map[string]string{
		"--only=liveki":               "--only: there is no check \"liveki\", did you mean livekit?\n",
		"--skip=nothing":              "--skip: there is no check \"nothing\"",
		"--stun=host":                 "--stun: want host:port, got \"host\"\n",
		"--timeout=5":                 "--timeout: want a duration between 1s and 10m\n",
		"--webhook-url=calls/webhook": "--webhook-url: want a URL such as https://calls.example.com/webhook\n",
		"check":                       "one command at most: doctor, not check\n",
	} {
		code, stdout, stderr := do(complete("ws://127.0.0.1:1"), "doctor", arg)
		require.Equal(t, exitUsage, code)
		require.Empty(t, stdout)
		require.Contains(t, stderr, want)
		require.Contains(t, stderr, "livekit-connector doctor --help lists every flag.\n")
	}
}

func TestDoctorSpeaksJSON(t *testing.T) {
	code, stdout, stderr := do(complete("ws://127.0.0.1:1"), "doctor", "--json", "--only", "livekit,websocket")
	require.Equal(t, exitFailed, code, stderr)
	var report doctor.Report
	require.NoError(t, json.Unmarshal([]byte(stdout), &report))
	require.Equal(t, 1, report.Fails)
	require.Equal(t, doctor.Line{
		Check: "livekit", Status: doctor.Fail, Found: "nothing answers at http://127.0.0.1:1: connect: connection refused",
		Remedy: "start livekit-server, mend ws_url, or open the way to it",
	}, report.Lines[0])
	require.Equal(t, doctor.Line{Check: "websocket", Status: doctor.Skip, Found: "see livekit"}, report.Lines[1])
}

func TestDoctorDocNamesEveryCheckAndFlag(t *testing.T) {
	text, err := os.ReadFile("../../docs/doctor.md")
	require.NoError(t, err)
	for _, n := range doctor.Names() {
		require.Contains(t, string(text), "\n| `"+n[0]+"` | ")
		require.Regexp(t, `(?m)^(ok  |skip)  `+n[0]+` +\S`, string(text), "the output shows all of them")
	}
	for _, f := range doctorFlags[:7] {
		require.Contains(t, string(text), "\n| `--"+f.Name)
	}
}

func TestDoctorHelpNamesEveryCheck(t *testing.T) {
	code, stdout, _ := do(nil, "doctor", "--help")
	require.Equal(t, exitOK, code)
	for _, n := range doctor.Names() {
		require.Contains(t, stdout, "\n  "+n[0]+" ")
	}
	for _, f := range doctorFlags[:7] {
		require.Contains(t, stdout, "\n  --"+f.Name)
	}
}
