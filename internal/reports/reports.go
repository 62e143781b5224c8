// Package reports is RTCP's sender and receiver reports (RFC 3550 section 6.4) for the few streams of one call.
//
// A [Sent] and a [Received] watch the packets of one stream each and allocate nothing for it. [Compound] makes of both
// what goes out every [Wait]. Pion's interceptors do the same at the price of a map and a parsed header for each packet
// received, two goroutines for each connection, and a report each second.
package reports

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/pion/rtcp"
)

const (
	// every is the mean interval of reports: the least of RFC 3550 section 6.2, which is right for two streams of audio.
	every = 5 * time.Second
	// first is the same before the first one (RFC 4585 section 3.4: Tmin of one second). Round trips are known only when
	// the other side has answered a sender report.
	first = time.Second
	// blocksPerReport is what the count of a report's header can tell.
	blocksPerReport = 31
)

// Wait is how long to wait for the next report, in random so that the calls of a process do not report all at once
// (RFC 3550 section 6.3.1).
func Wait(sentAny bool) time.Duration {
	mean := first
	if sentAny {
		mean = every
	}
	return mean/2 + rand.N(mean) //nolint:gosec // spreads reports, hides nothing
}

// Compound makes a compound packet: the sender reports, what was received, and our name. ssrc is ours; without a cname
// there is no description of it, which RFC 5506 allows where it was negotiated. Reception goes into receiver reports even
// beside sender reports (RFC 3550 section 6.1 allows both), because livekit-server looks for it only there. A compound
// without anything to tell is an empty receiver report.
func Compound(ssrc uint32, cname string, sent []*rtcp.SenderReport, received []rtcp.ReceptionReport) []rtcp.Packet {
	packets := make([]rtcp.Packet, 0, len(sent)+2)
	for _, report := range sent {
		packets = append(packets, report)
	}
	for len(received) > 0 || len(packets) == 0 {
		n := min(len(received), blocksPerReport)
		packets = append(packets, &rtcp.ReceiverReport{SSRC: ssrc, Reports: received[:n]})
		received = received[n:]
	}
	if cname != "" {
		packets = append(packets, &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
			Source: ssrc, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: cname}},
		}}})
	}
	return packets
}

// RTCP as far as it is read here.
const (
	header       = 4 // bytes: version, count, type, length
	version      = 2
	senderReport = 200
	senderHead   = 24 // SSRC, NTP and RTP time, packets, octets
)

// Each calls f with the type and body of every packet of a compound, without its header. It stops at what is no RTCP.
func Each(compound []byte, f func(typ uint8, count int, body []byte)) {
	for len(compound) >= header && compound[0]>>6 == version {
		size := 4 * (int(binary.BigEndian.Uint16(compound[2:])) + 1)
		if size > len(compound) {
			return
		}
		f(compound[1], int(compound[0]&0x1F), compound[header:size])
		compound = compound[size:]
	}
}

// ntpEpoch is 1 January 1900 in seconds before Unix time.
const ntpEpoch = 2_208_988_800

// NTP is a time as reports tell it: seconds since 1900 in 32.32 fixed point (RFC 3550 section 4).
func NTP(at time.Time) uint64 {
	return uint64(at.Unix()+ntpEpoch)<<32 | uint64(at.Nanosecond())<<32/uint64(time.Second)
}
