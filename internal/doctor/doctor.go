// Package doctor examines everything outside of the program that a connector needs: LiveKit, Meta, the network and the
// machine. Each check says what it found and, if that is not good, what to do.
//
// No check places a call, changes a setting or takes anything from a connector that runs beside it. What a check asks of
// others is said at the check. All checks run at once and are bounded by the context; their lines come in a fixed order.
package doctor

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/admission"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// Options are the configuration to examine, and how. Of what is empty there is nothing to examine.
type Options struct {
	// Source is where the configuration came from, for people.
	Source string
	// Problems and Warnings are what reading the configuration brought up. With problems nothing else is examined.
	Problems, Warnings []string

	LiveKit LiveKit
	Graph   Graph
	Webhook Webhook
	RTC     RTC
	// RulesFile may be empty.
	RulesFile string
	// Receivers are told of calls, or get webhooks passed on.
	Receivers []Receiver
	// Ports are those of TCP that a connector listens on, the API's first.
	Ports []Port
	// CertFile and KeyFile are those with which the API's port speaks https; empty: it speaks http.
	CertFile, KeyFile string
	// MaxActiveCalls is how many calls there can be at once; zero means that nobody said.
	MaxActiveCalls int
	// Connections are those that the API's port may hold.
	Connections admission.Connections

	// Limits are what calls may bring the process to; what is zero is not limited, or found out.
	Limits Limits

	// STUN are servers, host:port, that tell the public address. Empty asks none.
	STUN []string
	// Join lets two participants join a room of their own for some seconds.
	Join bool
	// Only are the names of the checks to run, all if empty; Skip are those not to run. See Names.
	Only, Skip []string
	// Redact takes out of a text what looks like a secret or a phone number. May be nil.
	Redact func(string) string

	system system // what the machine says; replaced in tests
	bounds bounds // how long things may take; replaced in tests
}

// LiveKit is how rooms are reached.
type LiveKit struct {
	// URL has the scheme ws, wss, http or https.
	URL  string
	Keys []Key
}

// Key is an API key with its secret.
type Key struct{ Key, Secret string }

// Graph is how Meta is reached.
type Graph struct {
	URL     string
	Timeout time.Duration // of one request
	Numbers []Number
	// G711 says that calls in G.711 are wanted, which a number's settings must list.
	G711 bool
}

// Number is a business phone number.
type Number struct {
	// Credentials hold the ID; the token may be empty.
	Credentials whatsapp.Credentials
	// Name is for people and may be empty.
	Name      string
	AppSecret string
}

// label names a number for people: by its ID, which is not the phone number.
func (n Number) label() string {
	if n.Name == "" {
		return n.Credentials.PhoneNumberID
	}
	return n.Credentials.PhoneNumberID + " (" + n.Name + ")"
}

// Webhook is how Meta's webhooks come. An empty Path means that they do not.
type Webhook struct {
	Path        string
	PublicURL   string // the callback URL in Meta's dashboard; may be empty
	VerifyToken string
	AppSecrets  []string
}

// Receiver is a server of the operator's.
type Receiver struct {
	Key string // of the configuration
	URL string
}

// Port is one that a connector listens on.
type Port struct {
	Key       string // of the configuration
	Addresses []string
}

// RTC is how media goes to Meta.
type RTC struct {
	PortMin, PortMax int // both zero: any
	NAT1To1IPs       []string
	IPv6             bool
	Loopback         bool // loopback addresses are used too
	KeepInterface    func(name string) bool
	KeepIP           func(net.IP) bool
	TURN             []TURN
	// STUN are host:port.
	STUN []string
}

// TURN is one URL of a TURN server.
type TURN struct{ URL, Username, Password string }

// Limits are shares of CPU and memory, and CPU cores: those that there are, and what a call takes.
type Limits struct{ MaxCPU, MaxMemory, CPUs, RelayCost, MixCost float64 }

// check is one thing to examine.
type check struct {
	name string
	// about is for --help.
	about string
	run   func(*examination, context.Context) []Line
}

// checks are all of them, in the order of the report.
func checks() []check {
	return []check{
		{"config", "every problem of the configuration", (*examination).config},
		{"rules", "the rules file", (*examination).rules},
		{"dns", "names of LiveKit, Meta and other servers", (*examination).dns},
		{"proxy", "HTTP proxies of the environment", (*examination).proxy},
		{"tls", "certificates of those servers, and tls.cert_file", (*examination).tls},
		{"clock", "this machine's clock beside those of LiveKit and Meta", (*examination).clock},
		{"livekit", "LiveKit's API, with every API key", (*examination).liveKit},
		{"websocket", "LiveKit's WebSocket", (*examination).webSocket},
		{"join", "with --join: two participants in a room of their own hear each other", (*examination).join},
		{"graph", "Meta's Graph API answers", (*examination).graph},
		{"token", "each number's access token", (*examination).token},
		{"app-secret", "each number's app secret, as Meta knows it", (*examination).appSecret},
		{"number", "each number's calling settings", (*examination).number},
		{"subscription", "the app gets the account's webhooks, where Meta tells", (*examination).subscription},
		{"webhook", "the callback URL: verification, signed and unsigned webhooks", (*examination).webhook},
		{"receivers", "events.urls and webhook.forward can be connected to", (*examination).receivers},
		{"addresses", "addresses of this machine that calls may use", (*examination).addresses},
		{"stun", "UDP gets out, and the public address", (*examination).stun},
		{"nat", "what kind of NAT there is", (*examination).nat},
		{"turn", "an allocation on each TURN server", (*examination).turn},
		{"ipv6", "IPv6 to the Internet", (*examination).ipv6},
		{"ports", "TCP ports are free, or a connector's", (*examination).ports},
		{"udp-ports", "the UDP port range is wide enough", (*examination).udpPorts},
		{"descriptors", "open files for max_active_calls", (*examination).descriptors},
		{"capacity", "CPU and memory for max_active_calls", (*examination).capacity},
	}
}

