package quality

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/livekit-connector/livekit-connector/bench/listen"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

//go:embed pesq.py
var pesqScript string

// pesq collects pairs of recordings, and has them judged by the Python package pesq at the end.
type pesq struct {
	python, folder string
	pairs          []string
}

func newPESQ(python, folder string) *pesq { return &pesq{python: python, folder: folder} }

// add writes a pair to files.
func (p *pesq) add(said []float64, heard []int16) error {
	if p.python == "" {
		return nil
	}
	clean := make([]int16, len(said))
	for i, v := range said {
		clean[i] = int16(v * 32768)
	}
	base := filepath.Join(p.folder, strconv.Itoa(len(p.pairs)))
	for name, pcm := range map[string][]int16{base + "-said.wav": clean, base + "-heard.wav": heard} {
		var wav bytes.Buffer
		if err := hearing.WriteWAV(&wav, pcm, listen.Rate); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := os.WriteFile(name, wav.Bytes(), 0o600); err != nil {
			return fmt.Errorf("write recording: %w", err)
		}
	}
	p.pairs = append(p.pairs, base+"-said.wav "+base+"-heard.wav")
	return nil
}

// scores judges all pairs; where that is not possible it says why.
func (p *pesq) scores() (all []float64, why string) {
	if p.python == "" {
		return nil, "there is no Python with the package pesq"
	}
	cmd := exec.Command(p.python, "-c", pesqScript) //nolint:noctx,gosec // ends with its input; the caller's own Python
	cmd.Stdin = strings.NewReader(strings.Join(p.pairs, "\n") + "\n")
	out, err := cmd.Output()
	if err != nil {
		return nil, "the package pesq failed: " + err.Error()
	}
	for line := range strings.FieldsSeq(string(out)) {
		score, err := strconv.ParseFloat(line, 64)
		if err != nil {
			return nil, "the package pesq gave no numbers"
		}
		all = append(all, score)
	}
	if len(all) != len(p.pairs) {
		return nil, "the package pesq gave up"
	}
	return all, ""
}
