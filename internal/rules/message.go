package rules

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/livekit-connector/livekit-connector/internal/settings"
)

// message reads a part of LiveKit's API in its JSON form, as a document writes it. No problem quotes a value: the keys of a
// storage are among them.
func (b *builder) message(key string, n *yaml.Node, m proto.Message) {
	var tree any
	if err := n.Decode(&tree); err != nil {
		text := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", " "), "yaml: ")
		if strings.Contains(text, "`") { // around a value
			text = "has a value that is not what its tag says"
		}
		b.problem(key, "%s", text)
		return
	}
	bad := len(b.problems)
	b.fields(key, n, m.ProtoReflect().Descriptor())
	if len(b.problems) > bad {
		return
	}
	text, err := json.Marshal(tree)
	if err != nil {
		b.problem(key, "want keys that are text")
		return
	}
	if err := protojson.Unmarshal(text, m); err != nil {
		b.problem(key, "%s", misfit(err))
	}
}

// misfits are the complaints of the JSON parser that say which field is wrong, up to the value.
var misfits = regexp.MustCompile(`invalid value for \w+ (field|key) \w+|error parsing "\w+", oneof [\w.]+ is already set|duplicate field "\w+"`)

func misfit(err error) string {
	if text := misfits.FindString(err.Error()); text != "" {
		return text
	}
	return "is not what LiveKit's API has there"
}

// fields complains about keys that a message does not have and about what is no text where text is wanted, as a key that
// consists of digits alone; each with its line. n holds no cycle: it has been decoded.
func (b *builder) fields(key string, n *yaml.Node, d protoreflect.MessageDescriptor) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.SequenceNode {
		for i, item := range n.Content {
			b.fields(fmt.Sprintf("%s[%d]", key, i), item, d)
		}
		return
	}
	if n.Kind != yaml.MappingNode {
		return
	}
	known := make([]string, 0, d.Fields().Len())
	for i := range d.Fields().Len() {
		known = append(known, d.Fields().Get(i).TextName())
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		at := key + "." + name
		f := d.Fields().ByTextName(name)
		if f == nil {
			f = d.Fields().ByJSONName(name)
		}
		switch {
		case f == nil:
			b.problemAt(n.Content[i], at, "unknown key"+settings.Suggest(name, known))
		case f.IsMap():
		case f.Message() != nil:
			b.fields(at, n.Content[i+1], f.Message())
		case f.Kind() == protoreflect.StringKind:
			b.wantText(at, n.Content[i+1], f.IsList())
		}
	}
}

func (b *builder) wantText(key string, n *yaml.Node, list bool) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if list && n.Kind == yaml.SequenceNode {
		for i, item := range n.Content {
			b.wantText(fmt.Sprintf("%s[%d]", key, i), item, false)
		}
		return
	}
	if tag := n.ShortTag(); n.Kind == yaml.ScalarNode && tag != "!!str" && tag != "!!null" {
		b.problemAt(n, key, "want text: put it into quotes")
	}
}

// problemAt complains about a key at a node inside of what the document's reader leaves alone.
func (b *builder) problemAt(n *yaml.Node, key, text string) {
	b.problems = append(b.problems, &settings.KeyError{Where: fmt.Sprintf("%s:%d", b.name, n.Line), Key: key, Text: text})
}
