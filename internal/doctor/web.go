package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// certificateSoon is how long before its end a certificate is worth a warning: renewal is due a month before it.
const certificateSoon = 14 * 24 * time.Hour

// endpoint is a server that the connector needs.
type endpoint struct {
	who string
	url string
}

func (e *examination) endpoints() []endpoint {
	all := []endpoint{{"LiveKit", httpURL(e.o.LiveKit.URL)}, {"Meta's Graph API", e.o.Graph.URL}}
	if e.o.Webhook.PublicURL != "" {
		all = append(all, endpoint{"the webhook's public URL", e.o.Webhook.PublicURL})
	}
	for _, r := range e.o.Receivers {
		all = append(all, endpoint{r.Key, r.URL})
	}
	return all
}

// httpURL is a URL with ws and wss written as http and https.
func httpURL(text string) string {
	if rest, ok := strings.CutPrefix(text, "ws"); ok && (strings.HasPrefix(rest, "s://") || strings.HasPrefix(rest, "://")) {
		return "http" + rest
	}
	return text
}

// hostPort is where a URL leads.
func hostPort(text string) (host, port string) {
	u, err := url.Parse(text)
	if err != nil {
		return "", ""
	}
	port = u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return u.Hostname(), port
}

// place is host:port, which is all of a URL that a line shows: there may be a secret in its path.
func place(text string) string {
	host, port := hostPort(text)
	return net.JoinHostPort(host, port)
}

// dns resolves the names.
func (e *examination) dns(ctx context.Context) []Line {
	var lines []Line
	var fine, seen []string
	for _, to := range e.endpoints() {
		host, _ := hostPort(to.url)
		if _, err := netip.ParseAddr(host); err == nil || slices.Contains(seen, host) {
			continue
		}
		seen = append(seen, host)
		addrs, err := e.lookUp(ctx, host)
		if err != nil {
			lines = append(lines, failed(fmt.Sprintf("%s does not resolve: %s", host, cause(err)),
				"check the name and this machine's resolver (/etc/resolv.conf, the container's DNS)"))
			continue
		}
		v4 := slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Unmap().Is4() })
		kind := "IPv4 and IPv6"
		switch v6 := slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !a.Unmap().Is4() }); {
		case !v6:
			kind = "IPv4"
		case !v4:
			kind = "IPv6"
		}
		fine = append(fine, host+" ("+kind+")")
	}
	switch {
	case len(seen) == 0:
		return one(skipped("no names: every server is given by its address"))
	case len(fine) > 0:
		lines = append(lines, good("%s", strings.Join(fine, ", ")))
	}
	return lines
}

func (e *examination) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, e.o.bounds.request)
	defer cancel()
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// proxy says which requests go through a proxy of the environment and connects to it.
func (e *examination) proxy(ctx context.Context) []Line {
	through := map[string][]string{}
	var order []string
	for _, to := range e.endpoints() {
		u, err := url.Parse(to.url)
		if err != nil {
			continue
		}
		via, err := e.o.system.proxy(&http.Request{URL: u})
		if err != nil {
			return one(failed("the proxy of the environment is no URL", "mend HTTPS_PROXY, HTTP_PROXY"))
		}
		if via == nil {
			continue
		}
		if through[via.String()] == nil {
			order = append(order, via.String())
		}
		through[via.String()] = append(through[via.String()], to.who)
	}
	if len(order) == 0 {
		return one(good("none is used"))
	}
	var lines []Line
	for _, via := range order {
		if err := e.connect(ctx, place(via)); err != nil {
			lines = append(lines, failed(fmt.Sprintf("the proxy %s does not answer: %s", place(via), cause(err)),
				"start it, mend HTTPS_PROXY and HTTP_PROXY, or name the servers in NO_PROXY"))
			continue
		}
		lines = append(lines, good("requests to %s go through %s; media never goes through a proxy", strings.Join(through[via], ", "), place(via)))
	}
	return lines
}

// ownCertificate reads the one of the API's port as a connector does. It returns until when it is good, or what is wrong.
func (e *examination) ownCertificate() (fine string, wrong []Line) {
	if e.o.CertFile == "" {
		return "", nil
	}
	pair, err := tls.LoadX509KeyPair(e.o.CertFile, e.o.KeyFile)
	if err != nil {
		return "", one(failed("tls.cert_file and tls.key_file hold no pair: "+err.Error(), "put a certificate and its own key there, both in PEM, readable for the connector"))
	}
	switch begins, ends := pair.Leaf.NotBefore, pair.Leaf.NotAfter; {
	case time.Now().Before(begins):
		return "", one(failed("the certificate in tls.cert_file is not valid before "+begins.UTC().Format(time.RFC3339),
			"look at this machine's clock; if it is right, put a certificate there that is valid now: Meta sends no webhook to such a server"))
	case time.Now().After(ends):
		return "", one(failed("the certificate in tls.cert_file ended on "+ends.Format(time.DateOnly), "renew it: Meta sends no webhook to such a server"))
	case time.Until(ends) < certificateSoon:
		return "", one(doubtful("the certificate in tls.cert_file ends on "+ends.Format(time.DateOnly), "renew it; the connector reads the file anew"))
	default:
		return "tls.cert_file until " + ends.Format(time.DateOnly), nil
	}
}

