package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/livekit-connector/livekit-connector/internal/settings"
)

// Commands that a CommandLine can hold; no word means CommandRun.
const (
	CommandRun         = "run"
	CommandConfig      = "config"
	CommandCheck       = "check"
	CommandHealthcheck = "healthcheck"
	CommandHelp        = "help"
	CommandVersion     = "version"
)

var commands = []string{CommandRun, CommandConfig, CommandCheck, CommandHealthcheck, CommandHelp, CommandVersion}

// CommandLine is what a person or a supervisor asked the program to do.
type CommandLine struct {
	// Command is one of the Command constants.
	Command string
	// Config is the effective configuration. It is complete only if ParseCommandLine returned no error.
	Config Config
	// Origins says where each value that is not a default came from.
	Origins settings.Origins
	// Warnings are things that look wrong but stop nothing.
	Warnings []error
}

// fileFlags name the document. The body is for Kubernetes secrets and other places without files.
type fileFlags struct {
	Config     string `yaml:"config" env:"CONNECTOR_CONFIG_FILE" group:"Configuration" help:"YAML file with the configuration."`
	ConfigBody string `yaml:"config_body" env:"CONNECTOR_CONFIG_BODY" help:"The configuration itself, YAML, instead of a file."`
}

// Env is the part of the operating system that a configuration is read from. The zero value is not usable: see
// SystemEnv.
type Env struct {
	// Environ lists the variables as "NAME=value".
	Environ []string
	// ReadFile reads a file, as os.ReadFile does.
	ReadFile func(name string) ([]byte, error)
}

// SystemEnv is the environment of this process.
func SystemEnv() Env { return Env{Environ: os.Environ(), ReadFile: os.ReadFile} }

func (e Env) lookup(name string) (string, bool) {
	for _, pair := range slices.Backward(e.Environ) {
		if key, value, ok := strings.Cut(pair, "="); ok && key == name {
			return value, true
		}
	}
	return "", false
}

// ConfigFields lists every key of Config.
func ConfigFields() []settings.Field { return settings.Fields(Config{}, EnvPrefix) }

// ParseCommandLine reads the arguments (without the program's name), the environment and the file they name. The error
// joins all problems, one *settings.KeyError each, with the place of the offending value.
func ParseCommandLine(args []string, env Env) (*CommandLine, error) {
	fields := ConfigFields()
	fileFields := settings.Fields(fileFlags{}, EnvPrefix)
	known := slices.Concat(settings.FlagsOf(fields), settings.FlagsOf(fileFields),
		[]settings.Flag{{Name: "help", Bool: true}, {Name: "h", Bool: true}, {Name: "version", Bool: true}})
	given, words, problems := settings.ParseArgs(args, known)

	line := &CommandLine{Command: CommandRun, Config: DefaultConfig()}
	// What is missing is only told of a configuration that was read to its end: else it would hide why it was not.
	whole := true
	switch {
	case given["help"] != nil || given["h"] != nil:
		line.Command = CommandHelp
		return line, nil
	case given["version"] != nil:
		line.Command = CommandVersion
		return line, nil
	case len(words) > 1:
		problems = append(problems, &settings.KeyError{Text: fmt.Sprintf("one command at most, got %s", strings.Join(words, " "))})
		whole = false
	case len(words) == 1 && !slices.Contains(commands, words[0]):
		problems = append(problems, &settings.KeyError{Text: fmt.Sprintf("unknown command %q: want one of %s", words[0], strings.Join(commands, ", "))})
		whole = false
	case len(words) == 1:
		line.Command = words[0]
	}
	if line.Command == CommandHelp || line.Command == CommandVersion {
		return line, nil
	}

	in := settings.Input{Fields: fields, Env: env.lookup, Flags: given, ReadFile: env.ReadFile}
	var err error
	if in.DocumentName, in.Document, err = readDocument(fileFields, given, env); err != nil {
		problems = append(problems, err)
		whole = false
	}
	line.Origins, err = settings.Load(&line.Config, in)
	problems = append(problems, unjoin(err)...)
	problems = append(problems, line.validate(problems, whole && !brokenDocument(err, in.DocumentName))...)
	problems = append(problems, line.checkRules(env.ReadFile)...)
	line.Config.normalise()
	line.Warnings = settings.UnknownEnv(env.Environ, EnvPrefix, fields,
		append(line.Config.WhatsApp.namedVariables(), "CONNECTOR_CONFIG_FILE", "CONNECTOR_CONFIG_BODY")...)
	if line.Config.RulesFile != "" && line.Config.Webhook.Path == "" {
		line.Warnings = append(line.Warnings, &settings.KeyError{
			Where: line.Origins["rules_file"], Key: "rules_file", Text: "has no effect without webhook.path: no call comes to the rules",
		})
	}
	line.Warnings = append(line.Warnings, line.webhookWarnings()...)
	return line, errors.Join(problems...)
}

// brokenDocument reports whether the document as a whole is wrong, rather than a key in it.
func brokenDocument(err error, document string) bool {
	return document != "" && slices.ContainsFunc(unjoin(err), func(err error) bool {
		p, ok := errors.AsType[*settings.KeyError](err)
		return ok && p.Key == "" && strings.HasPrefix(p.Where, document)
	})
}

