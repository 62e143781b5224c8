package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// certificateCheck is how often the files are read. Their content is compared, not their names or times: whether somebody
// writes into them, puts others in their place or turns a symlink as Kubernetes does, is the same.
const certificateCheck = 10 * time.Second

// certificate is the one that the API's port shows, which may change while the process runs. Connections that are open
// keep the one they began with.
type certificate struct {
	config TLSConfig
	log    *slog.Logger
	read   func(name string) ([]byte, error)

	current atomic.Pointer[tls.Certificate]
	// Of whoever calls refresh:
	tried   [sha256.Size]byte // what the files held when they were last tried
	verdict error             // what came of that
	retry   time.Time         // when the same content is to be tried again; zero: never
	failing string            // what the log has said of it

	expiry  prometheus.Gauge
	reloads *prometheus.CounterVec
}

// The outcomes of a change of the files.
const (
	reloadTaken   = "taken"
	reloadRefused = "refused"
)

// newCertificate reads the files, which must hold a pair. Nothing runs until run.
func newCertificate(c TLSConfig, reg prometheus.Registerer, log *slog.Logger) (*certificate, error) {
	cert := &certificate{
		config: c, log: log, read: os.ReadFile,
		expiry: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "livekit_connector", Name: "tls_certificate_expiry_timestamp_seconds",
			Help: "When the certificate in use is no longer valid, in Unix seconds.",
		}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "livekit_connector", Name: "tls_certificate_reloads_total",
			Help: "Changes of the certificate's files, by whether they were taken; refused ones leave the one before in use.",
		}, []string{"outcome"}),
	}
	if err := cert.refresh(time.Now()); err != nil {
		return nil, fmt.Errorf("read the certificate of the API's port: %w", err)
	}
	for _, o := range []string{reloadTaken, reloadRefused} {
		cert.reloads.WithLabelValues(o)
	}
	reg.MustRegister(cert.expiry, cert.reloads)
	return cert, nil
}

// refresh takes the files if they hold another pair than when they were last tried, or one whose time has come. The error says
// why what they hold is not in use.
func (c *certificate) refresh(now time.Time) error {
	certPEM, err := c.read(c.config.CertFile)
	if err != nil {
		return fmt.Errorf("tls.cert_file: %w", err)
	}
	keyPEM, err := c.read(c.config.KeyFile)
	if err != nil {
		return fmt.Errorf("tls.key_file: %w", err)
	}
	content := sha256.Sum256(bytes.Join([][]byte{certPEM, keyPEM}, []byte{0}))
	if content != c.tried || !c.retry.IsZero() && !now.Before(c.retry) {
		c.retry = time.Time{}
		c.tried, c.verdict = content, c.take(certPEM, keyPEM, now)
	}
	return c.verdict
}

// take puts a pair in the place of the one before, or says why not.
func (c *certificate) take(certPEM, keyPEM []byte, now time.Time) error {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("tls.cert_file and tls.key_file are no pair: %w", err) // quotes neither
	}
	before := c.current.Load()
	good := before != nil && !now.Before(before.Leaf.NotBefore) && now.Before(before.Leaf.NotAfter)
	early, expired := now.Before(pair.Leaf.NotBefore), now.After(pair.Leaf.NotAfter)
	switch {
	case expired && good:
		return fmt.Errorf("the new certificate expired at %s", pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	case early && good:
		c.retry = pair.Leaf.NotBefore
		return fmt.Errorf("the new certificate is not valid before %s", pair.Leaf.NotBefore.UTC().Format(time.RFC3339))
	case early:
		c.log.Error("the certificate of the API's port is not valid yet: clients will refuse it", "notBefore", pair.Leaf.NotBefore.UTC())
	case expired:
		c.log.Error("the certificate of the API's port is expired: clients will refuse it", "notAfter", pair.Leaf.NotAfter.UTC())
	}
	c.current.Store(&pair)
	c.expiry.Set(float64(pair.Leaf.NotAfter.Unix()))
	if before != nil {
		c.reloads.WithLabelValues(reloadTaken).Inc()
	}
	c.log.Info("certificate loaded", "file", c.config.CertFile, "names", pair.Leaf.DNSNames, "notAfter", pair.Leaf.NotAfter.UTC())
	return nil
}

// run follows the files until ctx ends.
func (c *certificate) run(ctx context.Context) {
	t := time.NewTicker(certificateCheck)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			c.note(c.refresh(now))
		}
	}
}

// note counts and logs why the files are not taken, once for each reason.
func (c *certificate) note(err error) {
	switch {
	case err == nil:
		c.failing = ""
	case err.Error() != c.failing:
		c.failing = err.Error()
		c.reloads.WithLabelValues(reloadRefused).Inc()
		c.log.Error("cannot use the new certificate: the one before stays in use", "error", err, "notAfter", c.current.Load().Leaf.NotAfter.UTC())
	}
}

// tlsConfig is that of a server which shows the certificate.
func (c *certificate) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

// newTLS returns the settings of the API's port and follows the certificate until the connector is taken down; nil without
// a certificate.
func (a *App) newTLS(reg prometheus.Registerer) (*tls.Config, error) {
	if !a.config.TLS.enabled() {
		return nil, nil
	}
	cert, err := newCertificate(a.config.TLS, reg, a.log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { cert.run(ctx) })
	a.onClose("certificate", func() error {
		cancel()
		running.Wait()
		return nil
	})
	return cert.tlsConfig(), nil
}
