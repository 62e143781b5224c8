package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"time"

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
	forwardQueue   = 1000     // webhooks that wait for one URL
	forwardBytes   = 64 << 20 // likewise, their bodies together
	forwardAtOnce  = 8        // requests to one URL at once: one that fails again and again does not hold up the others
	forwardTimeout = 10 * time.Second
	forwardTries   = 10 // within about 17 minutes
	firstBackoff   = time.Second
)

// Forward is a URL that gets every webhook as it came, by POST, until it answers 2xx.
type Forward struct {
	URL string
	// Secret signs, see HeaderSignature. Empty leaves that out.
	Secret string
	// Fields limits it to webhooks in which one of these fields of Meta's changed: "messages", for instance. Empty means
	// all webhooks.
	Fields []string
}

// CheckForwardURL says what is wrong with the URL of a Forward: it is https, or http to this machine, or any http with
// allowInsecure. The error does not show the URL, whose path may be secret.
func CheckForwardURL(text string, allowInsecure bool) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("must begin with https:// or http://")
	case u.Hostname() == "":
		return errors.New("names no host")
	case u.User != nil:
		return errors.New("must not hold a user or password: set secret, and check " + HeaderSignature)
	case u.Fragment != "":
		return errors.New("must not have a fragment")
	case u.Scheme == "http" && !allowInsecure && !loopback(u.Hostname()):
		return errors.New("must begin with https:// unless webhook.allow_insecure is set: anybody on the way could read the messages")
	}
	return nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// forwards passes webhooks on.
type forwards struct {
	urls   []*forward
	client *http.Client
	own    *http.Transport // nil if the transport is somebody else's
	// ctx is that of all requests; it ends when close gives up.
	ctx    context.Context //nolint:containedctx // webhooks are passed on after their request was answered
	giveUp context.CancelFunc
	// closing ends pauses: while the connector ends there is one more try, not ten.
	closing chan struct{}
	working sync.WaitGroup

	metrics *metrics
	log     *slog.Logger
}

// forward is one URL.
type forward struct {
	url    string
	place  string // what logs show of it
	secret string
	fields map[string]bool
	jobs   chan *job

	mu     sync.Mutex // guards the following fields
	bytes  int        // of the bodies that wait or are on their way
	count  int
	left   int
	closed bool
	down   bool // the last try failed, and that was logged
}

// job is a webhook for one URL.
type job struct {
	id     string
	header http.Header
	body   []byte // shared with other URLs
}

func newForwards(o *Options) (*forwards, error) {
	f := &forwards{closing: make(chan struct{})}
	f.ctx, f.giveUp = context.WithCancel(context.Background())
	for _, conf := range o.Forwards {
		u, err := url.Parse(conf.URL)
		if err != nil {
			return nil, errors.New("the URL of a forward cannot be parsed")
		}
		to := &forward{
			url: conf.URL, place: u.Scheme + "://" + u.Host, secret: conf.Secret, fields: make(map[string]bool),
			jobs: make(chan *job, forwardQueue),
		}
		for _, field := range conf.Fields {
			to.fields[field] = true
		}
		f.urls = append(f.urls, to)
	}
	transport := o.ForwardTransport
	if transport == nil && len(f.urls) > 0 {
		f.own = &http.Transport{
			Proxy:       http.ProxyFromEnvironment,
			DialContext: (&net.Dialer{Timeout: forwardTimeout}).DialContext, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: forwardAtOnce, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: forwardTimeout,
		}
		transport = f.own
	}
	f.client = &http.Client{
		Transport: transport, Timeout: forwardTimeout,
		// A redirect would carry messages to where nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return f, nil
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
	j := &job{id: rand.Text(), header: header, body: body}
	for _, to := range f.urls {
		if !to.wants(n) {
			continue
		}
		if !to.add(j) {
			f.metrics.forward(forwardDropped)
			f.log.Error("webhook is not passed on: too many wait for this URL", "url", to.place, "delivery", j.id)
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
	if to.closed || to.count > 0 && to.bytes+len(j.body) > forwardBytes {
		return false
	}
	select {
	case to.jobs <- j:
		to.bytes += len(j.body)
		to.count++
		return true
	default:
		return false
	}
}

func (to *forward) done(j *job) {
	to.mu.Lock()
	defer to.mu.Unlock()
	to.bytes -= len(j.body)
	to.count--
}

// close takes no more, tries what waits once more and waits for that; when ctx ends it gives up. It returns how many
// webhooks were not passed on.
func (f *forwards) close(ctx context.Context) (left int) {
	close(f.closing)
	for _, to := range f.urls {
		to.mu.Lock()
		to.closed = true
		close(to.jobs)
		to.mu.Unlock()
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

func (f *forwards) work(to *forward) {
	for j := range to.jobs {
		outcome := f.deliver(to, j)
		f.metrics.forward(outcome)
		to.done(j)
		if outcome == forwardLeft {
			to.mu.Lock()
			to.left++
			to.mu.Unlock()
		}
	}
}

// deliver posts a webhook until it is taken. Like Meta it repeats whatever is not answered with 2xx.
func (f *forwards) deliver(to *forward, j *job) (outcome string) {
	for try := 1; ; try++ {
		last := f.isClosing()
		err := f.post(to, j)
		f.observe(to, err)
		switch {
		case err == nil:
			return forwardDone
		case last || f.ctx.Err() != nil:
			return forwardLeft
		case try >= forwardTries:
			f.log.Error("webhook could not be passed on", "url", to.place, "delivery", j.id, "tries", try, "error", err)
			return forwardFailed
		}
		f.metrics.forward(forwardRetried)
		f.log.Debug("webhook is passed on again", "url", to.place, "delivery", j.id, "try", try, "error", err)
		f.pause(try)
	}
}

// pause waits before another try, 1 s and then ever longer, within half of that at random; less if the connector ends.
func (f *forwards) pause(try int) {
	whole := firstBackoff << (try - 1)
	timer := time.NewTimer(whole/2 + mathrand.N(whole/2)) //nolint:gosec // G404: spreads load
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.closing:
	}
}

func (f *forwards) isClosing() bool {
	select {
	case <-f.closing:
		return true
	default:
		return false
	}
}

// post is one try.
func (f *forwards) post(to *forward, j *job) error {
	req, err := http.NewRequestWithContext(f.ctx, http.MethodPost, to.url, bytes.NewReader(j.body))
	if err != nil {
		return errors.New("the URL cannot be used")
	}
	maps.Copy(req.Header, j.header)
	at := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("User-Agent", "livekit-connector")
	req.Header.Set(HeaderTimestamp, at)
	req.Header.Set(HeaderDelivery, j.id)
	if to.secret != "" {
		req.Header.Set(HeaderSignature, SignForward(j.body, at, to.secret))
	}
	res, err := f.client.Do(req)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // without the URL
		}
		return fmt.Errorf("post: %w", err)
	}
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	_ = res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("answered with status %d", res.StatusCode)
	}
	return nil
}

// SignForward returns the value of HeaderSignature.
func SignForward(body []byte, timestamp, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// observe logs when a URL begins to fail and when it is well again, rather than every try.
func (f *forwards) observe(to *forward, err error) {
	to.mu.Lock()
	changed := to.down != (err != nil)
	to.down = err != nil
	to.mu.Unlock()
	switch {
	case !changed:
	case err != nil:
		f.log.Warn("webhooks cannot be passed on; they are tried again for a while", "url", to.place, "error", err)
	default:
		f.log.Info("webhooks are passed on again", "url", to.place)
	}
}
