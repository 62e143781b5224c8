// Command fakemeta runs a fake Meta: Graph calling API, webhooks, media relay and handsets, with an HTTP API to
// play the WhatsApp user. See docs/fakemeta.md.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/livekit-connector/livekit-connector/media/resample/soxr"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/handset"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
	"github.com/livekit-connector/livekit-connector/testdata"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().Run(ctx, os.Args)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fakemeta:", err)
		os.Exit(1)
	}
}

const description = `fakemeta answers the WhatsApp calling requests of your code as Meta would, calls it, talks
to it with real ICE, DTLS and Opus, and tells what it got wrong. Point your Graph base URL at it,
and your webhook address with --webhook.

Place a call from a WhatsApp user to your business, and hang it up:

  curl -X POST localhost:8091/calls -d '{"user":"15550002222"}'
  curl -X POST localhost:8091/calls/last/hang-up
  curl localhost:8091/calls/last

Calls that your code places ring until somebody picks up; --pick-up-after does it for you:

  curl -X POST localhost:8091/calls/last/pick-up

All that can be done is on the control API's front page: curl localhost:8091`

func command() *cli.Command {
	return &cli.Command{
		Name:        "fakemeta",
		Usage:       "a Meta for people who write WhatsApp calling code",
		Description: description,
		Flags:       flags(),
		Action:      run,
	}
}

func flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "graph", Value: "127.0.0.1:8090", Usage: "`ADDRESS` of the Graph API"},
		&cli.StringFlag{Name: "control", Value: "127.0.0.1:8091", Usage: "`ADDRESS` of the control API; it has no access control"},
		&cli.StringSliceFlag{Name: "relay", Value: []string{"127.0.0.1:3480"}, Usage: "media `ADDRESS`; give a second one for IPv6"},
		&cli.BoolFlag{Name: "dead-ipv6", Usage: "offer a preferred IPv6 candidate that leads nowhere"},

		&cli.StringFlag{Name: "phone-number-id", Value: "100000000000001", Usage: "`ID` of the business number in Graph URLs"},
		&cli.StringFlag{Name: "number", Value: "15550001111", Usage: "the business number, `DIGITS` only"},
		&cli.StringFlag{Name: "token", Value: "fake-token", Usage: "access `TOKEN` that requests must carry", Sources: cli.EnvVars("FAKEMETA_TOKEN")},
		&cli.StringFlag{Name: "secret", Value: "fake-secret", Usage: "app `SECRET` that signs webhooks", Sources: cli.EnvVars("FAKEMETA_SECRET")},
		&cli.StringFlag{Name: "webhook", Usage: "`URL` of your webhook; without it nobody hears of calls"},
		&cli.StringFlag{Name: "verify-token", Value: "fake-verify", Usage: "hub.verify_token `TEXT`", Sources: cli.EnvVars("FAKEMETA_VERIFY_TOKEN")},
		&cli.BoolFlag{Name: "verify", Usage: "send the webhook's challenge at start and refuse to go on if it fails"},

		&cli.FloatFlag{Name: "scale", Value: 1, Usage: "multiply all call timers: 0.1 kills silent calls after 2 s"},
		&cli.StringFlag{Name: "dialect", Value: "live", Usage: "how SDP is written: live, or docs as in Meta's reference"},
		&cli.StringFlag{Name: "answer-setup", Value: "active", Usage: "a=setup of answers to your offers: active, passive or actpass"},
		&cli.StringFlag{Name: "permission", Value: "temporary", Usage: "what users have granted: temporary, permanent or none"},
		&cli.StringFlag{Name: "speech", Usage: "WAV `FILE` that handsets say (16 bit, mono); default: a built-in recording"},
		&cli.BoolFlag{Name: "once", Usage: "say it once instead of over and over"},

		&cli.StringFlag{Name: "user", Value: "15550002222", Usage: "the WhatsApp user for the flags below, `DIGITS` only"},
		&cli.DurationFlag{Name: "pick-up-after", Usage: "the user picks up by himself"},
		&cli.DurationFlag{Name: "reject-after", Usage: "the user declines by himself"},
		&cli.DurationFlag{Name: "hang-up-after", Usage: "the user hangs up that long after picking up"},
		&cli.BoolFlag{Name: "call", Usage: "the user calls the business at start"},
	}
}

func run(ctx context.Context, cmd *cli.Command) error {
	o, err := options(cmd)
	if err != nil {
		return err
	}
	out := cmd.Root().Writer
	o.Logger = slog.New(newConsole(out))
	srv, err := fakemeta.Start(o)
	if err != nil {
		return err
	}
	return errors.Join(serve(ctx, cmd, srv, out), srv.Close())
}

