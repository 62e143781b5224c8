package fakemeta

import "time"

// Timing is how long things take at Meta. Zero fields mean what DefaultTiming says. The call timers are in Meta's
// time: Scale shortens them all, and durations that are reported in webhooks are counted in the same scaled time, so
// that a call killed after 20 s says duration 20 at any scale.
type Timing struct {
	// Connect is the time from an outbound call's request to the connect webhook with Meta's answer.
	Connect time.Duration
	// Ringing is the time from an outbound call's request to the phone's ringing and the RINGING status.
	Ringing time.Duration
	// RingTimeout is how long the user's phone rings. Meta does not say; the call then ends as COMPLETED.
	RingTimeout time.Duration
	// AcceptedDelay is how late the ACCEPTED status is after the pick-up.
	AcceptedDelay time.Duration
	// AcceptWindow is how long an inbound call waits for the business, 30 to 60 s at Meta.
	AcceptWindow time.Duration
	// FirstMedia is how long the client waits for the first RTP packet once the call was answered.
	FirstMedia time.Duration
	// Silence is how long it bears neither RTP nor RTCP after that.
	Silence time.Duration

	// Scale multiplies all of the above: 0.01 turns 20 s into 200 ms. Zero means 1.
	Scale float64

	// WebhookTimeout is how long a listener may take to acknowledge. Scale does not touch the webhook timers.
	WebhookTimeout time.Duration
	// WebhookBackoff is the pause before the first repetition; it doubles.
	WebhookBackoff time.Duration
	// WebhookAttempts is how often one request is made at most.
	WebhookAttempts int
	// WebhookHeadStart is how long an update waits for the one before it, of the same call, to be acknowledged.
	WebhookHeadStart time.Duration
}

// DefaultTiming is Meta's behaviour as documented or observed.
func DefaultTiming() Timing {
	return Timing{
		Connect: time.Second, Ringing: 1500 * time.Millisecond, RingTimeout: 60 * time.Second,
		AcceptWindow: 30 * time.Second, FirstMedia: 20 * time.Second, Silence: 30 * time.Second,
		Scale:          1,
		WebhookTimeout: 20 * time.Second, WebhookBackoff: time.Second, WebhookAttempts: 6,
		WebhookHeadStart: 250 * time.Millisecond,
	}
}

// Scaled returns DefaultTiming with its call timers multiplied by factor.
func Scaled(factor float64) Timing {
	t := DefaultTiming()
	t.Scale = factor
	return t
}

func (t Timing) withDefaults() Timing {
	def := DefaultTiming()
	for _, f := range []struct {
		field *time.Duration
		def   time.Duration
	}{
		{&t.Connect, def.Connect},
		{&t.Ringing, def.Ringing},
		{&t.RingTimeout, def.RingTimeout},
		{&t.AcceptWindow, def.AcceptWindow},
		{&t.FirstMedia, def.FirstMedia},
		{&t.Silence, def.Silence},
		{&t.WebhookTimeout, def.WebhookTimeout},
		{&t.WebhookBackoff, def.WebhookBackoff},
		{&t.WebhookHeadStart, def.WebhookHeadStart},
	} {
		if *f.field == 0 {
			*f.field = f.def
		}
	}
	if t.WebhookAttempts == 0 {
		t.WebhookAttempts = def.WebhookAttempts
	}
	if t.Scale <= 0 {
		t.Scale = 1
	}
	return t
}

// scaled turns a duration of Meta's time into one of ours.
func (t *Timing) scaled(d time.Duration) time.Duration { return time.Duration(float64(d) * t.Scale) }

// metaTime is the reverse of scaled.
func (t *Timing) metaTime(d time.Duration) time.Duration { return time.Duration(float64(d) / t.Scale) }
