package metaleg_test

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/metaleg"
)

func TestReportsFlow(t *testing.T) {
	m := newMeta(t, newRelay(t))
	l := connect(t, newStack(t, loopback()), m)
	m.until("a report by itself, before the gate is open", func() bool { return len(m.rtcp) > 0 })
	require.NoError(t, m.session.WriteRTCP([]rtcp.Packet{&rtcp.SenderReport{SSRC: m.ssrc}}))
	reportCame(t, l)
	require.False(t, l.LastReceived().IsZero())
}

// reportCame waits for one from Meta, of which the leg only keeps count.
func reportCame(t *testing.T, l *metaleg.Leg) {
	t.Helper()
	require.Eventually(t, func() bool { return l.Stats().ReceivedRTCP > 0 }, patience, time.Millisecond, "Meta's report never came")
}

func TestReportsOnTheWire(t *testing.T) {
	m := newMeta(t, newRelay(t))
	l := connect(t, newStack(t, loopback()), m)
	l.HoldReports()
	heard := newEar()
	l.SetSink(heard)
	report := func() []rtcp.Packet {
		m.mu.Lock()
		m.rtcp = nil
		m.mu.Unlock()
		l.Report()
		m.until("a report", func() bool { return len(m.rtcp) > 0 })
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.rtcp[len(m.rtcp)-1]
	}

	silent := report()
	require.Len(t, silent, 2)
	require.IsType(t, &rtcp.ReceiverReport{}, silent[0])
	require.Empty(t, silent[0].(*rtcp.ReceiverReport).Reports, "nothing came, so there is nothing to tell") //nolint:forcetypeassert // just checked

	l.Open()
	l.HoldReports()
	require.NoError(t, l.WriteRTP(packet(1, "abc")))
	require.NoError(t, l.WriteRTP(packet(2, "defg")))
	require.NoError(t, m.session.WriteRTCP([]rtcp.Packet{&rtcp.SenderReport{SSRC: m.ssrc, NTPTime: 0x0000AAAABBBB0000}}))
	m.say("x", 1)
	m.seq++ // lost on the way
	m.say("x", 2)
	heard.waitFor(t, 3)
	reportCame(t, l)

	before := time.Now().Unix()
	got := report()
	after := time.Now().Unix()
	require.Len(t, got, 3)
	sr, ok := got[0].(*rtcp.SenderReport)
	require.True(t, ok, "the sender's report comes first (RFC 3550 section 6.1)")
	m.until("our audio", func() bool { return len(m.heard) > 0 })
	m.mu.Lock()
	ssrc := m.heard[0].SSRC
	m.mu.Unlock()
	require.Equal(t, ssrc, sr.SSRC)
	require.EqualValues(t, 2, sr.PacketCount)
	require.EqualValues(t, 7, sr.OctetCount)
	require.GreaterOrEqual(t, sr.RTPTime, uint32(2*960))
	told := int64(sr.NTPTime>>32) - 2_208_988_800
	require.GreaterOrEqual(t, told, before)
	require.LessOrEqual(t, told, after)
	rr, ok := got[1].(*rtcp.ReceiverReport)
	require.True(t, ok)
	require.Equal(t, ssrc, rr.SSRC)
	require.Len(t, rr.Reports, 1)
	block := rr.Reports[0]
	require.Equal(t, m.ssrc, block.SSRC)
	require.EqualValues(t, 256/4, block.FractionLost)
	require.EqualValues(t, 1, block.TotalLost)
	require.EqualValues(t, m.seq, block.LastSequenceNumber)
	require.EqualValues(t, 0xAAAABBBB, block.LastSenderReport)
	require.Equal(t, &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
		Source: ssrc, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "livekit-connector"}},
	}}}, got[2], "the name is that of the SDP")
}
