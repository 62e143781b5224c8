package series_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/livekit-connector/livekit-connector/internal/e2e/series"
)

const root = "../../.."

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return string(content)
}

// described is a row of a table of docs/metrics.md.
var described = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (counter|gauge|histogram) \\| ([^|]*) \\| ([^|]+) \\|$")

func TestDocumentTellsOfEveryMetric(t *testing.T) {
	t.Parallel()
	var names []string
	for _, row := range described.FindAllStringSubmatch(read(t, "docs/metrics.md"), -1) {
		m, ok := series.Find(series.Prefix + row[1])
		require.Truef(t, ok, "docs/metrics.md tells of %s, which there is not", row[1])
		require.Equal(t, m.Kind, row[2], m.Name)
		labels := strings.FieldsFunc(row[3], func(r rune) bool { return strings.ContainsRune("`, ", r) })
		require.ElementsMatch(t, m.Names(), labels, m.Name)
		names = append(names, m.Name)
	}
	for _, m := range series.All() {
		require.Contains(t, names, m.Name, "docs/metrics.md does not tell of it")
	}
	require.Len(t, names, len(series.All()))
}

// values is the table of all label values.
func values() string {
	var b strings.Builder
	b.WriteString("| label | of | values |\n| --- | --- | --- |\n")
	of := make(map[string][]string)
	var order []string
	for _, m := range series.All() {
		for _, label := range m.Names() {
			key := fmt.Sprintf("| `%s` | %%s | %s |\n", label, quoted(m.Labels[label]))
			if _, ok := of[key]; !ok {
				order = append(order, key)
			}
			of[key] = append(of[key], "`"+m.Name+"`")
		}
	}
	slices.Sort(order)
	for _, key := range order {
		fmt.Fprintf(&b, key, strings.Join(of[key], ", "))
	}
	return b.String()
}

func quoted(set []string) string {
	if slices.Equal(set, []string{series.Any}) {
		return "fixed when the program was built"
	}
	sorted := slices.Sorted(slices.Values(set))
	return "`" + strings.Join(sorted, "`, `") + "`"
}

// group is one of a file of rules.
type group struct {
	Name  string `yaml:"name"`
	Rules []rule `yaml:"rules"`
}

