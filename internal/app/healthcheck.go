package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
)

// Healthcheck asks the connector that runs on this machine with this configuration for /livez, at the health port if there
// is one, else at the admin port, else at the API's. The error says why it is not alive.
func Healthcheck(ctx context.Context, c *Config) error {
	port, bind, scheme := c.HealthPort, c.BindAddresses, "http://"
	if port == 0 && c.Admin.Port != 0 {
		port, bind = c.Admin.Port, c.Admin.BindAddresses
		if c.TLS.Admin {
			scheme = "https://"
		}
	}
	if port == 0 {
		port = c.Port
		if c.TLS.enabled() {
			scheme = "https://"
		}
	}
	if port == 0 {
		return errors.New("ask for health: health_port, admin.port and port are 0, so nobody knows where the connector listens")
	}
	host := "127.0.0.1"
	if len(bind) > 0 {
		if addr, err := netip.ParseAddr(bind[0]); err == nil && !addr.IsUnspecified() {
			host = addr.String()
		}
	}
	url := scheme + net.JoinHostPort(host, strconv.Itoa(port)) + "/livez"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("ask for health: %w", err)
	}
	// No proxy: the connector is on this machine.
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		// The certificate is for the name by which others reach it, and nothing secret is said.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, //nolint:gosec // G402: see above
	}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask for health: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return fmt.Errorf("not alive: %s: %s", resp.Status, body)
	}
	return nil
}
