package fakemeta

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
)

// VerifyWebhook does what Meta does when a webhook URL is registered: a GET with a challenge that the listener must
// send back, bare, with status 200.
func (s *Server) VerifyWebhook(ctx context.Context, phoneNumberID string) error {
	n, err := s.number(phoneNumberID)
	if err != nil {
		return fmt.Errorf("verify webhook: %w", err)
	}
	if n.WebhookURL == "" {
		return errors.New("verify webhook: the number has no webhook URL")
	}
	u, err := url.Parse(n.WebhookURL)
	if err != nil {
		return fmt.Errorf("verify webhook: %w", err)
	}
	random, err := rand.Int(rand.Reader, big.NewInt(9_000_000_000))
	if err != nil {
		return fmt.Errorf("verify webhook: %w", err)
	}
	challenge := random.Add(random, big.NewInt(1_000_000_000)).String() // ten digits, as in the wild
	q := u.Query()
	q.Set("hub.mode", "subscribe")
	q.Set("hub.challenge", challenge)
	q.Set("hub.verify_token", n.VerifyToken)
	u.RawQuery = q.Encode()
	ctx, cancel := context.WithTimeout(ctx, s.timing.WebhookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return fmt.Errorf("verify webhook: %w", err)
	}
	res, err := s.dispatcher.client.Do(req)
	if err != nil {
		return fmt.Errorf("verify webhook: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	switch {
	case err != nil:
		return fmt.Errorf("verify webhook: %w", err)
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("verify webhook: status %d", res.StatusCode)
	case string(body) != challenge:
		return errors.New("verify webhook: the answer is not the bare challenge")
	}
	return nil
}
