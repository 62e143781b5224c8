package notify

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
)

// CheckURL says what is wrong with the URL of a receiver: it is https, or http to this machine, or any http with
// allowInsecure; without user and password, which the signature's header leaves no place for. The error does not show
// the URL.
func CheckURL(text string, allowInsecure bool) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("must begin with https:// or http://")
	case u.Hostname() == "":
		return errors.New("names no host")
	case u.User != nil:
		return errors.New("must not hold a user or password: events are signed")
	case u.Fragment != "":
		return errors.New("must not have a fragment")
	case !validPort(u.Port()):
		return errors.New("the port is not between 1 and 65535")
	case u.Scheme == "http" && !allowInsecure && !loopback(u.Hostname()):
		return errors.New("must begin with https:// unless events.allow_insecure is set: anybody on the way could read what is sent")
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

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// place is what logs show of a URL: path and query may hold secrets.
func place(text string) string {
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
