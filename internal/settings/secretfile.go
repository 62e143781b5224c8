package settings

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// secretFileAge is how old what was read of a secret's file may be. Rotated secrets overlap for longer.
const secretFileAge = time.Second

// SecretFile is a secret in a file that may change while the process runs, as those that container platforms mount do.
type SecretFile struct {
	name string
	read func(name string) ([]byte, error)
	last atomic.Pointer[readSecret]
}

// readSecret is what came of reading the file; it does not change.
type readSecret struct {
	text Secret
	err  error
	at   time.Time
}

// trimSecret takes off what editors and echo put around a secret.
func trimSecret(content []byte) string { return strings.TrimSpace(string(content)) }

// NewSecretFile returns the secret in the named file; read is os.ReadFile. Nothing is read yet.
func NewSecretFile(name string, read func(name string) ([]byte, error)) *SecretFile {
	return &SecretFile{name: name, read: read}
}

// Name is the file's name.
func (f *SecretFile) Name() string { return f.name }

// Secret is what the file holds now, give or take a second, without blanks and line ends around it. While the file cannot be read or
// is empty, it is what the file held before, with the error.
func (f *SecretFile) Secret() (Secret, error) {
	last := f.last.Load()
	if last == nil {
		last = &readSecret{}
	} else if time.Since(last.at) < secretFileAge {
		return last.text, last.err
	}
	next := &readSecret{at: time.Now(), text: last.text}
	content, err := f.read(f.name)
	text := trimSecret(content)
	switch {
	case err != nil:
		next.err = fmt.Errorf("read secret: %w", err)
	case text == "":
		next.err = errors.New("read secret: " + f.name + " is empty")
	default:
		next.text = Secret(text)
	}
	f.last.Store(next)
	return next.text, next.err
}
