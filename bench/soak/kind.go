package soak

import (
	"math/rand/v2"
	"time"
)

// ending is how a call ends, or fails to begin.
type ending uint8

const (
	userHangsUp ending = iota
	businessHangsUp
	// The phone of a dialled user: declined, or left ringing until the request's ringing_timeout.
	rejected
	unanswered
	// givesUp is a user who calls, waits for an agent that does not come, and hangs up.
	givesUp
	// acceptFails and dialFails are Graph answering 500 to accept, every time, and to the connect of a dial, once.
	acceptFails
	dialFails
	// agentLeaves lets the caller be alone until alone_timeout.
	agentLeaves
	roomDeleted
	participantRemoved
	// vanishes is a phone that goes silent as if a cable was cut, and Meta does not say so.
	vanishes
)

// talks says whether anybody talks before a call ends so.
func (e ending) talks() bool {
	switch e {
	case rejected, unanswered, givesUp, acceptFails, dialFails:
		return false
	default:
		return true
	}
}

// way is how a call is made.
type way uint8

const (
	// inbound calls come to the application, which accepts them; those of the gateway are taken by a rule.
	inbound way = iota
	inboundGateway
	outbound
	outboundGateway
)

func (w way) dialled() bool { return w == outbound || w == outboundGateway }

func (w way) number() string {
	if w == inboundGateway || w == outboundGateway {
		return gatewayNumber
	}
	return applicationNumber
}

// kind is one kind of call.
type kind struct {
	name string
	// share of a hundred calls.
	share int
	way   way
	end   ending
	// lossy calls reach Meta over a bad network.
	lossy bool
	// reasons are those with which the connector may say that it ended; none where there is no call to speak of.
	reasons []string
}

// What a call that a user ended may be called: the webhook and the end of the media race each other.
var (
	hungUp   = []string{"user_hangup", "meta_closed"}
	declined = []string{"rejected", "meta_closed_unanswered"}
)

// kinds are a hundred calls.
var kinds = []kind{
	{"inbound, user hangs up", 16, inbound, userHangsUp, false, hungUp},
	{"inbound, business hangs up", 10, inbound, businessHangsUp, false, []string{"business_hangup"}},
	{"inbound by the gateway, user hangs up", 16, inboundGateway, userHangsUp, false, hungUp},
	{"inbound by the gateway, business hangs up", 6, inboundGateway, businessHangsUp, false, []string{"business_hangup"}},
	{"inbound over a bad network", 8, inbound, userHangsUp, true, hungUp},
	{"outbound, user hangs up", 10, outbound, userHangsUp, false, hungUp},
	{"outbound, business hangs up", 6, outbound, businessHangsUp, false, []string{"business_hangup"}},
	{"outbound by the gateway, user hangs up", 8, outboundGateway, userHangsUp, false, hungUp},
	{"outbound, rejected", 3, outbound, rejected, false, declined},
	{"outbound by the gateway, not answered", 3, outboundGateway, unanswered, false, []string{"no_answer"}},
	{"inbound, user gives up waiting", 3, inbound, givesUp, false, hungUp},
	{"inbound, Graph fails to accept", 2, inboundGateway, acceptFails, false, []string{"meta_refused"}},
	{"outbound, Graph fails to connect", 2, outbound, dialFails, false, nil},
	{"agent leaves", 2, inbound, agentLeaves, false, []string{"left_alone"}},
	{"room deleted", 2, inboundGateway, roomDeleted, false, []string{"room_deleted"}},
	{"participant removed", 1, outbound, participantRemoved, false, []string{"participant_removed"}},
	{"phone vanishes", 2, inbound, vanishes, false, []string{"media_timeout", "media_lost"}},
}

// plan is one call that is to be made.
type plan struct {
	kind
	// voices speak in the room, one or two. Two at once are mixed, one is relayed.
	voices int
	// talk is how long it lasts after the answer.
	talk time.Duration
	// ask is how long after its beginning a call is given up that is not to be answered.
	ask time.Duration
}

// mixShare of all calls have two voices.
const mixShare = 0.3

// Calls last so long, longer ones being rarer.
const (
	shortest, longest = 10 * time.Second, 3 * time.Minute
	meanTalk          = 40 * time.Second // beyond the shortest
)

// deck deals calls: of each kind as many as its share, in an order of its own for every hundred, the same for the same
// seed.
type deck struct {
	random *rand.Rand
	left   []kind
	// longest is what a call may last in a run that is short.
	longest time.Duration
}

func newDeck(seed uint64, longestTalk time.Duration) *deck {
	return &deck{random: rand.New(rand.NewPCG(seed, seed)), longest: longestTalk} //nolint:gosec // repeatable, no secret
}

func (d *deck) next() plan {
	if len(d.left) == 0 {
		// Each kind is there once in the first part, so that a short run has most of them.
		var rest []kind
		for _, k := range kinds {
			d.left = append(d.left, k)
			for range k.share - 1 {
				rest = append(rest, k)
			}
		}
		d.shuffle(d.left)
		d.shuffle(rest)
		d.left = append(d.left, rest...)
	}
	p := plan{kind: d.left[0], voices: 1}
	d.left = d.left[1:]
	if d.random.Float64() < mixShare {
		p.voices = 2
	}
	p.talk = min(shortest+time.Duration(d.random.ExpFloat64()*float64(meanTalk)), longest, d.longest)
	p.ask = time.Second + time.Duration(d.random.Float64()*float64(2*time.Second))
	return p
}

func (d *deck) shuffle(k []kind) {
	d.random.Shuffle(len(k), func(i, j int) { k[i], k[j] = k[j], k[i] })
}
