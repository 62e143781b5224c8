package api

import (
	"strings"

	"github.com/livekit/protocol/connector"
	"github.com/twitchtv/twirp"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// permitted is Options.Permitted: which numbers a key may use; nil permits all.
type permitted func(apiKey, phoneNumberID string) bool

func (p permitted) refuses(apiKey, phoneNumberID string) twirp.Error {
	if p == nil || p(apiKey, phoneNumberID) {
		return nil
	}
	return twirp.NewError(twirp.PermissionDenied, "the API key that signed the access token may not use this phone number: "+
		"it is not among its api_keys under whatsapp.numbers").WithMeta("argument", "whatsapp_phone_number_id")
}

// credentials are Options.Credentials: what is configured for phone numbers; nil if nothing is.
type credentials func(phoneNumberID string) (whatsapp.Credentials, bool)

// fill completes a request that leaves out what is configured for its phone number.
func (c credentials) fill(phoneNumberID string, token, version *string) {
	if c == nil {
		return
	}
	known, _ := c(phoneNumberID)
	if strings.TrimSpace(*token) == "" {
		*token = known.AccessToken
	}
	if strings.TrimSpace(*version) == "" {
		*version = known.Version
	}
}

// remedy ends a complaint about something that may be configured.
func (c credentials) remedy() string {
	if c == nil {
		return "send it, or configure it under whatsapp.numbers and leave it out"
	}
	return "send it, or configure it for this phone number ID under whatsapp.numbers, which has none for it"
}

func (c credentials) requireToken(token string) twirp.Error {
	if strings.TrimSpace(token) != "" {
		return nil
	}
	return invalid("whatsapp_api_key", connector.ErrMissingWhatsAppApiKey.Error()+": "+c.remedy())
}

func (c credentials) requireVersion(version string, check func(string) error) twirp.Error {
	const field = "whatsapp_cloud_api_version"
	if strings.TrimSpace(version) == "" {
		return invalid(field, connector.ErrWhatsAppCloudApiVersionNotSupported.Error()+": "+field+" is required: "+c.remedy())
	}
	if err := check(version); err != nil {
		return invalid(field, connector.ErrWhatsAppCloudApiVersionNotSupported.Error()+": "+err.Error())
	}
	return nil
}
