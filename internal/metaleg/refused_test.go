package metaleg_test

import (
	"net"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/metaleg"
)

// A bad answer is refused as often as it is sent, and does not spoil the leg for a good one.
func TestRefusedAnswerLeavesRoomForAGoodOne(t *testing.T) {
	s, err := metaleg.New(metaleg.Config{
		IPv4Only: true, IncludeLoopback: true, KeepIP: func(ip net.IP) bool { return ip.IsLoopback() },
	})
	require.NoError(t, err)
	l, _, err := s.Offer(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	answer := regexp.MustCompile(`a=mid:\S+`).ReplaceAllString(vector(t, "08"), "a=mid:0")
	extended := regexp.MustCompile(`a=extmap:1 `).ReplaceAllString(answer, "a=extmap:one ")
	require.NotEqual(t, answer, extended)
	bad := regexp.MustCompile(`(a=candidate:\S+ \d udp) \d+ \S+ \d+`).ReplaceAllString(answer, "$1 high 127.0.0.1 9")
	require.NotEqual(t, answer, bad)
	for range 2 {
		require.ErrorContains(t, l.SetAnswer(bad), "candidate 1 cannot be read")
		require.ErrorIs(t, l.SetAnswer(extended), metaleg.ErrSDP)
	}
	require.NoError(t, l.SetAnswer(answer))
}
