package reports_test

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

func TestLossIsCountedAsRFC3550(t *testing.T) {
	type packet struct {
		ssrc uint32
		seq  uint16
	}
	tests := map[string]struct {
		packets              []packet
		expected, lost, gaps uint64
	}{
		"nothing":                  {nil, 0, 0, 0},
		"all of them":              {[]packet{{1, 5}, {1, 6}, {1, 7}}, 3, 0, 0},
		"across the wrap":          {[]packet{{1, 65534}, {1, 65535}, {1, 0}, {1, 1}}, 4, 0, 0},
		"two runs":                 {[]packet{{1, 5}, {1, 8}, {1, 9}, {1, 11}}, 7, 3, 2},
		"late is not lost":         {[]packet{{1, 5}, {1, 7}, {1, 6}}, 3, 0, 1},
		"twice is not more":        {[]packet{{1, 5}, {1, 5}, {1, 7}}, 3, 1, 1},
		"one wild packet":          {[]packet{{1, 5}, {1, 30000}, {1, 6}}, 2, 0, 0},
		"numbering that jumps":     {[]packet{{1, 5}, {1, 30000}, {1, 30001}, {1, 30002}}, 3, 0, 0},
		"another source":           {[]packet{{1, 5}, {2, 30000}, {2, 30001}}, 3, 0, 0},
		"more came than were sent": {[]packet{{1, 5}, {1, 4}, {1, 3}}, 1, 0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var r reports.Received
			for i, p := range tt.packets {
				r.Take(p.ssrc, p.seq, uint32(i)*960, 48000, arrivals.Add(time.Duration(i)*20*time.Millisecond))
			}
			got := r.State()
			require.Equal(t, tt.expected, got.Expected)
			require.Equal(t, tt.lost, got.Lost)
			require.Equal(t, tt.gaps, got.Gaps)
		})
	}
}

func TestJitterIsMeasuredAsRFC3550(t *testing.T) {
	for name, tt := range map[string]struct {
		rate uint32
		late func(i int) time.Duration
		want time.Duration
	}{
		"none":                  {48000, func(int) time.Duration { return 0 }, 0},
		"every second by 10 ms": {48000, func(i int) time.Duration { return time.Duration(i%2) * 10 * time.Millisecond }, 10 * time.Millisecond},
		"the same in G.711":     {8000, func(i int) time.Duration { return time.Duration(i%2) * 10 * time.Millisecond }, 10 * time.Millisecond},
		"a clock that drifts":   {48000, func(i int) time.Duration { return time.Duration(i) * time.Microsecond }, 0},
		"one pause":             {48000, func(i int) time.Duration { return time.Duration(i/100) * 3 * time.Second }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var r reports.Received
			for i := range 200 {
				at := arrivals.Add(time.Duration(i)*20*time.Millisecond + tt.late(i))
				r.Take(1, uint16(i), uint32(i)*tt.rate/50, tt.rate, at)
			}
			require.InDelta(t, tt.want.Seconds(), r.State().Jitter.Seconds(), .0003)
		})
	}
}

const frame = 20 * time.Millisecond

// receive gives r packets of stream 1 with the given numbers, 20 ms apart.
func receive(r *reports.Received, numbers ...uint16) {
	for i, seq := range numbers {
		r.Take(1, seq, uint32(i)*960, 48000, arrivals.Add(time.Duration(i)*frame))
	}
}

