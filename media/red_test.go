package media_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
)

// redPayload writes blocks as RFC 2198 section 3 has them; the last one is the primary.
func redPayload(blocks ...media.REDBlock) []byte {
	var out []byte
	for _, b := range blocks[:len(blocks)-1] {
		out = append(out, 0x80|b.PayloadType, byte(b.Offset>>6), byte(b.Offset<<2)|byte(len(b.Payload)>>8), byte(len(b.Payload)))
	}
	out = append(out, blocks[len(blocks)-1].PayloadType)
	for _, b := range blocks {
		out = append(out, b.Payload...)
	}
	return out
}

func TestREDIsTakenApart(t *testing.T) {
	old, older := bytes.Repeat([]byte{2}, 1023), []byte{3, 3}
	tests := map[string]struct {
		payload   []byte
		primary   []byte
		redundant []media.REDBlock
	}{
		"primary alone": {redPayload(media.REDBlock{PayloadType: 111, Payload: []byte{1}}), []byte{1}, nil},
		"one before": {
			redPayload(media.REDBlock{PayloadType: 111, Offset: 960, Payload: old}, media.REDBlock{PayloadType: 111, Payload: []byte{1, 1}}),
			[]byte{1, 1},
			[]media.REDBlock{{PayloadType: 111, Offset: 960, Payload: old}},
		},
		"two before, oldest first": {
			redPayload(
				media.REDBlock{PayloadType: 111, Offset: 1920, Payload: older}, media.REDBlock{PayloadType: 111, Offset: 960, Payload: old},
				media.REDBlock{PayloadType: 111, Payload: []byte{1}}),
			[]byte{1},
			[]media.REDBlock{{PayloadType: 111, Offset: 1920, Payload: older}, {PayloadType: 111, Offset: 960, Payload: old}},
		},
		"farthest": {
			redPayload(media.REDBlock{PayloadType: 127, Offset: 16383, Payload: older}, media.REDBlock{PayloadType: 111, Payload: []byte{1}}),
			[]byte{1},
			[]media.REDBlock{{PayloadType: 127, Offset: 16383, Payload: older}},
		},
		"an empty block": {
			redPayload(media.REDBlock{PayloadType: 111, Offset: 960}, media.REDBlock{PayloadType: 111, Payload: []byte{1}}),
			[]byte{1},
			nil,
		},
		"a block of the packet's own time": {
			redPayload(media.REDBlock{PayloadType: 111, Payload: older}, media.REDBlock{PayloadType: 111, Payload: []byte{1}}),
			[]byte{1},
			nil,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var r media.RED
			require.NoError(t, r.Parse(tt.payload))
			require.EqualValues(t, 111, r.PrimaryType)
			require.Equal(t, tt.primary, r.Primary)
			require.Len(t, r.Redundant(), len(tt.redundant))
			for i, want := range tt.redundant {
				require.Equal(t, want, r.Redundant()[i])
			}
		})
	}
}

func TestREDThatIsNoneIsRefused(t *testing.T) {
	primary := media.REDBlock{PayloadType: 111, Payload: []byte{1}}
	whole := redPayload(media.REDBlock{PayloadType: 111, Offset: 960, Payload: []byte{2, 2}}, primary)
	tests := map[string]struct {
		payload []byte
		err     error
	}{
		"nothing":                {nil, media.ErrREDShort},
		"header cut":             {whole[:3], media.ErrREDShort},
		"no primary header":      {whole[:4], media.ErrREDShort},
		"no content":             {whole[:5], media.ErrREDShort},
		"redundant block cut":    {whole[:6], media.ErrREDShort},
		"no primary content":     {whole[:7], media.ErrREDPrimary},
		"primary header alone":   {[]byte{111}, media.ErrREDPrimary},
		"headers without an end": {bytes.Repeat([]byte{0xEF, 0, 0, 0}, 100), media.ErrREDBlocks},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var r media.RED
			require.NoError(t, r.Parse(whole))
			require.ErrorIs(t, r.Parse(tt.payload), tt.err)
			require.Empty(t, r.Primary, "an error leaves nothing of the payload before")
			require.Empty(t, r.Redundant())
		})
	}
}

func TestREDAllocatesNothing(t *testing.T) {
	payload := redPayload(media.REDBlock{PayloadType: 111, Offset: 960, Payload: make([]byte, 80)}, media.REDBlock{PayloadType: 111, Payload: make([]byte, 80)})
	var r media.RED
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = r.Parse(payload) }))
}

func FuzzRED(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{111, 1, 2, 3})
	f.Add(redPayload(media.REDBlock{PayloadType: 111, Offset: 960, Payload: []byte{2, 2}}, media.REDBlock{PayloadType: 111, Payload: []byte{1}}))
	f.Add(bytes.Repeat([]byte{0xEF, 0, 0, 0}, 10))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var r media.RED
		if r.Parse(payload) != nil {
			require.Empty(t, r.Primary)
			require.Empty(t, r.Redundant())
			return
		}
		require.NotEmpty(t, r.Primary)
		blocks := make([]media.REDBlock, 0, 10)
		for _, b := range r.Redundant() {
			require.NotEmpty(t, b.Payload)
			require.NotZero(t, b.Offset)
			blocks = append(blocks, b)
		}
		blocks = append(blocks, media.REDBlock{PayloadType: r.PrimaryType, Payload: r.Primary})
		var again media.RED // what was read can be written, and read again
		require.NoError(t, again.Parse(redPayload(blocks...)))
		require.Equal(t, r.Primary, again.Primary)
		require.Len(t, again.Redundant(), len(r.Redundant()))
	})
}
