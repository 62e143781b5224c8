package g711_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media/g711"
)

// ITU-T G.711, tables 2a and 2b: the values at the decoder output of the mu-law,
// in 14 bits, by segment: the first, then the step.
var muSegments = [8][2]int{{0, 2}, {33, 4}, {99, 8}, {231, 16}, {495, 32}, {1023, 64}, {2079, 128}, {4191, 256}}

// Tables 1a and 1b: those of the A-law, in 13 bits.
var aSegments = [8][2]int{{1, 2}, {33, 2}, {66, 4}, {132, 8}, {264, 16}, {528, 32}, {1056, 64}, {2112, 128}}

func TestDecoderOutputIsThatOfTheRecommendation(t *testing.T) {
	one := make([]int16, 1)
	for code := range 256 {
		mu, a := ^byte(code), byte(code)^0x55
		want := muSegments[mu>>4&7][0]
		want += int(mu&15) * muSegments[mu>>4&7][1]
		if mu&0x80 != 0 {
			want = -want
		}
		require.Equal(t, 1, g711.Mu.Decode([]byte{byte(code)}, one))
		require.Equal(t, int16(want<<2), one[0], "mu-law %#x", code)

		want = aSegments[a>>4&7][0] + int(a&15)*aSegments[a>>4&7][1]
		if a&0x80 == 0 {
			want = -want
		}
		require.Equal(t, 1, g711.A.Decode([]byte{byte(code)}, one))
		require.Equal(t, int16(want<<3), one[0], "A-law %#x", code)
	}
}

func TestPublishedValues(t *testing.T) {
	for _, c := range []struct {
		law    g711.Law
		code   byte
		sample int16
	}{
		// Tables 2a and 2b: +-8031, the smallest magnitudes, zero twice.
		{g711.Mu, 0x80, 32124},
		{g711.Mu, 0x00, -32124},
		{g711.Mu, 0xFF, 0},
		{g711.Mu, 0x7F, 0},
		{g711.Mu, 0xFE, 8},
		{g711.Mu, 0x7E, -8},
		{g711.Mu, 0xEF, 132},
		{g711.Mu, 0x8F, 16764},
		// Tables 1a and 1b: +-4032, +-1.
		{g711.A, 0xAA, 32256},
		{g711.A, 0x2A, -32256},
		{g711.A, 0xD5, 8},
		{g711.A, 0x55, -8},
	} {
		one := make([]int16, 1)
		c.law.Decode([]byte{c.code}, one)
		require.Equal(t, c.sample, one[0], "%#x", c.code)
	}
}

func TestEveryCodeSurvives(t *testing.T) {
	for _, law := range []g711.Law{g711.Mu, g711.A} {
		for code := range 256 {
			pcm, again := make([]int16, 1), make([]byte, 1)
			law.Decode([]byte{byte(code)}, pcm)
			law.Encode(pcm, again)
			if law == g711.Mu && code == 0x7F {
				require.Equal(t, byte(0xFF), again[0], "the other zero")
				continue
			}
			require.Equal(t, byte(code), again[0], "law %d", law)
		}
	}
}

// Tables 1 and 2: a value lies in the middle between the two decision values that
// bound what is coded as it, and decision values rise by powers of two.
func TestDecisionValuesAreThoseOfTheRecommendation(t *testing.T) {
	for _, c := range []struct {
		law    g711.Law
		invert byte
		first  []int // the least magnitudes of the segments above the first
		step   int   // of the first segment
		last   int   // beyond it all is coded as the greatest
	}{
		{g711.Mu, 0xFF, []int{31 << 2, 95 << 2, 223 << 2, 479 << 2, 991 << 2, 2015 << 2, 4063 << 2}, 2 << 2, 8159 << 2},
		{g711.A, 0x55, []int{32 << 3, 64 << 3, 128 << 3, 256 << 3, 512 << 3, 1024 << 3, 2048 << 3}, 2 << 3, 4096 << 3},
	} {
		code, value := make([]byte, 1), make([]int16, 1)
		for s := math.MinInt16; s <= math.MaxInt16; s++ {
			magnitude := max(s, -s)
			if c.law == g711.A && s < 0 {
				magnitude-- // the intervals of negative samples end below 0
			}
			segment := 0
			for segment < len(c.first) && magnitude >= c.first[segment] {
				segment++
			}
			step := c.step << segment
			if c.law == g711.A && segment > 0 {
				step = c.step << (segment - 1)
			}
			require.Equal(t, 1, c.law.Encode([]int16{int16(s)}, code))
			c.law.Decode(code, value)
			if int((code[0]^c.invert)>>4&7) != segment {
				t.Fatalf("law %d: %d is in segment %d, not %d", c.law, s, (code[0]^c.invert)>>4&7, segment)
			}
			if off := max(int(value[0])-s, s-int(value[0])); off > step/2 && magnitude < c.last {
				t.Fatalf("law %d: %d became %d with steps of %d", c.law, s, value[0], step)
			}
		}
	}
}

func TestLengthsAreThoseOfTheShorter(t *testing.T) {
	require.Equal(t, 3, g711.Mu.Decode(make([]byte, 3), make([]int16, 160)))
	require.Equal(t, 3, g711.Mu.Decode(make([]byte, 160), make([]int16, 3)))
	require.Equal(t, 160, g711.A.Encode(make([]int16, 160), make([]byte, 1275)))
	require.Zero(t, g711.A.Encode(nil, make([]byte, 3)))
}
