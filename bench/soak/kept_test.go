package soak

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatIsKeptIsToldMostFirstAndNotAllOfIt(t *testing.T) {
	r := Result{Kept: []Kept{
		{Function: "github.com/livekit-connector/livekit-connector/media/jitter.New", Bytes: 262144},
		{Function: "encoding/json.typeFields", Bytes: keptLeast},
		{Function: "regexp.compile", Bytes: keptLeast - 1},
		{Function: "compress/flate.NewWriter", Bytes: -131072},
	}}
	require.Equal(t, [][]string{{"media/jitter.New", "0.26 MB"}, {"encoding/json.typeFields", "0.07 MB"}}, r.kept().Rows)
}
