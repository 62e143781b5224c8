package metaleg

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNobodyAnswers(t *testing.T) {
	deaf, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer deaf.Close()
	s, err := New(Config{IncludeLoopback: true, IPv4Only: true, KeepInterface: func(name string) bool { return name == "lo" }})
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(deaf.LocalAddr().String())
	require.NoError(t, err)
	offer := strings.ReplaceAll(vector(t, "01"), "57.144.43.49 3480", "127.0.0.1 "+port)
	remote, err := parseRemote(offer, G711Off.choose)
	require.NoError(t, err)
	l, err := s.newLeg(200*time.Millisecond, G711Off.codecs())
	require.NoError(t, err)
	_, err = l.answerOffer(t.Context(), offer, remote)
	require.NoError(t, err)
	select {
	case <-l.Done():
	case <-time.After(time.Minute):
		require.FailNow(t, "the leg never gave up")
	}
	require.ErrorIs(t, l.Err(), ErrUnreachable)
	l.Open()
	require.ErrorIs(t, l.WriteRTP(speech()), ErrNotConnected)
	require.EqualValues(t, 1, l.Stats().NotConnected)
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Err(), ErrUnreachable, "the first reason stays")
}
