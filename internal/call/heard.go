package call

import (
	"log/slog"
	"math"
	"time"

	"github.com/livekit-connector/livekit-connector/media"
)

// Heard is what became of a call's audio so far. It is a copy.
type Heard struct {
	Network Network
	// Room is the way to LiveKit and back.
	Room Network
	// Codec is the one with Meta.
	Codec media.Codec
	// ToPhone is the line from the room to the phone.
	ToPhone media.LineStats
	// Relay is the phone's way into the room, unless Transcoded: then it is the line ToRoom.
	Relay      media.RelayStats
	ToRoom     media.LineStats
	Transcoded bool
	// KeysToRoom are the keys that were pressed on the phone, KeysToPhone those that the room pressed.
	KeysToRoom, KeysToPhone KeyCounts
	// PhoneQuality estimates what the phone hears, RoomQuality what the room hears of the phone. Without PhoneKnown and
	// RoomKnown there is nothing to estimate from.
	PhoneQuality, RoomQuality media.Quality
	PhoneKnown, RoomKnown     bool
	// PhoneDelays and RoomDelays are samples of what we added to the way to the phone and to the room.
	PhoneDelays, RoomDelays media.Delays
	// Mixing says that one direction at least is decoded and encoded now.
	Mixing bool
}

// Heard returns the statistics of the call's audio. It is meant for scrapes and for the end, not for every packet.
func (c *Call) Heard() Heard {
	c.mu.Lock()
	relay, toRoom, room := c.relay, c.toRoom, c.room
	c.mu.Unlock()
	h := Heard{
		Network: c.opts.Meta.Network(), Codec: c.opts.Meta.Codec(),
		ToPhone: c.line.Stats(), PhoneDelays: c.line.Delays(), Mixing: c.line.Mixing(),
	}
	if room != nil {
		h.Room = room.Network()
	}
	if relay != nil {
		h.Relay, h.RoomDelays = relay.Stats(), relay.Delays()
	}
	if toRoom != nil {
		h.ToRoom, h.Transcoded, h.RoomDelays = toRoom.Stats(), true, toRoom.Delays()
		h.Mixing = h.Mixing || toRoom.Mixing()
	}
	h.keyCounts(&c.keys)
	h.PhoneQuality, h.PhoneKnown = h.phoneQuality()
	h.RoomQuality, h.RoomKnown = h.roomQuality()
	return h
}

const (
	// coding is what packets of 20 ms and Opus' look-ahead of 6.5 ms take, at whoever encodes first.
	coding = media.FrameDuration + 6500*time.Microsecond
	// bufferJitter and bufferLeast are what the far end's jitter buffer is taken to hold, since nobody tells: twice the
	// jitter, and never less than a packet.
	bufferJitter = 2
	bufferLeast  = media.FrameDuration
)

// farBuffer is the delay of the jitter buffer of whoever plays a stream with that jitter.
func farBuffer(jitter time.Duration) time.Duration { return max(bufferLeast, bufferJitter*jitter) }

// phoneQuality: what Meta missed, and what was made up for the mix. Losses between the publisher and us that were
// relayed are not in it, because livekit-server repairs or renumbers them, and neither is the way from Meta to the phone.
func (h *Heard) phoneQuality() (media.Quality, bool) {
	n, l := &h.Network, &h.ToPhone
	if n.Sent == 0 || n.Reports == 0 {
		return media.Quality{}, false
	}
	lost := min(1, float64(n.Lost)/float64(n.Sent))
	mixed := share(l.MixTime, l.MixTime+l.RelayTime)
	return media.Quality{
		Codec: h.Codec, Burst: 1, // a report does not tell bursts
		Loss: both(lost, mixed*madeUp(&l.Voices)),
		Delay: coding + n.RTT/2 + farBuffer(n.Jitter) +
			time.Duration(mixed*float64(l.Voices.Target)),
	}, true
}

// roomQuality: what did not come from Meta, and what was late for the decoder if there is one. The way from the room's
// server to its participants is not in it.
func (h *Heard) roomQuality() (media.Quality, bool) {
	n := &h.Network
	if n.Expected == 0 {
		return media.Quality{}, false
	}
	lost := float64(n.Missed) / float64(n.Expected)
	q := media.Quality{Codec: h.Codec, Loss: lost, Delay: coding + n.RTT/2, Burst: 1}
	if n.Gaps > 0 {
		q.Burst = float64(n.Missed) / float64(n.Gaps) * (1 - lost) // the mean run of random loss is 1/(1-p)
	}
	if h.Transcoded {
		q.Loss = madeUp(&h.ToRoom.Voices)
		q.Delay += h.ToRoom.Voices.Target + coding + bufferLeast
	} else {
		q.Delay += farBuffer(n.ReceivedJitter)
	}
	return q, true
}

