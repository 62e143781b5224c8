package media_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
)

func TestOpusDuration(t *testing.T) {
	long := make([]byte, 1400)
	tests := map[string]struct {
		payload []byte
		ticks   uint32 // 0: no Opus packet
	}{
		"silence frame":                             {media.SilenceFrame, 960},
		"one byte is DTX":                           {[]byte{0xF8}, 960},
		"nothing at all":                            {nil, 0},
		"SILK narrowband 10 ms":                     {[]byte{0 << 3, 1}, 480},
		"SILK wideband 60 ms":                       {[]byte{11 << 3, 1}, 2880},
		"hybrid superwideband 20 ms":                {[]byte{13 << 3, 1}, 960},
		"CELT 2.5 ms":                               {[]byte{16 << 3, 1}, 120},
		"CELT 5 ms":                                 {[]byte{17 << 3, 1}, 240},
		"two equal frames":                          {[]byte{13<<3 | 1, 1, 2}, 1920},
		"two equal frames of odd length together":   {[]byte{13<<3 | 1, 1, 2, 3}, 0},
		"two frames, the first of 2 bytes":          {[]byte{13<<3 | 2, 2, 1, 1, 9}, 1920},
		"two frames, the first longer than all":     {[]byte{13<<3 | 2, 9, 1, 1}, 0},
		"two frames without the length":             {[]byte{13<<3 | 2}, 0},
		"two frames with half a length":             {[]byte{13<<3 | 2, 252}, 0},
		"three equal frames":                        {[]byte{13<<3 | 3, 3, 1, 2, 3}, 2880},
		"three equal frames that do not divide":     {[]byte{13<<3 | 3, 3, 1, 2}, 0},
		"count missing":                             {[]byte{13<<3 | 3}, 0},
		"no frames":                                 {[]byte{13<<3 | 3, 0}, 0},
		"120 ms":                                    {[]byte{13<<3 | 3, 6, 1, 2, 3, 4, 5, 6}, 5760},
		"more than 120 ms":                          {[]byte{13<<3 | 3, 7, 1, 2, 3, 4, 5, 6, 7}, 0},
		"three frames, lengths given":               {[]byte{13<<3 | 3, 0x80 | 3, 1, 1, 7, 7, 7}, 2880},
		"three frames, lengths too long":            {[]byte{13<<3 | 3, 0x80 | 3, 9, 9, 7, 7, 7}, 0},
		"three frames, lengths missing":             {[]byte{13<<3 | 3, 0x80 | 3, 1}, 0},
		"padded":                                    {[]byte{13<<3 | 3, 0x40 | 1, 2, 9, 0, 0}, 960},
		"padded by more than there is":              {[]byte{13<<3 | 3, 0x40 | 1, 9, 9}, 0},
		"padding length unfinished":                 {[]byte{13<<3 | 3, 0x40 | 1, 255}, 0},
		"frame longer than Opus has":                {append([]byte{13 << 3}, long...), 0},
		"second of two frames longer than Opus has": {append([]byte{13<<3 | 2, 1, 1}, long...), 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ticks, err := media.OpusDuration(tt.payload)
			require.Equal(t, tt.ticks, ticks)
			if tt.ticks == 0 {
				require.ErrorIs(t, err, media.ErrOpus)
			} else {
				require.NoError(t, err)
			}
		})
	}
}

func TestOpusStereo(t *testing.T) {
	require.False(t, media.OpusStereo(nil))
	require.False(t, media.OpusStereo(media.SilenceFrame))
	require.True(t, media.OpusStereo([]byte{0xFC, 0xFF, 0xFE}))
}

func FuzzOpusDuration(f *testing.F) {
	f.Add([]byte{0xF8, 0xFF, 0xFE})
	f.Add([]byte{13<<3 | 3, 0xC0 | 3, 2, 1, 1, 7, 7, 7, 0, 0})
	f.Fuzz(func(t *testing.T, payload []byte) {
		ticks, err := media.OpusDuration(payload)
		if err != nil {
			require.Zero(t, ticks)
			return
		}
		require.NotZero(t, ticks)
		require.LessOrEqual(t, ticks, uint32(5760))
		require.Zero(t, ticks%120)
	})
}
