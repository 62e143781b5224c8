package app

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/livekit-connector/livekit-connector/internal/rules"
	"github.com/livekit-connector/livekit-connector/internal/settings"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// NumberConfig is what the connector knows of one business phone number, so that requests and webhooks need not say it.
type NumberConfig struct {
	// Name is for people: it appears in the log.
	Name            string `yaml:"name"`
	AccessToken     Secret `yaml:"access_token"`
	AccessTokenFile string `yaml:"access_token_file"`
	AccessTokenEnv  string `yaml:"access_token_env"`
	AppSecret       Secret `yaml:"app_secret"`
	AppSecretFile   string `yaml:"app_secret_file"`
	AppSecretEnv    string `yaml:"app_secret_env"`
	// APIVersion is the Graph version of requests that name none; empty means the newest of whatsapp.api_versions.
	APIVersion string `yaml:"api_version"`
	// APIKeys are those of LiveKit's API keys whose requests may use the number; empty means all.
	APIKeys []string `yaml:"api_keys"`
}

// defaultGraphVersion is for numbers without a version, where whatsapp.api_versions allows any.
const defaultGraphVersion = "24.0"

var (
	phoneNumberID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)
	printable     = regexp.MustCompile(`^[!-~]*$`)
)

// version is the Graph version of a number's requests that name none.
func (c *WhatsAppConfig) version(n NumberConfig) string {
	switch {
	case n.APIVersion != "":
		return n.APIVersion
	case len(c.APIVersions) > 0:
		return slices.MaxFunc(c.APIVersions, compareVersions)
	default:
		return defaultGraphVersion
	}
}

// compareVersions orders "9.0" before "23.0": the longer number is the larger.
func compareVersions(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	if a < b {
		return -1
	}
	return 1
}

func (v *validation) numbers(config *Config) {
	c := &config.WhatsApp
	for _, id := range slices.Sorted(maps.Keys(c.Numbers)) {
		n := c.Numbers[id]
		key := "whatsapp.numbers." + id
		if !phoneNumberID.MatchString(id) {
			v.add(key, "is no phone number ID of Meta's: want the ID, not the number")
		}
		if !printable.MatchString(n.AccessToken.Reveal()) {
			v.add(key+".access_token", "%s", errUnprintable)
		}
		if !printable.MatchString(n.AppSecret.Reveal()) {
			v.add(key+".app_secret", "%s", errUnprintable)
		}
		if n.AccessToken == "" && n.AccessTokenFile+n.AccessTokenEnv == "" && n.AppSecret == "" && n.AppSecretFile+n.AppSecretEnv == "" {
			v.add(key, "says nothing: want access_token, access_token_env or access_token_file, or the same of app_secret")
		}
		for _, apiKey := range n.APIKeys {
			if _, ok := config.SecretOf(apiKey); !ok {
				v.add(key+".api_keys", "%s is neither api_key nor one of keys", apiKey)
			}
		}
		if n.APIVersion != "" {
			if err := whatsapp.ValidateVersion(n.APIVersion, c.APIVersions); err != nil {
				v.add(key+".api_version", "%s", versionProblem(err))
			}
		}
	}
}

// namedVariables are environment variables that the configuration names: they are nobody's mistake.
func (c *WhatsAppConfig) namedVariables() []string {
	var names []string
	for _, n := range c.Numbers {
		names = append(names, n.AccessTokenEnv, n.AppSecretEnv)
	}
	return names
}

// checkRules reads the rules file, if there is one, as it is read at start.
func (l *CommandLine) checkRules(readFile func(name string) ([]byte, error)) []error {
	name := l.Config.RulesFile
	if name == "" || l.Command == CommandHealthcheck {
		return nil
	}
	body, err := readFile(name)
	if err != nil {
		return []error{&settings.KeyError{Where: l.Origins["rules_file"], Key: "rules_file", Text: fmt.Sprint(err)}}
	}
	if _, err = rules.Parse(name, body); err != nil {
		return unjoin(err)
	}
	return nil
}
