package density

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/livekit-connector/livekit-connector/bench/rig"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/internal/roomleg/sdklog"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// The business of all calls, invented.
const (
	numberID     = "1000555000111"
	business     = "15550001111"
	graphToken   = "EAAbench-graph-token" //nolint:gosec // invented
	graphVersion = "24.0"
	firstUser    = 15552000000
)

const (
	setUpAtOnce   = 4 // calls that are being set up side by side
	setUpTimeout  = 30 * time.Second
	hangUpTimeout = 10 * time.Second
	pollInterval  = 50 * time.Millisecond
	firstPackets  = 25 // each side has heard so many when a call counts as set up
)

// stage is all that runs for one bridge: livekit-server, a fake Meta, the bridge, and its calls.
type stage struct {
	options *Options
	mode    Mode
	log     *slog.Logger

	liveKit *livekittest.Server
	meta    *fakemeta.Server
	bridge  *bridge
	sdk     *lksdk.ConnectorClient
	pacer   *pacer
	calls   []*call

	closers []func() error // last made, first closed
}

// call is one phone and who is in the room with it.
type call struct {
	phone *fakemeta.Call
	// agent listens; the others only speak.
	agent  *participant
	others []*participant
}

// newStage starts everything but calls. The caller closes the stage, also after an error.
func newStage(ctx context.Context, o *Options, candidate Candidate, mode Mode) (*stage, error) {
	sdklog.SetGlobal(nil)
	s := &stage{options: o, mode: mode, log: o.Logger}
	var err error
	if s.liveKit, err = livekittest.Start(ctx, livekittest.Options{LogLevel: "warn"}); err != nil {
		return s, err
	}
	s.closers = append(s.closers, s.liveKit.Stop)
	s.meta, err = fakemeta.Start(fakemeta.Options{
		KeepEnded: 1,
		Speech:    fakemeta.Speech{Packets: o.voices.Caller.Packets, Loop: true},
	})
	if err != nil {
		return s, err
	}
	s.closers = append(s.closers, s.meta.Close)
	if err = s.meta.AddNumber(fakemeta.Number{
		PhoneNumberID: numberID, DisplayNumber: business, AccessToken: graphToken, AppSecret: "bench-app-secret",
	}); err != nil {
		return s, err
	}
	log, err := os.Create(filepath.Join(o.Folder, fmt.Sprintf("%s-%s.log", candidate.Name, mode)))
	if err != nil {
		return s, err
	}
	s.closers = append(s.closers, log.Close)
	s.bridge, err = startBridge(ctx, candidate.Binary, o.BridgeCPUs, len(o.cpus), []string{
		"LIVEKIT_URL=" + s.liveKit.URL(), "LIVEKIT_API_KEY=" + s.liveKit.APIKey(), "LIVEKIT_API_SECRET=" + s.liveKit.APISecret(),
		"CONNECTOR_PORT=0", "CONNECTOR_ADMIN_PORT=0", "CONNECTOR_BIND_ADDRESSES=127.0.0.1", "CONNECTOR_WHATSAPP_GRAPH_URL=" + s.meta.GraphURL(),
		"CONNECTOR_RTC_ENABLE_LOOPBACK_CANDIDATE=true", "CONNECTOR_RTC_INTERFACES_INCLUDES=lo", "CONNECTOR_DRAIN_TIMEOUT=1s",
	}, log)
	if err != nil {
		return s, err
	}
	s.closers = append(s.closers, s.bridge.stop)
	s.sdk = lksdk.NewConnectorClient(s.bridge.API, s.liveKit.APIKey(), s.liveKit.APISecret())
	s.pacer = startPacer()
	stop := rig.Answer(ctx, s.meta, numberID, s.handle)
	s.closers = append(s.closers, func() error { stop(); return nil })
	return s, nil
}

// handle passes one event on, as an application's webhook does: it hands each call that rings over to the bridge.
func (s *stage) handle(ctx context.Context, c fakemeta.CallEvent) {
	var err error
	switch c.Event {
	case "connect":
		_, err = s.sdk.AcceptWhatsAppCall(ctx, &livekit.AcceptWhatsAppCallRequest{
			WhatsappPhoneNumberId: numberID, WhatsappApiKey: graphToken, WhatsappCloudApiVersion: graphVersion,
			WhatsappCallId: c.ID, Sdp: &livekit.SessionDescription{Type: "offer", Sdp: c.Session.SDP},
			RoomName: roomOf(c.From), ParticipantIdentity: callerIdentity,
		})
	case "terminate":
		_, err = s.sdk.DisconnectWhatsAppCall(ctx, &livekit.DisconnectWhatsAppCallRequest{
			WhatsappCallId: c.ID, DisconnectReason: livekit.DisconnectWhatsAppCallRequest_USER_INITIATED,
		})
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn("the bridge refused", "event", c.Event, "error", err)
	}
}

