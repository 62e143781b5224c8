package whatsapp

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// ParseCapture reads a Capture from JSON such as {"purpose": "quality assurance", "announcement_language": "en_US"}. Without
// a status it is enabled. Nil means that nothing is to be captured, as {"status": "DISABLED"} says. The error is in words for
// whoever wrote the text, which it does not quote but for an unknown key.
func ParseCapture(text string) (*Capture, error) {
	var c struct {
		Status   *string `json:"status"`
		Purpose  string  `json:"purpose"`
		Language string  `json:"announcement_language"`
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, plainJSONError(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something behind the JSON object")
	}
	capture := Capture{Status: "ENABLED", Purpose: c.Purpose, AnnouncementLanguage: c.Language}
	if c.Status != nil {
		capture.Status = *c.Status
	}
	if err := capture.Validate("it"); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), ErrInvalidRequest.Error()+": "))
	}
	if capture.Status == "DISABLED" {
		return nil, nil
	}
	return &capture, nil
}

// plainJSONError says what is wrong without the decoder's own vocabulary.
func plainJSONError(err error) error {
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		return errors.New(kind.Field + " must be text")
	case errors.As(err, &kind):
		return errors.New("it is not a JSON object")
	case strings.HasPrefix(err.Error(), "json: unknown field"):
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	default:
		return errors.New("it is not JSON")
	}
}
