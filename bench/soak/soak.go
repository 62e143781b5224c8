// Package soak lets the connector, as it is shipped, carry calls that come and go for a long time, and looks for what
// grows: memory, goroutines, descriptors. Calls are of many kinds, and some go wrong on purpose (see kinds).
package soak

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/rig"
)

// Options say how long and how much.
type Options struct {
	// Duration is how long calls are made, Calls how many there are at a time.
	Duration time.Duration
	Calls    int
	// Binary is livekit-connector, CPUs a list of those it runs on, as taskset takes it.
	Binary, CPUs string
	// ListenEvery is of how many calls, of those that last long enough, the recordings of one are judged.
	ListenEvery int
	// Folder takes logs and profiles. It must exist.
	Folder string
	Logger *slog.Logger

	voices rig.Voices
}

const (
	seed = 5
	// Between two calls of a line it is quiet for so long.
	pauseBetween = 500 * time.Millisecond
	// samplesWanted in a run, and how far apart they are at least and at most.
	samplesWanted   = 180
	soonest, latest = time.Second, 10 * time.Second
	progressEvery   = time.Minute
	longestRamp     = 30 * time.Second
	longestWarmUp   = 5 * time.Minute
	// What is kept when a call is over, on purpose and for a while: connections to Meta and LiveKit that are idle for 90 s,
	// the call with both its legs for a minute (lingerTime of internal/node), its record for historyKeep.
	settleAtLeast   = 95 * time.Second
	settleWithin    = 150 * time.Second
	lastCallsWithin = 2 * time.Minute
	sampleTimeout   = 20 * time.Second
	spareGoroutines = 8 // what may be left more than there was: a connection or two that is kept
	spareFiles      = 4
	spareHeap       = 6 << 20 // records of calls that are over, pools
	shortestJudged  = 10 * time.Minute
	maxGrowth       = 0.05 // of the mean, over all the time after the warm-up
	toldOneByOne    = 40   // problems
)

// warmUp is how long a run is not judged yet.
func (o *Options) warmUp() time.Duration { return min(longestWarmUp, o.Duration/3) }

// soak is one run.
type soak struct {
	options *Options
	stage   *stage
	sampler *sampler
	deck    *deck

	start, loaded, end Sample // before the first call, at the end of the load, after the last call
	exitCode           int
	leftAtMeta         int
	kept               []Kept // at the end

	mu       sync.Mutex // guards all below
	made     int        // calls
	long     int        // those of them that last long enough to be listened to
	outcomes []Outcome
}

// Run carries calls for the time that is wanted. The result holds what there is to say also if there is an error.
func Run(ctx context.Context, o Options) (Result, error) {
	var err error
	if o.voices, err = rig.LoadVoices(); err != nil {
		return Result{}, err
	}
	s := &soak{options: &o, deck: newDeck(seed, max(listenTo+time.Second, o.Duration/4)), exitCode: -1}
	err = s.run(ctx)
	return s.result(), err
}

func (s *soak) run(ctx context.Context) (err error) {
	if s.stage, err = newStage(ctx, s.options); err != nil {
		return errors.Join(err, s.stage.close())
	}
	defer func() { err = errors.Join(err, s.stage.close()) }()
	s.sampler = &sampler{connector: s.stage.bridge, server: s.stage.liveKit.PID(), began: time.Now()}
	// Whoever looks makes the connector keep what answering takes, up to the second collection after it, so the first look
	// does not count, and the next one follows at once.
	if _, err = s.sampler.look(ctx); err != nil {
		return err
	}
	if s.start, err = s.sampler.take(ctx); err != nil {
		return err
	}
	s.keep(ctx, "start")
	s.options.Logger.Info("soak begins", "calls", s.options.Calls, "duration", s.options.Duration,
		"goroutines", s.start.Goroutines, "files", s.start.Files, "folder", s.options.Folder)
	if err = s.load(ctx); err != nil {
		return err
	}
	if err = s.settle(ctx); err != nil {
		return err
	}
	s.keep(ctx, "end")
	if s.kept, err = kept(ctx, s.options.Folder); err != nil {
		s.options.Logger.Warn("the report does not tell what the heap keeps", "error", err)
	}
	s.leftAtMeta = s.stage.meta.ActiveCalls()
	s.exitCode, err = s.stage.bridge.stop()
	return err
}

