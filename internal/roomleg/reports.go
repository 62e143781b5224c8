package roomleg

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/livekit-connector/livekit-connector/internal/reports"
)

// reporters report to the server on what is sent and received, and answer it when it measures the round trip. They stand
// in for all that LiveKit's SDK registers by default. Of that, audio has no use for negative acknowledgements and congestion
// feedback, which the SDK's offer has for video alone, and the rest costs an allocated map and header for each packet
// and four goroutines for each connection.
type reporters struct {
	network *network
	broken  func(v any) // is told of a panic; nil lets it end the process
}

// NewInterceptor implements interceptor.Factory.
func (r reporters) NewInterceptor(string) (interceptor.Interceptor, error) {
	return &reporter{
		network: r.network, broken: r.broken,
		ssrc: rand.Uint32(), //nolint:gosec // a name, no secret (RFC 3550 section 8)
		sent: make(map[uint32]*sentStream), received: make(map[uint32]*receivedStream),
	}, nil
}

// reporter is the interceptor of one peer connection.
type reporter struct {
	interceptor.NoOp

	network *network
	broken  func(v any)
	ssrc    uint32 // ours as long as we send nothing

	mu       sync.Mutex // guards what follows; held for nothing that blocks
	writer   interceptor.RTCPWriter
	timer    *time.Timer
	closed   bool
	sent     map[uint32]*sentStream
	received map[uint32]*receivedStream

	writing sync.WaitGroup // Add only under mu
}

type sentStream struct {
	reports.Sent

	feedback reports.Feedback
	first    sync.Once
	rate     uint32 // Hz
}

type receivedStream struct {
	reports.Received

	first   sync.Once
	readers int
}

// BindRTCPWriter implements interceptor.Interceptor.
func (r *reporter) BindRTCPWriter(writer interceptor.RTCPWriter) interceptor.RTCPWriter {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writer = writer
	return writer
}

// guard is deferred, itself, where Pion's goroutines and the timer's enter.
func (r *reporter) guard() {
	if r.broken == nil {
		return // and the panic goes on
	}
	if v := recover(); v != nil {
		r.broken(v)
	}
}

// soon brings the next report forward, for a stream that began. Before the first there are no reports: a connection that
// never comes about needs nobody to end them.
func (r *reporter) soon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch wait := reports.Wait(false); {
	case r.closed:
	case r.timer == nil:
		r.timer = time.AfterFunc(wait, r.report)
	default:
		r.timer.Reset(wait)
	}
}

// BindLocalStream implements interceptor.Interceptor.
func (r *reporter) BindLocalStream(info *interceptor.StreamInfo, writer interceptor.RTPWriter) interceptor.RTPWriter {
	s := &sentStream{rate: info.ClockRate}
	r.mu.Lock()
	r.sent[info.SSRC] = s
	r.mu.Unlock()
	r.network.sends(s)
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		s.Take(h.Timestamp, s.rate, len(payload), time.Now())
		s.first.Do(r.soon)
		return writer.Write(h, payload, a)
	})
}

// UnbindLocalStream implements interceptor.Interceptor.
func (r *reporter) UnbindLocalStream(info *interceptor.StreamInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sent, info.SSRC)
}

// Offsets in the fixed header of RTP (RFC 3550 section 5.1).
const (
	rtpNumber = 2
	rtpTime   = 4
	rtpSource = 8
	rtpHeader = 12
)

// BindRemoteStream implements interceptor.Interceptor. A stream has two readers while Pion probes it (see taps).
func (r *reporter) BindRemoteStream(info *interceptor.StreamInfo, reader interceptor.RTPReader) interceptor.RTPReader {
	r.mu.Lock()
	s, ok := r.received[info.SSRC]
	if !ok {
		s = &receivedStream{}
		r.received[info.SSRC] = s
		r.network.receives(s)
	}
	s.readers++
	r.mu.Unlock()
	rate := info.ClockRate
	return interceptor.RTPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		n, attributes, err := reader.Read(b, a)
		if err == nil && n >= rtpHeader {
			r.took(s, b, rate)
		}
		return n, attributes, err
	})
}

// took notes a packet that came, by its header.
func (r *reporter) took(s *receivedStream, b []byte, rate uint32) {
	defer r.guard()
	s.Take(binary.BigEndian.Uint32(b[rtpSource:]), binary.BigEndian.Uint16(b[rtpNumber:]),
		binary.BigEndian.Uint32(b[rtpTime:]), rate, time.Now())
	s.first.Do(r.soon)
}

