package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/proc"
	"github.com/livekit-connector/livekit-connector/bench/rig"
)

// Sample is what the connector used at one moment.
type Sample struct {
	// At is when, in seconds since calls began.
	At float64 `json:"at"`
	// Heap is what lives in it right after a collection, bytes. RSS is resident memory, bytes.
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
	heap, err := liveHeap(ctx, s.connector.admin)
	if err != nil {
		return sample, err
	}
	metrics, err := proc.Scrape(ctx, s.connector.admin+"/metrics")
	if err != nil {
		return sample, err
	}
	sample = Sample{
		At: time.Since(s.began).Seconds(), Heap: heap, Goroutines: metrics["go_goroutines"],
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
	pid := s.connector.PID()
	rss, err1 := proc.ResidentMemory(pid)
	files, sockets, err2 := proc.OpenFiles(pid)
	sample.RSS, sample.Files, sample.Sockets = float64(rss), float64(files), float64(sockets)
	var errs [3]error
	for i, p := range []int{pid, s.server, os.Getpid()} {
		sample.spent[i], errs[i] = proc.CPUTime(p)
	}
	return sample, errors.Join(append(errs[:], err1, err2)...)
}

// heapLine is in a heap profile in text form. The runtime reads the number after the collection and before it makes the
// profile, which is two megabytes of garbage that go_memstats_heap_alloc_bytes, read afterwards, would count.
var heapLine = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)

// liveHeap has the heap collected and tells what lives, in bytes.
func liveHeap(ctx context.Context, admin string) (float64, error) {
	var text bytes.Buffer
	if err := rig.Fetch(ctx, admin+"/debug/pprof/heap?gc=1&debug=1", &text); err != nil {
		return 0, err
	}
	found := heapLine.FindSubmatch(text.Bytes())
	if found == nil {
		return 0, errors.New("the heap profile does not tell how large the heap is")
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// label is the value of one label among `a="x",b="y"}`.
func label(labels, name string) string {
	_, rest, _ := strings.Cut(","+labels, ","+name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}
