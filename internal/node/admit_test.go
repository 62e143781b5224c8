package node

import (
	"log/slog"
	"testing"

	"github.com/livekit/psrpc"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/admission"
	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// newGate is one that measures nothing.
func newGate(t *testing.T, reg prometheus.Registerer, l admission.Limits) *admission.Gate {
	t.Helper()
	g, err := admission.New(admission.Options{
		Limits: l, Costs: admission.DefaultCosts(1), Capacity: admission.Capacity{Cores: 2, Memory: 1e9},
		Registerer: reg, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	return g
}

func newLimitedStand(t *testing.T, l admission.Limits) *stand {
	t.Helper()
	return newStandWith(t, func(o *Options) { o.Gate = newGate(t, prometheus.NewRegistry(), l) })
}

// requireLimit checks that an error says which limit it was.
func requireLimit(t *testing.T, want, text string, err error) {
	t.Helper()
	requireCode(t, psrpc.ResourceExhausted, err)
	require.EqualError(t, err, "server is busy and cannot accept new calls: "+text)
	var e psrpc.Error
	require.ErrorAs(t, err, &e)
	var limits []string
	for _, detail := range e.DetailsProto() {
		meta := new(connectorpb.ErrorMeta)
		require.NoError(t, detail.UnmarshalTo(meta))
		limits = append(limits, meta.GetMeta()["limit"])
	}
	require.Equal(t, []string{want}, limits)
}

func TestRefusalSaysWhichLimit(t *testing.T) {
	for name, test := range map[string]struct {
		limits      admission.Limits
		limit, text string
	}{
		"all":    {admission.Limits{Calls: 1}, "max_active_calls", "1 of 1 calls (max_active_calls)"},
		"key":    {admission.Limits{ByKey: map[string]int{"key": 1}}, "calls_per_key", "1 of 1 calls of this API key (limits.calls_per_key)"},
		"number": {admission.Limits{PerNumber: 1}, "calls_per_number", "1 of 1 calls of this phone number (limits.calls_per_number)"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newLimitedStand(t, test.limits)
			held, err := s.opts.Gate.Reserve(admission.Ask{Key: "key", PhoneNumberID: "1000555000111"})
			require.NoError(t, err)
			require.Less(t, s.StartCallAffinity(t.Context(), dialRequest()), float32(0.001), "a full node is asked last")
			require.Positive(t, s.StartCallAffinity(t.Context(), dialRequest()))
			_, err = s.StartCall(wait(t), dialRequest())
			requireLimit(t, test.limit, test.text, err)
			_, err = s.StartCall(wait(t), acceptRequest(offer(t)))
			requireLimit(t, test.limit, test.text, err)
			require.Empty(t, s.asked, "meta was asked for nothing")
			require.Zero(t, s.Calls())
			held.Release()
			full := func() bool { return s.StartCallAffinity(t.Context(), dialRequest()) < 0.001 }
			require.False(t, full())
			failed := s.begin(wait(t))
			require.Equal(t, "connect", s.next(t))
			require.True(t, full(), "the call holds the place")
			s.hangUpNow(t)
			require.Error(t, <-failed)
			require.Zero(t, s.opts.Gate.Load().Calls.Used)
		})
	}
}

// hangUpNow ends the calls.
func (s *stand) hangUpNow(t *testing.T) {
	t.Helper()
	require.NoError(t, s.HangUpAll(wait(t)))
}

func TestPlaceOfACallThatNeverBeganIsGivenBack(t *testing.T) {
	s := newLimitedStand(t, admission.Limits{Calls: 1})
	_, err := s.StartCall(wait(t), acceptRequest("no sdp"))
	requireCode(t, psrpc.InvalidArgument, err)
	require.NoError(t, s.Full())
}

// A repetition is told that the call is there, also by a node that is full.
func TestRepetitionOnAFullNode(t *testing.T) {
	s := newLimitedStand(t, admission.Limits{Calls: 1})
	answered, request := make(chan error, 1), acceptRequest(offer(t))
	go func() {
		_, err := s.StartCall(wait(t), request)
		answered <- err
	}()
	require.Equal(t, "pre_accept", s.next(t))
	_, err := s.StartCall(wait(t), acceptRequest(offer(t)))
	requireCode(t, psrpc.AlreadyExists, err)
	s.hangUpNow(t)
	require.Error(t, <-answered)
}

func TestDrainingNodeBidsNothing(t *testing.T) {
	s := newStand(t)
	require.InDelta(t, 1, s.StartCallAffinity(t.Context(), dialRequest()), 0)
	s.RefuseCalls()
	require.Zero(t, s.StartCallAffinity(t.Context(), dialRequest()))
}

func TestExpectedMode(t *testing.T) {
	for name, test := range map[string]struct {
		audio call.Audio
		want  admission.Mode
	}{
		"as it comes": {call.Audio{}, admission.Relay},
		"transcoded":  {call.Audio{Mode: media.ModeTranscode}, admission.Mix},
		"louder":      {call.Audio{ToPhone: media.LineOptions{GainDB: 3}}, admission.Mix},
		"levelled":    {call.Audio{ToRoom: media.LineOptions{AGC: true}}, admission.Mix},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, expectedMode(test.audio))
			require.Equal(t, admission.Ask{Key: "key", PhoneNumberID: "1000555000111", Mode: test.want}, askOf(dialRequest(), test.audio))
			require.Equal(t, admission.Ask{Key: "key", PhoneNumberID: "1000555000111", Mode: test.want}, askOf(acceptRequest(""), test.audio))
		})
	}
}

// A call that waits for its turn to join a room ends without one.
func TestCallThatMayNotJoinYetEnds(t *testing.T) {
	s := newStand(t)
	failed := s.begin(wait(t))
	require.Equal(t, "connect", s.next(t))
	s.hangUpNow(t)
	require.Error(t, <-failed)
	require.Len(t, s.joins, cap(s.joins), "it had no turn to give back")
}

func TestCallThatIsJoiningItsRoomEnds(t *testing.T) {
	s := newStand(t)
	s.letJoin()
	failed := s.begin(wait(t))
	require.Equal(t, "connect", s.next(t))
	select {
	case <-s.visited:
	case <-wait(t).Done():
		t.Fatal("LiveKit is asked for nothing")
	}
	s.hangUpNow(t)
	require.Error(t, <-failed)
	require.Empty(t, s.joins, "it gave its turn back")
}
