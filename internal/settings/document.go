package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decoder fills structs from YAML nodes and collects every problem instead of stopping at the first.
type decoder struct {
	place    func(*yaml.Node) string
	problems []error
	// set is told every key that the document sets, with its node; may be nil.
	set func(key string, n *yaml.Node)
	// deep tells set of sections and of what is inside lists and maps, too.
	deep bool
	// single takes one value for a list of it.
	single bool
}

// Places says where a document has a key: "rules.yaml:12" for "rules[1].match.from".
type Places map[string]string

// Decode fills v, a pointer to a struct, from a YAML document that is nothing but a document: no environment, no flags.
// Where a list is wanted, one of its items will do. The error joins every *KeyError found; what could be read is set all
// the same. A key without a value has a place and sets nothing. Beside the types of Load, fields may be pointers, which stay nil unless the document says something, and
// yaml.Node, which holds whatever is written there.
func Decode(v any, name string, body []byte) (Places, error) {
	places := Places{}
	d := decoder{deep: true, single: true}
	d.set = func(key string, n *yaml.Node) { places[key] = d.place(n) }
	problems := d.document(reflect.ValueOf(v).Elem(), name, bytes.NewReader(body))
	return places, errors.Join(problems...)
}

// document fills the struct v from a YAML document. Unknown keys, keys given twice and values of a wrong type are
// problems with their line.
func (d *decoder) document(v reflect.Value, name string, body io.Reader) []error {
	d.place = func(n *yaml.Node) string { return fmt.Sprintf("%s:%d", name, n.Line) }
	dec := yaml.NewDecoder(body)
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return []error{syntaxProblem(name, err)}
	}
	if err := dec.Decode(&more); err == nil {
		return []error{&KeyError{Where: d.place(&more), Text: "a second YAML document: everything belongs into one"}}
	} else if !errors.Is(err, io.EOF) {
		return []error{syntaxProblem(name, err)}
	}
	d.value(doc.Content[0], v, "")
	return d.problems
}

// syntaxProblem passes on what the parser says. Its lines are sometimes one too low, so they are called near.
func syntaxProblem(name string, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.HasPrefix(text, "line ") {
		text = "near " + text
	}
	return &KeyError{Where: name, Text: text}
}

func (d *decoder) problem(n *yaml.Node, key, format string, args ...any) {
	d.problems = append(d.problems, &KeyError{Where: d.place(n), Key: key, Text: fmt.Sprintf(format, args...)})
}

// value sets v from n. A key without a value leaves v as it is.
func (d *decoder) value(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	null := n.Kind == yaml.ScalarNode && n.Tag == "!!null"
	if null && !d.deep {
		return
	}
	if d.set != nil && (d.deep || v.Kind() != reflect.Struct) {
		d.set(key, n)
	}
	if null {
		return
	}
	d.fill(n, v, key)
}

// fill sets v from a node that is there and no alias.
func (d *decoder) fill(n *yaml.Node, v reflect.Value, key string) {
	if v.Type() == nodeType {
		v.Set(reflect.ValueOf(*n))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.fill(n, v.Elem(), key)
	case reflect.Struct:
		d.section(n, v, key)
	case reflect.Map:
		d.mapping(n, v, key)
	case reflect.Slice:
		d.list(n, v, key)
	default:
		if n.Kind != yaml.ScalarNode {
			d.problem(n, key, "want one value, got %s", kindName(n))
			return
		}
		if err := setScalar(v, n.Value); err != nil {
			d.problem(n, key, "%s", err)
		}
	}
}

func (d *decoder) section(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.MappingNode {
		d.problem(n, key, "want keys and values, got %s", kindName(n))
		return
	}
	fields := make(map[string]int)
	known := make([]string, 0, v.NumField())
	for i := range v.NumField() {
		if name := yamlName(v.Type().Field(i)); name != "" {
			fields[name] = i
			known = append(known, name)
		}
	}
	d.pairs(n, key, func(k, val *yaml.Node) {
		i, ok := fields[k.Value]
		if !ok {
			d.problem(k, join(key, k.Value), "unknown key%s", suggest(k.Value, known))
			return
		}
		d.value(val, v.Field(i), join(key, k.Value))
	})
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.MappingNode {
		d.problem(n, key, "want keys and values, got %s", kindName(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	d.pairs(n, key, func(k, val *yaml.Node) {
		if d.deep && d.set != nil {
			d.set(join(key, k.Value), val)
		}
		if v.Type().Elem().Kind() == reflect.Struct {
			item := reflect.New(v.Type().Elem()).Elem()
			d.inside(val, item, join(key, k.Value))
			v.SetMapIndex(reflect.ValueOf(k.Value).Convert(v.Type().Key()), item)
			return
		}
		if val.Kind == yaml.AliasNode {
			val = val.Alias
		}
		if val.Kind != yaml.ScalarNode {
			d.problem(val, join(key, k.Value), "want one value, got %s", kindName(val))
			return
		}
		text := val.Value
		if val.Tag == "!!null" {
			text = ""
		}
		item := reflect.New(v.Type().Elem()).Elem()
		if err := setScalar(item, text); err != nil {
			d.problem(val, join(key, k.Value), "%s", err)
			return
		}
		v.SetMapIndex(reflect.ValueOf(k.Value).Convert(v.Type().Key()), item)
	})
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, key string) {
	items := n.Content
	switch {
	case n.Kind == yaml.SequenceNode:
	case d.single && n.Kind == yaml.ScalarNode && v.Type().Elem().Kind() == reflect.String,
		d.single && n.Kind == yaml.MappingNode && v.Type().Elem().Kind() == reflect.Struct:
		items = []*yaml.Node{n}
	default:
		d.problem(n, key, "want a list, got %s", kindName(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		d.inside(item, v.Index(i), fmt.Sprintf("%s[%d]", key, i))
	}
}

// inside reads what is inside a list or a map: not a key of its own, unless the reader goes deep.
func (d *decoder) inside(n *yaml.Node, v reflect.Value, key string) {
	set := d.set
	if !d.deep {
		d.set = nil
	}
	d.value(n, v, key)
	d.set = set
}

// pairs visits the keys of a mapping and complains about the second of two equal ones, which the parser lets pass.
func (d *decoder) pairs(n *yaml.Node, key string, visit func(k, v *yaml.Node)) {
	lines := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			d.problem(k, key, "want a plain key, got %s", kindName(k))
			continue
		}
		if first, twice := lines[k.Value]; twice {
			d.problem(k, join(key, k.Value), "given twice, first on line %d", first)
			continue
		}
		lines[k.Value] = k.Line
		visit(k, v)
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}
