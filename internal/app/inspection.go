package app

import (
	"context"

	"github.com/livekit-connector/livekit-connector/internal/api"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// permissions asks Meta with the token that is configured for a number.
func (a *App) permissions(graph *whatsapp.Client) api.Permissions {
	return func(ctx context.Context, phoneNumberID, user string) (whatsapp.Permission, error) {
		creds, ok := a.numbers.Credentials(phoneNumberID)
		if !ok {
			return whatsapp.Permission{}, api.ErrNoCredentials
		}
		return graph.CallPermission(ctx, creds, user)
	}
}
