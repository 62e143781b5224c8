package app

import (
	"crypto/sha256"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"

	"github.com/livekit-connector/livekit-connector/internal/settings"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// numbers are the configured business phone numbers with their secrets, which may change while the process runs.
type numbers struct {
	byID map[string]*number
}

// number is one of them.
type number struct {
	id, name, version string
	token, appSecret  *rotating
	apiKeys           []string // that may use it; empty: all
}

func newNumbers(c *WhatsAppConfig, log *slog.Logger) *numbers {
	ns := &numbers{byID: make(map[string]*number, len(c.Numbers))}
	for id, n := range c.Numbers {
		own := log.With("phoneNumberID", id, "name", n.Name)
		ns.byID[id] = &number{
			id: id, name: n.Name, version: c.version(n), apiKeys: n.APIKeys,
			token:     newNumberSecret(n.AccessToken, n.AccessTokenFile, own),
			appSecret: newNumberSecret(n.AppSecret, n.AppSecretFile, own),
		}
	}
	return ns
}

// Credentials are those of a configured number, and whether it has an access token.
func (ns *numbers) Credentials(phoneNumberID string) (whatsapp.Credentials, bool) {
	n := ns.byID[phoneNumberID]
	if n == nil {
		return whatsapp.Credentials{}, false
	}
	token := n.token.current()
	return whatsapp.Credentials{PhoneNumberID: n.id, AccessToken: token.Reveal(), Version: n.version}, token != ""
}

// permits says whether requests that an API key signed may use a number. Numbers that are not configured have no secret of
// ours: their requests bring their own.
func (ns *numbers) permits(apiKey, phoneNumberID string) bool {
	n := ns.byID[phoneNumberID]
	return n == nil || len(n.apiKeys) == 0 || slices.Contains(n.apiKeys, apiKey)
}

// Renew replaces an access token that a number had before by the one that it has now: a call may last longer than the token
// that began it. Anybody else's token stays.
func (ns *numbers) Renew(creds whatsapp.Credentials) whatsapp.Credentials {
	n := ns.byID[creds.PhoneNumberID]
	if n == nil {
		return creds
	}
	if token := n.token.current(); token != "" && n.token.had(creds.AccessToken) {
		creds.AccessToken = token.Reveal()
	}
	return creds
}

// AppSecrets are the secrets with which Meta may sign webhooks for these numbers, each once.
func (ns *numbers) AppSecrets() []string {
	var secrets []string
	for _, n := range ns.byID {
		if s := n.appSecret.current().Reveal(); s != "" && !slices.Contains(secrets, s) {
			secrets = append(secrets, s)
		}
	}
	return secrets
}

// rotating is a secret that is fixed, or in a file that may change.
type rotating struct {
	log    *slog.Logger
	file   *settings.SecretFile // nil for one that is fixed
	usable func(secret string) error

	mu      sync.Mutex // guards the following fields
	secret  settings.Secret
	earlier [][sha256.Size]byte // of the file's secrets, the newest last
	failing bool                // the file could not be read or used, and the log says so
}

// errUnprintable is what is wrong with a token or a secret that no header could carry.
var errUnprintable = errors.New("want printable ASCII without spaces or line ends")

// earlierSecrets bounds how many replaced secrets are recognised.
const earlierSecrets = 16

// newNumberSecret is a secret of which a number has one: the file holds it and nothing else, as at start.
func newNumberSecret(secret settings.Secret, file string, log *slog.Logger) *rotating {
	return newUsable(secret, file, log, func(secret string) error {
		if !printable.MatchString(secret) {
			return errUnprintable
		}
		return nil
	})
}

func newRotating(secret settings.Secret, file string, log *slog.Logger) *rotating {
	return newUsable(secret, file, log, func(string) error { return nil })
}

func newUsable(secret settings.Secret, file string, log *slog.Logger, usable func(string) error) *rotating {
	r := &rotating{log: log, secret: secret, usable: usable}
	if file != "" {
		r.file = settings.NewSecretFile(file, os.ReadFile)
		r.current()
	}
	return r
}

// current is the secret now. While its file cannot be read, or holds what is none, it is the one before.
func (r *rotating) current() settings.Secret {
	if r.file == nil {
		return r.secret
	}
	secret, err := r.file.Secret()
	if err == nil {
		err = r.usable(secret.Reveal())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if failed := err != nil; failed != r.failing {
		r.failing = failed
		if failed {
			r.log.Error("cannot use a secret: the one before stays in use", "file", r.file.Name(), "error", err)
		} else {
			r.log.Info("secret can be used again", "file", r.file.Name())
		}
	}
	if err != nil || secret == r.secret {
		return r.secret
	}
	if r.secret != "" {
		r.earlier = append(r.earlier, sha256.Sum256([]byte(r.secret)))
		r.earlier = r.earlier[max(0, len(r.earlier)-earlierSecrets):]
		r.log.Info("secret changed", "file", r.file.Name())
	}
	r.secret = secret
	return r.secret
}

// had says whether the secret was this one before it changed.
func (r *rotating) had(secret string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.earlier, sha256.Sum256([]byte(secret)))
}
