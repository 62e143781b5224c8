package call

import (
	"context"
	"time"

	"github.com/livekit-connector/livekit-connector/media"
)

// MetaLeg is the media connection to Meta. The call closes it.
type MetaLeg interface {
	media.Writer
	// SetAnswer applies Meta's answer to our offer (outbound).
	SetAnswer(sdp string) error
	// Connected is closed once ICE and DTLS are up.
	Connected() <-chan struct{}
	// FirstAudio is closed at the first audio packet from Meta.
	FirstAudio() <-chan struct{}
	// Done is closed when the connection failed or was closed.
	Done() <-chan struct{}
	// ClosedByMeta says, after Done, whether Meta closed the connection in good order.
	ClosedByMeta() bool
	// ICEConnected is when ICE chose its path; zero means not yet.
	ICEConnected() time.Time
	// Codec is what both sides send. For an outbound call it is known once SetAnswer succeeded.
	Codec() media.Codec
	// Network is what is known of the way to Meta and back. It does not block.
	Network() Network
	// Connection is what is known of the connection so far, after Close too. It does not block.
	Connection() Connection
	// LogAttrs are the leg's statistics, as arguments for slog.
	LogAttrs() []any
	// LastReceived is when Meta last sent us RTP or RTCP; zero means never.
	LastReceived() time.Time
	// SetSink says where audio from Meta goes; without a sink it is dropped.
	SetSink(media.Writer)
	// SetKeys says who hears of keys pressed on the phone, each once. The function must not block; nil lets keys be.
	SetKeys(func(media.Key))
	// TakesKeys says whether Meta negotiated RTP events, so that the line may say keys as such.
	TakesKeys() bool
	// Open lets packets out to Meta. Before, WriteRTP sends nothing.
	Open()
	// Close waits for all that the leg started.
	Close() error
}

// RoomLeg is the participant in the LiveKit room. The call makes it leave.
type RoomLeg interface {
	media.Writer
	// Publish makes the caller's track appear, which agents take as "answered".
	Publish(ctx context.Context) error
	// SetAttributes adds to or changes the participant's attributes.
	SetAttributes(attributes map[string]string) error
	// SendKey tells the room of a key pressed on the phone. It does not wait; done is called once, with what came of it.
	SendKey(k media.Key, done func(error))
	// OnKeys says who hears of keys that somebody in the room pressed, as printed on a telephone. The function must not
	// block.
	OnKeys(func(text string))
	// View is what the leg last saw of the room, after Leave too. It does not block.
	View() RoomView
	// Network is what is known of the way to LiveKit and back, after Leave too. It does not block.
	Network() Network
	// Ready is closed once another participant can talk with the caller.
	Ready() <-chan struct{}
	// Company says whether somebody is there to talk with, and returns a channel that is closed when that changes.
	Company() (Company, <-chan struct{})
	// Done is closed when the participant is no longer in the room, whoever decided that.
	Done() <-chan struct{}
	// Reason says why, after Done.
	Reason() Reason
	// Leave waits until the participant has left. Calling it again does nothing.
	Leave(Departure) error
}

// Company is whether somebody is in the room whom the caller could talk with, be it an agent, a person or another
// telephone; recorders and streams are no company.
type Company uint8

// The companies.
const (
	// CompanyNone: nobody has been there yet.
	CompanyNone Company = iota
	// CompanyPresent: somebody is there.
	CompanyPresent
	// CompanyLeft: somebody was there, and nobody is now.
	CompanyLeft
	// CompanyUnknown: the connection to the room is away, so nobody can tell.
	CompanyUnknown
)

// Graph is Meta's calling API, bound to one call and its credentials.
type Graph interface {
	// PreAccept hands Meta our SDP answer while the caller still hears ringing.
	PreAccept(ctx context.Context) error
	// Accept answers the call, with the same SDP.
	Accept(ctx context.Context) error
	// Reject declines a call that we never answered. A call that is over already is a success.
	Reject(ctx context.Context) error
	// Terminate ends a call. It tries again until Meta took it or ctx ends. A call that is over already is a success.
	Terminate(ctx context.Context) error
}