func TestBlockFieldByField(t *testing.T) {
	var r reports.Received
	_, ok := r.Block(arrivals)
	require.False(t, ok, "nothing came")
	receive(&r, 65533, 65534, 65535, 1, 2) // 0 is lost
	r.TakeReports(marshal(t, &rtcp.SenderReport{SSRC: 1, NTPTime: 0x1122334455667788}), arrivals)

	got, ok := r.Block(arrivals.Add(1500 * time.Millisecond))
	require.True(t, ok)
	require.Equal(t, rtcp.ReceptionReport{
		SSRC: 1, FractionLost: 256 / 6, TotalLost: 1, LastSequenceNumber: 1<<16 | 2,
		LastSenderReport: 0x33445566, Delay: 3 << 15, Jitter: got.Jitter,
	}, got)
	// The packet after the gap is 20 ms early by its timestamp, which skips nothing here.
	require.Less(t, got.Jitter, uint32(960/16*2))

	receive(&r, 3, 4, 5, 9)
	got, _ = r.Block(arrivals)
	require.EqualValues(t, 3*256/7, got.FractionLost, "since the last block")
	require.EqualValues(t, 4, got.TotalLost, "since the start")
	got, _ = r.Block(arrivals)
	require.Zero(t, got.FractionLost, "nothing was expected meanwhile")
	require.EqualValues(t, 4, got.TotalLost)
}

func TestBlockOfAnotherNumberingBeginsAnew(t *testing.T) {
	var r reports.Received
	receive(&r, 1, 2, 9)
	r.TakeReports(marshal(t, &rtcp.SenderReport{SSRC: 1, NTPTime: 1 << 40}), arrivals)
	r.Take(2, 500, 0, 48000, arrivals)
	r.Take(2, 502, 0, 48000, arrivals)
	got, _ := r.Block(arrivals)
	require.Equal(t, rtcp.ReceptionReport{SSRC: 2, FractionLost: 256 / 3, TotalLost: 1, LastSequenceNumber: 502}, got)
	require.EqualValues(t, 7, r.State().Lost, "of both")
}

func TestBlockWithMoreThanWereSent(t *testing.T) {
	var r reports.Received
	receive(&r, 5, 7)
	_, _ = r.Block(arrivals)
	receive(&r, 6) // late: it was reported lost
	got, _ := r.Block(arrivals)
	require.Zero(t, got.FractionLost)
	require.Zero(t, got.TotalLost)
}

func TestBlockCountsNoMoreThanItsBits(t *testing.T) {
	var r reports.Received
	seq := uint16(0)
	for range 1<<23/2900 + 100 {
		seq += 2900
		r.Take(1, seq, 0, 0, arrivals)
	}
	got, _ := r.Block(arrivals)
	require.EqualValues(t, 1<<23-1, got.TotalLost)
	require.EqualValues(t, 255, got.FractionLost)
	_, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{got}}})
	require.NoError(t, err)
}

func TestReportOfASenderFieldByField(t *testing.T) {
	var s reports.Sent
	require.Nil(t, s.Report(7, 48000, arrivals), "nothing sent yet")
	s.Take(1000, 48000, 60, arrivals)
	s.Take(1960, 48000, 40, arrivals.Add(frame))
	s.Take(1000, 48000, 60, arrivals.Add(frame))  // repeated
	s.Take(1960, 48000, 4, arrivals.Add(2*frame)) // an event's packets have the timestamp of its beginning
	now := arrivals.Add(frame + 500*time.Millisecond)
	require.Equal(t, &rtcp.SenderReport{
		SSRC: 7, NTPTime: reports.NTP(now), RTPTime: 1960 + 24000, PacketCount: 4, OctetCount: 164,
	}, s.Report(7, 48000, now))
	require.NotNil(t, s.Report(7, 48000, now), "sent since the last report but one")
	require.Nil(t, s.Report(7, 48000, now), "no sender any more")
	s.Take(0xF0000000, 48000, 1, now)
	require.Equal(t, uint32(0xF0000000), s.Report(7, 48000, now).RTPTime, "another time line")
}

func TestNTPIsSecondsSince1900(t *testing.T) {
	at := time.Unix(0, 0).Add(250 * time.Millisecond)
	require.Equal(t, uint64(2_208_988_800)<<32|1<<30, reports.NTP(at))
}