// validate adds the place to each problem of a value and drops those of keys that are known to be wrong already, and
// without missing those of keys that nobody set.
func (l *CommandLine) validate(known []error, missing bool) []error {
	reported := make(map[string]bool)
	for _, err := range known {
		if p, ok := errors.AsType[*settings.KeyError](err); ok {
			reported[p.Key] = true
			reported[strings.TrimSuffix(p.Key, "_file")] = true
		}
	}
	var fresh []error
	for _, err := range unjoin(l.Config.Validate()) {
		p, ok := errors.AsType[*settings.KeyError](err)
		if !ok {
			fresh = append(fresh, err)
			continue
		}
		if reported[p.Key] {
			continue
		}
		key := p.Key
		for key != "" && l.Origins[key] == "" && strings.ContainsAny(key, ".[") { // of what is inside a list or a map the whole has one
			key = key[:strings.LastIndexAny(key, ".[")]
		}
		p.Where = l.Origins[key]
		if p.Where == "" {
			if !missing {
				continue
			}
			p.Text += unsetHint(p.Key)
		}
		fresh = append(fresh, p)
	}
	return fresh
}

// unsetHint names the ways to set a key that nobody set.
func unsetHint(key string) string {
	for _, f := range ConfigFields() {
		if f.Key == key {
			return fmt.Sprintf(" (set it in the file, with $%s or with --%s)", f.Env[0], f.Flag)
		}
	}
	return ""
}

func readDocument(fields []settings.Field, given map[string][]string, env Env) (name string, body []byte, err error) {
	var files fileFlags
	origins, err := settings.Load(&files, settings.Input{Fields: fields, Env: env.lookup, Flags: given})
	if err != nil {
		return "", nil, err
	}
	file, inline := files.Config, files.ConfigBody
	if file != "" && inline != "" {
		fileFlag, bodyFlag := strings.HasPrefix(origins["config"], "--"), strings.HasPrefix(origins["config_body"], "--")
		switch {
		case fileFlag && !bodyFlag:
			inline = ""
		case bodyFlag && !fileFlag:
			file = ""
		default:
			return "", nil, &settings.KeyError{Where: origins["config"] + " and " + origins["config_body"], Text: "give one of them"}
		}
	}
	if inline != "" {
		return origins["config_body"], []byte(inline), nil
	}
	if file == "" {
		return "", nil, nil
	}
	if body, err = env.ReadFile(file); err != nil {
		return file, nil, &settings.KeyError{Where: origins["config"], Text: err.Error()}
	}
	return file, body, nil
}

// normalise gives URLs one form: no trailing slash.
func (c *Config) normalise() {
	c.WSURL = strings.TrimRight(c.WSURL, "/")
	c.WhatsApp.GraphURL = strings.TrimRight(c.WhatsApp.GraphURL, "/")
}

// HTTPURL is the URL of livekit-server for API requests: http or https.
func (c *Config) HTTPURL() string {
	return withScheme(c.WSURL, map[string]string{"ws": "http", "wss": "https"})
}

// WebSocketURL is the URL of livekit-server for joining rooms: ws or wss.
func (c *Config) WebSocketURL() string {
	return withScheme(c.WSURL, map[string]string{"http": "ws", "https": "wss"})
}

func withScheme(text string, schemes map[string]string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	if scheme, ok := schemes[u.Scheme]; ok {
		u.Scheme = scheme
	}
	return strings.TrimRight(u.String(), "/")
}

// WriteHelp writes what --help prints.
func WriteHelp(w io.Writer) error {
	var out bytes.Buffer
	out.WriteString(helpHead)
	if err := settings.WriteUsage(&out, settings.Fields(fileFlags{}, EnvPrefix), fileFlags{}); err != nil {
		return err
	}
	if err := settings.WriteUsage(&out, ConfigFields(), DefaultConfig()); err != nil {
		return err
	}
	out.WriteString(helpTail)
	_, err := w.Write(out.Bytes())
	return err
}

const helpHead = `livekit-connector joins WhatsApp calls to LiveKit rooms. It serves livekit.Connector, so LiveKit's SDKs work unchanged.

Usage:
  livekit-connector [run] [flags]        take and place calls until told to stop
  livekit-connector config [flags]       print the effective configuration, secrets hidden, and where each value is from
  livekit-connector check [flags]        the same checks as at start: configuration, LiveKit's URL and credentials
  livekit-connector doctor [flags]       examine LiveKit, Meta, the network and this machine; doctor --help tells more
  livekit-connector healthcheck [flags]  ask the connector on this machine whether it is alive (for containers)
  livekit-connector drain [flags]        have a running connector take no new calls and wait for the last; drain --help tells more
  livekit-connector rules test [flags]   what becomes of a call by a rules file; rules --help tells more
  livekit-connector version              version, commit, Go and libopus; also --version
  livekit-connector help                 this text; also --help

Every key of the YAML file is a flag and an environment variable too. A flag wins over the environment, the environment
over the file, the file over the default. Lists are separated by commas in flags and variables; lists of objects are
YAML or JSON. Unknown keys, and all other problems, are reported at once.
`

const helpTail = `
Signals: the first SIGTERM or SIGINT lets calls end by themselves for drain_timeout and refuses new ones, the second
hangs up all calls, the third exits at once. SIGHUP reads the rules file anew, if there is one.

Exit codes: 0 done, or stopped as asked; 1 failed while running, calls did not end in time when stopped, or healthcheck,
doctor or drain failed; 2 wrong configuration or command line, or a crash; 3 LiveKit unreachable or its credentials
refused; 4 and 5 of rules test: a rule rejects the call, no rule matches; 6 of drain: calls are left; 130 third signal.
`

// unjoin lists the errors in an errors.Join.
func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// Problems lists what ParseCommandLine found, in the order of the sources.
func Problems(err error) []error { return unjoin(err) }
