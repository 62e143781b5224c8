package livekittest

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/pion/stun/v4"
)

// stunServer tells clients their address (RFC 8489). livekit-server hands its clients public STUN servers unless it is
// given others, and a test that asks those leaves the machine, or waits seconds for a name that does not resolve.
type stunServer struct {
	conn    *net.UDPConn
	serving sync.WaitGroup
}

func startSTUN() (*stunServer, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("listen for STUN: %w", err)
	}
	s := &stunServer{conn: conn}
	s.serving.Go(s.serve)
	return s, nil
}

// addr is host:port.
func (s *stunServer) addr() string { return s.conn.LocalAddr().String() }

// close waits until nothing is served any more.
func (s *stunServer) close() error {
	err := s.conn.Close()
	s.serving.Wait()
	return err
}

func (s *stunServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFromUDP(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // a client that is gone
		}
		request := &stun.Message{Raw: append([]byte(nil), buf[:n]...)}
		if request.Decode() != nil || request.Type != stun.BindingRequest {
			continue
		}
		answer, err := stun.Build(request, stun.BindingSuccess, &stun.XORMappedAddress{IP: from.IP, Port: from.Port}, stun.Fingerprint)
		if err == nil {
			_, _ = s.conn.WriteToUDP(answer.Raw, from) // lost answers are asked for again
		}
	}
}
