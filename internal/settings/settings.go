// Package settings fills a configuration struct from a YAML document, the environment and command-line flags, and says
// everything that is wrong at once.
//
// The struct is the only description: every exported field with a yaml tag is a key, an environment variable and a
// flag. Later sources win: default, file, environment, flag. The tags:
//
//	yaml:"name"         the key; a struct without fields of its own in the help is a section
//	env:"A,B"           names of the environment variable, the preferred one first; without it PREFIX_SECTION_NAME
//	help:"text"         one sentence for --help and for the table in the README
//	group:"title"       the heading under which this key and the ones after it are listed
//
// Fields are strings, Secrets, booleans, integers, durations, string lists, string maps, lists and maps of structs, and
// sections. A field KEY_file beside a Secret or a map of Secrets KEY names a file that holds the value; in the structs of a
// list or map a field KEY_env names an environment variable that does.
//
// Decode reads a document that stands alone by the same rules.
package settings

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
)

// Secret is a string that never shows itself: not with fmt, not in a log, not in YAML or JSON.
type Secret string

// redacted is what is shown instead of a Secret.
const redacted = "[redacted]"

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String returns a placeholder, or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString keeps the secret out of %#v.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// LogValue keeps the secret out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps the secret out of JSON and other text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML keeps the secret out of YAML.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// KeyError is one thing that is wrong with the configuration. It never quotes a secret.
type KeyError struct {
	// Where is the place of the value: "config.yaml:12", "$CONNECTOR_PORT", "--port"; empty for a default.
	Where string
	// Key is the path of the key, "rtc.port_range_end"; empty if there is none.
	Key string
	// Text says what is wrong and what would be right.
	Text string
}

// Error returns place, key and text, separated by colons.
func (p *KeyError) Error() string {
	parts := make([]string, 0, 3)
	for _, part := range []string{p.Where, p.Key, p.Text} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}

// Field is one key of a configuration struct.
type Field struct {
	// Key is the path in the YAML document, with dots.
	Key string
	// Env are the names of the environment variable; the first one that is set counts.
	Env []string
	// Flag is the name of the command-line flag, without dashes.
	Flag string
	// Help is the sentence from the tag.
	Help string
	// Group is the heading that the key belongs to.
	Group string

	typ   reflect.Type
	index []int
}

// IsBool says whether the flag may stand without a value.
func (f Field) IsBool() bool { return f.typ.Kind() == reflect.Bool }

// IsSecret says whether the value must not be shown.
func (f Field) IsSecret() bool {
	return f.typ == secretType || f.typ.Kind() == reflect.Map && f.typ.Elem() == secretType
}

// Type names what the value is, in the words of --help.
func (f Field) Type() string {
	switch {
	case f.IsBool():
		return "true|false"
	case f.typ == durationType:
		return "duration"
	case f.typ.Kind() == reflect.Int, f.typ.Kind() == reflect.Float64:
		return "number"
	case f.typ.Kind() == reflect.Slice && f.typ.Elem().Kind() == reflect.Struct, f.typ.Kind() == reflect.Map:
		return "yaml"
	case f.typ.Kind() == reflect.Slice:
		return "list"
	case f.typ == secretType:
		return "secret"
	default:
		return "text"
	}
}

// Fields lists the keys of a struct in their order. It panics on a struct that the package cannot fill, which is a
// mistake in the program and found by its first test.
func Fields(cfg any, envPrefix string) []Field {
	t := reflect.TypeOf(cfg)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	w := fieldWalker{prefix: envPrefix}
	w.walk(t, "", nil)
	return w.fields
}

type fieldWalker struct {
	prefix string
	group  string
	fields []Field
}

func (w *fieldWalker) walk(t reflect.Type, path string, index []int) {
	for i := range t.NumField() {
		sf := t.Field(i)
		name := yamlName(sf)
		if name == "" {
			continue
		}
		if group := sf.Tag.Get("group"); group != "" {
			w.group = group
		}
		key := name
		if path != "" {
			key = path + "." + name
		}
		at := append(append([]int(nil), index...), i)
		if sf.Type.Kind() == reflect.Struct {
			w.walk(sf.Type, key, at)
			continue
		}
		if !supported(sf.Type) {
			panic(fmt.Sprintf("settings: %s has a type that cannot be configured: %s", key, sf.Type))
		}
		env := []string{w.prefix + "_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))}
		if tag := sf.Tag.Get("env"); tag != "" {
			env = strings.Split(tag, ",")
		}
		w.fields = append(w.fields, Field{
			Key: key, Env: env, Flag: strings.ReplaceAll(key, "_", "-"), Help: sf.Tag.Get("help"), Group: w.group,
			typ: sf.Type, index: at,
		})
	}
}

func yamlName(sf reflect.StructField) string {
	name, _, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
	if name == "-" || !sf.IsExported() {
		return ""
	}
	return name
}

func supported(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Float64:
		return true
	case reflect.Int64:
		return t == durationType
	case reflect.Slice:
		return t.Elem().Kind() == reflect.String || t.Elem().Kind() == reflect.Struct
	case reflect.Map:
		values := t.Elem().Kind()
		return t.Key().Kind() == reflect.String && (values == reflect.String || values == reflect.Int || values == reflect.Struct)
	default:
		return false
	}
}