// load carries the calls, and looks at the connector meanwhile.
func (s *soak) load(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stopping, stop := context.WithTimeout(ctx, s.options.Duration)
	defer stop()
	var watching, lines sync.WaitGroup
	watched, unwatch := context.WithCancel(ctx)
	watching.Go(func() {
		if err := s.watch(watched); err != nil && watched.Err() == nil {
			cancel(err) // without it nothing is learned
		}
	})
	defer watching.Wait()
	defer unwatch()
	ramp := min(longestRamp, s.options.Duration/6)
	for i := range s.options.Calls {
		lines.Go(func() { s.line(stopping, time.Duration(i)*ramp/time.Duration(s.options.Calls)) })
	}
	<-stopping.Done()
	if samples := s.sampler.samples(); len(samples) > 0 {
		s.loaded = samples[len(samples)-1]
	}
	s.keep(context.WithoutCancel(ctx), "load")
	done := make(chan struct{})
	go func() {
		lines.Wait()
		close(done)
	}()
	timer := time.NewTimer(lastCallsWithin)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C: // each call is bounded, so they end; but something is wrong
		return errors.New("the last calls did not end in time")
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// line makes one call after the other.
func (s *soak) line(stopping context.Context, after time.Duration) {
	for pause(stopping, after) {
		after = pauseBetween
		s.mu.Lock()
		s.made++
		n, p := s.made, s.deck.next()
		listen := false
		if p.end.talks() && p.talk >= listenTo {
			listen = s.long%s.options.ListenEvery == 0
			s.long++
		}
		s.mu.Unlock()
		o := s.stage.live(stopping, n, p, listen)
		s.mu.Lock()
		s.outcomes = append(s.outcomes, o)
		s.mu.Unlock()
		if o.Problem != "" || o.Unheard != "" {
			s.options.Logger.Warn("a call went another way than planned", "kind", o.Kind, "problem", o.Problem, "unheard", o.Unheard)
		}
	}
}

// pause waits, unless the calls end before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// watch takes samples and tells how it goes, until ctx is done or the connector cannot be looked at.
func (s *soak) watch(ctx context.Context) error {
	every := min(latest, max(soonest, s.options.Duration/samplesWanted)).Round(time.Second)
	tick := time.NewTicker(every)
	defer tick.Stop()
	told, warm := time.Now(), false
	for {
		select {
		case <-tick.C:
		case <-s.stage.bridge.Exited():
			return fmt.Errorf("the connector died: %w", s.stage.bridge.Err())
		case <-ctx.Done():
			return nil
		}
		looking, cancel := context.WithTimeout(ctx, sampleTimeout)
		sample, err := s.sampler.take(looking)
		cancel()
		if err != nil {
			return err
		}
		if !warm && sample.At > s.options.warmUp().Seconds() {
			warm = true
			s.keep(ctx, "warm")
		}
		if time.Since(told) >= min(progressEvery, s.options.Duration/6) {
			told = time.Now()
			s.tell(sample)
		}
	}
}

// tell is the line of progress.
func (s *soak) tell(sample Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	problems := 0
	for _, o := range s.outcomes {
		if o.Problem != "" || o.Unheard != "" {
			problems++
		}
	}
	s.options.Logger.Info("soaking", "after", (time.Duration(sample.At) * time.Second).String(), "calls", sample.Calls, "over", len(s.outcomes), "problems", problems,
		"heapMB", fmt.Sprintf("%.1f", sample.Heap/1e6), "rssMB", fmt.Sprintf("%.1f", sample.RSS/1e6), "goroutines", sample.Goroutines,
		"files", sample.Files, "cores", fmt.Sprintf("%.2f", sample.CPU), "others", fmt.Sprintf("%.2f", sample.Server+sample.Load))
}

// settle waits until what is kept for a while is gone and the connector is as it was before the calls, or does not become so.
func (s *soak) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleWithin+sampleTimeout)
	defer cancel()
	begin := time.Now()
	last := begin // when a call was seen
	for {
		http.DefaultClient.CloseIdleConnections() // ours to the connector
		var err error
		if s.end, err = s.sampler.take(ctx); err != nil {
			return err
		}
		if s.end.Calls > 0 {
			last = time.Now()
		}
		level := s.end.Goroutines <= s.start.Goroutines && s.end.Files <= s.start.Files && time.Since(last) > settleAtLeast
		if level || time.Since(begin) > settleWithin {
			return nil
		}
		pause(ctx, 2*time.Second)
	}
}

// keep saves profiles, for those who have to find out why. That they are missing fails nothing.
func (s *soak) keep(ctx context.Context, when string) {
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	admin := s.stage.bridge.admin + "/debug/pprof/"
	err := errors.Join(
		rig.Save(ctx, admin+"goroutine?debug=1", filepath.Join(s.options.Folder, "goroutines-"+when+".txt")),
		rig.Save(ctx, admin+"heap?gc=1", heapProfile(s.options.Folder, when)),
	)
	if err != nil {
		s.options.Logger.Warn("profiles are missing", "when", when, "error", err)
	}
}
