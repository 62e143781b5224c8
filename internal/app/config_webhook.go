package app

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/outbound"
	"github.com/livekit-connector/livekit-connector/internal/settings"
	"github.com/livekit-connector/livekit-connector/internal/webhook"
)

// WebhookConfig is about Meta's webhooks, which the connector takes at a path of the API's port.
type WebhookConfig struct {
	Path            string          `yaml:"path" group:"Webhook" help:"Path on the API's port at which Meta's webhooks are taken, such as /webhook. Empty means that they are not: your application gets them and calls the API."`
	PublicURL       string          `yaml:"public_url" help:"Callback URL as it stands in Meta's app dashboard, such as https://calls.example.com/webhook. Only doctor uses it, to try the way that Meta's webhooks come."`
	VerifyToken     Secret          `yaml:"verify_token" help:"Any text of your own. Paste the same into Meta's app dashboard beside the callback URL."`
	VerifyTokenFile string          `yaml:"verify_token_file" help:"File with the verify token, instead of verify_token."`
	AppSecrets      []Secret        `yaml:"app_secrets" help:"Secrets of the Meta apps whose webhooks come: one of them must have signed. Those of whatsapp.numbers count too."`
	AppSecretsFile  string          `yaml:"app_secrets_file" help:"File with further app secrets, one a line. Read anew when it changes."`
	PhoneNumberIDs  []string        `yaml:"phone_number_ids" help:"IDs of the phone numbers whose calls count; those of others are passed over. Empty means all."`
	OnNoRule        string          `yaml:"on_no_rule" help:"What becomes of a user's call that no rule matches: reject it, or ignore it, for another app on the same number to take."`
	OnRefused       string          `yaml:"on_refused" help:"What becomes of a user's call that a rule takes and no node has room for: reject, or ignore."`
	MaxAge          time.Duration   `yaml:"max_age" help:"A user's call of which Meta tells later than this is not answered: the user has given up."`
	QueueSize       int             `yaml:"queue_size" help:"Events of calls that may wait to be done. When there are more, Meta is asked to send its webhook again."`
	Forward         []ForwardConfig `yaml:"forward" help:"URLs that get every webhook as it came, for a bot that answers messages: [{url: https://bot.example.com/hook, secret: s, fields: [messages]}]."`
	AllowInsecure   bool            `yaml:"allow_insecure" help:"Allow http:// in forward, not only https:// and this machine: anybody on the way could read the messages."`
}

// ForwardConfig is a URL to which webhooks are passed on.
type ForwardConfig struct {
	URL        string   `yaml:"url" show:"host"`
	Secret     Secret   `yaml:"secret"`
	SecretFile string   `yaml:"secret_file"`
	Fields     []string `yaml:"fields"`
}

// What becomes of a call that is not taken.
const (
	onReject = "reject"
	onIgnore = "ignore"
)

func defaultWebhook() WebhookConfig {
	return WebhookConfig{
		OnNoRule: onReject, OnRefused: onReject, MaxAge: webhook.DefaultMaxAge, QueueSize: webhook.DefaultQueueSize,
	}
}

// ownPaths begin paths that are answered otherwise: by us, or where they are passed on by livekit-server.
var ownPaths = []string{
	"/twirp", "/livez", "/readyz", "/startupz", "/metrics", "/settings", "/connector", "/rtc", "/agent", "/whip", "/debug",
}

