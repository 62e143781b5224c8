package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/media"
)

// The modes of a flow, as media.Delays has them.
const (
	modeRelay = "relay"
	modeMix   = "mix"
)

var (
	delayDesc = prometheus.NewDesc("livekit_connector_media_added_latency_seconds",
		"What the connector adds to the way of audio, sampled: a relayed packet from read to written, a mixed voice by what is held of it.",
		[]string{"flow", "mode"}, nil)
	modeDesc = prometheus.NewDesc("livekit_connector_calls_by_mode",
		"Answered calls that relay both directions now, and those that decode and encode one at least.", []string{"mode"}, nil)
)

// delays are samples of what was added to both directions.
type delays struct {
	toPhone, toRoom media.Delays
}

func (d *delays) add(h *call.Heard) {
	d.toPhone.Relay.Add(&h.PhoneDelays.Relay)
	d.toPhone.Mix.Add(&h.PhoneDelays.Mix)
	d.toRoom.Relay.Add(&h.RoomDelays.Relay)
	d.toRoom.Mix.Add(&h.RoomDelays.Mix)
}

func (d *delays) collect(to chan<- prometheus.Metric) {
	one := func(c *media.DelayCounts, flow, mode string) {
		classes := make(map[float64]uint64, len(media.DelayBounds))
		var count uint64
		for i, bound := range media.DelayBounds {
			count += c.Classes[i]
			classes[bound.Seconds()] = count
		}
		count += c.Classes[len(media.DelayBounds)]
		to <- prometheus.MustNewConstHistogram(delayDesc, count, c.Sum.Seconds(), classes, flow, mode)
	}
	one(&d.toPhone.Relay, flowToPhone, modeRelay)
	one(&d.toPhone.Mix, flowToPhone, modeMix)
	one(&d.toRoom.Relay, flowToRoom, modeRelay)
	one(&d.toRoom.Mix, flowToRoom, modeMix)
}
