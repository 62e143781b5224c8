package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"text/template"
	"time"

	"github.com/livekit/protocol/auth"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

const (
	// tokenValidity is long enough to play and short enough to forget.
	tokenValidity = 2 * time.Hour
	// handRinging is how long the phone of calls by hand rings.
	handRinging = time.Second
	// nodeSDK is the version of livekit-server-sdk that the printed command installs.
	nodeSDK = "2.19.2"
)

// manual is what a person can do now. Every command runs as it is printed, in any folder.
var manual = template.Must(template.New("manual").Parse(`
Everything stays up until Ctrl-C. The phone of {{.User}} is yours. It picks up {{.Ringing}} after it began to ring and
says the same words over and over; the agent greets it, then repeats what it hears, a second later. The call is judged
here when you hang up; give it 20 seconds.

  The user calls the business:

curl -sS -X POST {{.Control}}/calls -d '{"user":"{{.User}}"}'

  The business calls the user, with curl (the token is good for {{.Validity}}):

curl -sS {{.Connector}}/twirp/livekit.Connector/DialWhatsAppCall -H 'Content-Type: application/json' -H 'Authorization: Bearer {{.Token}}' -d '{"whatsappPhoneNumberId":"{{.Number}}","whatsappApiKey":"{{.MetaToken}}","whatsappCloudApiVersion":"{{.Version}}","whatsappToPhoneNumber":"{{.User}}","agents":[{"agentName":"{{.Agent}}"}]}'

  or with LiveKit's Node SDK (Node 19 or newer):

npm install --prefix '{{.Folder}}' --no-audit --no-fund livekit-server-sdk@{{.NodeSDK}}
(cd '{{.Folder}}' && node --input-type=module -e '
import { ConnectorClient } from "livekit-server-sdk";
const connector = new ConnectorClient("{{.Connector}}", "{{.Key}}", "{{.Secret}}");
console.log((await connector.dialWhatsAppCall({
  whatsappPhoneNumberId: "{{.Number}}", whatsappApiKey: "{{.MetaToken}}", whatsappCloudApiVersion: "{{.Version}}",
  whatsappToPhoneNumber: "{{.User}}", agents: [{ agentName: "{{.Agent}}" }],
})).toJson());
')

  The user hangs up; then listen to what he heard, and see what happened when at Meta:

curl -sS -X POST {{.Control}}/calls/last/hang-up
curl -sS -o heard.wav {{.Control}}/calls/last/recording.wav
curl -sS {{.Control}}/calls/last/timeline

  All else that the user can do: curl -sS {{.Control}}

`))

// byHand leaves the stage to the user and prints a line about each call that he made, until ctx ends, whose cause it
// returns.
func (s *stage) byHand(ctx context.Context) error {
	s.meta.User(handUser).SetAnswering(fakemeta.Answering{PickUpAfter: handRinging})
	events := s.meta.Events()
	defer events.Close()
	text, err := s.manual()
	if err != nil {
		return err
	}
	s.out.printf("%s", text)
	var following sync.WaitGroup
	defer following.Wait()
	known := make(map[string]bool)
	for {
		seen, err := events.NextCall(ctx, "", "connect")
		switch {
		case ctx.Err() != nil:
			s.out.printf("stopping\n")
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("watch the calls: %w", err)
		}
		c := s.meta.Call(seen.ID)
		if c == nil || known[seen.ID] {
			continue
		}
		known[seen.ID] = true
		s.out.printf("%s call %d: %s\n", clock(), c.Index(), directions[c.Direction()])
		following.Go(func() { s.follow(ctx, c) })
	}
}

// directions are the directions of calls in words.
var directions = map[fakemeta.Direction]string{
	fakemeta.Inbound: "the user calls the business", fakemeta.Outbound: "the business calls the user",
}

func clock() string { return time.Now().Format("15:04:05") }

