package metaleg

import "github.com/pion/transport/v5"

// SetHost replaces the machine's network in tests.
func (s *Stack) SetHost(host func() (transport.Net, error)) { s.host = host }
