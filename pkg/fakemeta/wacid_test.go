package fakemeta

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCallIDHasThePublishedAnatomy(t *testing.T) {
	var unique [16]byte
	_, err := hex.Decode(unique[:], []byte("0123456789abcdef0123456789abcdef"))
	require.NoError(t, err)
	got := callID(Inbound, "15550002222", "15550001111", unique, true)
	require.Equal(t, "wacid.HBgLMTU1NTAwMDIyMjIVAgASGCAwMTIzNDU2Nzg5QUJDREVGMDEyMzQ1Njc4OUFCQ0RFRhwYCzE1NTUwMDAxMTExFQIAAA==", got)
	require.Equal(t, strings.TrimRight(got, "="), callID(Inbound, "15550002222", "15550001111", unique, false))
	require.NotEqual(t, got, callID(Outbound, "15550002222", "15550001111", unique, true))
}

func TestCallIDsDifferAndComeWithAndWithoutPadding(t *testing.T) {
	seen, padded := map[string]bool{}, 0
	for range 200 {
		id := newCallID(Outbound, "15550002222", "15550001111")
		seen[id] = true
		if strings.HasSuffix(id, "=") {
			padded++
		}
	}
	require.Len(t, seen, 200)
	require.Greater(t, padded, 20)
	require.Less(t, padded, 180)
}
