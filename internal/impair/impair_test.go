package impair_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/impair"
	"github.com/livekit-connector/livekit-connector/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

const step = 20 * time.Millisecond

// sent gives the arrivals of packets 20 ms apart.
func sent(n *impair.Network, packets int) [][]time.Duration {
	out := make([][]time.Duration, packets)
	for i := range out {
		out[i] = append(out[i], n.Send(time.Duration(i)*step)...)
	}
	return out
}

func TestPerfectNetwork(t *testing.T) {
	t.Parallel()
	for i, arrivals := range sent(impair.New(impair.Model{Delay: 5 * time.Millisecond}, 1), 1000) {
		require.Equal(t, []time.Duration{time.Duration(i)*step + 5*time.Millisecond}, arrivals)
	}
}

func TestSameSeedSameNetwork(t *testing.T) {
	t.Parallel()
	m := impair.Model{Loss: 0.1, Burst: 3, Jitter: 30 * time.Millisecond, Reorder: 0.02, Duplicate: 0.02}
	one, again, other := sent(impair.New(m, 7), 500), sent(impair.New(m, 7), 500), sent(impair.New(m, 8), 500)
	require.Equal(t, one, again)
	require.NotEqual(t, one, other)
}

func TestLossAndBursts(t *testing.T) {
	t.Parallel()
	for _, m := range []impair.Model{{Loss: 0.05}, {Loss: 0.2}, {Loss: 0.05, Burst: 3}, {Loss: 0.2, Burst: 4}} {
		lost, bursts, before := 0, 0, false
		const packets = 200_000
		for _, arrivals := range sent(impair.New(m, 3), packets) {
			gone := len(arrivals) == 0
			if gone {
				lost++
				if !before {
					bursts++
				}
			}
			before = gone
		}
		require.InDelta(t, m.Loss, float64(lost)/packets, 0.01, m)
		burst := m.Burst
		if burst <= 1 {
			burst = 1 / (1 - m.Loss)
		}
		require.InDelta(t, burst, float64(lost)/float64(bursts), 0.15, m)
	}
}

func TestJitterKeepsTheOrder(t *testing.T) {
	t.Parallel()
	m := impair.Model{Jitter: 60 * time.Millisecond}
	var last, most, sum time.Duration
	const packets = 50_000
	for i, arrivals := range sent(impair.New(m, 3), packets) {
		require.Len(t, arrivals, 1)
		require.GreaterOrEqual(t, arrivals[0], last)
		last = arrivals[0]
		late := last - time.Duration(i)*step
		most = max(most, late)
		sum += late
	}
	require.Equal(t, 2*m.Jitter, most)
	require.InDelta(t, 45, (sum / packets).Milliseconds(), 10, "half of it, and what the queue adds")
}

func TestReorderingAndDuplicates(t *testing.T) {
	t.Parallel()
	m := impair.Model{Reorder: 0.1, Duplicate: 0.2}
	overtaken, twice := 0, 0
	const packets = 50_000
	for i, arrivals := range sent(impair.New(m, 3), packets) {
		if len(arrivals) == 2 {
			twice++
			require.GreaterOrEqual(t, arrivals[1], arrivals[0])
		}
		if late := arrivals[0] - time.Duration(i)*step; late > step {
			overtaken++
			require.Less(t, late, 3*step+2*time.Millisecond)
		}
	}
	require.InDelta(t, m.Reorder, float64(overtaken)/packets, 0.01)
	require.InDelta(t, m.Duplicate, float64(twice)/packets, 0.01)
}

// echo answers every datagram with itself until it is closed.
func echo(t *testing.T) (address netip.AddrPort) {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		<-done
	})
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestProxyCarriesBothWays(t *testing.T) {
	t.Parallel()
	p, err := impair.Listen(impair.ProxyOptions{
		Target: echo(t), Up: impair.Model{Loss: 0.3}, Down: impair.Model{Duplicate: 1}, Seed: 5, MediaOnly: true,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })

	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.Addr()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })

	// RTP, then what is none: that arrives once, whatever happens to media. The next datagram follows when the answers to
	// the one before are here: a burst would overflow a socket's buffer where the machine is slow.
	const packets = 200
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute))) // for a message instead of a hanging test
	buf := make([]byte, 1500)
	media := make([]byte, 12)
	media[0] = 128
	network := impair.New(impair.Model{Loss: 0.3}, 5)
	lost := 0
	for i := range uint32(packets) {
		binary.BigEndian.PutUint32(media[4:], i)
		_, err = conn.Write(media)
		require.NoError(t, err)
		if len(network.Send(0)) == 0 {
			lost++
			continue
		}
		for range 2 {
			var n int
			n, err = conn.Read(buf)
			require.NoError(t, err, "packet %d", i)
			require.Equal(t, media, buf[:n])
		}
	}
	require.Greater(t, lost, packets/5)
	other := []byte{1, 2, 3}
	_, err = conn.Write(other)
	require.NoError(t, err)
	n, err := conn.Read(buf)
	require.NoError(t, err)
	require.Equal(t, other, buf[:n])
	require.Equal(t, uint64(lost), p.Stats().Lost)
	require.Equal(t, uint64(packets-lost), p.Stats().Doubled)
}

func TestProxyRefusesNoTarget(t *testing.T) {
	t.Parallel()
	_, err := impair.Listen(impair.ProxyOptions{})
	require.Error(t, err)
}

func TestModelSaysWhatItDoes(t *testing.T) {
	t.Parallel()
	require.Equal(t, "0 % loss", impair.Model{}.String())
	require.Equal(t, "20 % loss in bursts of 3, 60 ms jitter, 1 % reordered, 2 % twice", impair.Model{
		Loss: 0.2, Burst: 3, Jitter: 60 * time.Millisecond, Reorder: 0.01, Duplicate: 0.02,
	}.String())
}