// madeUp is the share of concealed frames in what a decoder played.
func madeUp(v *media.VoiceStats) float64 {
	if all := v.Decoded + v.Recovered + v.Concealed; all > 0 {
		return float64(v.Concealed) / float64(all)
	}
	return 0
}

// both is the share that is lost on the one or the other of two ways in a row.
func both(a, b float64) float64 { return 1 - (1-a)*(1-b) }

func share(part, whole time.Duration) float64 {
	if whole <= 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// attributes are the statistics for the line that tells of the call's end.
func (h *Heard) attributes() []any {
	n := &h.Network
	toPhone := append([]any{"mode", lineMode(&h.ToPhone)}, lineAttributes(&h.ToPhone)...)
	toPhone = append(toPhone, "lost", n.Lost, "jitterMs", milliseconds(n.Jitter))
	toPhone = append(toPhone, quality(h.PhoneQuality, h.PhoneKnown)...)
	toRoom := []any{
		"mode", modeRelay, "relayed", h.Relay.Relayed, "late", h.Relay.Duplicate + h.Relay.Stray, "restarts", h.Relay.Restarts,
		"writeErrors", h.Relay.WriteErrors,
	}
	if h.Transcoded {
		toRoom = append([]any{"mode", modeTranscode}, lineAttributes(&h.ToRoom)...)
	}
	toRoom = append(toRoom, "expected", n.Expected, "lost", n.Missed, "jitterMs", milliseconds(n.ReceivedJitter))
	toRoom = append(toRoom, quality(h.RoomQuality, h.RoomKnown)...)
	a := []any{
		"codec", h.Codec.String(), "rttMs", milliseconds(n.RTT), slog.Group("toMeta", toPhone...), slog.Group("toRoom", toRoom...),
	}
	if room, phone := h.KeysToRoom.attributes(), h.KeysToPhone.attributes(); len(room)+len(phone) > 0 {
		a = append(a, slog.Group("keys", slog.Group("toRoom", room...), slog.Group("toPhone", phone...)))
	}
	return a
}

// How audio went in one direction, for the line that tells of the end.
const (
	modeRelay     = "relay"
	modeMix       = "mix"
	modeBoth      = "relay+mix"
	modeTranscode = "transcode"
)

func lineMode(l *media.LineStats) string {
	switch {
	case l.MixTime == 0:
		return modeRelay
	case l.RelayTime == 0:
		return modeMix
	default:
		return modeBoth
	}
}

// lineAttributes leave out what a call without a mix has no number for.
func lineAttributes(l *media.LineStats) []any {
	a := []any{
		"relayed", l.Relayed, "silence", l.Silence, "switches", l.Switches, "late", l.Late, "unheard", l.Unheard,
		"stalls", l.Stalls, "writeErrors", l.WriteErrors,
	}
	if l.ToMix == 0 {
		return a
	}
	v := &l.Voices
	a = append(a, "mixed", l.Mixed, "mixes", l.ToMix, "relayMs", l.RelayTime.Milliseconds(), "mixMs", l.MixTime.Milliseconds(),
		"silenceMs", l.SilenceTime.Milliseconds(), "voices", l.VoicesMax, "limited", l.Limited, "codecErrors", l.CodecErrors,
		"decoded", v.Decoded, "recovered", v.Recovered+l.Recovered, "concealed", v.Concealed, "voiceLate", v.Late,
		"garbage", v.Garbage, "depthMs", milliseconds(v.Target), "voiceJitterMs", milliseconds(v.Jitter), "driftPPM", math.Round(v.DriftPPM),
		"encodeMs", l.EncodeTime.Milliseconds())
	if !math.IsInf(l.LevelDB, 0) {
		a = append(a, "levelDB", math.Round(l.LevelDB), "peakDB", math.Round(l.PeakDB))
	}
	return a
}

func quality(q media.Quality, known bool) []any {
	if !known {
		return nil
	}
	return []any{"lossPercent", math.Round(q.Loss*1000) / 10, "delayMs", milliseconds(q.Delay), "mos", math.Round(q.MOS()*100) / 100}
}

// milliseconds with one decimal, for people.
func milliseconds(d time.Duration) float64 { return math.Round(d.Seconds()*10_000) / 10 }
