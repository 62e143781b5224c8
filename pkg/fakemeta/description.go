package fakemeta

import (
	"strconv"
	"strings"
)

// attribute is one a= line, split at the first colon.
type attribute struct{ key, value string }

// section is one m= line with what follows it.
type section struct {
	kind, proto string
	port        int
	payloads    []string
	attributes  []attribute
}

// description is a session description cut into lines, nothing interpreted. It keeps what a validator must see and
// a tolerant parser would hide: duplicates, their level, line ends.
type description struct {
	attributes []attribute // session level
	media      []section
}

// parseDescription cuts text into lines. The reason of a failure is a *SDPError.
func parseDescription(text string) (*description, error) {
	if strings.TrimSpace(text) == "" {
		return nil, refuse(RuleSyntax, "SDP is empty")
	}
	if !strings.HasPrefix(text, "v=0") {
		return nil, refuse(RuleSyntax, "SDP does not start with v=0; it must be the plain text, not JSON in JSON")
	}
	if !strings.HasSuffix(text, "\r\n") || strings.Count(text, "\n") != strings.Count(text, "\r\n") {
		return nil, refuse(RuleLineEnds, "every SDP line must end with CRLF")
	}
	d := &description{}
	seen := map[byte]bool{}
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\r\n"), "\r\n") {
		if len(line) < 2 || line[1] != '=' || line[0] < 'a' || line[0] > 'z' {
			return nil, refuse(RuleSyntax, "malformed SDP line")
		}
		seen[line[0]] = true
		if err := d.add(line[0], line[2:]); err != nil {
			return nil, err
		}
	}
	for _, kind := range []byte("vost") {
		if !seen[kind] {
			return nil, refuse(RuleSyntax, "SDP has no "+string(kind)+"= line")
		}
	}
	return d, nil
}

func (d *description) add(kind byte, value string) error {
	switch kind {
	case 'm':
		f := strings.Fields(value)
		if len(f) < 4 {
			return refuse(RuleSyntax, "malformed m= line")
		}
		port, err := strconv.Atoi(f[1])
		if err != nil {
			return refuse(RuleSyntax, "malformed port in m= line")
		}
		d.media = append(d.media, section{kind: f[0], port: port, proto: f[2], payloads: f[3:]})
	case 'a':
		k, v, _ := strings.Cut(value, ":")
		a := attribute{k, v}
		if n := len(d.media); n > 0 {
			d.media[n-1].attributes = append(d.media[n-1].attributes, a)
		} else {
			d.attributes = append(d.attributes, a)
		}
	}
	return nil
}

// all returns the values of an attribute at both levels, the media section's first.
func (d *description) all(key string) []string {
	var values []string
	for _, m := range d.media {
		values = appendValues(values, m.attributes, key)
	}
	return appendValues(values, d.attributes, key)
}

// value returns the first value of an attribute, the media section's before the session's.
func (d *description) value(key string) (string, bool) {
	if v := d.all(key); len(v) > 0 {
		return v[0], true
	}
	return "", false
}

func appendValues(to []string, from []attribute, key string) []string {
	for _, a := range from {
		if a.key == key {
			to = append(to, a.value)
		}
	}
	return to
}

// codec is one rtpmap line with its fmtp and the feedback it asks for.
type codec struct {
	payload string // as it stands in the m= line
	mapping string // "opus/48000/2"
	format  string // the fmtp value, may be empty
	twcc    bool   // rtcp-fb transport-cc
}

func (c codec) is(mapping string) bool { return strings.EqualFold(c.mapping, mapping) }

func (c codec) payloadType() uint8 {
	n, err := strconv.ParseUint(c.payload, 10, 7)
	if err != nil {
		return 0
	}
	return uint8(n)
}

// staticMappings are the payload types that need no rtpmap line, RFC 3551 section 6.
var staticMappings = map[string]string{"0": "PCMU/8000", "8": "PCMA/8000", "9": "G722/8000", "13": "CN/8000"}

// codecs lists the codecs of the first media section in the order of its m= line.
func (d *description) codecs() []codec {
	if len(d.media) == 0 {
		return nil
	}
	mappings, formats, twcc := map[string]string{}, map[string]string{}, map[string]bool{}
	for _, a := range d.media[0].attributes {
		payload, rest, _ := strings.Cut(a.value, " ")
		switch a.key {
		case "rtpmap":
			mappings[payload] = rest
		case "fmtp":
			formats[payload] = rest
		case "rtcp-fb":
			twcc[payload] = twcc[payload] || rest == "transport-cc"
		}
	}
	var list []codec
	for _, p := range d.media[0].payloads {
		m, ok := mappings[p]
		if !ok {
			m = staticMappings[p]
		}
		list = append(list, codec{payload: p, mapping: m, format: formats[p], twcc: twcc[p]})
	}
	return list
}
