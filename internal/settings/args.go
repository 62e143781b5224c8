package settings

import (
	"fmt"
	"slices"
	"strings"
)

// Flag is a command-line flag that ParseArgs knows.
type Flag struct {
	// Name is without dashes.
	Name string
	// Bool says that the flag may stand without a value.
	Bool bool
}

// FlagsOf returns the flags of fields.
func FlagsOf(fields []Field) []Flag {
	flags := make([]Flag, 0, len(fields))
	for _, f := range fields {
		flags = append(flags, Flag{Name: f.Flag, Bool: f.IsBool()})
	}
	return flags
}

// ParseArgs splits a command line into flags and the words between them. It takes --name=value, --name value and, for
// booleans, --name alone, which a following true or false belongs to; one dash does as well as two, and everything after a lone -- is a word. Each unknown flag and each
// flag without its value is a *KeyError.
func ParseArgs(args []string, known []Flag) (flags map[string][]string, words []string, problems []error) {
	flags = make(map[string][]string)
	names := make([]string, 0, len(known))
	for _, f := range known {
		names = append(names, f.Name)
	}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			return flags, append(words, args...), problems
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			words = append(words, arg)
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		i := slices.Index(names, name)
		switch {
		case i < 0:
			problems = append(problems, &KeyError{Where: "--" + name, Text: "unknown flag" + suggestFlag(name, names)})
			continue
		case hasValue:
		case known[i].Bool:
			value = "true"
			if len(args) > 0 && (args[0] == "true" || args[0] == "false") { // --help shows it so, and no command is called so
				value, args = args[0], args[1:]
			}
		case len(args) == 0:
			problems = append(problems, &KeyError{Where: "--" + name, Text: "needs a value"})
			continue
		default:
			value, args = args[0], args[1:]
		}
		flags[name] = append(flags[name], value)
	}
	return flags, words, problems
}

func suggestFlag(name string, known []string) string {
	dashed := make([]string, 0, len(known))
	for _, k := range known {
		dashed = append(dashed, "--"+k)
	}
	return suggest("--"+name, dashed)
}

// UnknownEnv returns a *KeyError for each variable of environ ("NAME=value") that has the prefix but is none of the
// fields' nor of the further names. What Kubernetes sets for a Service of the same name does not count.
func UnknownEnv(environ []string, prefix string, fields []Field, further ...string) []error {
	known := slices.Clone(further)
	for _, f := range fields {
		known = append(known, f.Env...)
	}
	var problems []error
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, prefix+"_") || slices.Contains(known, name) || serviceLink(name, prefix) || setByKubernetes(value) {
			continue
		}
		problems = append(problems, &KeyError{Where: "$" + name, Text: "unknown variable" + suggest(name, known)})
	}
	return problems
}

// serviceLink recognises the variables CONNECTOR_SERVICE_HOST, CONNECTOR_SERVICE_PORT_HTTP, CONNECTOR_PORT_8080_TCP...
func serviceLink(name, prefix string) bool {
	rest := strings.TrimPrefix(name, prefix+"_")
	if strings.Contains("_"+rest, "_SERVICE_HOST") || strings.Contains("_"+rest, "_SERVICE_PORT") {
		return true
	}
	_, port, ok := strings.Cut("_"+rest, "_PORT_")
	return ok && strings.IndexFunc(port, func(r rune) bool { return r < '0' || r > '9' }) > 0
}

func problemf(where, key, format string, args ...any) *KeyError {
	return &KeyError{Where: where, Key: key, Text: fmt.Sprintf(format, args...)}
}
