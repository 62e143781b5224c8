package whatsapp

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Credentials say for which business phone number, with which token and in which Graph version a request is sent. They print, log and
// marshal without the token. That does not help credentials in an unexported field of a struct that is printed whole: fmt calls no
// methods there.
type Credentials struct {
	// PhoneNumberID is Meta's ID of the business phone number, not the number itself.
	PhoneNumberID string
	// AccessToken is sent as a bearer token.
	AccessToken string
	// Version is the Graph version in LiveKit's form: "24.0". Empty means the client's Options.Version.
	Version string
}

func (c Credentials) token() string {
	if c.AccessToken == "" {
		return ""
	}
	return redacted
}

// String returns the credentials without the token.
func (c Credentials) String() string {
	return fmt.Sprintf("{PhoneNumberID:%s AccessToken:%s Version:%s}", c.PhoneNumberID, c.token(), c.Version)
}

// Format prints the credentials without the token for every verb.
func (c Credentials) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "whatsapp.Credentials"+c.String())
}

// LogValue returns the credentials without the token.
func (c Credentials) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("phoneNumberID", c.PhoneNumberID),
		slog.String("accessToken", c.token()),
		slog.String("version", c.Version),
	)
}

// MarshalJSON returns the credentials without the token.
func (c Credentials) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct{ PhoneNumberID, AccessToken, Version string }{c.PhoneNumberID, c.token(), c.Version})
}