// tls looks at our certificate and those of servers that are reached directly.
func (e *examination) tls(ctx context.Context) []Line {
	var fine []string
	own, lines := e.ownCertificate()
	if own != "" {
		fine = append(fine, own)
	}
	for _, to := range e.endpoints() {
		u, err := url.Parse(to.url)
		if err != nil || u.Scheme != "https" {
			continue
		}
		if e.proxied(to.url) {
			continue // it is the proxy's connection; the requests themselves verify all the same
		}
		conn, err := e.handshake(ctx, place(to.url))
		if err != nil {
			if text := certificateProblem(err); text != "" {
				lines = append(lines, failed(fmt.Sprintf("the certificate of %s (%s) is refused: %s", to.who, place(to.url), text),
					"renew it, or have this machine trust its issuer (ca-certificates); look at this machine's clock too"))
			}
			continue // that nothing answers is told by others
		}
		if secure, ok := conn.(*tls.Conn); ok {
			ends := secure.ConnectionState().PeerCertificates[0].NotAfter
			if left := time.Until(ends); left < certificateSoon {
				lines = append(lines, doubtful(fmt.Sprintf("the certificate of %s (%s) ends on %s", to.who, place(to.url), ends.Format(time.DateOnly)),
					"renew it"))
			} else {
				fine = append(fine, fmt.Sprintf("%s until %s", place(to.url), ends.Format(time.DateOnly)))
			}
		}
		_ = conn.Close()
	}
	switch {
	case len(fine) > 0:
		lines = append(lines, good("%s", strings.Join(fine, ", ")))
	case len(lines) == 0:
		lines = one(skipped("nothing was reached by https"))
	}
	return lines
}

func (e *examination) handshake(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, e.o.bounds.request)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: e.o.system.roots()}}
	return d.DialContext(ctx, "tcp", address)
}

func certificateProblem(err error) string {
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return bad.Err.Error()
	}
	return ""
}

// receivers connects to servers of the operator's. Nothing is sent: they would take it for an event.
func (e *examination) receivers(ctx context.Context) []Line {
	if len(e.o.Receivers) == 0 {
		return one(skipped("neither events.urls nor webhook.forward is set"))
	}
	var lines []Line
	var fine []string
	for _, r := range e.o.Receivers {
		if e.proxied(r.URL) {
			fine = append(fine, place(r.URL)+" (not tried: through a proxy)")
			continue
		}
		if err := e.connect(ctx, place(r.URL)); err != nil {
			lines = append(lines, failed(fmt.Sprintf("%s: %s does not answer: %s", r.Key, place(r.URL), cause(err)),
				"start that server, open the way to it, or mend the URL"))
			continue
		}
		fine = append(fine, place(r.URL))
	}
	if len(fine) > 0 {
		lines = append(lines, good("%s", strings.Join(fine, ", ")))
	}
	return lines
}

// proxied says whether a URL is asked for by way of a proxy.
func (e *examination) proxied(where string) bool {
	u, err := url.Parse(where)
	if err != nil {
		return false
	}
	via, err := e.o.system.proxy(&http.Request{URL: u})
	return err == nil && via != nil
}

func (e *examination) connect(ctx context.Context, address string) error {
	d := net.Dialer{Timeout: e.o.bounds.request}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// answers asks for a URL and does not care what comes back.
func (e *examination) answers(ctx context.Context, where string) error {
	_, err := e.get(ctx, where, nil)
	return err
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

// answer is what came back of a request.
type answer struct {
	status int
	date   string // the header
	body   []byte // the beginning
}

func (e *examination) get(ctx context.Context, where string, header http.Header) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return answer{}, errors.New("the URL makes no request")
	}
	for key := range header {
		req.Header.Set(key, header.Get(key))
	}
	return e.do(req)
}

func (e *examination) do(req *http.Request) (answer, error) {
	req.Header.Set("User-Agent", "livekit-connector-doctor")
	resp, err := e.client.Do(req)
	if err != nil {
		return answer{}, cause(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, cause(err)
	}
	return answer{resp.StatusCode, resp.Header.Get("Date"), body}, nil
}

// cause digs the reason out of net/http's errors, which repeat method and URL: a query may hold a secret.
func cause(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return errors.New(dns.Err)
	}
	if text := certificateProblem(err); text != "" {
		return errors.New(text)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	for {
		outer, ok := errors.AsType[*url.Error](err)
		if !ok {
			break
		}
		err = outer.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		if op.Timeout() {
			return errors.New("no answer in time")
		}
		return op.Err
	}
	return err
}
