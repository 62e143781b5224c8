// Package chain plays streams of RTP through what is between the tracks of a room and the phone, and takes down what
// leaves it and when: the ways of livekit-connector, and whatever else satisfies [Chain].
//
// Play takes its time from package time, so that inside testing/synctest minutes pass in a moment. Codecs then cost no
// time: what is late there is late by design.
package chain

import (
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp"

	"github.com/livekit-connector/livekit-connector/internal/impair"
	"github.com/livekit-connector/livekit-connector/media"
)

// Chain is a way from the tracks of a room to the phone.
type Chain interface {
	// Source adds a track. Each track's packets come from one goroutine; a packet and its payload may be kept.
	Source() (media.Writer, error)
	// Close ends the chain and what it started. Nothing is written after it returned.
	Close()
}

// Maker makes chains of one kind. Each writes the phone's stream to dst.
type Maker struct {
	Name string
	New  func(dst media.Writer) (Chain, error)
}

// Departure is a packet for the phone.
type Departure struct {
	At      time.Duration
	Seq     uint16
	TS      uint32
	Payload []byte
}

// Recording is what Play took down.
type Recording struct {
	Departures []Departure
	// Arrivals are when the packets of each source were handed over, in the order of the source's packets; negative
	// for those that never were.
	Arrivals [][]time.Duration
	// Spent is the time that handing over took, packet by packet of all sources: what a relay adds.
	Spent []time.Duration
	// Late is how much later than they should have packets were handed over: what the machine did to the measurement.
	Late []time.Duration
}

// Stream is what one source sends and what the network makes of it.
type Stream struct {
	// Packets are 20 ms of Opus each.
	Packets [][]byte
	// Start is when the first one is sent.
	Start time.Duration
	// DriftPPM is how much faster than ours the source's clock is.
	DriftPPM float64
	Network  impair.Model
	Seed     uint64
}

// delivery is a packet of a stream on its way.
type delivery struct {
	at    time.Duration
	index int
}

// deliveries are in order of arrival.
func (s Stream) deliveries() []delivery {
	n := impair.New(s.Network, s.Seed)
	var all []delivery
	for i := range s.Packets {
		sent := s.Start + time.Duration(float64(i)*float64(media.FrameDuration)/(1+s.DriftPPM/1e6))
		for _, at := range n.Send(sent) {
			all = append(all, delivery{at, i})
		}
	}
	slices.SortStableFunc(all, func(a, b delivery) int { return int(a.at - b.at) })
	return all
}

// Lost says which packets never arrive.
func (s Stream) Lost() []bool {
	lost := make([]bool, len(s.Packets))
	for i := range lost {
		lost[i] = true
	}
	for _, d := range s.deliveries() {
		lost[d.index] = false
	}
	return lost
}

// Play sends streams through a new chain and ends it after length.
func Play(m Maker, streams []Stream, length time.Duration) (*Recording, error) {
	start := time.Now()
	r := &recorder{start: start}
	c, err := m.New(r)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	rec := &Recording{Arrivals: make([][]time.Duration, len(streams))}
	feeds := make([]feeder, len(streams))
	var wg sync.WaitGroup
	for i, s := range streams {
		w, err := c.Source()
		if err != nil {
			return nil, err
		}
		rec.Arrivals[i] = make([]time.Duration, len(s.Packets))
		for p := range rec.Arrivals[i] {
			rec.Arrivals[i][p] = -1
		}
		f := &feeds[i]
		*f = feeder{to: w, stream: s, ssrc: 1000 + uint32(i), start: start, all: s.deliveries(), arrivals: rec.Arrivals[i]}
		wg.Go(f.run)
	}
	wg.Wait()
	time.Sleep(time.Until(start.Add(length)))
	c.Close()
	for _, f := range feeds {
		rec.Spent, rec.Late = append(rec.Spent, f.spent...), append(rec.Late, f.late...)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rec.Departures = r.all
	return rec, nil
}

// feeder hands the packets of one source over as they arrive.
type feeder struct {
	to          media.Writer
	stream      Stream
	ssrc        uint32
	start       time.Time
	all         []delivery
	arrivals    []time.Duration
	spent, late []time.Duration
}

func (f *feeder) run() {
	for _, d := range f.all {
		if wait := d.at - time.Since(f.start); wait > 0 {
			time.Sleep(wait)
		}
		p := rtp.Packet{
			Header: rtp.Header{ // sequence number and timestamp wrap around soon
				Version: 2, PayloadType: media.OpusPayloadType, SSRC: f.ssrc,
				SequenceNumber: uint16(65000 + d.index), Timestamp: uint32(4_294_000_000 + d.index*media.FrameSamples),
			},
			Payload: f.stream.Packets[d.index],
		}
		now := time.Since(f.start)
		if f.arrivals[d.index] < 0 {
			f.arrivals[d.index] = now
		}
		_ = f.to.WriteRTP(&p) // what is not heard is measured
		f.spent, f.late = append(f.spent, time.Since(f.start)-now), append(f.late, now-d.at)
	}
}

// recorder is the phone's end.
type recorder struct {
	start time.Time
	mu    sync.Mutex
	all   []Departure
}

// WriteRTP takes a packet down.
func (r *recorder) WriteRTP(p *rtp.Packet) error {
	at := time.Since(r.start)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, Departure{At: at, Seq: p.SequenceNumber, TS: p.Timestamp, Payload: slices.Clone(p.Payload)})
	return nil
}
