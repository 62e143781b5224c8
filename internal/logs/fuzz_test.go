package logs_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/livekit-connector/livekit-connector/internal/logs"
)

// Whatever stands around a number, a call's ID or a token, none of them gets through.
func FuzzMask(f *testing.F) {
	f.Add("dial +", " failed")
	f.Add("v=0\\r\\n", "")
	f.Add("a=b ufrag ", "wacid.")
	f.Add("+1 (555) ", "/US.")
	f.Fuzz(func(t *testing.T, before, after string) {
		if strings.IndexFunc(last(before)+first(after), func(r rune) bool { return unicode.IsDigit(r) }) >= 0 {
			return // it would be another number
		}
		for _, hidden := range []string{"15550002222", " " + callID + " ", " " + metaToken + " ", jwt} {
			if out := logs.Mask(before + hidden + after); strings.Contains(out, strings.TrimSpace(hidden)) {
				t.Errorf("%q gets through: %q", hidden, out)
			}
		}
	})
}

func last(text string) string {
	if text == "" {
		return ""
	}
	return text[len(text)-1:]
}

func first(text string) string {
	if text == "" {
		return ""
	}
	return text[:1]
}