func (v *validation) webhook(c *Config) {
	w := &c.Webhook
	v.oneOf("webhook.on_no_rule", w.OnNoRule, []string{onReject, onIgnore})
	v.oneOf("webhook.on_refused", w.OnRefused, []string{onReject, onIgnore})
	v.between("webhook.max_age", w.MaxAge, 5*time.Second, time.Hour)
	v.within("webhook.queue_size", w.QueueSize, 1, 1_000_000)
	for i, f := range w.Forward {
		if err := outbound.CheckURL(f.URL, w.AllowInsecure, "webhook.allow_insecure"); err != nil {
			v.add(fmt.Sprintf("webhook.forward[%d].url", i), "%s", err)
		}
	}
	for i, secret := range w.AppSecrets {
		if secret == "" {
			v.add("webhook.app_secrets", "secret %d is empty", i+1)
		}
	}
	if w.PublicURL != "" {
		v.url("webhook.public_url", w.PublicURL, "https", "http")
	}
	if w.Path == "" {
		return
	}
	v.webhookPath(w.Path)
	if w.VerifyToken == "" && w.VerifyTokenFile == "" {
		v.add("webhook.verify_token", "is missing: any text of your own, the same as in Meta's app dashboard")
	}
	if len(w.AppSecrets) == 0 && w.AppSecretsFile == "" && !c.WhatsApp.anyAppSecret() {
		v.add("webhook.app_secrets", "are missing: the app secret is in Meta's app dashboard under App settings, Basic")
	}
}

func (v *validation) webhookPath(path string) {
	u, err := url.Parse(path)
	if err != nil || u.Path != path || !strings.HasPrefix(path, "/") || path == "/" || strings.Contains(path, "//") {
		v.add("webhook.path", "want a path such as /webhook, without a host and without ?")
		return
	}
	first, _, _ := strings.Cut(path[1:], "/")
	if slices.Contains(ownPaths, "/"+first) {
		v.add("webhook.path", "/%s is taken by the connector itself or by LiveKit", first)
	}
}

// webhookFields are those that Meta's dashboard offers for a WhatsApp business account (Meta: webhooks overview, fields).
var webhookFields = []string{
	"account_alerts", "account_offboarded", "account_reconnected", "account_review_update", "account_settings_update",
	"account_update", "automatic_events", "business_capability_update", "business_status_update", "business_username_update",
	"calls", "flows", "group_lifecycle_update", "group_participants_update", "group_settings_update", "group_status_update",
	"history", "message_echoes", "message_template_components_update", "message_template_quality_update",
	"message_template_status_update", "messages", "messaging_handovers", "partner_solutions", "payment_configuration_update",
	"phone_number_name_update", "phone_number_quality_update", "security", "smb_app_state_sync", "smb_message_echoes", "standby",
	"template_category_update", "template_correct_category_detection", "tracking_events", "user_id_update", "user_preferences",
}

// webhookWarnings are about what looks as if no webhook could do what was meant.
func (l *CommandLine) webhookWarnings() (warnings []error) {
	c := &l.Config
	for i, f := range c.Webhook.Forward {
		for _, field := range f.Fields {
			if !slices.Contains(webhookFields, field) {
				warnings = append(warnings, &settings.KeyError{
					Where: l.Origins["webhook.forward"], Key: fmt.Sprintf("webhook.forward[%d].fields", i),
					Text: fmt.Sprintf("%q is no field of Meta's webhooks that is known here%s", field, settings.Suggest(field, webhookFields)),
				})
			}
		}
	}
	if c.Webhook.Path != "" && c.RulesFile != "" && !c.WhatsApp.anyAccessToken() {
		warnings = append(warnings, &settings.KeyError{
			Where: l.Origins["rules_file"], Key: "rules_file",
			Text: "has no effect: no number in whatsapp.numbers has an access token, so all inbound calls are left alone",
		})
	}
	return warnings
}

func (c *WhatsAppConfig) anyAccessToken() bool {
	for _, n := range c.Numbers {
		if n.AccessToken != "" || n.AccessTokenFile != "" || n.AccessTokenEnv != "" {
			return true
		}
	}
	return false
}

func (c *WhatsAppConfig) anyAppSecret() bool {
	for _, n := range c.Numbers {
		if n.AppSecret != "" || n.AppSecretFile != "" || n.AppSecretEnv != "" {
			return true
		}
	}
	return false
}
