package metaleg

import (
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/transport/v5/packetio"
	"github.com/stretchr/testify/require"
)

// stub is Pion's side of a bound track, and a sink.
type stub struct{ n int }

func (s *stub) WriteRTP(*rtp.Header, []byte) (int, error) { s.n++; return 1, nil }
func (s *stub) Write([]byte) (int, error)                 { return 0, nil }

type sinkStub struct{ n int }

func (s *sinkStub) WriteRTP(*rtp.Packet) error { s.n++; return nil }

func TestOwnCodeDoesNotAllocatePerPacket(t *testing.T) {
	out, in := &stub{}, &sinkStub{}
	l := &Leg{track: newOutgoing(), firstAudio: make(chan struct{})}
	l.payloadTypes.Store(opusPayloadType | eventPayloadType<<8)
	l.track.bound.Store(&binding{writer: out, ssrc: 1, payloadType: opusPayloadType})
	l.times.mark(&l.times.connected)
	l.Open()
	l.SetSink(in)
	p := speech()
	i := l.newInlet(packetio.RTPBufferPacket, 1)
	raw, err := p.Marshal()
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		p.SequenceNumber++
		_ = l.WriteRTP(p)
		raw[3]++
		_, _ = i.Write(raw)
	}))
	require.Equal(t, 1001, out.n)
	require.Equal(t, 1001, in.n)
}

func speech() *rtp.Packet {
	return &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 111}, Payload: make([]byte, 80)}
}

func TestMalformedPacketsAreCounted(t *testing.T) {
	l := &Leg{}
	l.receive([]byte{0x80})
	require.EqualValues(t, 1, l.Stats().Malformed)
}
