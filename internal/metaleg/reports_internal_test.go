package metaleg

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/reports"
)

// arrivals is when the packets of a stream come, from some moment on.
var arrivals = time.Date(2026, time.March, 4, 5, 6, 7, 8, time.UTC)

// compound is a compound packet as Meta sends it.
func compound(t *testing.T, packets ...rtcp.Packet) []byte {
	t.Helper()
	raw, err := rtcp.Marshal(packets)
	require.NoError(t, err)
	return raw
}

// middle is the middle of an NTP time stamp (RFC 3550 section 4), 16 bits each way.
func middle(at time.Time) uint32 {
	return uint32(at.Unix()+2_208_988_800)<<16 | uint32(uint64(at.Nanosecond())<<16/uint64(time.Second))
}

func TestFeedback(t *testing.T) {
	const ours = 7
	now := time.Now()
	// We sent our report 180 ms ago, Meta answered 100 ms after it had it.
	block := rtcp.ReceptionReport{
		SSRC: ours, FractionLost: 64, TotalLost: 12, LastSequenceNumber: 70000, Jitter: 480,
		LastSenderReport: middle(now.Add(-180 * time.Millisecond)), Delay: 65536 / 10,
	}
	other := rtcp.ReceptionReport{SSRC: 8, FractionLost: 255}
	for name, raw := range map[string][]byte{
		"receiver report":          compound(t, &rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{block}}),
		"sender report":            compound(t, &rtcp.SenderReport{SSRC: 1, Reports: []rtcp.ReceptionReport{other, block}}),
		"behind something else":    compound(t, &rtcp.SourceDescription{}, &rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{block, other}}),
		"before something cut off": append(compound(t, &rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{block}}), 0x81, 201, 0, 7, 1),
	} {
		t.Run(name, func(t *testing.T) {
			l := &Leg{}
			l.feedback.Take(raw, ours, 48000, now)
			got := l.Feedback()
			require.InDelta(t, .08, got.RTT.Seconds(), .001)
			require.Equal(t, got.RTT, got.MinRTT)
			require.Equal(t, got.RTT, got.MeanRTT)
			got.RTT, got.MinRTT, got.MeanRTT = 0, 0, 0
			require.Equal(t, reports.FeedbackState{Reports: 1, Loss: .25, Lost: 12, Jitter: 10 * time.Millisecond}, got)
		})
	}
}

func TestFeedbackWithoutOurReportHasNoRoundTrip(t *testing.T) {
	now := time.Now()
	for name, b := range map[string]rtcp.ReceptionReport{
		"none heard yet":   {SSRC: 7},
		"from the future":  {SSRC: 7, LastSenderReport: middle(now.Add(time.Minute))},
		"from another day": {SSRC: 7, LastSenderReport: middle(now.Add(-time.Hour))},
	} {
		t.Run(name, func(t *testing.T) {
			l := &Leg{}
			l.feedback.Take(compound(t, &rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{b}}), 7, 48000, now)
			require.EqualValues(t, 1, l.Feedback().Reports)
			require.Zero(t, l.Feedback().RTT)
		})
	}
}

func TestFewerLostThanNoneIsNone(t *testing.T) {
	raw := compound(t, &rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: 7}}})
	copy(raw[13:16], []byte{0xFF, 0xFF, 0xFE}) // duplicates: -2 (RFC 3550 section 6.4.1)
	l := &Leg{}
	l.feedback.Take(raw, 7, 48000, time.Now())
	require.EqualValues(t, 1, l.Feedback().Reports)
	require.Zero(t, l.Feedback().Lost)
}

func FuzzFeedback(f *testing.F) {
	raw, err := rtcp.Marshal([]rtcp.Packet{
		&rtcp.SenderReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: 7}}}, &rtcp.SourceDescription{},
		&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: 7}, {SSRC: 8}}},
	})
	require.NoError(f, err)
	f.Add(raw)
	f.Add(raw[:len(raw)-1])
	f.Add(binary.BigEndian.AppendUint32(nil, 0x9FC8FFFF))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l := &Leg{}
		l.feedback.Take(raw, 7, 48000, arrivals)
		got := l.Feedback()
		require.GreaterOrEqual(t, got.RTT, time.Duration(0))
		require.LessOrEqual(t, got.Loss, 1.0)
		require.GreaterOrEqual(t, got.Jitter, time.Duration(0))
	})
}