// commands is what the manual's commands need to know.
type commands struct {
	Control, Connector      string // URLs
	Key, Secret, Token      string // of LiveKit's API
	Folder                  string
	User, Number, MetaToken string
	Version, Agent, NodeSDK string
	Ringing, Validity       string
}

// manual fills in the commands.
func (s *stage) manual() (string, error) {
	token, err := auth.NewAccessToken(s.liveKit.APIKey(), s.liveKit.APISecret()).
		SetVideoGrant(&auth.VideoGrant{RoomCreate: true}).SetValidFor(tokenValidity).ToJWT()
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return writeManual(commands{
		Control: s.meta.ControlURL(), Connector: s.connectorURL,
		Key: s.liveKit.APIKey(), Secret: s.liveKit.APISecret(), Token: token, Folder: s.folder,
	})
}

func writeManual(c commands) (string, error) {
	c.User, c.Number, c.MetaToken = handUser, numberID, metaToken
	c.Version, c.Agent, c.NodeSDK = graphVersion, agentName, nodeSDK
	c.Ringing, c.Validity = words(handRinging), words(tokenValidity)
	var b bytes.Buffer
	if err := manual.Execute(&b, c); err != nil {
		return "", fmt.Errorf("write the manual: %w", err)
	}
	return b.String(), nil
}

// words writes whole seconds or hours as people do.
func words(d time.Duration) string {
	n, unit := int(d.Seconds()), "second"
	if d >= time.Hour {
		n, unit = int(d.Hours()), "hour"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}

// follow waits for the end of a call and says in a line how it was.
func (s *stage) follow(ctx context.Context, c *fakemeta.Call) {
	select {
	case <-c.Done():
	case <-ctx.Done():
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, endTimeout, errors.New("not within 10 s"))
	defer cancel()
	ended, m, complaints := s.awaitEnd(ctx, c)
	if ctx.Err() != nil && ended.Time.IsZero() {
		return
	}
	s.out.printf("%s call %d: %s\n", clock(), c.Index(), s.line(c, m, ended, complaints))
}

// line judges a call by hand, which may have been too short for everything to be said.
func (s *stage) line(c *fakemeta.Call, m *meeting, ended logLine, complaints []string) string {
	r := c.Report()
	complaints = append(complaints, r.Problems...)
	parts := []string{fmt.Sprintf("over after %.1f s (%s)", r.Duration.Seconds(), ended.Reason)}
	if !r.Answered {
		parts[0] = fmt.Sprintf("not answered (%s)", ended.Reason)
	}
	if r.Answered && m != nil {
		enough := breath + max(length(s.speech.caller), length(s.speech.greeting)) + underWay
		if r.Duration < enough {
			parts = append(parts, fmt.Sprintf("too short to judge the audio, which takes %.0f s", enough.Seconds()))
		} else {
			parts = append(parts, s.sounds(c, m)...)
		}
	}
	if len(complaints) > 0 {
		parts = append(parts, "COMPLAINTS: "+strings.Join(complaints, "; "))
	} else {
		parts = append(parts, "no complaints")
	}
	return strings.Join(parts, "; ")
}

// sounds says what both ends heard of a call in which everything was said.
func (s *stage) sounds(c *fakemeta.Call, m *meeting) []string {
	v := judge(s.speech, c, m)
	parts := []string{"room heard the phone " + short(v.room), "phone heard the greeting " + short(v.phone)}
	heard, err := recording(c)
	if err != nil {
		return append(parts, err.Error())
	}
	heard = beginning(heard)
	after := min(len(heard), max(0, int(v.phone.Lag.Seconds()*speechRate)+len(s.speech.greeting)))
	if echo := hearing.Compare(s.speech.caller, heard[after:], speechRate); echo.Found {
		parts = append(parts, "and its own echo "+short(echo))
	}
	return parts
}

// short is a verdict in a word or two.
func short(v hearing.Verdict) string {
	if v.OK() {
		return "well"
	}
	return "BADLY (" + strings.Join(v.Problems(), ", ") + ")"
}
