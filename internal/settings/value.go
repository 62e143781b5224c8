package settings

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

var (
	secretType   = reflect.TypeFor[Secret]()
	durationType = reflect.TypeFor[time.Duration]()
	nodeType     = reflect.TypeFor[yaml.Node]()
)

// setText sets a field from the text of an environment variable or a flag. Lists are separated by commas; lists of
// structs and maps are YAML (and so JSON).
func setText(v reflect.Value, text, where, key string) []error {
	kind := v.Kind()
	if kind == reflect.Map || kind == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct {
		return setYAMLText(v, text, where, key)
	}
	if kind == reflect.Slice {
		v.Set(reflect.Zero(v.Type()))
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				v.Set(reflect.Append(v, reflect.ValueOf(item).Convert(v.Type().Elem())))
			}
		}
		return nil
	}
	if err := setScalar(v, text); err != nil {
		return []error{&KeyError{Where: where, Key: key, Text: err.Error()}}
	}
	return nil
}

func setYAMLText(v reflect.Value, text, where, key string) []error {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return []error{&KeyError{Where: where, Key: key, Text: "is not YAML"}}
	}
	if doc.Kind == 0 {
		v.Set(reflect.Zero(v.Type()))
		return nil
	}
	d := decoder{place: func(*yaml.Node) string { return where }}
	d.value(doc.Content[0], v, key)
	return d.problems
}

// setScalar sets a string, boolean, number or duration. Its errors do not name the key and do not quote a Secret.
func setScalar(v reflect.Value, text string) error {
	switch {
	case v.Type() == durationType:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("want a duration such as 500ms, 30s or 5m, got %s", quote(text))
		}
		v.SetInt(int64(d))
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		switch strings.ToLower(text) {
		case "true", "yes", "on", "1":
			v.SetBool(true)
		case "false", "no", "off", "0":
			v.SetBool(false)
		default:
			return fmt.Errorf("want true or false, got %s", quote(text))
		}
	default:
		return setNumber(v, text)
	}
	return nil
}

func setNumber(v reflect.Value, text string) error {
	switch v.Kind() {
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("%s is out of range", quote(text))
		}
		if err != nil {
			return fmt.Errorf("want a whole number, got %s", quote(text))
		}
		v.SetInt(int64(n))
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			return fmt.Errorf("want a number such as 0.9, got %s", quote(text))
		}
		v.SetFloat(f)
	default:
		panic("settings: no scalar: " + v.Type().String())
	}
	return nil
}

// quote shows a value in an error, cut to what a line can bear.
func quote(text string) string {
	const longest = 40
	if len(text) > longest {
		text = text[:longest] + "..."
	}
	return strconv.Quote(text)
}