// Names lists the checks, in order, each with what it is about.
func Names() [][2]string {
	all := checks()
	names := make([][2]string, 0, len(all))
	for _, c := range all {
		names = append(names, [2]string{c.name, c.about})
	}
	return names
}

// Run runs the checks side by side until ctx ends. A check that has not finished by then fails.
func Run(ctx context.Context, o Options) Report {
	began := time.Now()
	if o.system == nil {
		o.system = machine{}
	}
	if o.bounds == (bounds{}) {
		o.bounds = usual()
	}
	e := newExamination(ctx, &o)
	defer e.close()
	wanted := slices.DeleteFunc(checks(), func(c check) bool { return !o.wants(c.name) })
	if len(o.Problems) > 0 { // what is not there cannot be examined; what the configuration says comes in any case
		wanted = checks()[:1]
	}
	results := make([][]Line, len(wanted))
	var running sync.WaitGroup
	for i, c := range wanted {
		running.Go(func() { results[i] = e.examine(ctx, c) })
	}
	running.Wait()
	report := Report{Took: time.Since(began).Round(time.Millisecond).String()}
	for i, lines := range results {
		for _, l := range lines {
			l.Check, l.Found, l.Remedy = wanted[i].name, e.clean(l.Found), e.clean(l.Remedy)
			report.add(l)
		}
	}
	return report
}

func (o *Options) wants(name string) bool {
	return (len(o.Only) == 0 || slices.Contains(o.Only, name)) && !slices.Contains(o.Skip, name)
}

// examination is one run.
type examination struct {
	o      *Options
	client *http.Client
	// secrets come in no line, whatever others answer.
	secrets *strings.Replacer

	// Each is found out once, by whichever check asks first.
	liveKitAnswers func() error
	access         func() []error // by key
	graphAnswers   func() error
	settings       func() []settingsFound
	apiPort        func() portFound
	mappings       func() mapped

	udpInUse int // ports of the range, before the doctor takes one itself

	mu        sync.Mutex // guards the following field
	listeners []net.Listener
}

func newExamination(ctx context.Context, o *Options) *examination {
	e := &examination{o: o, secrets: replacer(o)}
	if first, last, _ := e.udpRange(); last != 0 {
		e.udpInUse = max(0, o.system.udpPortsInUse(first, last))
	}
	e.client = &http.Client{
		Timeout:       o.bounds.request,
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSHandshakeTimeout: o.bounds.handshake},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	e.liveKitAnswers = sync.OnceValue(func() error { return e.answers(ctx, httpURL(o.LiveKit.URL)) })
	e.access = sync.OnceValue(func() []error { return e.verifyKeys(ctx) })
	e.graphAnswers = sync.OnceValue(func() error { return e.answers(ctx, o.Graph.URL) })
	e.settings = sync.OnceValue(func() []settingsFound { return e.readSettings(ctx) })
	e.apiPort = sync.OnceValue(func() portFound { return e.openAPIPort(ctx) })
	e.mappings = sync.OnceValue(func() mapped { return e.askSTUN(ctx) })
	return e
}

func (e *examination) close() {
	e.client.CloseIdleConnections()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.listeners {
		_ = l.Close() // who served it has closed it already
	}
}

// examine runs a check and speaks for one that panics or hangs: its goroutine is left to its own timeouts then.
func (e *examination) examine(ctx context.Context, c check) []Line {
	done := make(chan []Line, 1)
	go func() {
		defer func() {
			if broken := recover(); broken != nil {
				done <- []Line{failed(fmt.Sprintf("the check itself failed: %v", broken), "report this to the makers of the connector")}
			}
		}()
		done <- c.run(e, ctx)
	}()
	select {
	case lines := <-done:
		return lines
	case <-ctx.Done():
	}
	select { // checks hear of the end, too
	case lines := <-done:
		return lines
	case <-time.After(time.Second):
		return []Line{failed("not done in time", "run again with --only "+c.name+" and a longer --timeout")}
	}
}

// replacer takes every secret of the configuration out of a text.
func replacer(o *Options) *strings.Replacer {
	secrets := append([]string{o.Webhook.VerifyToken}, o.Webhook.AppSecrets...)
	for _, k := range o.LiveKit.Keys {
		secrets = append(secrets, k.Secret)
	}
	for _, n := range o.Graph.Numbers {
		secrets = append(secrets, n.Credentials.AccessToken, n.AppSecret)
	}
	for _, t := range o.RTC.TURN {
		secrets = append(secrets, t.Password)
	}
	var pairs []string
	for _, s := range secrets {
		if len(s) >= 4 { // shorter ones are in every other word
			pairs = append(pairs, s, "[redacted]", url.QueryEscape(s), "[redacted]")
		}
	}
	return strings.NewReplacer(pairs...)
}

// clean takes secrets and phone numbers out of a text, but not the IDs of numbers, which name them for people.
func (e *examination) clean(text string) string {
	text = e.secrets.Replace(text)
	if e.o.Redact != nil {
		hide, show := make([]string, 0, 2*len(e.o.Graph.Numbers)), make([]string, 0, 2*len(e.o.Graph.Numbers))
		for i, n := range e.o.Graph.Numbers {
			id, mark := n.Credentials.PhoneNumberID, string(rune(0xE000+i%0x1000)) // private use: in no text
			hide, show = append(hide, id, mark), append(show, mark, id)
		}
		text = strings.NewReplacer(show...).Replace(e.o.Redact(strings.NewReplacer(hide...).Replace(text)))
	}
	return strings.Join(strings.Fields(text), " ") // one line
}