// UnbindRemoteStream implements interceptor.Interceptor.
func (r *reporter) UnbindRemoteStream(info *interceptor.StreamInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.received[info.SSRC]
	if !ok {
		return
	}
	if s.readers--; s.readers == 0 {
		delete(r.received, info.SSRC)
		r.network.gone(s)
	}
}

// BindRTCPReader implements interceptor.Interceptor.
func (r *reporter) BindRTCPReader(reader interceptor.RTCPReader) interceptor.RTCPReader {
	return interceptor.RTCPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		n, attributes, err := reader.Read(b, a)
		if err == nil {
			r.take(b[:n], time.Now())
		}
		return n, attributes, err
	})
}

// extendedReport is RTCP's type of RFC 3611.
const extendedReport = 207

// take notes the server's reports and answers its questions.
func (r *reporter) take(compound []byte, now time.Time) {
	defer r.guard()
	asked := false
	reports.Each(compound, func(typ uint8, _ int, body []byte) {
		asked = asked || typ == extendedReport
		if len(body) < 4 {
			return
		}
		r.mu.Lock()
		s := r.received[binary.BigEndian.Uint32(body)]
		r.mu.Unlock()
		if s != nil {
			s.TakeReports(compound, now)
		}
	})
	r.feed(compound, now)
	if asked {
		r.answer(compound)
	}
}

// feed lets our streams read what is said of them.
func (r *reporter) feed(compound []byte, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ssrc, s := range r.sent { // a handful at most; one goroutine reads RTCP
		s.feedback.Take(compound, ssrc, s.rate, now)
	}
}

// answer tells the server at once that its time came, from which it knows the round trip (RFC 3611 section 4.5).
func (r *reporter) answer(compound []byte) {
	packets, err := rtcp.Unmarshal(compound)
	if err != nil {
		return // the server's mistake, and only a measurement
	}
	var answers []rtcp.Packet
	for _, p := range packets {
		report, ok := p.(*rtcp.ExtendedReport)
		if !ok {
			continue
		}
		for _, block := range report.Reports {
			reference, ok := block.(*rtcp.ReceiverReferenceTimeReportBlock)
			if !ok {
				continue
			}
			answers = append(answers, r.answersTo(report.SenderSSRC, uint32(reference.NTPTimestamp>>16))...)
		}
	}
	if len(answers) > 0 {
		r.write(answers)
	}
}

// answersTo is one answer in the name of each stream that we send.
func (r *reporter) answersTo(ssrc, reference uint32) []rtcp.Packet {
	r.mu.Lock()
	defer r.mu.Unlock()
	answers := make([]rtcp.Packet, 0, len(r.sent))
	for own := range r.sent {
		answers = append(answers, &rtcp.ExtendedReport{SenderSSRC: own, Reports: []rtcp.ReportBlock{
			&rtcp.DLRRReportBlock{Reports: []rtcp.DLRRReport{{SSRC: ssrc, LastRR: reference}}},
		}})
	}
	return answers
}

// report sends one compound packet and sees to the next, on the goroutine of its timer.
func (r *reporter) report() {
	defer r.guard()
	if packets := r.compound(time.Now()); len(packets) > 0 {
		r.write(packets)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.timer.Reset(reports.Wait(true))
	}
}

// compound is what there is to report. Without a stream there is nothing: the server then knows nobody to give it to.
func (r *reporter) compound(now time.Time) []rtcp.Packet {
	r.mu.Lock()
	defer r.mu.Unlock()
	ssrc := r.ssrc
	var sent []*rtcp.SenderReport
	for own, s := range r.sent {
		ssrc = own
		if report := s.Report(own, s.rate, now); report != nil {
			sent = append(sent, report)
		}
	}
	var received []rtcp.ReceptionReport
	for _, s := range r.received {
		if block, ok := s.Block(now); ok {
			received = append(received, block)
		}
	}
	if len(sent) == 0 && len(received) == 0 {
		return nil
	}
	return reports.Compound(ssrc, "", sent, received)
}

// write sends packets unless the connection is closed. An error is the end of it, which Pion tells elsewhere.
func (r *reporter) write(packets []rtcp.Packet) {
	r.mu.Lock()
	if r.closed || r.writer == nil {
		r.mu.Unlock()
		return
	}
	writer := r.writer
	r.writing.Add(1)
	r.mu.Unlock()
	defer r.writing.Done()
	_, _ = writer.Write(packets, nil)
}

// Close implements interceptor.Interceptor: no report is on its way when it returns.
func (r *reporter) Close() error {
	r.mu.Lock()
	r.closed = true
	if r.timer != nil {
		r.timer.Stop()
	}
	r.mu.Unlock()
	r.writing.Wait()
	return nil
}