func TestCompound(t *testing.T) {
	sr := &rtcp.SenderReport{SSRC: 7}
	name := &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
		Source: 7, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "us"}},
	}}}
	blocks := make([]rtcp.ReceptionReport, 40)
	for i := range blocks {
		blocks[i].SSRC = uint32(i)
	}
	rr := func(of ...rtcp.ReceptionReport) *rtcp.ReceiverReport {
		return &rtcp.ReceiverReport{SSRC: 7, Reports: of}
	}
	for name, tt := range map[string]struct{ got, want []rtcp.Packet }{
		"both ways":      {reports.Compound(7, "us", []*rtcp.SenderReport{sr}, blocks[:1]), []rtcp.Packet{sr, rr(blocks[0]), name}},
		"only sent":      {reports.Compound(7, "us", []*rtcp.SenderReport{sr}, nil), []rtcp.Packet{sr, name}},
		"only received":  {reports.Compound(7, "us", nil, blocks[:1]), []rtcp.Packet{rr(blocks[0]), name}},
		"neither":        {reports.Compound(7, "us", nil, nil), []rtcp.Packet{rr(), name}},
		"without a name": {reports.Compound(7, "", nil, blocks[:1]), []rtcp.Packet{rr(blocks[0])}},
		"a full room":    {reports.Compound(7, "", nil, blocks), []rtcp.Packet{rr(blocks[:31]...), rr(blocks[31:]...)}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, marshal(t, tt.want...), marshal(t, tt.got...))
			require.Len(t, tt.got, len(tt.want))
		})
	}
}

func TestWaitIsAroundFiveSeconds(t *testing.T) {
	for range 1000 {
		require.GreaterOrEqual(t, reports.Wait(false), time.Second/2)
		require.Less(t, reports.Wait(false), 3*time.Second/2)
		require.GreaterOrEqual(t, reports.Wait(true), 5*time.Second/2)
		require.Less(t, reports.Wait(true), 15*time.Second/2)
	}
}

func marshal(t *testing.T, packets ...rtcp.Packet) []byte {
	t.Helper()
	raw, err := rtcp.Marshal(packets)
	require.NoError(t, err)
	return raw
}

func TestSenderReportsAreFoundInCompounds(t *testing.T) {
	sr := &rtcp.SenderReport{SSRC: 1, NTPTime: 0x0000AAAABBBB0000}
	for name, raw := range map[string][]byte{
		"alone":               marshal(t, sr),
		"behind another":      marshal(t, &rtcp.ReceiverReport{SSRC: 9}, sr),
		"before another's":    marshal(t, sr, &rtcp.SenderReport{SSRC: 2, NTPTime: 5 << 32}),
		"before what is torn": append(marshal(t, sr), 0x81, 201, 0, 7, 1),
	} {
		t.Run(name, func(t *testing.T) {
			var r reports.Received
			receive(&r, 1)
			r.TakeReports(raw, arrivals)
			got, _ := r.Block(arrivals)
			require.EqualValues(t, 0xAAAABBBB, got.LastSenderReport)
		})
	}
	var early reports.Received
	early.TakeReports(marshal(t, sr), arrivals) // before the first packet
	receive(&early, 1)
	got, _ := early.Block(arrivals)
	require.EqualValues(t, 0xAAAABBBB, got.LastSenderReport)
	var r reports.Received
	r.TakeReports(binary.BigEndian.AppendUint32(nil, 0x80C80000), arrivals) // too short to be one
	receive(&r, 1)
	got, _ = r.Block(arrivals)
	require.Zero(t, got.LastSenderReport)
}

func TestNothingIsAllocated(t *testing.T) {
	raw := marshal(t, &rtcp.SenderReport{SSRC: 1, NTPTime: 1 << 40})
	var (
		s   reports.Sent
		r   reports.Received
		seq uint16
	)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		seq++
		s.Take(uint32(seq)*960, 48000, 60, arrivals)
		r.Take(1, seq, uint32(seq)*960, 48000, arrivals)
		r.TakeReports(raw, arrivals)
		r.Block(arrivals)
	}))
}
