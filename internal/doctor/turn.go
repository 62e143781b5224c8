package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pion/logging"
	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

// turn asks each server for a relayed address, and gives it back.
func (e *examination) turn(ctx context.Context) []Line {
	if len(e.o.RTC.TURN) == 0 {
		return one(skipped("rtc.ice_servers has no TURN server; none is needed where UDP gets out"))
	}
	lines := make([]Line, len(e.o.RTC.TURN))
	done := make(chan struct{})
	for i, t := range e.o.RTC.TURN {
		go func() {
			lines[i] = e.tryTURN(ctx, t)
			done <- struct{}{}
		}()
	}
	for range lines {
		<-done
	}
	return lines
}

func (e *examination) tryTURN(ctx context.Context, t TURN) Line {
	ctx, cancel := context.WithTimeout(ctx, e.o.bounds.turn)
	defer cancel()
	relay, err := e.allocate(ctx, t)
	var code stun.ErrorCode // of the server's answer, if it is one
	if refused, ok := errors.AsType[*stun.TurnError](err); ok {
		code = refused.ErrorCodeAttr.Code
	}
	switch {
	case err == nil:
		return good("%s relays from %s", t.URL, relay)
	case code == stun.CodeUnauthorized, code == stun.CodeWrongCredentials, code == stun.CodeBadRequest:
		return failed(t.URL+" refuses username and credential", "copy both anew into rtc.ice_servers; credentials that end (REST API) need a fresh pair")
	case code == stun.CodeAllocQuotaReached:
		return failed(t.URL+": the quota of this user is used up (486)", "raise the server's quota per user: each call takes an allocation")
	case certificateProblem(err) != "":
		return failed(fmt.Sprintf("%s: its certificate is refused: %s", t.URL, certificateProblem(err)), "renew it, or use the name that it is for")
	default:
		return failed(fmt.Sprintf("%s gives no address: %s", t.URL, cause(err)), "start it, open the way to it, or mend its URL in rtc.ice_servers")
	}
}

// allocate returns the relayed address.
func (e *examination) allocate(ctx context.Context, t TURN) (net.Addr, error) {
	conn, server, err := e.reach(ctx, t.URL)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	client, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: server, Conn: conn, Username: t.Username, Password: t.Password, LoggerFactory: quiet, RTO: 300 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if err = client.Listen(); err != nil {
		return nil, err
	}
	relay, err := client.AllocateWithContext(ctx)
	if err != nil {
		return nil, err
	}
	defer relay.Close()
	return relay.LocalAddr(), nil
}

// reach opens what a URL asks for: UDP, TCP or TLS (RFC 7065).
func (e *examination) reach(ctx context.Context, text string) (net.PacketConn, string, error) {
	scheme, rest, ok := strings.Cut(text, ":")
	if !ok {
		return nil, "", errors.New("no URL of a TURN server")
	}
	address, query, _ := strings.Cut(rest, "?")
	host, port, err := net.SplitHostPort(address)
	if err != nil { // without a port
		host, port = strings.Trim(address, "[]"), "3478"
		if scheme == "turns" {
			port = "5349"
		}
	}
	server := net.JoinHostPort(host, port)
	if scheme == "turn" && query != "transport=tcp" {
		return listenFor(ctx, host, server)
	}
	var conn net.Conn
	if scheme == "turns" {
		conn, err = (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: e.o.system.roots()}}).DialContext(ctx, "tcp", server)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", server)
	}
	if err != nil {
		return nil, "", err
	}
	return turn.NewSTUNConn(conn), server, nil
}

// listenFor opens a socket of the server's family: of one for both a server with IPv4 alone would be asked for IPv6.
func listenFor(ctx context.Context, host, server string) (net.PacketConn, string, error) {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, "", err
	}
	network := "udp6"
	if slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Unmap().Is4() }) {
		network = "udp4"
	}
	conn, err := (&net.ListenConfig{}).ListenPacket(ctx, network, ":0")
	return conn, server, err
}
