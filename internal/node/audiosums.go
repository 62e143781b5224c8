package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/media"
)

// family makes the counters of one metric. Every label set exists from the start.
type family struct {
	desc *prometheus.Desc
	sums []sum
}

func newFamily(name, help string, labels ...string) *family {
	return &family{desc: prometheus.NewDesc("livekit_connector_"+name, help, labels, nil)}
}

func (f *family) add(of func(*call.Heard) float64, labels ...string) {
	f.sums = append(f.sums, sum{desc: f.desc, labels: labels, of: of})
}

// both adds a counter of lines for either direction. A phone that is relayed has no line, and zero in it.
func (f *family) both(of func(*media.LineStats) float64, labels ...string) {
	f.add(func(h *call.Heard) float64 { return of(&h.ToPhone) }, append([]string{flowToPhone}, labels...)...)
	f.add(func(h *call.Heard) float64 { return of(&h.ToRoom) }, append([]string{flowToRoom}, labels...)...)
}

// audioSums are all counters of the calls' audio.
func audioSums() []sum {
	var all []sum
	for _, f := range []*family{packets(), lost(), late(), frames(), hidden(), spent(), moves(), stalls(), encoding(), dtmf()} {
		all = append(all, f.sums...)
	}
	return all
}

func packets() *family {
	f := newFamily("rtp_packets_total", "Audio packets received from a leg (rx) and sent to it (tx).", "leg", "flow")
	f.add(func(h *call.Heard) float64 { return float64(h.Network.Expected - h.Network.Missed) }, legMeta, packetsIn)
	f.add(func(h *call.Heard) float64 { return float64(h.Network.Sent) }, legMeta, packetsOut)
	f.add(func(h *call.Heard) float64 { return float64(offered(&h.ToPhone)) }, legRoom, packetsIn)
	f.add(func(h *call.Heard) float64 { return float64(h.Relay.Relayed + written(&h.ToRoom)) }, legRoom, packetsOut)
	return f
}

// offered is what the sources of a line sent: each packet is counted in one of these.
func offered(l *media.LineStats) uint64 {
	return l.Relayed + l.Voiced + l.Pauses + l.Unheard + l.Muted + l.Shut + l.Garbage + l.Late + l.Ahead + l.Keyed
}

func written(l *media.LineStats) uint64 { return l.Relayed + l.Mixed + l.Silence }

func lost() *family {
	f := newFamily("rtp_packets_lost_total", "Audio packets that did not arrive: of Meta's and the room's at the connector (rx), of the connector's at Meta and livekit-server (tx).", "leg", "flow")
	f.add(func(h *call.Heard) float64 { return float64(h.Network.Missed) }, legMeta, packetsIn)
	f.add(func(h *call.Heard) float64 { return float64(h.Network.Lost) }, legMeta, packetsOut)
	f.add(func(h *call.Heard) float64 { return float64(h.Room.Missed) }, legRoom, packetsIn)
	f.add(func(h *call.Heard) float64 { return float64(h.Room.Lost) }, legRoom, packetsOut)
	return f
}

func late() *family {
	f := newFamily("rtp_packets_late_total", "Audio packets that came twice, or after their time.", "leg")
	f.add(func(h *call.Heard) float64 {
		return float64(h.Relay.Duplicate + h.Relay.Stray + lateOf(&h.ToRoom))
	}, legMeta)
	f.add(func(h *call.Heard) float64 { return float64(lateOf(&h.ToPhone)) }, legRoom)
	return f
}

func lateOf(l *media.LineStats) uint64 { return l.Late + l.Voices.Late + l.Voices.Duplicate }

func frames() *family {
	f := newFamily("frames_total", "Packets sent on, by what is in them: relayed, mixed by the connector, or silence.", "flow", "kind")
	f.add(func(h *call.Heard) float64 { return float64(h.ToPhone.Relayed) }, flowToPhone, "relayed")
	f.add(func(h *call.Heard) float64 { return float64(h.Relay.Relayed + h.ToRoom.Relayed) }, flowToRoom, "relayed")
	f.both(func(l *media.LineStats) float64 { return float64(l.Mixed) }, "mixed")
	f.both(func(l *media.LineStats) float64 { return float64(l.Silence) }, "silence")
	return f
}

func hidden() *family {
	f := newFamily("frames_hidden_total", "Lost packets that were recovered from redundancy, or concealed.", "flow", "by")
	f.both(func(l *media.LineStats) float64 { return float64(l.Recovered + l.Voices.Recovered) }, "redundancy")
	f.both(func(l *media.LineStats) float64 { return float64(l.Voices.Concealed) }, "concealment")
	return f
}

func spent() *family {
	f := newFamily("audio_seconds_total", "How long lines relayed, mixed and were silent. A phone that is relayed has no line.", "flow", "mode")
	f.both(func(l *media.LineStats) float64 { return l.RelayTime.Seconds() }, "relay")
	f.both(func(l *media.LineStats) float64 { return l.MixTime.Seconds() }, "mix")
	f.both(func(l *media.LineStats) float64 { return l.SilenceTime.Seconds() }, "silence")
	return f
}

func moves() *family {
	f := newFamily("audio_switches_total", "Times a line began to mix, went back to relaying or to silence, or relayed another source.", "flow", "to")
	f.both(func(l *media.LineStats) float64 { return float64(l.ToMix) }, "mix")
	f.both(func(l *media.LineStats) float64 { return float64(l.ToRelay) }, "relay")
	f.both(func(l *media.LineStats) float64 { return float64(l.ToSilence) }, "silence")
	f.both(func(l *media.LineStats) float64 { return float64(l.Switches) }, "source")
	return f
}

func stalls() *family {
	f := newFamily("audio_stalls_total", "Times the process was too late for a line by more than it could make up for.", "flow")
	f.both(func(l *media.LineStats) float64 { return float64(l.Stalls) })
	return f
}

func encoding() *family {
	f := newFamily("encode_seconds_total", "Time spent in encoders, most of what a mix costs.", "flow")
	f.both(func(l *media.LineStats) float64 { return l.EncodeTime.Seconds() })
	return f
}

func dtmf() *family {
	f := newFamily("dtmf_total", "Keys pressed on phones (to_room) and in rooms (to_phone), by what became of them.", "direction", "outcome")
	for _, o := range call.KeyOutcomes {
		if o == call.KeySent || o == call.KeyEarly || o == call.KeyDropped {
			f.add(func(h *call.Heard) float64 { return float64(h.KeysToRoom[o]) }, flowToRoom, o.String())
		}
		f.add(func(h *call.Heard) float64 { return float64(h.KeysToPhone[o]) }, flowToPhone, o.String())
	}
	return f
}
