package roomleg

import (
	"time"

	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"

	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/media"
)

// maxPacket is more than any Opus packet with its RTP header: 1,275 bytes a frame (RFC 6716 section 3.4).
const maxPacket = 1500

// serverSilence is what livekit-server itself puts into a track that is muted or starts without packets:
// media.SilenceFrame, filled up with zeros (pkg/sfu, OpusSilenceFrame). No G.711 looks like it: there zeros are loud.
var serverSilence = append(append(make([]byte, 0, 80), media.SilenceFrame...), make([]byte, 80-len(media.SilenceFrame))...)

// listener is one track that the leg hears.
type listener struct {
	track  *webrtc.TrackRemote
	stream *tapped
	source *media.Source
}

// stop takes the track off the line now and makes its readers end: ours, and Pion's probing (see taps), which may read the
// same stream. Closing a stream wakes only one of those that read it (srtp.ReadStreamSRTP), a deadline wakes all.
func (h *listener) stop() {
	h.stream.stop()
	h.source.Close()
	_ = h.track.SetReadDeadline(time.Unix(1, 0))
}

// listen starts to hear a track that the server has begun to send us.
func (l *Leg) listen(track *webrtc.TrackRemote, pub *lksdk.RemoteTrackPublication) {
	defer l.guard(panics.Call)
	if l.opts.Line == nil || track.Kind() != webrtc.RTPCodecTypeAudio {
		return
	}
	options, known := sourceOf(track.Codec().MimeType)
	if !known { // the room said otherwise, or nothing
		l.refuse(RefusedCodec)
		l.log.Warn("room track not heard: it is neither Opus nor G.711", "trackID", pub.SID(), "codec", track.Codec().MimeType)
		return
	}
	stream := l.taps.of(uint32(track.SSRC()))
	options.AudioLevelID = uint8(stream.levelID.Load())
	sid := pub.SID()
	h := &listener{track: track, stream: stream, source: l.opts.Line.AddSource(sid, options)}
	h.source.SetMuted(pub.IsMuted())
	l.mu.Lock()
	if l.closing || l.finished {
		l.mu.Unlock()
		h.source.Close()
		return
	}
	before := l.listeners[sid]
	l.listeners[sid] = h
	l.tasks.Go(func() { l.read(sid, h) })
	l.mu.Unlock()
	if before != nil {
		before.stop()
	}
	l.changed()
}

// unlisten ends the hearing of a track. A newer listener of the same track stays.
func (l *Leg) unlisten(track *webrtc.TrackRemote) {
	defer l.guard(panics.Call)
	if gone := l.drop(func(_ string, h *listener) bool { return h.track == track }); gone != nil {
		gone.stop()
	}
}

// drop ends the entry of the track that is meant and returns its listener; nil if there is none.
func (l *Leg) drop(meant func(sid string, h *listener) bool) (gone *listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for sid, h := range l.listeners {
		if meant(sid, h) {
			gone = h
			l.dropLocked(sid)
		}
	}
	return gone
}

// dropLocked ends the entry of a track that is no longer heard. The caller holds mu.
func (l *Leg) dropLocked(sid string) {
	l.dropped[sid] = lastHeard{packets: l.listeners[sid].stream.packets.Load(), at: time.Now()}
	delete(l.listeners, sid)
}

// unlistenAll ends the hearing of all tracks.
func (l *Leg) unlistenAll() {
	l.mu.Lock()
	gone := l.listeners
	l.listeners = make(map[string]*listener)
	l.mu.Unlock()
	for _, h := range gone {
		h.stop()
	}
}

// read moves a track's packets to the line until the track ends, in a goroutine of its own. They pass the tap on their way
// here, and are heard there.
func (l *Leg) read(sid string, h *listener) {
	defer l.guard(panics.Audio)
	defer func() {
		h.stop() // it may have ended by itself, with Pion's probing in another goroutine: see stop
		l.taps.drop(uint32(h.track.SSRC()))
		l.drop(func(other string, now *listener) bool { return other == sid && now == h })
	}()
	h.stream.listen(l.hears(h.source.WriteRTPAt))
	var buf [maxPacket]byte
	for {
		n, _, err := h.track.Read(buf[:])
		if err != nil {
			return // the track or the connection ended, or stop was called
		}
		if !h.stream.bound.Load() { // no interceptor in the way
			h.stream.offer(buf[:n])
		}
	}
}
