package fakemeta_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// rawTrack is a track that lets a test write any RTP header.
type rawTrack struct {
	*webrtc.TrackLocalStaticRTP
	bound atomic.Pointer[webrtc.TrackLocalContext]
}

// Bind implements webrtc.TrackLocal.
func (r *rawTrack) Bind(ctx webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	p, err := r.TrackLocalStaticRTP.Bind(ctx)
	if err == nil {
		r.bound.Store(&ctx)
	}
	return p, err
}

// write sends silence under this header; it is lost until the track is bound.
func (r *rawTrack) write(h rtp.Header) error {
	ctx := r.bound.Load()
	if ctx == nil {
		return nil
	}
	h.Version = 2
	if h.SSRC == 0 {
		h.SSRC = uint32((*ctx).SSRC())
	}
	_, err := (*ctx).WriteStream().WriteRTP(&h, []byte{0xF8, 0xFF, 0xFE})
	return err
}

// TestWrongSourcesAreReported sends what a track of Pion would never send.
func TestWrongSourcesAreReported(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil func(i int, h *rtp.Header)
		says  string
	}{
		"two sources":        {func(i int, h *rtp.Header) { h.SSRC = uint32(1 + i%2) }, "SSRC"},
		"wrong payload type": {func(_ int, h *rtp.Header) { h.PayloadType = 96 }, "payload type"},
		"mixed sources":      {func(_ int, h *rtp.Header) { h.CSRC = []uint32{7} }, "contributing sources"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := start(t, fakemeta.Options{})
			b := newBusiness(t, businessOptions{})
			raw := &rawTrack{TrackLocalStaticRTP: b.track}
			require.NoError(t, b.pc.GetSenders()[0].ReplaceTrack(raw))
			call := answered(t, srv, b, nil)
			b.awaitVoice(call)
			i := 0
			require.Eventually(t, func() bool {
				h := rtp.Header{PayloadType: 111, SequenceNumber: uint16(i), Timestamp: uint32(i * 960)}
				tt.spoil(i, &h)
				i++
				return raw.write(h) == nil && call.MediaStats().RTPReceived >= 30
			}, limit, time.Millisecond)
			require.NoError(t, call.HangUp())
			over(t, call)
			r := call.Report()
			require.False(t, r.OK())
			require.Contains(t, strings.Join(r.Problems, "\n"), tt.says)
		})
	}
}
