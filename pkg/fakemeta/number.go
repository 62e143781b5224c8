package fakemeta

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Number is a business phone number and the app that owns it.
type Number struct {
	PhoneNumberID string // what stands in Graph URLs
	DisplayNumber string // the phone number, digits only
	AccessToken   string // what the Authorization header must carry
	AppSecret     string // signs the webhooks
	WebhookURL    string // empty: webhooks are only seen by Events
	VerifyToken   string // sent by VerifyWebhook
	AccountID     string // WhatsApp Business Account; empty: made up
	// Settings is the initial "calling" object of the settings endpoint. Nil: calling is enabled.
	Settings map[string]any
}

// number is a Number with what the API may change.
type number struct {
	Number
	mu       sync.Mutex
	settings map[string]any
}

// AddNumber makes a business number known. It replaces one with the same ID.
func (s *Server) AddNumber(n Number) error {
	if n.PhoneNumberID == "" || n.DisplayNumber == "" || n.AccessToken == "" {
		return errors.New("add number: PhoneNumberID, DisplayNumber and AccessToken are required")
	}
	if !digits(n.DisplayNumber) {
		return errors.New("add number: DisplayNumber must be digits only")
	}
	if n.AccountID == "" {
		n.AccountID = "102290129340398"
	}
	settings := map[string]any{"status": "ENABLED", "call_icon_visibility": "DEFAULT", "callback_permission_status": "ENABLED"}
	if n.Settings != nil {
		settings = maps.Clone(n.Settings)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.numbers[n.PhoneNumberID] = &number{Number: n, settings: settings}
	return nil
}

func (s *Server) number(id string) (*number, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.numbers[id]
	if !ok {
		return nil, fmt.Errorf("business number %q: %w", id, ErrUnknownNumber)
	}
	return n, nil
}

// setting returns a string out of the settings, by its path.
func (n *number) setting(path ...string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var v any = n.settings
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		v = m[key]
	}
	text, _ := v.(string)
	return text
}

// additionalCodecs are those that the settings enable beside Opus, in their order: "PCMA", "PCMU". Calls in them are
// transcoded by Meta.
func (n *number) additionalCodecs() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	audio, _ := n.settings["audio"].(map[string]any)
	var names []string
	switch list := audio["additional_codecs"].(type) {
	case []string:
		names = list
	case []any: // out of JSON
		for _, v := range list {
			name, _ := v.(string)
			names = append(names, name)
		}
	}
	return slices.Clone(names)
}

// currentSettings returns the settings as JSON.
func (n *number) currentSettings() (json.RawMessage, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return json.Marshal(n.settings)
}

// update merges what POST settings brought. Objects in it replace those that were there, as Meta documents it.
func (n *number) update(with map[string]any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.Copy(n.settings, with)
}

func digits(s string) bool {
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return s != ""
}
