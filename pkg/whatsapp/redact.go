package whatsapp

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxText = 512 // bytes of a text from Meta that go into an error

var (
	tokenText = regexp.MustCompile(`\bEA[A-Za-z0-9]{16,}|(?i:bearer )\S+|(?i:access_token=)[^&\s]+|ice-pwd:\S+`)
	plusText  = regexp.MustCompile(`\+[0-9][0-9 ().-]{5,}[0-9]`)
	digitText = regexp.MustCompile(`[0-9]{8,}`)
)

// cleaner returns a function that makes a text of Meta's fit for an error: without the secret values, without whatever looks like a
// token or a phone number, on one line and cut. Values in keep stay.
func cleaner(keep string, secret ...string) func(string) string {
	return func(s string) string {
		for _, v := range secret {
			if len(v) >= 4 {
				s = strings.ReplaceAll(s, v, redacted)
			}
		}
		s = tokenText.ReplaceAllString(s, redacted)
		s = plusText.ReplaceAllString(s, redacted)
		s = digitText.ReplaceAllStringFunc(s, func(digits string) string {
			// Ten digits that begin with 1 are Unix seconds (138012 names the next allowed time); no phone number is written so.
			if digits == keep || (len(digits) == 10 && digits[0] == '1') {
				return digits
			}
			return redacted
		})
		return cut(s, maxText)
	}
}

// cut returns at most limit bytes of s, on one line and in valid UTF-8.
func cut(s string, limit int) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?")))
	if len(s) <= limit {
		return s
	}
	end := limit
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}
