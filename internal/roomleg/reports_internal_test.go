package roomleg

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"
)

// server is the far end of a reporter.
type server struct {
	mu   sync.Mutex
	sent [][]rtcp.Packet // guarded by mu
	rtp  int
	rtcp [][]byte // what it sends
}

func (s *server) Write(packets []rtcp.Packet, _ interceptor.Attributes) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, packets)
	return 1, nil
}

// got is what came so far.
func (s *server) got() [][]rtcp.Packet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

func (s *server) Read(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
	n := copy(b, s.rtcp[0])
	s.rtcp = s.rtcp[1:]
	return n, a, nil
}

// pass lets fake time go by, and what was to happen in it be done.
func pass(d time.Duration) {
	time.Sleep(d) // fake time
	synctest.Wait()
}

func newReporter(t *testing.T, s *server) interceptor.Interceptor {
	t.Helper()
	r, err := reporters{network: newNetwork()}.NewInterceptor("")
	require.NoError(t, err)
	r.BindRTCPWriter(s)
	return r
}

var (
	own    = &interceptor.StreamInfo{SSRC: 5, ClockRate: 48000}
	theirs = &interceptor.StreamInfo{SSRC: 7, ClockRate: 48000}
)

func (s *server) writer() interceptor.RTPWriter {
	return interceptor.RTPWriterFunc(func(*rtp.Header, []byte, interceptor.Attributes) (int, error) {
		s.rtp++
		return 1, nil
	})
}

func TestReportsTellOfBothDirections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		r := newReporter(t, s)
		out := r.BindLocalStream(own, s.writer())
		in := r.BindRemoteStream(theirs, newWire(t, 3, func(int) []byte { return []byte{1} }))
		pass(time.Minute)
		require.Empty(t, s.got(), "nothing to tell")

		buf := make([]byte, maxPacket)
		for i := range uint16(3) {
			_, err := out.Write(&rtp.Header{SSRC: 5, SequenceNumber: i, Timestamp: uint32(i) * 960}, []byte{1, 2}, nil)
			require.NoError(t, err)
			_, _, err = in.Read(buf, nil)
			require.NoError(t, err)
		}
		raw, err := (&rtcp.SenderReport{SSRC: 7, NTPTime: 0x0000AAAABBBB0000}).Marshal()
		require.NoError(t, err)
		s.rtcp = [][]byte{raw}
		_, _, err = r.BindRTCPReader(s).Read(buf, nil)
		require.NoError(t, err)

		sent := time.Now()
		pass(1500 * time.Millisecond)
		require.Len(t, s.got(), 1)
		require.Len(t, s.got()[0], 2)
		sr := s.got()[0][0].(*rtcp.SenderReport) //nolint:forcetypeassert // the test fails either way
		require.EqualValues(t, 5, sr.SSRC)
		require.EqualValues(t, 3, sr.PacketCount)
		require.EqualValues(t, 6, sr.OctetCount)
		require.Greater(t, sr.RTPTime, uint32(2*960+48000/2-1))
		rr := s.got()[0][1].(*rtcp.ReceiverReport) //nolint:forcetypeassert // the test fails either way
		require.EqualValues(t, 5, rr.SSRC)
		require.Len(t, rr.Reports, 1)
		require.EqualValues(t, 7, rr.Reports[0].SSRC)
		require.EqualValues(t, 2, rr.Reports[0].LastSequenceNumber)
		require.EqualValues(t, 0xAAAABBBB, rr.Reports[0].LastSenderReport)
		require.NotZero(t, rr.Reports[0].Delay)

		raw, err = (&rtcp.ReceiverReport{SSRC: 7, Reports: []rtcp.ReceptionReport{
			{SSRC: 5, TotalLost: 2, Jitter: 480, LastSenderReport: uint32(sr.NTPTime >> 16)},
		}}).Marshal()
		require.NoError(t, err)
		s.rtcp = [][]byte{raw}
		_, _, err = r.BindRTCPReader(s).Read(buf, nil)
		require.NoError(t, err)
		known := r.(*reporter).network.state() //nolint:forcetypeassert // the test fails either way
		require.EqualValues(t, 1, known.Reports)
		require.EqualValues(t, 2, known.Missed)
		require.Equal(t, 10*time.Millisecond, known.Jitter)
		require.Positive(t, known.RTT, "from the report that was sent to its answer")
		require.EqualValues(t, 3, known.Expected)
		require.Zero(t, known.Lost)
		require.False(t, time.Now().Before(sent))

		pass(time.Minute)
		require.GreaterOrEqual(t, len(s.got()), 8, "they go on")
		require.LessOrEqual(t, len(s.got()), 25)
		require.NoError(t, r.Close())
		n := len(s.got())
		pass(time.Minute)
		require.Len(t, s.got(), n, "and end with the connection")
	})
}

func TestReportsKnowNoStreamThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		r := newReporter(t, s)
		w := newWire(t, 2, func(int) []byte { return []byte{1} })
		in := r.BindRemoteStream(theirs, w)
		r.BindRemoteStream(theirs, w) // the track, after the probe
		r.UnbindRemoteStream(theirs)  // the probe gives up
		_, _, err := in.Read(make([]byte, maxPacket), nil)
		require.NoError(t, err)
		pass(2 * time.Second)
		require.Len(t, s.got(), 1, "the track is still read")
		require.IsType(t, &rtcp.ReceiverReport{}, s.got()[0][0])
		r.UnbindRemoteStream(theirs)
		pass(time.Minute)
		require.Len(t, s.got(), 1)
		require.NoError(t, r.Close())
	})
}

func TestServerMayMeasureTheRoundTrip(t *testing.T) {
	s := &server{}
	r := newReporter(t, s)
	r.BindLocalStream(own, s.writer())
	question, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ExtendedReport{
		SenderSSRC: 9, Reports: []rtcp.ReportBlock{&rtcp.ReceiverReferenceTimeReportBlock{NTPTimestamp: 0x1122334455667788}},
	}})
	require.NoError(t, err)
	s.rtcp = [][]byte{question}
	_, _, err = r.BindRTCPReader(s).Read(make([]byte, maxPacket), nil)
	require.NoError(t, err)
	require.Equal(t, [][]rtcp.Packet{{&rtcp.ExtendedReport{SenderSSRC: 5, Reports: []rtcp.ReportBlock{
		&rtcp.DLRRReportBlock{Reports: []rtcp.DLRRReport{{SSRC: 9, LastRR: 0x33445566}}},
	}}}}, s.got())
	require.NoError(t, r.Close())
}

func TestReportingAllocatesNothingPerPacket(t *testing.T) {
	s := &server{}
	r := newReporter(t, s)
	raw := newWire(t, 1, func(int) []byte { return make([]byte, 80) }).packets[0]
	in := r.BindRemoteStream(theirs, interceptor.RTPReaderFunc(
		func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
			return copy(b, raw), a, nil
		},
	))
	out := r.BindLocalStream(own, s.writer())
	header, payload, buf := &rtp.Header{SSRC: 5}, make([]byte, 60), make([]byte, maxPacket)
	require.Zero(t, testing.AllocsPerRun(2000, func() {
		header.Timestamp += 960
		_, _ = out.Write(header, payload, nil)
		raw[3]++
		_, _, _ = in.Read(buf, nil)
	}))
	require.NoError(t, r.Close())
}
