package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/internal/outbound"
	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// Headers of a webhook that is passed on. The signature is the HMAC-SHA256, under the forward's own secret, of the
// timestamp, a full stop and the body: whoever checks it and the timestamp knows that the webhook came by way of this
// connector, and not long ago. Meta's own signature is passed on as it came.
const (
	HeaderSignature = "X-Connector-Signature-256" // sha256=<hex>; left out without a secret
	HeaderTimestamp = "X-Connector-Timestamp"     // Unix seconds of this try
	HeaderDelivery  = "X-Connector-Delivery"      // the same for all tries
)

// metaHeaders are passed on beside the body.
var metaHeaders = []string{"Content-Type", whatsapp.SignatureHeader, "X-Hub-Signature"}

const (
	forwardQueue   = 1000     // webhooks for one URL that are not passed on yet, those that are tried again later included
	forwardBytes   = 64 << 20 // likewise, their bodies together
	forwardAtOnce  = 8        // requests to one URL at once
	forwardTimeout = 10 * time.Second
)

// Forward is a URL that gets every webhook as it came, by POST, until it answers 2xx, or says that it never will.
type Forward struct {
	URL string
	// Secret signs, see HeaderSignature. Empty leaves that out.
	Secret string
	// Fields limits it to webhooks in which one of these fields of Meta's changed: "messages", for instance. Empty means
	// all webhooks.
	Fields []string
}

// forwards passes webhooks on.
type forwards struct {
	urls   []*forward
	client *http.Client
	own    *http.Transport // nil if the transport is somebody else's
	// ctx is that of all requests; it ends when close gives up.
	ctx    context.Context //nolint:containedctx // webhooks are passed on after their request was answered
	giveUp context.CancelFunc
	// closing is closed when the connector ends: then there is one more try of each webhook, not ten.
	closing chan struct{}
	working sync.WaitGroup

	metrics *metrics
	panics  *panics.Counter
	log     *slog.Logger
}

// forward is one URL.
type forward struct {
	url    string
	place  string // what logs show of it
	secret string
	fields map[string]bool
	// jobs are those to be tried now. It has room for all that count counts, so that nobody waits to send.
	jobs chan *job

	refusals logs.Occasionally

	mu    sync.Mutex           // guards the following fields
	later map[*job]*time.Timer // those to be tried again
	bytes int                  // of the bodies of all that are not passed on yet
	count int                  // likewise, how many
	left  int
	// closed: jobs is closed, and later stays empty.
	closed bool
	down   bool // the last try failed, and that was logged
}

// job is a webhook for one URL.
type job struct {
	id     string
	header http.Header // shared with other URLs, as body is
	body   []byte
	tries  int // so far; of whoever has the job
}

func newForwards(o *Options) *forwards {
	f := &forwards{closing: make(chan struct{}), panics: o.Panics}
	f.ctx, f.giveUp = context.WithCancel(context.Background())
	for _, conf := range o.Forwards {
		to := &forward{
			url: conf.URL, place: outbound.Place(conf.URL), secret: conf.Secret, fields: make(map[string]bool),
			jobs: make(chan *job, forwardQueue), later: make(map[*job]*time.Timer),
		}
		for _, field := range conf.Fields {
			to.fields[field] = true
		}
		f.urls = append(f.urls, to)
	}
	transport := o.ForwardTransport
	if transport == nil && len(f.urls) > 0 {
		f.own = outbound.NewTransport(forwardAtOnce, forwardTimeout)
		transport = f.own
	}
	f.client = outbound.NewClient(transport, forwardTimeout)
	return f
}

// start begins to pass on. It is called once, before add.
func (f *forwards) start(m *metrics, log *slog.Logger) {
	f.metrics, f.log = m, log
	for _, to := range f.urls {
		for range forwardAtOnce {
			f.working.Go(func() { f.work(to) })
		}
	}
}

// length is how many webhooks are not passed on yet.
func (f *forwards) length() int {
	n := 0
	for _, to := range f.urls {
		to.mu.Lock()
		n += to.count
		to.mu.Unlock()
	}
	return n
}

// add passes a webhook on to whom it concerns. It never waits.
func (f *forwards) add(h http.Header, body []byte, n *whatsapp.Notification) {
	if len(f.urls) == 0 {
		return
	}
	header := make(http.Header)
	for _, name := range metaHeaders {
		if v := h.Get(name); v != "" {
			header.Set(name, v)
		}
	}
	id := rand.Text()
	for _, to := range f.urls {
		if !to.wants(n) {
			continue
		}
		if !to.add(&job{id: id, header: header, body: body}) {
			f.metrics.forward(forwardDropped)
			f.log.Error("webhook is not passed on: too many wait for this URL", "url", to.place, "delivery", id)
		}
	}
}

func (to *forward) wants(n *whatsapp.Notification) bool {
	if len(to.fields) == 0 {
		return true
	}
	for _, e := range n.Entries {
		for _, c := range e.Changes {
			if to.fields[c.Field] {
				return true
			}
		}
	}
	return false
}

func (to *forward) add(j *job) bool {
	to.mu.Lock()
	defer to.mu.Unlock()
	if to.closed || to.count >= forwardQueue || to.count > 0 && to.bytes+len(j.body) > forwardBytes {
		return false
	}
	to.bytes += len(j.body)
	to.count++
	to.jobs <- j // has room
	return true
}

// close takes no more, tries what waits once more and waits for that; when ctx ends it gives up. It returns how many
// webhooks were not passed on.
func (f *forwards) close(ctx context.Context) (left int) {
	close(f.closing)
	for _, to := range f.urls {
		to.close()
	}
	stop := context.AfterFunc(ctx, f.giveUp)
	f.working.Wait()
	stop()
	f.giveUp()
	if f.own != nil {
		f.own.CloseIdleConnections()
	}
	for _, to := range f.urls {
		if to.left > 0 {
			f.log.Error("webhooks were not passed on before the end", "url", to.place, "count", to.left)
		}
		left += to.left
	}
	return left
}

func (to *forward) close() {
	to.mu.Lock()
	defer to.mu.Unlock()
	for j, timer := range to.later {
		timer.Stop() // one that has fired finds its job gone
		to.jobs <- j // has room
	}
	clear(to.later)
	to.closed = true
	close(to.jobs)
}

// SignForward returns the value of HeaderSignature.
func SignForward(body []byte, timestamp, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}
