package e2e_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
)

// scraper is a real Prometheus that scrapes a connector twice a second and goes by the rules and alerts of deploy/prometheus.
type scraper struct {
	t   *testing.T
	url string
}

// listening is how Prometheus says where it is reached.
var listening = regexp.MustCompile(`msg="Listening on" address=([0-9.:]+)`)

// newPrometheus starts one on loopback. The end of the test takes it down.
func newPrometheus(t *testing.T, targets ...string) *scraper {
	t.Helper()
	program := os.Getenv("PROMETHEUS")
	require.NotEmpty(t, program, "PROMETHEUS names no program: make prometheus fetches one, and make e2e says where it is")
	dir := t.TempDir()
	for _, name := range []string{"rules.yaml", "alerts.yaml"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	for i := range targets {
		targets[i] = strings.TrimPrefix(targets[i], "http://")
	}
	config := fmt.Sprintf(`
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s}
rule_files: [rules.yaml, alerts.yaml]
scrape_configs:
  - {job_name: livekit-connector, static_configs: [{targets: [%s]}]}
`, strings.Join(targets, ", "))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600))

	cmd := exec.CommandContext(context.Background(), program,
		"--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	found, said := make(chan string, 1), &lockedBuffer{}
	var reading sync.WaitGroup
	reading.Go(func() {
		address, lines := "", bufio.NewScanner(log)
		for lines.Scan() {
			_, _ = fmt.Fprintln(said, lines.Text())
			if at := listening.FindStringSubmatch(lines.Text()); at != nil {
				address = at[1]
			}
			if strings.Contains(lines.Text(), "Server is ready to receive web requests") {
				found <- address
			}
		}
		_, _ = io.Copy(io.Discard, log)
		close(found)
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // its data are nobody's
		reading.Wait()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Prometheus' log:\n%s", said)
		}
	})
	select {
	case at, ok := <-found:
		require.True(t, ok, "Prometheus ended")
		return &scraper{t: t, url: "http://" + at}
	case <-wait(t).Done():
		t.Fatal("Prometheus does not listen")
		return nil
	}
}

// get asks Prometheus' API; data takes the answer's.
func (p *scraper) get(path string, query url.Values, data any) error {
	req, err := http.NewRequestWithContext(wait(p.t), http.MethodGet, p.url+path+"?"+query.Encode(), nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask Prometheus: %w", err)
	}
	defer res.Body.Close()
	answer := struct {
		Status, Error string
		Data          json.RawMessage
	}{}
	if err = json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return fmt.Errorf("read Prometheus' answer: %w", err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("prometheus refuses: %s", answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}

// numbers is what a query finds now, without what is no number.
func (p *scraper) numbers(query string) ([]float64, error) {
	var data struct {
		Result []struct {
			Value [2]any
		}
	}
	if err := p.get("/api/v1/query", url.Values{"query": {query}}, &data); err != nil {
		return nil, err
	}
	var all []float64
	for _, r := range data.Result {
		text, _ := r.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
			all = append(all, v)
		}
	}
	return all, nil
}

// until waits for a query to find a number that will do.
func (p *scraper) until(query string, will func(float64) bool) {
	p.t.Helper()
	until(p.t, func() string {
		found, err := p.numbers(query)
		require.NoError(p.t, err)
		if len(found) > 0 && will(found[0]) {
			return ""
		}
		return fmt.Sprintf("%s is %v", query, found)
	})
}

// requirePanels runs every query of the dashboard as Grafana would.
func (p *scraper) requirePanels() {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "grafana", "livekit-connector.json"))
	require.NoError(p.t, err)
	var board struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	require.NoError(p.t, json.Unmarshal(text, &board))
	filled := strings.NewReplacer("$__rate_interval", "2m", "$__range", "5m", "$job", ".*", "$instance", ".*")
	for _, panel := range board.Panels {
		require.Equal(p.t, panel.Type == "row", len(panel.Targets) == 0, panel.Title)
		for _, target := range panel.Targets {
			until(p.t, func() string { // rates need a second scrape
				found, err := p.numbers(filled.Replace(target.Expr))
				require.NoErrorf(p.t, err, "%s: %s", panel.Title, target.Expr)
				if len(found) == 0 {
					return fmt.Sprintf("%s shows nothing: %s", panel.Title, target.Expr)
				}
				return ""
			})
		}
	}
}

// requireRules checks that Prometheus can work with every rule, and that those that record have something to record.
func (p *scraper) requireRules() {
	p.t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Type, Health, LastError, LastEvaluation string }
		}
	}
	until(p.t, func() string {
		require.NoError(p.t, p.get("/api/v1/rules", nil, &data))
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				if r.Health == "unknown" {
					return r.Name + " was not evaluated yet"
				}
			}
		}
		return ""
	})
	records := 0
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			require.Equal(p.t, "ok", r.Health, "%s: %s", r.Name, r.LastError)
			if r.Type == "recording" {
				records++
				p.until(r.Name, func(float64) bool { return true })
			}
		}
	}
	require.NotZero(p.t, records)
}

// certificate writes a pair that nobody trusts.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	pair := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	require.NoError(t, err)
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	return certFile, keyFile
}

// promtool is beside Prometheus.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(wait(t), filepath.Join(filepath.Dir(os.Getenv("PROMETHEUS")), "promtool"), args...)
	cmd.Dir = filepath.Join("..", "..", "deploy", "prometheus")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// What operators look at and are woken by works with a real Prometheus and the metrics of a connector that had a bad week.
// It is not parallel: two calls that are mixed, Prometheus and promtool would be heard in the calls of others.
func TestMetrics(t *testing.T) {
	m := newMeasured(t, "gateway-metrics")
	m.requireClosedSets("tls.cert_file") // before anything happened, too: a rate over what never happened is zero and not missing
	secure := newWorld(t, worldOptions{config: func(c *app.Config) { c.TLS.CertFile, c.TLS.KeyFile = certificate(t) }})
	secure.registerProcess()
	secure.requireClosedSets("webhook.path", "events.urls", "rules_file")
	p := newPrometheus(t, m.app.AdminURL(), secure.app.AdminURL())
	p.until("sum(up)", func(v float64) bool { return v == 2 })
	m.load(func(mode string) bool {
		most, err := p.numbers(fmt.Sprintf(`max(max_over_time(livekit_connector_calls_by_mode{mode=%q}[5m]))`, mode))
		require.NoError(t, err)
		return len(most) > 0 && most[0] >= 1
	})
	m.requireClosedSets("tls.cert_file")
	m.requireCounted()
	p.until("sum(livekit_connector_calls_total)", func(v float64) bool { return v == m.value("calls_total") })
	p.until("sum(livekit_connector_events_total)", func(v float64) bool { return v == m.value("events_total") })
	p.requireRules()
	p.requirePanels()
	promtool(t, "check", "rules", "rules.yaml", "alerts.yaml")
	promtool(t, "test", "rules", "alerts_test.yaml")
	// Meanwhile there was time for an alert on what a healthy node does.
	found, err := p.numbers(`ALERTS{alertname=~"ConnectorNowhere|ConnectorPanics|ConnectorGoroutines"}`)
	require.NoError(t, err)
	require.Empty(t, found)
}
