package app

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"
)

const hidden = "[redacted]"

// hiddenKeys are names of log attributes whose value is never logged, lower case without separators. Most never occur:
// our packages do not log such things. Libraries might.
var hiddenKeys = map[string]bool{
	"token": true, "accesstoken": true, "authorization": true, "apikeysecret": true, "apisecret": true, "secret": true,
	"appsecret": true, "password": true, "pwd": true, "icepwd": true, "credential": true, "credentials": true,
	"sdp": true, "offer": true, "answer": true, "phone": true, "phonenumber": true, "tophonenumber": true,
	"fromphonenumber": true, "waid": true, "connparams": true,
}

// hiddenText matches secrets and numbers inside of longer texts: JSON web tokens, the value after access_token=,
// Bearer and ice-pwd, Meta's access tokens, and phone numbers in international form.
var hiddenText = regexp.MustCompile(`eyJ[\w-]{8,}\.[\w-]+\.[\w-]*` +
	`|(?i:access_token=|authorization[:=]\s*|bearer\s+|ice-pwd[:=]\s*|pwd[:=]\s*)[^\s&"',;]+` +
	`|\bEAA[0-9A-Za-z]{20,}` +
	`|\+\d{7,15}\b`)

// redactText takes secrets and numbers out of a text.
func redactText(text string) string {
	if !mayHide(text) {
		return text
	}
	return hiddenText.ReplaceAllString(text, hidden)
}

// mayHide is a cheap test: most texts hold nothing that the expression could match.
func mayHide(text string) bool {
	if strings.ContainsAny(text, "+") || strings.Contains(text, "eyJ") || strings.Contains(text, "EAA") {
		return true
	}
	lower := strings.ToLower(text)
	for _, word := range []string{"access_token", "authorization", "bearer", "pwd"} {
		if strings.Contains(lower, word) {
			return true
		}
	}
	return false
}

// redactAttr is the last thing that every attribute passes on its way to the log.
func redactAttr(_ []string, a slog.Attr) slog.Attr {
	if hiddenKeys[foldKey(a.Key)] {
		return slog.String(a.Key, hidden)
	}
	switch a.Value.Kind() {
	case slog.KindDuration: // "48ms" rather than a number of nanoseconds
		a.Value = slog.StringValue(a.Value.Duration().Round(100 * time.Microsecond).String())
	case slog.KindString:
		a.Value = slog.StringValue(redactText(a.Value.String()))
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case error:
			a.Value = slog.StringValue(redactText(v.Error()))
		case fmt.Stringer:
			a.Value = slog.StringValue(redactText(v.String()))
		}
	default: // numbers, times, booleans hold nothing; of a group each attribute comes by itself
	}
	return a
}

var keyFolder = strings.NewReplacer("_", "", "-", "", ".", "")

func foldKey(key string) string { return keyFolder.Replace(strings.ToLower(key)) }
