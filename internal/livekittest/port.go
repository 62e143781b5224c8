package livekittest

import (
	"io"
	"math/rand/v2"
)

// Ports are chosen below those that systems hand out by themselves (Linux: from 32768, RFC 6335 section 6: from 49152), so that
// nobody is given one between choosing and binding it, or while the server is down for a restart.
const (
	firstPort = 20000
	lastPort  = 31999
	portTries = 100 // taken ones are few
)

// freePort returns a port that listen takes.
func freePort(listen func(port int) (io.Closer, error)) (int, error) {
	var last error
	for range portTries {
		port := firstPort + rand.IntN(lastPort-firstPort+1) //nolint:gosec // any will do
		l, err := listen(port)
		if err == nil {
			return port, l.Close()
		}
		last = err
	}
	return 0, last
}
