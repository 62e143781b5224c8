package app

import (
	"strings"
	"unicode/utf8"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// CaptureConfig asks Meta to record or to transcribe every call.
type CaptureConfig struct {
	Enabled              bool   `yaml:"enabled" help:"Have Meta do so with every call that does not say otherwise by its participant attribute lk.connector.recording or lk.connector.transcription. A voice announces it to both sides."`
	Purpose              string `yaml:"purpose" help:"What for, as Meta's announcement says it. Required with enabled."`
	AnnouncementLanguage string `yaml:"announcement_language" help:"Language of Meta's announcement, such as en_US. Required with enabled."`
}

// PermissionRequestConfig is about users who cannot be dialled because they have not allowed it.
type PermissionRequestConfig struct {
	Enabled bool   `yaml:"enabled" help:"When a dial fails because the user has not allowed calls (138006), send him a message that asks for it."`
	Text    string `yaml:"text" help:"What that message says. Required with enabled."`
}

// maxRequestText is Meta's limit for the text of an interactive message, in characters.
const maxRequestText = 1024

// capture is nil if nothing is to be asked of Meta.
func (c *CaptureConfig) capture() *whatsapp.Capture {
	if !c.Enabled {
		return nil
	}
	return &whatsapp.Capture{Status: "ENABLED", Purpose: c.Purpose, AnnouncementLanguage: c.AnnouncementLanguage}
}

// text is empty if nobody is to be asked.
func (c *PermissionRequestConfig) text() string {
	if !c.Enabled {
		return ""
	}
	return c.Text
}

func (v *validation) orders(c *WhatsAppConfig) {
	v.capture("whatsapp.recording", &c.Recording)
	v.capture("whatsapp.transcription", &c.Transcription)
	if !c.PermissionRequest.Enabled {
		return
	}
	switch n := utf8.RuneCountInString(c.PermissionRequest.Text); {
	case strings.TrimSpace(c.PermissionRequest.Text) == "":
		v.add("whatsapp.permission_request.text", "is missing: what the user reads above the buttons by which he allows calls")
	case n > maxRequestText:
		v.add("whatsapp.permission_request.text", "has %d characters, Meta takes %d", n, maxRequestText)
	}
}

func (v *validation) capture(key string, c *CaptureConfig) {
	if !c.Enabled {
		return
	}
	switch {
	case c.Purpose == "":
		v.add(key+".purpose", "is missing: what Meta's announcement says that it is for")
	case c.AnnouncementLanguage == "":
		v.add(key+".announcement_language", "is missing: the language of Meta's announcement, such as en_US")
	default:
		if err := c.capture().Validate(key); err != nil {
			v.add(key+".purpose", "is longer than Meta takes: 250 characters")
		}
	}
}
