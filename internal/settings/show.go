package settings

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Text returns the field's value in cfg as it would be written in the environment, secrets hidden.
func (f Field) Text(cfg any) string {
	v := reflect.Indirect(reflect.ValueOf(cfg)).FieldByIndex(f.index)
	switch {
	case f.Type() == "list":
		texts := make([]string, v.Len())
		for i := range texts {
			texts[i] = fmt.Sprint(v.Index(i).Interface()) // a Secret hides itself
		}
		return strings.Join(texts, ",")
	case f.Type() == "yaml":
		if v.Len() == 0 {
			return ""
		}
		return fmt.Sprintf("(%d)", v.Len())
	case f.typ == durationType:
		return shortDuration(time.Duration(v.Int()))
	default:
		return fmt.Sprint(v.Interface())
	}
}

// shortDuration writes 1m0s as 1m and 0s as 0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// WriteYAML writes cfg as a YAML document, secrets hidden, and of URLs whose field has the tag show:"host" all but the host, with the origin of each value that is not its default as a
// comment beside it.
func WriteYAML(w io.Writer, cfg any, origins Origins) error {
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(render(reflect.Indirect(reflect.ValueOf(cfg)), "", origins)); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return enc.Close()
}

func render(v reflect.Value, key string, origins Origins) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode}
	switch {
	case v.Kind() == reflect.Struct:
		n.Kind = yaml.MappingNode
		for i := range v.NumField() {
			name := yamlName(v.Type().Field(i))
			if name == "" {
				continue
			}
			child := render(v.Field(i), join(key, name), origins)
			if v.Type().Field(i).Tag.Get("show") == "host" {
				hidePaths(child)
			}
			k := &yaml.Node{Kind: yaml.ScalarNode, Value: name}
			if where := origins[join(key, name)]; where != "" {
				if child.Kind == yaml.ScalarNode || len(child.Content) == 0 {
					child.LineComment = where
				} else {
					k.LineComment = where
				}
			}
			n.Content = append(n.Content, k, child)
		}
	case v.Kind() == reflect.Slice:
		n.Kind = yaml.SequenceNode
		for i := range v.Len() {
			n.Content = append(n.Content, render(v.Index(i), "", nil))
		}
	case v.Kind() == reflect.Map:
		n.Kind = yaml.MappingNode
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			n.Content = append(n.Content, render(k, "", nil), render(v.MapIndex(k), "", nil))
		}
	case v.Type() == durationType:
		n.Value = shortDuration(time.Duration(v.Int()))
	default:
		n.Value = fmt.Sprint(v.Interface())
		if v.Kind() == reflect.String {
			n.Tag = "!!str"
		}
	}
	return n
}

// hidePaths leaves of URLs the scheme and the host: what comes behind them, or before the host, may be a secret.
func hidePaths(n *yaml.Node) {
	for _, child := range n.Content {
		hidePaths(child)
	}
	if n.Kind != yaml.ScalarNode || n.Value == "" {
		return
	}
	u, err := url.Parse(n.Value)
	switch {
	case err != nil || u.Scheme == "" || u.Host == "":
		n.Value = Secret(n.Value).String()
	case n.Value != u.Scheme+"://"+u.Host:
		n.Value = u.Scheme + "://" + u.Host + "/..."
	}
}

// WriteUsage lists the fields under their headings: flag, type, default and environment variable, then the help.
func WriteUsage(w io.Writer, fields []Field, defaults any) error {
	var out bytes.Buffer
	group := ""
	for _, f := range fields {
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(&out, "\n%s\n", group)
		}
		fmt.Fprintf(&out, "  --%s %s", f.Flag, f.Type())
		if text := f.Text(defaults); text != "" && text != "0s" && text != "0" {
			fmt.Fprintf(&out, "  (default %s)", text)
		}
		fmt.Fprintf(&out, "  [$%s]\n", strings.Join(f.Env, ", $"))
		for _, line := range wrap(f.Help, 100) {
			fmt.Fprintf(&out, "        %s\n", line)
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

// WriteMarkdown writes the fields as tables, one for each heading.
func WriteMarkdown(w io.Writer, fields []Field, defaults any) error {
	var out bytes.Buffer
	group := ""
	for _, f := range fields {
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(&out, "\n**%s**\n\n| key | default | environment | what it does |\n| --- | --- | --- | --- |\n", group)
		}
		text := f.Text(defaults)
		if text != "" {
			text = "`" + text + "`"
		}
		fmt.Fprintf(&out, "| `%s` | %s | `%s` | %s |\n", f.Key, text, strings.Join(f.Env, "` `"), strings.ReplaceAll(f.Help, "|", "\\|"))
	}
	_, err := w.Write(out.Bytes())
	return err
}

// wrap breaks text at spaces into lines of at most width bytes.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
