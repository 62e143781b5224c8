package media_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
)

func TestOpusHasFEC(t *testing.T) {
	const stereo = 4
	tests := map[string]struct {
		payload []byte
		want    bool
	}{
		"nothing":                    {nil, false},
		"DTX":                        {[]byte{tocSILK}, false},
		"DTX of two bytes":           {[]byte{tocSILK, 0x40}, false},
		"SILK 20 ms":                 {[]byte{tocSILK, 0x40, 0}, true},
		"SILK 20 ms, voice only":     {[]byte{tocSILK, 0xBF, 0}, false},
		"SILK 10 ms":                 {[]byte{8 << 3, 0x40, 0}, true},
		"SILK 40 ms":                 {[]byte{10 << 3, 0x20, 0}, true},
		"SILK 40 ms, voice only":     {[]byte{10 << 3, 0xDF, 0}, false},
		"SILK 60 ms":                 {[]byte{11 << 3, 0x10, 0}, true},
		"SILK 60 ms, voice only":     {[]byte{11 << 3, 0xEF, 0}, false},
		"hybrid 20 ms":               {[]byte{15 << 3, 0x40, 0}, true},
		"stereo, mid":                {[]byte{tocSILK | stereo, 0x40, 0}, true},
		"stereo, side":               {[]byte{tocSILK | stereo, 0x10, 0}, true},
		"stereo, voice only":         {[]byte{tocSILK | stereo, 0xAF, 0}, false},
		"stereo 60 ms, side":         {[]byte{11<<3 | stereo, 0x01, 0}, true},
		"CELT":                       {[]byte{toc20, 0xFF, 0xFF}, false},
		"silence":                    {media.SilenceFrame, false},
		"two equal, first":           {[]byte{tocSILK | 1, 0x40, 0, 0, 0}, true},
		"two equal, second":          {[]byte{tocSILK | 1, 0, 0, 0x40, 0}, false},
		"two, first":                 {[]byte{tocSILK | 2, 2, 0x40, 0, 0, 0}, true},
		"two, length broken":         {[]byte{tocSILK | 2, 9, 0x40, 0}, false},
		"three of fixed length":      {[]byte{tocSILK | 3, 3, 0x40, 0, 0, 0, 0, 0}, true},
		"three of their own lengths": {[]byte{tocSILK | 3, 0x83, 2, 2, 0x40, 0, 0, 0, 0, 0}, true},
		"one of its own length":      {[]byte{tocSILK | 3, 0x81, 0x40, 0}, true},
		"padded":                     {[]byte{tocSILK | 3, 0x41, 1, 0x40, 0, 0}, true},
		"padding broken":             {[]byte{tocSILK | 3, 0x41, 255}, false},
		"no frame":                   {[]byte{tocSILK | 3, 0, 0x40, 0}, false},
		"count missing":              {[]byte{tocSILK | 3}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, media.OpusHasFEC(tt.payload))
		})
	}
}

// What is read from the wire must not bring the process down.
func FuzzOpusHasFEC(f *testing.F) {
	f.Add([]byte{tocSILK | 3, 0xC3, 255, 1, 2, 2, 0x40, 0, 0})
	f.Add([]byte{tocSILK | 2, 252, 1, 0x40})
	f.Fuzz(func(_ *testing.T, payload []byte) {
		media.OpusHasFEC(payload)
	})
}
