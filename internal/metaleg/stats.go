package metaleg

import (
	"sync/atomic"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/clock"
)

// Times are the moments at which things happened for the first time; zero means
// not yet.
type Times struct {
	Created      time.Time // the leg was made
	Described    time.Time // our offer or answer was ready
	Answered     time.Time // Meta's answer was applied (outbound)
	ICEConnected time.Time // a candidate pair was chosen
	Connected    time.Time // DTLS was up too
	Opened       time.Time // Open was called
	FirstRTPIn   time.Time // first audio packet from Meta
	FirstRTPOut  time.Time // first packet to Meta
	LastRTPIn    time.Time // newest packet from Meta, of audio or of a key that is held in its place
	LastRTPOut   time.Time // newest packet to Meta
	LastReport   time.Time // Meta last told what it receives of us
}

// Path is the candidate pair that a leg uses.
type Path struct {
	LocalType, RemoteType string // host, srflx, prflx or relay
	LocalAddr, RemoteAddr string // address:port; local ones are private, keep them out of logs
}

// Stats counts packets since the leg was made.
type Stats struct {
	SentPackets, SentBytes         uint64 // RTP to Meta; bytes of payload
	ReceivedPackets, ReceivedBytes uint64 // audio RTP from Meta; bytes of payload
	ReceivedRTCP                   uint64 // packets of a compound, once for each SSRC that they are about

	Gated        uint64 // WriteRTP before Open
	NotConnected uint64 // WriteRTP while DTLS was not up
	WriteErrors  uint64 // refused by the socket or the cipher

	Events         uint64 // RTP events (RFC 4733), kept out of the audio
	Presses        uint64 // keys that were pressed on the phone, by those events
	OtherEvents    uint64 // of those that are no keys, such as a hook flash
	UnknownPayload uint64 // RTP of a payload type that was not negotiated
	Malformed      uint64 // not RTP, or no event
	NoSink         uint64 // audio that came before SetSink
	SinkErrors     uint64 // audio that the sink refused
}

type times struct {
	clock.Watch // started with the leg
	// Each of these is set once, by whoever comes first.
	created, described, answered, ice, connected, opened, rtpIn, rtpOut clock.Moment
	received                                                            clock.Moment // of the last RTP or RTCP
	in, audioOut, report                                                clock.Moment // of the newest ones, likewise
}

// mark sets a moment to now unless it is set, and reports whether it did.
func (t *times) mark(m *clock.Moment) bool { return !m.IsSet() && t.First(m, time.Now()) }

type counters struct {
	sentPackets, sentBytes, receivedPackets, receivedBytes, receivedRTCP atomic.Uint64
	gated, notConnected, writeErrors                                     atomic.Uint64
	events, presses, otherEvents                                         atomic.Uint64
	unknownPayload, malformed, noSink, sinkErrors                        atomic.Uint64
}

// Times returns what has happened so far. Safe to call from any goroutine.
func (l *Leg) Times() Times {
	t := &l.times
	return Times{
		Created: t.Time(&t.created), Described: t.Time(&t.described), Answered: t.Time(&t.answered),
		ICEConnected: t.Time(&t.ice), Connected: t.Time(&t.connected), Opened: t.Time(&t.opened),
		FirstRTPIn: t.Time(&t.rtpIn), FirstRTPOut: t.Time(&t.rtpOut),
		LastRTPIn: t.Time(&t.in), LastRTPOut: t.Time(&t.audioOut), LastReport: t.Time(&t.report),
	}
}

// Stats returns the counters. Safe to call from any goroutine.
func (l *Leg) Stats() Stats {
	c := &l.counters
	return Stats{
		SentPackets: c.sentPackets.Load(), SentBytes: c.sentBytes.Load(),
		ReceivedPackets: c.receivedPackets.Load(), ReceivedBytes: c.receivedBytes.Load(),
		ReceivedRTCP: c.receivedRTCP.Load(),
		Gated:        c.gated.Load(), NotConnected: c.notConnected.Load(), WriteErrors: c.writeErrors.Load(),
		Events: c.events.Load(), Presses: c.presses.Load(), OtherEvents: c.otherEvents.Load(), UnknownPayload: c.unknownPayload.Load(), Malformed: c.malformed.Load(),
		NoSink: c.noSink.Load(), SinkErrors: c.sinkErrors.Load(),
	}
}

// LastReceived is when Meta last sent RTP or RTCP; zero means never. ICE answers
// do not count: a relay may give them for a user who is gone.
func (l *Leg) LastReceived() time.Time { return l.times.Time(&l.times.received) }