func serve(ctx context.Context, cmd *cli.Command, srv *fakemeta.Server, out io.Writer) error {
	id := cmd.String("phone-number-id")
	err := srv.AddNumber(fakemeta.Number{
		PhoneNumberID: id, DisplayNumber: cmd.String("number"), AccessToken: cmd.String("token"),
		AppSecret: cmd.String("secret"), WebhookURL: cmd.String("webhook"), VerifyToken: cmd.String("verify-token"),
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Graph API    %s/v24.0/%s/calls\n", srv.GraphURL(), id)
	fmt.Fprintf(out, "control API  %s\n", srv.ControlURL())
	fmt.Fprintf(out, "media        %v\n", srv.RelayAddrs())
	if cmd.String("webhook") == "" {
		fmt.Fprintln(out, "webhook      none: nobody hears of calls; see --webhook")
	}
	if cmd.Bool("verify") {
		if err := srv.VerifyWebhook(ctx, id); err != nil {
			return err
		}
		fmt.Fprintln(out, "webhook      verified")
	}
	user := srv.User(cmd.String("user"))
	user.SetAnswering(fakemeta.Answering{
		PickUpAfter: cmd.Duration("pick-up-after"), RejectAfter: cmd.Duration("reject-after"),
		HangUpAfter: cmd.Duration("hang-up-after"),
	})
	if cmd.Bool("call") {
		if _, err := user.Call(ctx, id); err != nil {
			return err
		}
	}
	<-ctx.Done()
	fmt.Fprintln(out, "closing")
	return nil
}

func options(cmd *cli.Command) (fakemeta.Options, error) {
	o := fakemeta.Options{
		Addr: cmd.String("graph"), ControlAddr: cmd.String("control"), DeadIPv6: cmd.Bool("dead-ipv6"),
		Timing: fakemeta.Scaled(cmd.Float("scale")), AnswerSetup: fakemeta.SetupMode(cmd.String("answer-setup")),
	}
	errs := []error{checkWords(cmd.Args()), checkWebhook(cmd.String("webhook"))}
	for _, text := range cmd.StringSlice("relay") {
		addr, err := netip.ParseAddrPort(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("relay must be an address such as 127.0.0.1:3480, not %q", text))
		}
		o.RelayAddrs = append(o.RelayAddrs, addr)
	}
	var err error
	if o.Dialect, err = fakemeta.ParseDialect(cmd.String("dialect")); err != nil {
		errs = append(errs, err)
	}
	switch o.AnswerSetup {
	case fakemeta.SetupActive, fakemeta.SetupPassive, fakemeta.SetupActpass:
	default:
		errs = append(errs, fmt.Errorf("answer-setup must be active, passive or actpass, not %q", o.AnswerSetup))
	}
	if o.DefaultPermission, err = fakemeta.ParsePermission(cmd.String("permission")); err != nil {
		errs = append(errs, err)
	}
	if o.Speech, err = loadSpeech(cmd.String("speech")); err != nil {
		errs = append(errs, fmt.Errorf("speech: %w", err))
	}
	o.Speech.Loop, o.Speech.After = !cmd.Bool("once"), time.Second
	return o, errors.Join(errs...)
}

func checkWords(words cli.Args) error {
	if words.Present() {
		return fmt.Errorf("there are only flags, no %q: see --help", words.First())
	}
	return nil
}

func checkWebhook(text string) error {
	u, err := url.Parse(text)
	if text == "" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		return nil
	}
	return fmt.Errorf("webhook must be a URL such as http://127.0.0.1:3000/webhook, not %q", text)
}

// loadSpeech reads what handsets say.
func loadSpeech(file string) (fakemeta.Speech, error) {
	var wav []byte
	var err error
	if file == "" {
		wav, err = testdata.Audio.ReadFile("audio/caller.wav")
	} else {
		wav, err = os.ReadFile(file) //nolint:gosec // the operator names it
	}
	if err != nil {
		return fakemeta.Speech{}, err
	}
	pcm, rate, err := hearing.ReadWAV(bytes.NewReader(wav))
	if err != nil {
		return fakemeta.Speech{}, err
	}
	switch rate {
	case 8000, 12000, 16000, 24000, 48000:
		return fakemeta.Speech{Samples: pcm, Rate: rate}, nil
	}
	pcm, err = soxr.Convert(pcm, rate, handset.DefaultRate)
	switch {
	case errors.Is(err, soxr.ErrRate):
		return fakemeta.Speech{}, fmt.Errorf("%s is sampled at %d Hz: save it at 16000 Hz, or at any rate from 8000 to 96000", file, rate)
	case err != nil:
		return fakemeta.Speech{}, err
	}
	return fakemeta.Speech{Samples: pcm, Rate: handset.DefaultRate}, nil
}
