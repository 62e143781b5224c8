package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/livekit-connector/livekit-connector/media/resample/soxr"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// listenLimit is how much of a recording is judged: the first words of both are in it, and comparing takes long.
const listenLimit = 30 * time.Second

// verdict is what both ends of a call heard, and everything that was wrong.
type verdict struct {
	room, phone hearing.Verdict
	// complaints are those of the phone, of Meta's relay and of whoever had a request refused.
	complaints []string
}

func (v verdict) ok() bool { return v.room.OK() && v.phone.OK() && len(v.complaints) == 0 }

// judge listens to both recordings of a call that is over.
func judge(s speech, c *fakemeta.Call, m *meeting) verdict {
	var v verdict
	report := c.Report()
	v.complaints = report.Problems
	if !report.Answered {
		v.complaints = append(v.complaints, "the call was not answered")
	}
	heard, err := recording(c)
	if err != nil {
		v.complaints = append(v.complaints, err.Error())
	}
	v.phone = listen(s.greeting, heard)
	if m == nil {
		v.complaints = append(v.complaints, "the agent never met the caller")
		return v
	}
	heard, err = m.heard()
	if err != nil {
		v.complaints = append(v.complaints, err.Error())
	}
	v.room = listen(s.caller, heard)
	return v
}

// recording is what the phone heard, at speechRate.
func recording(c *fakemeta.Call) ([]int16, error) {
	pcm, rate := c.Recording()
	pcm, err := soxr.Convert(pcm, rate, speechRate)
	if err != nil {
		return nil, fmt.Errorf("listen to the phone: %w", err)
	}
	return pcm, nil
}

func listen(said, heard []int16) hearing.Verdict {
	return hearing.Compare(said, beginning(heard), speechRate)
}

func beginning(pcm []int16) []int16 {
	return pcm[:min(len(pcm), int(listenLimit.Seconds())*speechRate)]
}

// missing are the steps that a timeline lacks.
func missing(d fakemeta.Direction, all []note) []string {
	var lacking []string
	for _, step := range stepsOf(d) {
		if !slices.ContainsFunc(all, func(n note) bool { return strings.HasPrefix(n.what, step) }) {
			lacking = append(lacking, "not seen: "+strings.TrimSuffix(step, ": "))
		}
	}
	return lacking
}

// String is the verdict in three lines.
func (v verdict) String() string {
	complaints := "none"
	if len(v.complaints) > 0 {
		complaints = strings.Join(v.complaints, "; ")
	}
	return fmt.Sprintf("  the room on the phone   %s\n  the phone on the room   %s\n  complaints              %s\n",
		v.room, v.phone, complaints)
}
