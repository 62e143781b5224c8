package rules

import (
	"os"
	"reflect"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDocNamesEveryKey holds docs/rules.md to what can be written into a rules file.
func TestDocNamesEveryKey(t *testing.T) {
	text, err := os.ReadFile("../../docs/rules.md")
	require.NoError(t, err)
	for _, section := range []any{document{}, ruleInFile{}, matchInFile{}, windowInFile{}, roomInFile{}, agentInFile{}, participantInFile{}} {
		for field := range reflect.TypeOf(section).Fields() {
			key := field.Tag.Get("yaml")
			require.True(t, regexp.MustCompile("[`.{ \n]"+key+"[`:]").Match(text), "docs/rules.md does not tell of %s", key)
		}
	}
	for _, name := range placeholders {
		require.Contains(t, string(text), "`{"+name+"}`")
	}
	v := newValues(&Call{}, time.UTC)
	require.Len(t, v.of, len(placeholders))
	for _, name := range placeholders {
		require.Contains(t, v.of, name)
	}
}
