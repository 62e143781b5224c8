package settings

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Input is everything that settings are read from.
type Input struct {
	// Fields are the keys of the struct, from Fields.
	Fields []Field
	// DocumentName stands for the document in problems, usually its file name.
	DocumentName string
	// Document is the YAML document; empty means there is none.
	Document []byte
	// Env looks an environment variable up, as os.LookupEnv does. An empty variable counts as not set.
	Env func(name string) (string, bool)
	// Flags are the flags given, by name, from ParseArgs.
	Flags map[string][]string
	// ReadFile reads the files that KEY_file names, as os.ReadFile does.
	ReadFile func(name string) ([]byte, error)
}

// Origins says for each key that was set where its value came from: "config.yaml:12", "$CONNECTOR_PORT", "--port".
// A key that is not in it has its default.
type Origins map[string]string

// level orders the sources: a later one wins.
type level uint8

const (
	fromDefault level = iota
	fromDocument
	fromEnv
	fromFlag
)

type loader struct {
	in       Input
	root     reflect.Value
	origins  Origins
	levels   map[string]level
	problems []error
}

// Load fills cfg, a pointer to a struct that holds the defaults. The error joins every *KeyError found; what could be
// read is set all the same, so that a caller can look for further problems.
func Load(cfg any, in Input) (Origins, error) {
	l := loader{in: in, root: reflect.ValueOf(cfg).Elem(), origins: Origins{}, levels: map[string]level{}}
	l.document()
	for _, f := range in.Fields {
		l.env(f)
		l.flag(f)
	}
	l.secretFiles()
	return l.origins, errors.Join(l.problems...)
}

func (l *loader) note(key, where string, lv level) {
	l.origins[key] = where
	l.levels[key] = lv
}

func (l *loader) document() {
	var d decoder
	d.set = func(key string, n *yaml.Node) { l.note(key, d.place(n), fromDocument) }
	l.problems = append(l.problems, d.document(l.root, l.in.DocumentName, bytes.NewReader(l.in.Document))...)
}

func (l *loader) env(f Field) {
	for _, name := range f.Env {
		text, _ := l.in.Env(name)
		if text == "" || setByKubernetes(text) {
			continue
		}
		l.note(f.Key, "$"+name, fromEnv)
		l.problems = append(l.problems, setText(l.root.FieldByIndex(f.index), text, "$"+name, f.Key)...)
		return
	}
}

// setByKubernetes tells a service link from a setting: for a Service called "connector" Kubernetes puts
// CONNECTOR_PORT=tcp://10.0.0.1:8080 into every container of its namespace.
func setByKubernetes(text string) bool {
	return strings.HasPrefix(text, "tcp://") || strings.HasPrefix(text, "udp://")
}

func (l *loader) flag(f Field) {
	texts := l.in.Flags[f.Flag]
	if len(texts) == 0 {
		return
	}
	text := texts[len(texts)-1]
	if f.Type() == "list" {
		text = strings.Join(texts, ",")
	}
	l.note(f.Key, "--"+f.Flag, fromFlag)
	l.problems = append(l.problems, setText(l.root.FieldByIndex(f.index), text, "--"+f.Flag, f.Key)...)
}

// secretFiles reads the files that KEY_file names. Of a secret and its file the one from the stronger source counts.
func (l *loader) secretFiles() {
	for _, f := range l.in.Fields {
		l.secretsInside(f)
		if !f.IsSecret() {
			continue
		}
		i := slices.IndexFunc(l.in.Fields, func(other Field) bool { return other.Key == f.Key+"_file" })
		if i < 0 {
			continue
		}
		file := l.in.Fields[i]
		name := l.root.FieldByIndex(file.index).String()
		if name == "" || l.levels[f.Key] > l.levels[file.Key] {
			continue
		}
		if l.levels[f.Key] == l.levels[file.Key] {
			l.problem(file.Key, "set this or %s, not both", f.Key)
			continue
		}
		l.readSecret(l.root.FieldByIndex(f.index), name, file.Key, l.origins[file.Key])
		l.note(f.Key, l.origins[file.Key], l.levels[file.Key])
	}
}

// secretsInside does the same for the Secrets in a list or a map of structs, which may also name a variable.
func (l *loader) secretsInside(f Field) {
	v := l.root.FieldByIndex(f.index)
	switch {
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			l.secretsIn(v.Index(i), f.Key+"["+strconv.Itoa(i)+"]", l.origins[f.Key])
		}
	case v.Kind() == reflect.Map && v.Type().Elem().Kind() == reflect.Struct:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			item := reflect.New(v.Type().Elem()).Elem()
			item.Set(v.MapIndex(k))
			l.secretsIn(item, f.Key+"."+k.String(), l.origins[f.Key])
			v.SetMapIndex(k, item)
		}
	default:
	}
}

func (l *loader) secretsIn(item reflect.Value, key, where string) {
	t := item.Type()
	sibling := func(name string) string {
		for i := range t.NumField() {
			if yamlName(t.Field(i)) == name {
				return item.Field(i).String()
			}
		}
		return ""
	}
	for i := range t.NumField() {
		if t.Field(i).Type != secretType {
			continue
		}
		name, secret := yamlName(t.Field(i)), item.Field(i)
		file, variable := sibling(name+"_file"), sibling(name+"_env")
		problem := func(sub, text string) {
			l.problems = append(l.problems, &KeyError{Where: where, Key: key + "." + sub, Text: text})
		}
		switch {
		case file != "" && secret.String() != "":
			problem(name+"_file", "set this or "+name+", not both")
		case variable != "" && (file != "" || secret.String() != ""):
			problem(name+"_env", "set one of "+name+", "+name+"_env and "+name+"_file")
		case file != "":
			l.readSecret(secret, file, key+"."+name+"_file", where)
		case variable != "":
			text, _ := l.in.Env(variable)
			if text == "" {
				problem(name+"_env", "$"+variable+" is not set")
			}
			secret.SetString(text)
		}
	}
}

func (l *loader) readSecret(v reflect.Value, name, key, where string) {
	content, err := l.in.ReadFile(name)
	if err != nil {
		l.problems = append(l.problems, &KeyError{Where: where, Key: key, Text: err.Error()})
		return
	}
	text := trimSecret(content)
	if v.Type() != secretType { // a document, in which blanks count
		text = strings.TrimRight(string(content), "\r\n")
	}
	if strings.TrimSpace(text) == "" {
		l.problems = append(l.problems, &KeyError{Where: where, Key: key, Text: name + " is empty"})
		return
	}
	l.problems = append(l.problems, setText(v, text, name, key)...)
}

func (l *loader) problem(key, format string, args ...any) {
	l.problems = append(l.problems, problemf(l.origins[key], key, format, args...))
}
