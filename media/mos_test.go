package media_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
)

func TestEstimatedMOS(t *testing.T) {
	tests := map[string]struct {
		q           media.Quality
		rating, mos float64
	}{
		"nothing wrong":                {media.Quality{}, 93.2, 4.41},
		"100 ms":                       {media.Quality{Delay: 100 * time.Millisecond}, 90.8, 4.36},
		"400 ms":                       {media.Quality{Delay: 400 * time.Millisecond}, 59.1, 3.05},
		"1 % of Opus":                  {media.Quality{Loss: .01}, 88.45, 4.29},
		"5 % of Opus":                  {media.Quality{Loss: .05}, 73.41, 3.75},
		"5 % of Opus in bursts":        {media.Quality{Loss: .05, Burst: 2}, 71.11, 3.65},
		"5 % of G.711":                 {media.Quality{Codec: media.CodecPCMU, Loss: .05}, 77.42, 3.92},
		"20 % of Opus":                 {media.Quality{Loss: .2}, 44.48, 2.29},
		"all of it":                    {media.Quality{Loss: 1}, 13.37, 1.09},
		"all of it, late":              {media.Quality{Loss: 1, Delay: time.Second}, 0, 1},
		"less than nothing":            {media.Quality{Loss: -1, Delay: -time.Second, Burst: -1}, 93.2, 4.41},
		"more than all":                {media.Quality{Loss: 7}, 13.37, 1.09},
		"one burst without end":        {media.Quality{Loss: .5, Burst: 1e9}, 0, 1},
		"fewer bursts than chance has": {media.Quality{Loss: .05, Burst: .5}, 73.41, 3.75},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.InDelta(t, tt.rating, tt.q.Rating(), .05)
			require.InDelta(t, tt.mos, tt.q.MOS(), .01)
		})
	}
}

func TestMOSNeverRisesWithLossOrDelay(t *testing.T) {
	for _, codec := range []media.Codec{media.CodecOpus, media.CodecPCMU, media.CodecPCMA} {
		before := 5.0
		for loss := 0.0; loss <= 1; loss += .01 {
			mos := media.Quality{Codec: codec, Loss: loss}.MOS()
			require.LessOrEqual(t, mos, before)
			before = mos
		}
		before = 5
		for d := time.Duration(0); d < 2*time.Second; d += 10 * time.Millisecond {
			mos := media.Quality{Codec: codec, Delay: d}.MOS()
			require.LessOrEqual(t, mos, before)
			before = mos
		}
	}
}
