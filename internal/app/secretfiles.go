package app

import (
	"io/fs"
	"maps"
	"os"
	"slices"
)

// secretFiles are the files of the configuration that hold secrets.
func (c *Config) secretFiles() []string {
	files := []string{c.APISecretFile, c.KeysFile, c.Webhook.VerifyTokenFile, c.Webhook.AppSecretsFile, c.TLS.KeyFile}
	for _, id := range slices.Sorted(maps.Keys(c.WhatsApp.Numbers)) {
		n := c.WhatsApp.Numbers[id]
		files = append(files, n.AccessTokenFile, n.AppSecretFile)
	}
	for _, f := range c.Webhook.Forward {
		files = append(files, f.SecretFile)
	}
	for _, s := range c.RTC.ICEServers {
		files = append(files, s.CredentialFile)
	}
	return slices.DeleteFunc(files, func(name string) bool { return name == "" })
}

// readByAll returns those of the files that every user of the machine may read.
func readByAll(files []string, stat func(name string) (fs.FileInfo, error)) []string {
	const others = 0o004
	return slices.DeleteFunc(slices.Clone(files), func(name string) bool {
		info, err := stat(name)
		return err != nil || info.Mode().Perm()&others == 0 // what cannot be read is told where it is read
	})
}

// warnOfSecrets names files with secrets that others on this machine may read.
func (a *App) warnOfSecrets() {
	if open := readByAll(a.config.secretFiles(), os.Stat); len(open) > 0 {
		a.log.Warn("every user of this machine may read files with secrets: chmod o-r them; in Kubernetes set defaultMode: 0440 and fsGroup",
			"files", open)
	}
}
