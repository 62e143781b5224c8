package app

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/internal/node"
	"github.com/livekit-connector/livekit-connector/internal/route"
	"github.com/livekit-connector/livekit-connector/internal/settings"
	"github.com/livekit-connector/livekit-connector/internal/webhook"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// withWebhook puts the gateway for Meta's webhooks before the API, at its path. Without a path it returns the API.
func (a *App) withWebhook(
	front http.Handler, client connectorpb.ConnectorInternalClient, graph *whatsapp.Client, reg prometheus.Registerer,
) (http.Handler, error) {
	c := &a.config.Webhook
	if c.Path == "" {
		return front, nil
	}
	secrets, err := newAppSecrets(c, a.numbers, a.log)
	if err != nil {
		return nil, err
	}
	o := webhook.Options{
		Nodes: route.New(route.Options{Bus: client, Registry: a.node, Cluster: node.Cluster, Draining: a.node.Draining, Ended: a.node.Ended}),
		Graph: graph, Credentials: a.numbers.called, AppSecrets: secrets.current, NumberSecrets: secrets.of, VerifyToken: c.VerifyToken.Reveal(),
		APIKey: a.config.APIKey, PhoneNumberIDs: c.PhoneNumberIDs,
		RejectUnmatched: c.OnNoRule == onReject, RejectRefused: c.OnRefused == onReject,
		SetupTimeout: a.config.SetupTimeout, MaxAge: c.MaxAge, QueueSize: c.QueueSize, Attempts: a.attempts, Panics: a.panics,
		Tracer: a.tracer, Logger: a.logOf(logs.Webhook), Registerer: reg,
	}
	if a.rules != nil {
		o.Decide = a.rules.Decide
	}
	for _, f := range c.Forward {
		o.Forwards = append(o.Forwards, webhook.Forward{URL: f.URL, Secret: f.Secret.Reveal(), Fields: f.Fields})
	}
	gateway, err := webhook.New(o)
	if err != nil {
		return nil, err
	}
	a.onClose("webhook gateway", func() error {
		ctx, cancel := a.closing(shutdownTimeout, afterNode)
		defer cancel()
		if closeErr := gateway.Close(ctx); closeErr != nil {
			a.log.Warn("webhooks are left", "error", closeErr) // no reason to fail at the end
		}
		return nil
	})
	if a.rules == nil {
		a.log.Info("webhooks are taken, but there are no rules: inbound calls are left to your application", "path", c.Path)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == c.Path {
			gateway.ServeHTTP(w, r)
			return
		}
		front.ServeHTTP(w, r)
	}), nil
}

// sees says whether Meta's webhooks about a number's calls come here.
func (c *WebhookConfig) sees(phoneNumberID string) bool {
	return c.Path != "" && (len(c.PhoneNumberIDs) == 0 || slices.Contains(c.PhoneNumberIDs, phoneNumberID))
}

// called returns the credentials of a number that a webhook names; if it names none and only one is configured, those.
func (ns *numbers) called(phoneNumberID string) (whatsapp.Credentials, bool) {
	if phoneNumberID == "" && len(ns.byID) == 1 {
		for id := range ns.byID {
			phoneNumberID = id
		}
	}
	return ns.Credentials(phoneNumberID)
}

// appSecrets are all secrets with which Meta may sign webhooks.
type appSecrets struct {
	fixed   []string
	file    *rotating // nil without a file
	numbers *numbers
}

func newAppSecrets(c *WebhookConfig, ns *numbers, log *slog.Logger) (*appSecrets, error) {
	s := &appSecrets{numbers: ns}
	for _, secret := range c.AppSecrets {
		s.fixed = append(s.fixed, secret.Reveal())
	}
	if c.AppSecretsFile == "" {
		return s, nil
	}
	if _, err := settings.NewSecretFile(c.AppSecretsFile, os.ReadFile).Secret(); err != nil {
		return nil, fmt.Errorf("webhook.app_secrets_file: %w", err)
	}
	s.file = newRotating("", c.AppSecretsFile, log)
	return s, nil
}

func (s *appSecrets) current() []string { return append(s.numbers.AppSecrets(), s.general()...) }

// general are those that belong to no number.
func (s *appSecrets) general() []string {
	secrets := slices.Clone(s.fixed)
	if s.file != nil {
		secrets = append(secrets, strings.Fields(s.file.current().Reveal())...)
	}
	return secrets
}

// of are those with which Meta may sign what it says of a number that has a secret of its own, none for other numbers. The
// general ones are among them: a secret that is being replaced may stand there.
func (s *appSecrets) of(phoneNumberID string) []string {
	n := s.numbers.byID[phoneNumberID]
	if n == nil {
		return nil
	}
	own := n.appSecret.current().Reveal()
	if own == "" {
		return nil
	}
	return append(s.general(), own)
}
