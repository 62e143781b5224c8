package e2e_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// rtcSpeaker is a participant of LiveKit's Node rtc library (sdk/rtc-node), which is libwebrtc: with its encoder, its DTX
// and its RED, as LiveKit's agents are.
type rtcSpeaker struct {
	*driver
	scene    *scene
	identity string
	dir      string
	said     int
}

// newRTCSpeaker joins the room of a scene and publishes, with further arguments for both.
func newRTCSpeaker(t *testing.T, s *scene, identity string, more options) *rtcSpeaker {
	t.Helper()
	k := &rtcSpeaker{scene: s, identity: identity, dir: t.TempDir()}
	k.driver = startDriver(t, nil, s.livekit.URL(), "", "", "node", filepath.Join(sdkDir(), "rtc-node", "driver.mjs"))
	k.join(t, more)
	return k
}

func (k *rtcSpeaker) join(t *testing.T, more options) {
	t.Helper()
	token, err := k.scene.livekit.JoinToken(livekittest.ParticipantOptions{Room: k.scene.room, Identity: k.identity})
	require.NoError(t, err)
	k.must(t, "join", options{"token": token}.with(more))
	k.publish(t, more)
}

// publish waits until the connector listens, as newSpeaker does.
func (k *rtcSpeaker) publish(t *testing.T, more options) {
	t.Helper()
	k.must(t, "publish", options{"name": k.identity}.with(more))
	k.say(t, pause(400*time.Millisecond))
}

func (k *rtcSpeaker) must(t *testing.T, method string, args options) options {
	t.Helper()
	res, err := k.do(wait(t), method, args)
	require.NoError(t, err, method)
	return res
}

func (k *rtcSpeaker) say(t *testing.T, pcm []int16) {
	t.Helper()
	require.NoError(t, k.utter(wait(t), pcm))
}

// utter returns when all has been played.
func (k *rtcSpeaker) utter(ctx context.Context, pcm []int16) error {
	k.said++
	f, err := os.Create(filepath.Join(k.dir, strconv.Itoa(k.said)+".wav"))
	if err != nil {
		return err
	}
	if err = errors.Join(hearing.WriteWAV(f, pcm, speechRate), f.Close()); err != nil {
		return err
	}
	_, err = k.do(ctx, "say", options{"file": f.Name()})
	return err
}

// atOnce lets everybody act at the same time, and returns when all have.
func atOnce(t *testing.T, acts ...func(ctx context.Context) error) {
	t.Helper()
	var (
		ctx  = wait(t)
		all  sync.WaitGroup
		errs = make([]error, len(acts))
	)
	for i, act := range acts {
		all.Go(func() { errs[i] = act(ctx) })
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
}

// uttering is speaker.play of speech, for atOnce.
func (k *speaker) uttering(t *testing.T, pcm []int16) func(context.Context) error {
	t.Helper()
	all := packets(t, pcm)
	return func(ctx context.Context) error { return k.play(ctx, all) }
}

// uttering is utter, for atOnce.
func (k *rtcSpeaker) uttering(pcm []int16) func(context.Context) error {
	return func(ctx context.Context) error { return k.utter(ctx, pcm) }
}
