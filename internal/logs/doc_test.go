package logs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/logs"
)

// components are the parts that packages log as, by directory; one that is not named here logs as logs.App. What a library says comes
// through a file of its own.
var components = map[string]string{
	"internal/api": logs.API, "internal/webhook": logs.Webhook, "internal/node": logs.Node, "internal/admission": logs.Node,
	"internal/call": logs.Call, "internal/metaleg": logs.MetaLeg, "internal/metaleg/log.go": logs.WebRTC, "internal/roomleg": logs.RoomLeg,
	"internal/roomleg/sdklog": logs.LiveKit, "pkg/whatsapp": logs.Graph, "internal/notify": logs.Notify, "internal/rules": logs.Rules,
	"internal/panics": "any",
}

// elsewhere are directories whose code is not part of the connector.
var elsewhere = []string{"internal/demo", "internal/livekittest", "internal/e2e", "internal/impair", "pkg/fakemeta"}

// The page, and what encloses its table.
const (
	logsPage      = "../../docs/logs.md"
	beginOfEvents = "<!-- events -->\n"
	endOfEvents   = "<!-- end of events -->"
)

// event is a line of the log as the code writes it.
type event struct{ message, level, component, keys string }

// messageAt is where a method of a logger takes its message.
var messageAt = map[string]int{
	"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "DebugContext": 1, "InfoContext": 1, "WarnContext": 1, "ErrorContext": 1, "Log": 2, "LogAttrs": 2,
}

func eventsOfCode(t *testing.T) []event {
	t.Helper()
	var events []event
	root := os.DirFS("../..")
	for _, dir := range []string{"internal", "cmd/livekit-connector", "pkg", "media"} {
		require.NoError(t, fs.WalkDir(root, dir, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && slices.Contains(elsewhere, path):
				return fs.SkipDir
			case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../..", path), nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if e, ok := eventOf(n); ok {
					e.component = logs.App
					for _, place := range []string{filepath.Dir(path), path} {
						if c, ok := components[place]; ok {
							e.component = c
						}
					}
					events = append(events, e)
				}
				return true
			})
			return nil
		}))
	}
	return events
}

// eventOf reads a call of a logger.
func eventOf(n ast.Node) (event, bool) {
	c, ok := n.(*ast.CallExpr)
	if !ok {
		return event{}, false
	}
	method, ok := c.Fun.(*ast.SelectorExpr)
	if !ok || !isLogger(method.X) {
		return event{}, false
	}
	at, ok := messageAt[method.Sel.Name]
	if !ok || len(c.Args) <= at {
		return event{}, false
	}
	message, ok := text(c.Args[at])
	if !ok {
		return event{}, false
	}
	e := event{message: message, level: strings.ToLower(strings.TrimSuffix(method.Sel.Name, "Context"))}
	if at == 2 {
		e.level = "varies"
		if level, fixed := c.Args[1].(*ast.SelectorExpr); fixed {
			e.level = strings.ToLower(strings.TrimPrefix(level.Sel.Name, "Level"))
		}
	}
	e.keys = strings.Join(keysOf(c.Args[at+1:]), " ")
	return e, true
}

// keysOf are the names of attributes that stand at the call itself.
func keysOf(args []ast.Expr) []string {
	var keys []string
	for i := 0; i < len(args); i++ {
		if attr, ok := args[i].(*ast.CallExpr); ok {
			if len(attr.Args) > 0 {
				if key, ok := text(attr.Args[0]); ok {
					keys = append(keys, key)
				}
			}
			continue
		}
		if key, ok := text(args[i]); ok {
			keys = append(keys, key)
			i++ // its value
		}
	}
	return keys
}

// isLogger goes by names: log, c.log, l.log.leg(), s.log.pion.Load(), out.
func isLogger(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return strings.HasSuffix(strings.ToLower(x.Name), "log") || x.Name == "out"
	case *ast.SelectorExpr:
		return strings.HasSuffix(strings.ToLower(x.Sel.Name), "log") || x.Sel.Name == "out" || x.Sel.Name == "Logger"
	case *ast.CallExpr:
		method, ok := x.Fun.(*ast.SelectorExpr)
		return ok && (slices.Contains([]string{"leg", "Load"}, method.Sel.Name) || method.Sel.Name == "With" && isLogger(method.X))
	default:
		return false
	}
}

func text(x ast.Expr) (string, bool) {
	switch x := x.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(x.Value)
		return s, err == nil && x.Kind == token.STRING
	case *ast.BinaryExpr:
		a, okA := text(x.X)
		b, okB := text(x.Y)
		return a + b, okA && okB && x.Op == token.ADD
	default:
		return "", false
	}
}

// Every line that the connector can write stands in docs/logs.md, and nothing else: an operator looks there at night.
func TestDocumentNamesEveryEvent(t *testing.T) {
	document, err := os.ReadFile(logsPage)
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(document), beginOfEvents)
	require.True(t, ok)
	table, tail, ok := strings.Cut(rest, endOfEvents)
	require.True(t, ok)
	meanings := map[string]string{}
	var documented, coded []string
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "| "), " |"), " | ")
		if len(cells) != 5 || cells[0] == "message" || cells[0] == "---" {
			continue
		}
		documented = append(documented, row(cells[:4]...))
		meanings[cells[0]+cells[1]+cells[2]] = cells[4]
	}
	events := eventsOfCode(t)
	require.Greater(t, len(events), 70, "the code was read")
	for _, e := range events {
		coded = append(coded, row(e.message, e.level, e.component, e.keys))
	}
	slices.Sort(coded)
	coded = slices.Compact(coded)
	if os.Getenv("UPDATE_LOGS") != "" {
		var out strings.Builder
		out.WriteString("| message | level | component | keys | what it means |\n| --- | --- | --- | --- | --- |\n")
		for _, line := range coded {
			cells := strings.Split(strings.TrimPrefix(line, "| "), " | ")
			out.WriteString(line + " " + meanings[cells[0]+cells[1]+cells[2]] + " |\n")
		}
		require.NoError(t, os.WriteFile(logsPage, []byte(head+beginOfEvents+"\n"+out.String()+"\n"+endOfEvents+tail), 0o600))
		return
	}
	slices.Sort(documented)
	require.Equal(t, strings.Join(coded, "\n"), strings.Join(documented, "\n"),
		"UPDATE_LOGS=1 go test -run TestDocumentNamesEveryEvent ./internal/logs writes the rows; what they mean you write")
	for what, meaning := range meanings {
		require.NotEmpty(t, strings.TrimSpace(meaning), what)
	}
}

// row is the beginning of a line of the table.
func row(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |" }
