package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/doctor"
	"github.com/livekit-connector/livekit-connector/internal/settings"
)

const doctorHead = `Examines what a connector with this configuration needs: LiveKit, Meta, the network, this machine. Places no call, changes
nothing, and may run beside a connector. Prints one line for each finding: ok, warn, fail or skip, what was found, and
after -> what to do.

Usage:
  livekit-connector doctor [flags] [the flags of the connector]

  --json               JSON instead of text
  --only NAME,...      only these checks
  --skip NAME,...      not these checks
  --join               join a LiveKit room of its own with two participants, to try media; agents that LiveKit sends into
                       every room come, too
  --webhook-url URL    callback URL in Meta's dashboard, instead of webhook.public_url
  --stun HOST:PORT,... STUN servers to ask beside those of rtc.ice_servers, instead of public ones; none asks no others
  --timeout DURATION   how long all of it may take, such as 30s; without it 20s

Checks:
`

const doctorTail = `
Exit codes: 0 no failure, though maybe warnings; 1 a failure; 2 wrong configuration or command line.
`

// doctorTimeout is enough for every check's own limits.
const doctorTimeout = 20 * time.Second

// publicSTUN are asked when the configuration has no STUN servers: those that livekit-server asks for its own address, too.
var publicSTUN = []string{"stun.l.google.com:19302", "global.stun.twilio.com:3478"}

var doctorFlags = []settings.Flag{
	{Name: "json", Bool: true},
	{Name: "only"},
	{Name: "skip"},
	{Name: "join", Bool: true},
	{Name: "webhook-url"},
	{Name: "stun"},
	{Name: "timeout"},
	{Name: "help", Bool: true},
	{Name: "h", Bool: true},
}

// doctorCommand is everything that begins with the word doctor; args come behind it.
func doctorCommand(args []string, env app.Env, stdout, stderr io.Writer) int {
	own, rest := splitArgs(args, doctorFlags)
	given, _, problems := settings.ParseArgs(own, doctorFlags)
	if given["help"] != nil || given["h"] != nil {
		return printed(writeDoctorHelp(stdout), stderr)
	}
	line, err := app.ParseCommandLine(rest, env)
	if line.Command != app.CommandRun {
		problems = append(problems, &settings.KeyError{Text: "one command at most: doctor, not " + line.Command})
	}
	o, optionsErr := line.DoctorOptions(err)
	if optionsErr != nil {
		problems = append(problems, optionsErr)
	}
	timeout, wrong := doctorOptions(given, &o)
	problems = append(problems, wrong...)
	if len(problems) > 0 {
		for _, problem := range problems {
			fmt.Fprintln(stderr, problem)
		}
		fmt.Fprintln(stderr, "livekit-connector doctor --help lists every flag.")
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	report := doctor.Run(ctx, o)
	if last(given["json"]) == "true" {
		err = report.WriteJSON(stdout)
	} else {
		err = report.WriteText(stdout, colorful(stdout, env))
	}
	switch {
	case err != nil:
		return printed(err, stderr)
	case len(o.Problems) > 0:
		return exitUsage
	case report.Fails > 0:
		return exitFailed
	default:
		return exitOK
	}
}

// doctorOptions reads doctor's own flags.
func doctorOptions(given map[string][]string, o *doctor.Options) (timeout time.Duration, problems []error) {
	bad := func(flag, format string, args ...any) {
		problems = append(problems, &settings.KeyError{Where: "--" + flag, Text: fmt.Sprintf(format, args...)})
	}
	var names []string
	for _, n := range doctor.Names() {
		names = append(names, n[0])
	}
	o.Only, o.Skip = listed(given["only"]), listed(given["skip"])
	for flag, texts := range map[string][]string{"only": o.Only, "skip": o.Skip} {
		for _, text := range texts {
			if !slices.Contains(names, text) {
				bad(flag, "there is no check %q%s", text, settings.Suggest(text, names))
			}
		}
	}
	o.Join = last(given["join"]) == "true"
	if text := last(given["webhook-url"]); text != "" {
		if u, err := url.Parse(text); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
			bad("webhook-url", "want a URL such as https://calls.example.com/webhook")
		}
		o.Webhook.PublicURL = text
	}
	if err := stunServers(given["stun"], o); err != nil {
		bad("stun", "%s", err)
	}
	timeout = doctorTimeout
	if text := last(given["timeout"]); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < time.Second || d > 10*time.Minute {
			bad("timeout", "want a duration between 1s and 10m")
		}
		timeout = d
	}
	return timeout, problems
}

// listed splits what was given with commas, or by several flags.
func listed(texts []string) []string {
	return strings.FieldsFunc(strings.Join(texts, ","), func(r rune) bool { return r == ',' || r == ' ' })
}

// stunServers says whom to ask beside the configured servers: those given, else public ones if none are configured.
func stunServers(texts []string, o *doctor.Options) error {
	servers := listed(texts)
	if len(servers) == 0 && len(o.RTC.STUN) == 0 {
		servers = publicSTUN
	}
	if slices.Equal(servers, []string{"none"}) {
		return nil
	}
	for _, server := range servers {
		host, port, err := net.SplitHostPort(server)
		if n, numberErr := strconv.Atoi(port); err != nil || host == "" || numberErr != nil || n < 1 || n > 65535 {
			return fmt.Errorf("want host:port, got %q", server)
		}
	}
	o.STUN = servers
	return nil
}

// splitArgs takes the flags of a command out of a command line of the connector's flags, values included.
func splitArgs(args []string, flags []settings.Flag) (own, rest []string) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		i := slices.IndexFunc(flags, func(f settings.Flag) bool { return f.Name == name })
		if arg == "--" || !strings.HasPrefix(arg, "-") || i < 0 {
			rest = append(rest, arg)
			continue
		}
		own = append(own, arg)
		takes := !flags[i].Bool || len(args) > 0 && (args[0] == "true" || args[0] == "false")
		if !hasValue && takes && len(args) > 0 {
			own, args = append(own, args[0]), args[1:]
		}
	}
	return own, rest
}

func last(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return texts[len(texts)-1]
}

// colorful says whether w is a terminal that wants colors (https://no-color.org).
func colorful(w io.Writer, env app.Env) bool {
	for _, pair := range env.Environ {
		name, value, _ := strings.Cut(pair, "=")
		if name == "NO_COLOR" && value != "" || name == "TERM" && value == "dumb" {
			return false
		}
	}
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	stat, err := file.Stat()
	return err == nil && stat.Mode()&os.ModeCharDevice != 0
}

func writeDoctorHelp(w io.Writer) error {
	var b strings.Builder
	b.WriteString(doctorHead)
	for _, n := range doctor.Names() {
		fmt.Fprintf(&b, "  %-13s %s\n", n[0], n[1])
	}
	b.WriteString(doctorTail)
	_, err := io.WriteString(w, b.String())
	return err
}
