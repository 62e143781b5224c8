package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// docBlock is a fenced block of a document with its language.
var docBlock = regexp.MustCompile("(?s)```(\\w+)\n(.*?)```")

// TestRulesDocIsTrue runs the commands of docs/rules.md with the file that it shows.
func TestRulesDocIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/rules.md")
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("wrong.yaml", []byte("rules:\n  - match:\n      form: 4930555010\n    room: {name: \"{callid}\"}\n"), 0o600))
	commands := 0
	for _, m := range docBlock.FindAllStringSubmatch(string(text), -1) {
		language, block := m[1], m[2]
		switch {
		case language == "console":
			first, want, _ := strings.Cut(block, "\n")
			args := strings.Fields(strings.TrimPrefix(first, "$ livekit-connector "))
			_, stdout, stderr := do(nil, args...)
			require.Equal(t, want, stdout+stderr, first)
			commands++
		case strings.HasPrefix(block, "# rules.yaml\n"):
			require.NoError(t, os.WriteFile("rules.yaml", []byte(block), 0o600))
		case strings.HasPrefix(block, "# config.yaml\n"):
			// What the files of the example would hold.
			dir := t.TempDir()
			for _, name := range []string{"token", "app"} {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
			}
			if strings.Contains(block, "rules_file") {
				require.NoError(t, os.WriteFile("rules.yaml", []byte("rules: [{}]"), 0o600))
			}
			require.NoError(t, os.WriteFile("config.yaml", []byte(strings.ReplaceAll(block, "/run/secrets", dir)), 0o600))
			code, _, stderr := do(complete("wss://lk.example.com"), "config", "--config", "config.yaml")
			require.Equal(t, exitOK, code, stderr)
		}
	}
	require.Equal(t, 3, commands)
	for word := range strings.FieldsSeq("0 1 2 4 5") {
		require.Contains(t, string(text), "\n| "+word+" | ")
	}
}
