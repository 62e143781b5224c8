package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/proc"
)

// Sample is what the connector used at one moment.
type Sample struct {
	// At is when, in seconds since calls began.
	At float64 `json:"at"`
	// Heap is what lives in it, bytes: a collection is made before. RSS is resident memory, bytes.
	Heap float64 `json:"heap"`
	RSS  float64 `json:"rss"`
	// Goroutines, open descriptors, and how many of them are sockets.
	Goroutines float64 `json:"goroutines"`
	Files      float64 `json:"files"`
	Sockets    float64 `json:"sockets"`
	// CPU is what the connector used since the sample before, in cores; Server and Load are livekit-server and this process,
	// who make the calls.
	CPU    float64 `json:"cpu"`
	Server float64 `json:"server_cpu"`
	Load   float64 `json:"load_cpu"`
	// Calls are those that live.
	Calls float64 `json:"calls"`
	// Ended calls so far by result class, and Reasons by reason.
	Ended   map[string]float64 `json:"ended"`
	Reasons map[string]float64 `json:"reasons"`

	spent [3]time.Duration // CPU times: connector, server, load
}

// sampler looks at the connector again and again.
type sampler struct {
	connector *connector
	server    int // process of livekit-server
	began     time.Time

	mu  sync.Mutex // guards all
	all []Sample
}

// take makes one sample and keeps it.
func (s *sampler) take(ctx context.Context) (Sample, error) {
	sample, err := s.look(ctx)
	if err != nil {
		return sample, fmt.Errorf("look at the connector: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.all); n > 0 {
		before := &s.all[n-1]
		for i, cores := range []*float64{&sample.CPU, &sample.Server, &sample.Load} {
			*cores = (sample.spent[i] - before.spent[i]).Seconds() / (sample.At - before.At)
		}
	}
	s.all = append(s.all, sample)
	return sample, nil
}

func (s *sampler) samples() []Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Sample(nil), s.all...)
}

func (s *sampler) look(ctx context.Context) (sample Sample, err error) {
	// A profile of the heap after a collection; what is wanted is the collection.
	if err = get(ctx, s.connector.admin+"/debug/pprof/heap?gc=1", io.Discard); err != nil {
		return sample, err
	}
	metrics, err := proc.Scrape(ctx, s.connector.admin+"/metrics")
	if err != nil {
		return sample, err
	}
	sample = Sample{
		At: time.Since(s.began).Seconds(), Heap: metrics["go_memstats_heap_alloc_bytes"], Goroutines: metrics["go_goroutines"],
		Ended: make(map[string]float64), Reasons: make(map[string]float64),
	}
	for name, v := range metrics {
		switch family, labels, _ := strings.Cut(name, "{"); family {
		case "livekit_connector_calls_active":
			sample.Calls += v
		case "livekit_connector_calls_total":
			if v > 0 {
				sample.Ended[label(labels, "result")] += v
				sample.Reasons[label(labels, "reason")] += v
			}
		}
	}
	pid := s.connector.pid()
	rss, err1 := proc.ResidentMemory(pid)
	files, sockets, err2 := proc.OpenFiles(pid)
	sample.RSS, sample.Files, sample.Sockets = float64(rss), float64(files), float64(sockets)
	var errs [3]error
	for i, p := range []int{pid, s.server, os.Getpid()} {
		sample.spent[i], errs[i] = proc.CPUTime(p)
	}
	return sample, errors.Join(append(errs[:], err1, err2)...)
}

// label is the value of one label among `a="x",b="y"}`.
func label(labels, name string) string {
	_, rest, _ := strings.Cut(","+labels, ","+name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// get reads a URL into w.
func get(ctx context.Context, url string, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	_, err = io.Copy(w, res.Body)
	return err
}

// save keeps what a URL answers as a file, for those who have to find out why.
func save(ctx context.Context, url, folder, name string) error {
	f, err := os.Create(filepath.Join(folder, name)) //nolint:gosec // names of ours
	if err != nil {
		return err
	}
	return errors.Join(get(ctx, url, f), f.Close())
}
