package call

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// legal lists every move there is; whatever is not in it must be refused and leave the state alone.
var legal = map[State]map[Event]State{
	StateOffered:     {EventPreAccepted: StatePreAccepted, EventEnd: StateEnding},
	StatePreAccepted: {EventAccepted: StateActive, EventEnd: StateEnding},
	StateDialing:     {EventAnswer: StateRinging, EventEnd: StateEnding},
	StateRinging:     {EventPickedUp: StateActive, EventEnd: StateEnding},
	StateActive:      {EventEnd: StateEnding},
	StateEnding:      {EventEnd: StateEnding, EventClosed: StateEnded},
}

func TestNextKnowsEveryMoveOfEveryPair(t *testing.T) {
	for s := StateUnknown; s <= StateEnded; s++ {
		for e := EventUnknown; e <= EventClosed; e++ {
			t.Run(s.String()+" on "+e.String(), func(t *testing.T) {
				got, err := next(s, e)
				if want, ok := legal[s][e]; ok {
					require.NoError(t, err)
					require.Equal(t, want, got)
					return
				}
				var refused *StateError
				require.ErrorAs(t, err, &refused)
				require.Equal(t, StateError{State: s, Event: e}, *refused)
				require.Equal(t, s, got)
			})
		}
	}
}
