// Package outbound says where the connector may send what it knows to URLs of the configuration: to servers of the
// operator's choice, and to nothing that a name's owner could put in their place.
//
// Three things could lead a request astray. A URL could be plain http, which anybody on the way reads: CheckURL. Its name could
// resolve, one day, to an address at which clouds hand out the machine's own credentials, or to a port of this machine:
// Guard looks at every address just before it is connected to, when no later answer of DNS can change it. And the server
// could answer with a redirect: NewClient follows none.
package outbound

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
)

// CheckURL says what is wrong with a URL that requests are sent to: it is https, or http to this machine, or any http if
// insecure; without user, password and fragment. The key is that of the configuration which sets insecure. The error does
// not show the URL, whose path may be secret.
func CheckURL(text string, insecure bool, key string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("must begin with https:// or http://")
	case u.Hostname() == "":
		return errors.New("names no host")
	case u.User != nil:
		return errors.New("must not hold a user or password: check the signature instead")
	case u.Fragment != "":
		return errors.New("must not have a fragment")
	case !validPort(u.Port()):
		return errors.New("the port is not between 1 and 65535")
	case u.Scheme == "http" && !insecure && !Loopback(u.Hostname()):
		return fmt.Errorf("must begin with https:// unless %s is set: anybody on the way could read what is sent", key)
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil && (addr.IsUnspecified() || addr.IsMulticast()) {
		return fmt.Errorf("%s is no address of a server", addr)
	}
	return nil
}

func validPort(text string) bool {
	if text == "" {
		return true
	}
	n, err := strconv.Atoi(text)
	return err == nil && n > 0 && n <= 65535
}

// Loopback reports whether a URL's host is this machine whatever DNS says: localhost (RFC 6761 section 6.3) or a loopback
// address.
func Loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// Place is what logs and metrics show of a URL: path and query may hold secrets.
func Place(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	host := u.Hostname()
	if port := u.Port(); port != "" {
		host = net.JoinHostPort(host, port)
	}
	return u.Scheme + "://" + host
}
