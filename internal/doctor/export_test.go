package doctor

import (
	"crypto/x509"
	"net/http"
	"net/url"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/admission"
)

// Machine is a machine for tests. Its zero value says nothing.
type Machine struct {
	Files                         uint64
	Cores                         float64
	Memory                        float64
	UDPInUse                      int
	Unsteady                      bool
	Proxy                         *url.URL
	Roots                         *x509.CertPool
	EphemeralFirst, EphemeralLast int
}

func (m Machine) openFiles() (uint64, error) { return m.Files, nil }
func (m Machine) capacity() (admission.Capacity, admission.Costs) {
	return admission.Capacity{Cores: m.Cores, Memory: m.Memory}, admission.DefaultCosts(1)
}
func (m Machine) clockSynchronised() (synchronised, known bool) { return !m.Unsteady, true }
func (m Machine) udpPortsInUse(int, int) int                    { return m.UDPInUse }
func (m Machine) freePorts() (first, last int)                  { return m.EphemeralFirst, m.EphemeralLast }
func (m Machine) proxy(*http.Request) (*url.URL, error)         { return m.Proxy, nil }
func (m Machine) roots() *x509.CertPool                         { return m.Roots }

// SetBounds lets everything take so long, and the STUN servers as long as is said.
func (o *Options) SetBounds(d, stun time.Duration) {
	o.bounds = bounds{request: d, handshake: d, own: d, stun: stun, turn: d, join: d, remove: d}
}

// SetMachine lets the checks believe that they run on m.
func (o *Options) SetMachine(m Machine) { o.system = m }
