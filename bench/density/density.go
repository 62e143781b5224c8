// Package density measures what one call costs a bridge: real calls of a fake Meta, a real livekit-server and real
// participants, in processes whose CPU time is not counted, and the bridge alone on CPUs of its own. The number of
// calls grows until the audio suffers or the CPU is used up.
package density

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/report"
	"github.com/livekit-connector/livekit-connector/bench/rig"
	"github.com/livekit-connector/livekit-connector/bench/speech"
)

// Mode is what is said in the rooms.
type Mode string

// The modes.
const (
	// Relay has one participant in each room, who speaks all the time.
	Relay Mode = "relay"
	// Mix has two, both of whom speak all the time.
	Mix Mode = "mix"
)

func (m Mode) speakers() int {
	if m == Mix {
		return 2
	}
	return 1
}

// Candidate is a bridge to measure: an executable that announces its subject.Endpoints.
type Candidate struct {
	Name, Binary string
}

// The candidates whose ratio the targets speak of.
const (
	Ours      = "connector"
	Reference = "reference"
)

// Options say what to measure.
type Options struct {
	Candidates []Candidate
	Modes      []Mode
	// Calls are the numbers of calls to measure with, in ascending order.
	Calls []int
	// Warmup after each growth is not counted; Interval is; Profile is how long a CPU profile is taken after the last
	// step, zero for none.
	Warmup, Interval, Profile time.Duration
	// BridgeCPUs is a list of CPUs as taskset takes it.
	BridgeCPUs string
	// Busy says that the machine does other things too: lateness and a little loss end no row, and such steps are
	// compared all the same. Only CPU time, memory and counts then mean something.
	Busy bool
	// Listen is in how many calls of each step recordings are judged.
	Listen int
	// Folder takes profiles and logs. It must exist.
	Folder string
	Logger *slog.Logger

	voices rig.Voices
	cpus   []int // BridgeCPUs
}

// When a step is the last of its row.
const (
	// minDelivered is the share of packets that must arrive in each direction. Below it the audio suffers.
	minDelivered = 0.99
	// maxLate is what the 99th percentile of lateness may be, milliseconds: phones and browsers buffer about so much.
	maxLate = 100
	// minDone is that share on a busy machine: below it the bridge does less than its work, and its costs mean nothing.
	minDone = 0.95
	// maxOthers is how much of its CPUs something else may use before the cost of a bridge says nothing any more.
	maxOthers = 0.10
	// usedUp is the share of its CPUs from which a bridge cannot take more; from nearlyUsedUp on audio that suffers is
	// no surprise.
	usedUp, nearlyUsedUp = 0.95, 0.85
)

// Run measures every candidate in every mode.
func Run(ctx context.Context, o Options) (report.Section, error) {
	var err, cpuErr error
	o.voices, err = rig.LoadVoices()
	o.cpus, cpuErr = parseCPUs(o.BridgeCPUs)
	if err = errors.Join(err, cpuErr); err != nil {
		return report.Section{}, err
	}
	var rows []Row
	for _, mode := range o.Modes {
		for _, candidate := range o.Candidates {
			row, err := measureRow(ctx, &o, candidate, mode)
			if err != nil {
				return report.Section{}, fmt.Errorf("measure %s, %s: %w", candidate.Name, mode, err)
			}
			rows = append(rows, row)
		}
	}
	return section(&o, rows), nil
}

// measureRow measures one candidate in one mode with more and more calls.
func measureRow(ctx context.Context, o *Options, candidate Candidate, mode Mode) (row Row, err error) {
	row = Row{Candidate: candidate.Name, Mode: mode, busy: o.Busy}
	s, err := newStage(ctx, o, candidate, mode)
	defer func() {
		if closeErr := s.close(); closeErr != nil { // what was measured before is none the worse
			o.Logger.Warn("not everything ended well", "candidate", candidate.Name, "mode", mode, "error", closeErr)
		}
	}()
	if err != nil {
		return row, err
	}
	if row.idle, err = s.measure(ctx); err != nil {
		return row, err
	}
	if err = s.steps(ctx, &row); err != nil {
		return row, err
	}
	// Last, because it costs memory.
	return row, s.profile(ctx, &row)
}

// steps measures with more and more calls.
func (s *stage) steps(ctx context.Context, row *Row) error {
	for _, n := range s.options.Calls {
		if err := s.grow(ctx, n); err != nil {
			if ctx.Err() != nil || len(row.Steps) == 0 {
				return err
			}
			row.End = fmt.Sprintf("not all of %d calls came up", n)
			s.log.Warn("calls did not come up", "candidate", row.Candidate, "mode", row.Mode, "error", err)
			return nil
		}
		step, err := s.step(ctx, row.idle)
		if err != nil {
			return err
		}
		row.Steps = append(row.Steps, step)
		s.log.Info("measured", "candidate", row.Candidate, "mode", row.Mode, "calls", n,
			"cpuPerCallMS", fmt.Sprintf("%.2f", step.CPUPerCall), "core", fmt.Sprintf("%.0f %%", 100*step.Used),
			"delivered", fmt.Sprintf("%.4f/%.4f", step.AtPhone.Delivered, step.AtAgent.Delivered))
		if row.End = step.end(row.busy); row.End != "" {
			return nil
		}
	}
	row.End = "as many calls as asked for"
	return nil
}

func (s *stage) measure(ctx context.Context) (usage, error) {
	return measure(ctx, s.bridge, s.liveKit.PID())
}

// step measures the calls that there are.
func (s *stage) step(ctx context.Context, idle usage) (Step, error) {
	if err := pause(ctx, s.options.Warmup); err != nil {
		return Step{}, err
	}
	s.pacer.takeWorst()
	before, err := s.measure(ctx)
	if err != nil {
		return Step{}, err
	}
	if err = pause(ctx, s.options.Interval); err != nil {
		return Step{}, err
	}
	after, err := s.measure(ctx)
	if err != nil {
		return Step{}, err
	}
	step := newStep(len(s.calls), s.options.cpus, idle, before, after)
	step.LoadLate = milliseconds(s.pacer.takeWorst())
	phones, agents := s.atPhones(before.at, after.at), s.atAgents(before.at, after.at)
	step.AtPhone = receive(phones, after.at.Sub(before.at))
	step.AtAgent = receive(agents, after.at.Sub(before.at))
	if n := total(phones) + total(agents); n > 0 {
		step.CPUPerPacket = 1000 * milliseconds(after.cpu-before.cpu) / float64(n)
	}
	voices := []*speech.Clip{s.options.voices.Agent, s.options.voices.Other}[:s.mode.speakers()]
	for i := range min(s.options.Listen, len(s.calls)) {
		at := i * len(s.calls) / s.options.Listen
		if err = step.SoundAtPhone.listen(phones[at], voices...); err != nil {
			return Step{}, err
		}
		if err = step.SoundAtAgent.listen(agents[at], s.options.voices.Caller); err != nil {
			return Step{}, err
		}
	}
	return step, nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
