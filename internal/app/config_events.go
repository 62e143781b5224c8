package app

import (
	"fmt"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/notify"
	"github.com/livekit-connector/livekit-connector/internal/outbound"
)

// EventsConfig is about telling other servers what becomes of calls. Its keys are those of livekit-server's webhook
// section where they mean the same.
type EventsConfig struct {
	URLs          []string      `yaml:"urls" show:"host" group:"Events" help:"URLs that are told of every call, as LiveKit's webhooks tell of rooms: call.created, call.ringing, call.answered, call.ended. Empty means none."`
	APIKey        string        `yaml:"api_key" help:"API key whose secret signs the events: api_key or one of keys. Empty means api_key."`
	Timeout       time.Duration `yaml:"timeout" help:"How long a URL may take to answer one event."`
	MaxAttempts   int           `yaml:"max_attempts" help:"How often an event is posted to a URL that does not answer, or answers 429 or 5xx, before it is given up."`
	MaxAge        time.Duration `yaml:"max_age" help:"How old an event may be when it is posted again."`
	Queue         int           `yaml:"queue" help:"Events that may wait for one URL; more are lost, and counted."`
	AllowInsecure bool          `yaml:"allow_insecure" help:"Allow http:// URLs, not only https:// and this machine: anybody on the way could read the events."`
}

func defaultEvents() EventsConfig {
	return EventsConfig{Timeout: 5 * time.Second, MaxAttempts: 8, MaxAge: 10 * time.Minute, Queue: 1000}
}

func (v *validation) events(c *Config) {
	e := &c.Events
	for i, text := range e.URLs {
		if err := outbound.CheckURL(text, e.AllowInsecure, notify.AllowInsecureKey); err != nil {
			v.add(fmt.Sprintf("events.urls[%d]", i), "%s", err)
		}
	}
	if _, ok := c.SecretOf(e.APIKey); !ok && e.APIKey != "" {
		v.add("events.api_key", "%s is neither api_key nor one of keys", e.APIKey)
	}
	v.between("events.timeout", e.Timeout, 100*time.Millisecond, 30*time.Second)
	v.within("events.max_attempts", e.MaxAttempts, 1, 100)
	v.between("events.max_age", e.MaxAge, time.Second, 24*time.Hour)
	v.within("events.queue", e.Queue, 1, 100_000)
}

// signer is the API key that signs events.
func (c *Config) signer() string {
	if c.Events.APIKey != "" {
		return c.Events.APIKey
	}
	return c.APIKey
}
