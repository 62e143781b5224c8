package whatsapp

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOperatorsFindEveryCode holds the table of docs/operations.md to the remedies.
func TestOperatorsFindEveryCode(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), "\n## Errors of Meta\n")
	require.True(t, found)
	documented := make(map[int]Remedy)
	names := map[string]Remedy{
		"retry": RemedyRetry, "operator": RemedyOperator, "permission": RemedyPermission, "give up": RemedyGiveUp,
	}
	row := regexp.MustCompile(`(?m)^\| (\d+) \| [^|]+ \| ([^|]+) \| [^|]+ \|$`)
	for _, cells := range row.FindAllStringSubmatch(section, -1) {
		code, err := strconv.Atoi(cells[1])
		require.NoError(t, err)
		require.NotContains(t, documented, code, "twice")
		require.Contains(t, names, cells[2], "remedy of %d", code)
		documented[code] = names[cells[2]]
	}
	require.Equal(t, remedies, documented)
}
