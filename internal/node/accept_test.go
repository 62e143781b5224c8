package node

import (
	"testing"

	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/metaleg"
)

// Whoever asks is told that nothing was begun, and may reject the call or try another node.
func TestOfferThatThisNodeCannotAnswerIsOneThatItHasNoRoomFor(t *testing.T) {
	s := newStandWith(t, func(o *Options) {
		var err error
		o.Meta, err = metaleg.New(metaleg.Config{IPv4Only: true, KeepInterface: func(string) bool { return false }})
		require.NoError(t, err)
	})
	_, err := s.StartCall(wait(t), acceptRequest(offer(t)))
	requireCode(t, psrpc.ResourceExhausted, err)
	_, err = s.StartCall(wait(t), acceptRequest("v=0\r\n"))
	requireCode(t, psrpc.InvalidArgument, err)
	require.Zero(t, s.Calls())
	require.Empty(t, s.asked)
}
