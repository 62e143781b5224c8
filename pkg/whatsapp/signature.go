package whatsapp

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/url"
	"strings"
)

// SignatureHeader is the request header with Meta's signature of a webhook.
const SignatureHeader = "X-Hub-Signature-256"

// NothingHappened is a webhook in Meta's form that tells of nothing, by which an operator tries whether webhooks arrive and
// their signatures are right. Meta sends none.
const NothingHappened = `{"object":"whatsapp_business_account","entry":[]}`

const signaturePrefix = "sha256="

var (
	// ErrSignature is returned when a webhook's signature is missing, malformed or made with another secret.
	ErrSignature = errors.New("whatsapp: webhook signature does not match")
	// ErrChallenge is returned when a verification request does not hold our token, or is none.
	ErrChallenge = errors.New("whatsapp: webhook verification refused")
)

// VerifySignature checks a webhook's signature header against body, which must be the raw bytes of the request: Meta signs its own
// escaped form of the JSON. The webhook is genuine if any of the app secrets made the signature; empty secrets never did. The
// comparison takes the same time whatever differs.
func VerifySignature(body []byte, header string, secrets ...string) error {
	digits, ok := strings.CutPrefix(header, signaturePrefix)
	if !ok || len(digits) != hex.EncodedLen(sha256.Size) {
		return ErrSignature
	}
	given, err := hex.DecodeString(digits)
	if err != nil {
		return ErrSignature
	}
	matches := 0
	for _, secret := range secrets {
		if secret != "" {
			matches |= subtle.ConstantTimeCompare(given, sum(body, secret))
		}
	}
	if matches == 0 {
		return ErrSignature
	}
	return nil
}

// Sign returns the value of SignatureHeader for body, as Meta makes it; for tests and for whoever plays Meta.
func Sign(body []byte, secret string) string {
	return signaturePrefix + hex.EncodeToString(sum(body, secret))
}

func sum(body []byte, secret string) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return mac.Sum(nil)
}

// ChallengeResponse checks the query of Meta's verification GET and returns the body to answer it with, as text/plain. An empty token
// refuses every request. Answer ErrChallenge with 403.
func ChallengeResponse(query url.Values, token string) (string, error) {
	// Hashed first, so that the comparison does not even tell the token's length.
	given, want := sha256.Sum256([]byte(query.Get("hub.verify_token"))), sha256.Sum256([]byte(token))
	same := subtle.ConstantTimeCompare(given[:], want[:]) == 1
	challenge := query.Get("hub.challenge")
	if !same || token == "" || query.Get("hub.mode") != "subscribe" || challenge == "" {
		return "", ErrChallenge
	}
	return challenge, nil
}
