package whatsapp

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Meta's documentation and its traffic disagree about strings, numbers and arrays. The flex types take whatever comes and never fail:
// what cannot be read is zero.

// flexString takes a string, a number, a boolean, or the first of an array of them.
type flexString string

func (s *flexString) UnmarshalJSON(b []byte) error {
	var text string
	switch {
	case len(b) == 0 || b[0] == 'n' || b[0] == '{':
	case b[0] == '"':
		if json.Unmarshal(b, &text) == nil {
			*s = flexString(text)
		}
	case b[0] == '[':
		var list []json.RawMessage
		if json.Unmarshal(b, &list) == nil && len(list) > 0 && list[0][0] != '[' {
			return s.UnmarshalJSON(list[0])
		}
	default:
		*s = flexString(b)
	}
	return nil
}

// flexInt takes a number or a string that holds one; fractions are cut.
type flexInt int64

func (n *flexInt) UnmarshalJSON(b []byte) error {
	var s flexString
	_ = s.UnmarshalJSON(b)
	text := strings.TrimSpace(string(s))
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		*n = flexInt(v)
	} else if f, err := strconv.ParseFloat(text, 64); err == nil && f > -1e15 && f < 1e15 {
		*n = flexInt(f)
	}
	return nil
}

// flexBool takes a boolean or a string or number that means one.
type flexBool bool

func (v *flexBool) UnmarshalJSON(b []byte) error {
	var s flexString
	_ = s.UnmarshalJSON(b)
	yes, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(string(s))))
	*v = flexBool(err == nil && yes)
	return nil
}

// flexTime takes Unix seconds (or milliseconds, from 1e11 up) as a number or a string. Absent is the zero time.
type flexTime time.Time

func (t *flexTime) UnmarshalJSON(b []byte) error {
	var n flexInt
	_ = n.UnmarshalJSON(b)
	switch {
	case n <= 0 || n >= 1e14:
	case n >= 1e11:
		*t = flexTime(time.UnixMilli(int64(n)).UTC())
	default:
		*t = flexTime(time.Unix(int64(n), 0).UTC())
	}
	return nil
}

// flexList takes an array and leaves out elements that do not fit; anything else is an empty list.
type flexList[T any] []T

func (l *flexList[T]) UnmarshalJSON(b []byte) error {
	var raw []json.RawMessage
	if json.Unmarshal(b, &raw) != nil {
		return nil //nolint:nilerr // not a list: nothing in it for us
	}
	for _, element := range raw {
		if v, ok := flexObject[T](element); ok {
			*l = append(*l, v)
		}
	}
	return nil
}

// flexStrings takes an array of strings, or one string.
type flexStrings []string

func (l *flexStrings) UnmarshalJSON(b []byte) error {
	raw := []json.RawMessage{b}
	if len(b) > 0 && b[0] == '[' && json.Unmarshal(b, &raw) != nil {
		return nil //nolint:nilerr // no list: nothing in it for us
	}
	for _, element := range raw {
		var s flexString
		if len(element) > 0 && element[0] != '[' {
			_ = s.UnmarshalJSON(element)
		}
		if s != "" {
			*l = append(*l, string(s))
		}
	}
	return nil
}

// flexObject reads a JSON object; members of a wrong type stay zero. It reports whether b is an object at all.
func flexObject[T any](b []byte) (v T, ok bool) {
	if len(b) == 0 || b[0] != '{' {
		return v, false
	}
	// The only error possible in valid JSON is a member of a wrong type, which encoding/json skips.
	_ = json.Unmarshal(b, &v)
	return v, true
}
