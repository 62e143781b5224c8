package app

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFilesWithSecretsThatAllMayRead(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(name, []byte("x"), 0o600))
		require.NoError(t, os.Chmod(name, mode))
		return name
	}
	c := &Config{APISecretFile: file("api", 0o600), KeysFile: file("keys", 0o644), TLS: TLSConfig{KeyFile: file("key", 0o440), CertFile: file("cert", 0o644)}}
	c.Webhook.VerifyTokenFile = filepath.Join(dir, "none")
	c.Webhook.Forward = []ForwardConfig{{SecretFile: file("forward", 0o604)}, {}}
	c.WhatsApp.Numbers = map[string]NumberConfig{"1": {AccessTokenFile: file("token", 0o444)}, "2": {AppSecretFile: file("secret", 0o640)}}
	c.RTC.ICEServers = []ICEServer{{CredentialFile: file("turn", 0o777)}}
	link := filepath.Join(dir, "link") // as Kubernetes mounts them
	require.NoError(t, os.Symlink(c.KeysFile, link))
	c.Webhook.AppSecretsFile = link
	require.Equal(t, []string{c.KeysFile, link, filepath.Join(dir, "token"), filepath.Join(dir, "forward"), filepath.Join(dir, "turn")},
		readByAll(c.secretFiles(), os.Stat), "certificates are no secret")
}
