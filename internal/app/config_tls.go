package app

// TLSConfig is about https on the API's port, for those who have no reverse proxy before it.
type TLSConfig struct {
	CertFile string `yaml:"cert_file" group:"TLS" help:"File with the certificate of the API's port and those that lead to its root, in PEM. With it the port speaks https, TLS 1.2 and up. Read anew when it changes, without a restart."`
	KeyFile  string `yaml:"key_file" help:"File with the certificate's private key, in PEM."`
	Admin    bool   `yaml:"admin" help:"Speak https on the admin port, too."`
}

func (v *validation) tls(c *TLSConfig) {
	switch {
	case c.CertFile != "" && c.KeyFile == "":
		v.add("tls.key_file", "is missing: the private key of tls.cert_file")
	case c.CertFile == "" && c.KeyFile != "":
		v.add("tls.cert_file", "is missing: the certificate of tls.key_file")
	case c.Admin && c.CertFile == "":
		v.add("tls.admin", "needs tls.cert_file and tls.key_file")
	}
}

func (c *TLSConfig) enabled() bool { return c.CertFile != "" }
