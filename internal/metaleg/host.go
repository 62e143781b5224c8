package metaleg

import (
	"reflect"
	"sync"
	"time"

	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
)

// hostFresh is how long the host's interfaces are believed to be as they were.
const hostFresh = time.Second

// host is this machine's network. All legs share one list of its interfaces, which is
// 25 KB and three system calls, as long as it stays the same.
type host struct {
	mu      sync.Mutex // guards what follows
	network *stdnet.Net
	listed  time.Time
}

// list returns the network as it is now, or was a moment ago.
func (h *host) list() (transport.Net, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.network != nil && time.Since(h.listed) < hostFresh {
		return h.network, nil
	}
	now, err := stdnet.NewNet()
	if err != nil {
		return nil, err // newNetwork says what was tried
	}
	if h.network == nil || !sameInterfaces(h.network, now) {
		h.network = now
	}
	h.listed = time.Now()
	return h.network, nil
}

func sameInterfaces(a, b *stdnet.Net) bool {
	before, errA := a.Interfaces()
	after, errB := b.Interfaces()
	return errA == nil && errB == nil && reflect.DeepEqual(before, after)
}