type rule struct {
	Record      string            `yaml:"record"`
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func rules(t *testing.T, path string) []rule {
	t.Helper()
	var file struct {
		Groups []group `yaml:"groups"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, path)), &file))
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	require.NotEmpty(t, all)
	return all
}

// placeholder is what an alert fills in when it fires.
var placeholder = regexp.MustCompile(`\{\{ *\$(labels\.|value)?([a-z_]*)[^}]*\}\}`)

func alerts(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| alert | severity | what it says | what to do |\n| --- | --- | --- | --- |\n")
	plain := func(text string) string {
		text = placeholder.ReplaceAllStringFunc(text, func(p string) string {
			if name := placeholder.FindStringSubmatch(p)[2]; name != "" {
				return "*" + name + "*"
			}
			return "*n*"
		})
		return strings.ReplaceAll(text, "|", "\\|")
	}
	for _, r := range rules(t, "deploy/prometheus/alerts.yaml") {
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)
		require.NotEmpty(t, r.Annotations["description"], r.Alert)
		require.Contains(t, []string{"critical", "warning"}, r.Labels["severity"], r.Alert)
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Alert, r.Labels["severity"], plain(r.Annotations["summary"]), plain(r.Annotations["description"]))
	}
	return b.String()
}

// TestDocumentIsCurrent holds the tables that are made to what they are made of. UPDATE_DOCS=1 writes them anew.
func TestDocumentIsCurrent(t *testing.T) {
	t.Parallel()
	const path = "docs/metrics.md"
	text := read(t, path)
	now := text
	for name, table := range map[string]string{"label values": values(), "alerts": alerts(t)} {
		between := regexp.MustCompile(`(?s)(<!-- ` + name + `: [^\n]* -->\n).*(<!-- end of ` + name + ` -->)`)
		require.Regexp(t, between, text)
		now = between.ReplaceAllStringFunc(now, func(old string) string {
			marks := between.FindStringSubmatch(old)
			return marks[1] + "\n" + table + "\n" + marks[2]
		})
	}
	if os.Getenv("UPDATE_DOCS") != "" {
		require.NoError(t, os.WriteFile(filepath.Join(root, path), []byte(now), 0o600))
		return
	}
	require.Equal(t, now, text, "run UPDATE_DOCS=1 go test ./internal/e2e/series")
}

// queries are all that the dashboard, the rules, the alerts and the document ask Prometheus, by where they do.
func queries(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, path := range []string{"deploy/prometheus/rules.yaml", "deploy/prometheus/alerts.yaml"} {
		for _, r := range rules(t, path) {
			all[path+": "+r.Record+r.Alert] = r.Expr
		}
	}
	for i, found := range regexp.MustCompile("`([^`\n]*livekit_connector_[^`\n]*)`").FindAllStringSubmatch(read(t, "docs/metrics.md"), -1) {
		if strings.ContainsAny(found[1], "({") {
			all[fmt.Sprintf("docs/metrics.md, query %d", i)] = found[1]
		}
	}
	var board struct {
		Panels []struct {
			Title   string `json:"title"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	require.NoError(t, json.Unmarshal([]byte(read(t, "deploy/grafana/livekit-connector.json")), &board))
	for _, p := range board.Panels {
		for i, target := range p.Targets {
			all[fmt.Sprintf("dashboard: %s, %d", p.Title, i)] = target.Expr
		}
	}
	return all
}

var (
	selector = regexp.MustCompile(`(livekit_connector_[a-z_]+)(\{[^}]*\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"([^"]*)"`)
	recorded = regexp.MustCompile(`livekit_connector:[a-z_:0-9]+`)
)

// ofTheTarget are labels that the scrape adds.
var ofTheTarget = []string{"job", "instance", "le"}

// A query for what there is not finds nothing, for ever, and looks like a good night.
func TestQueriesAskForWhatThereIs(t *testing.T) {
	t.Parallel()
	known := make(map[string]bool)
	for _, r := range rules(t, "deploy/prometheus/rules.yaml") {
		known[r.Record] = true
	}
	asked := make(map[string]bool)
	for where, query := range queries(t) {
		for _, name := range recorded.FindAllString(query, -1) {
			require.Truef(t, known[name], "%s asks for %s, which nobody records", where, name)
		}
		for _, s := range selector.FindAllStringSubmatch(query, -1) {
			m, ok := series.Find(s[1])
			require.Truef(t, ok, "%s asks for %s, which there is not", where, s[1])
			if strings.HasPrefix(where, "dashboard") {
				asked[m.Name] = true
			}
			for _, match := range matcher.FindAllStringSubmatch(s[2], -1) {
				if slices.Contains(ofTheTarget, match[1]) {
					continue
				}
				require.Containsf(t, m.Names(), match[1], "%s: label of %s", where, s[1])
				for value := range strings.SplitSeq(match[3], "|") {
					require.Containsf(t, m.Labels[match[1]], value, "%s: %s of %s", where, match[1], s[1])
				}
			}
		}
	}
	for _, m := range series.All() {
		require.Truef(t, asked[m.Name], "the dashboard does not show %s", m.Name)
	}
	require.NotEmpty(t, slices.Collect(maps.Keys(asked)))
}

// named is a metric in running text; a label's name or a file's may follow.
var named = regexp.MustCompile(`livekit_connector_[a-z_]*[a-z]`)

func TestDocumentsNameWhatThereIs(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range append(paths, filepath.Join(root, "README.md")) {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, name := range named.FindAllString(string(content), -1) {
			_, ok := series.Find(name)
			require.Truef(t, ok, "%s speaks of %s, which there is not", path, name)
		}
	}
}

func TestEveryAlertIsTested(t *testing.T) {
	t.Parallel()
	tests := read(t, "deploy/prometheus/alerts_test.yaml")
	for _, r := range rules(t, "deploy/prometheus/alerts.yaml") {
		require.Contains(t, tests, `alertname="`+r.Alert+`"`, "deploy/prometheus/alerts_test.yaml never lets it fire")
	}
}