func roomOf(user string) string { return "room-" + user }

// grow sets up calls until there are n, a few at once, and waits until everybody hears.
func (s *stage) grow(ctx context.Context, n int) error {
	free := make(chan struct{}, setUpAtOnce)
	made := make([]*call, n-len(s.calls))
	errs := make([]error, len(made))
	var working sync.WaitGroup
	for i := range made {
		free <- struct{}{}
		working.Go(func() {
			made[i], errs[i] = s.place(ctx, len(s.calls)+i)
			<-free
		})
	}
	working.Wait()
	for _, c := range made {
		if c != nil {
			s.calls = append(s.calls, c)
		}
	}
	return errors.Join(errs...)
}

// place makes one call. What it made before an error is returned with it.
func (s *stage) place(ctx context.Context, index int) (*call, error) {
	ctx, cancel := context.WithTimeout(ctx, setUpTimeout)
	defer cancel()
	user := fmt.Sprint(firstUser + index)
	c := &call{}
	var err error
	c.agent, err = join(ctx, s.liveKit, participantOptions{
		room: roomOf(user), identity: "agent", clip: s.options.voices.Agent, listens: true, skip: index,
	})
	if err != nil {
		return nil, err
	}
	s.pacer.add(c.agent)
	for i := range s.mode.speakers() - 1 {
		other, joinErr := join(ctx, s.liveKit, participantOptions{
			room: roomOf(user), identity: fmt.Sprintf("speaker-%d", i+2), clip: s.options.voices.Other, skip: index * 7,
		})
		if joinErr != nil {
			return c, joinErr
		}
		c.others = append(c.others, other)
		s.pacer.add(other)
	}
	if c.phone, err = s.meta.User(user).Call(ctx, numberID); err != nil {
		return c, err
	}
	if err = c.phone.Wait(ctx, fakemeta.StateActive); err != nil {
		return c, err
	}
	return c, c.awaitSound(ctx)
}

// awaitSound returns when both sides have heard something.
func (c *call) awaitSound(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if c.agent.heard.count() >= firstPackets && len(c.phone.Handset().Packets()) >= firstPackets {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for sound: the agent heard %d packets, the phone %d: %w",
				c.agent.heard.count(), len(c.phone.Handset().Packets()), context.Cause(ctx))
		}
	}
}

// atPhones returns what each phone got in an interval.
func (s *stage) atPhones(from, to time.Time) [][]arrival {
	all := make([][]arrival, len(s.calls))
	for i, c := range s.calls {
		for _, p := range c.phone.Handset().Packets() {
			if !p.Arrived.Before(from) && p.Arrived.Before(to) {
				all[i] = append(all[i], arrival{p.Arrived, p.SSRC, p.Sequence, p.Timestamp, p.Payload})
			}
		}
	}
	return all
}

// atAgents returns what each agent got in an interval.
func (s *stage) atAgents(from, to time.Time) [][]arrival {
	all := make([][]arrival, len(s.calls))
	for i, c := range s.calls {
		all[i] = c.agent.heard.between(from, to)
	}
	return all
}

// close hangs up and ends everything.
func (s *stage) close() error {
	var errs []error
	for _, c := range s.calls {
		if c.phone != nil {
			errs = append(errs, c.phone.HangUp())
		}
	}
	timer := time.NewTimer(hangUpTimeout)
	defer timer.Stop()
	for _, c := range s.calls {
		if c.phone == nil {
			continue
		}
		select {
		case <-c.phone.Done():
		case <-timer.C:
			errs = append(errs, errors.New("hang up: a phone did not end"))
		}
	}
	if s.pacer != nil {
		s.pacer.stop() // nobody speaks into a room that he left
	}
	for _, c := range s.calls {
		c.agent.leave()
		for _, p := range c.others {
			p.leave()
		}
	}
	for _, f := range slices.Backward(s.closers) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}
