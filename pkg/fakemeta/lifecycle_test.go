package fakemeta

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNextOverAllPairs(t *testing.T) {
	type outcome struct {
		to  State
		err error
	}
	const (
		O, P, D, R, A, E = StateOffered, StatePreAccepted, StateDialing, StateRinging, StateActive, StateEnded
	)
	events := []event{evPreAccept, evAccept, evReject, evTerminate, evRing, evPickUp, evDecline, evHangUp, evExpire, evFail}
	table := map[State][]outcome{
		O: {{P, nil}, {A, nil}, {E, nil}, {E, nil}, {O, errImpossible}, {O, errNotTheirs}, {O, errNotTheirs}, {E, nil}, {E, nil}, {E, nil}},
		P: {{P, nil}, {A, nil}, {E, nil}, {E, nil}, {P, errImpossible}, {P, errNotTheirs}, {P, errNotTheirs}, {E, nil}, {E, nil}, {E, nil}},
		D: {{D, errNotInbound}, {D, errNotInbound}, {D, errNotInbound}, {E, nil}, {R, nil}, {D, errNotTheirs}, {D, errNotTheirs}, {E, nil}, {E, nil}, {E, nil}},
		R: {{R, errNotInbound}, {R, errNotInbound}, {R, errNotInbound}, {E, nil}, {R, errImpossible}, {A, nil}, {E, nil}, {E, nil}, {E, nil}, {E, nil}},
		A: {{A, errCallActive}, {A, errCallActive}, {A, errCallActive}, {E, nil}, {A, errImpossible}, {A, errCallActive}, {A, errCallActive}, {E, nil}, {A, errCallActive}, {E, nil}},
		E: {{E, errCallEnded}, {E, errCallEnded}, {E, errCallEnded}, {E, errCallEnded}, {E, errCallEnded}, {E, errCallEnded}, {E, errCallEnded}, {E, errCallEnded}, {E, errCallEnded}, {E, errCallEnded}},
	}
	for from, outcomes := range table {
		require.Len(t, outcomes, len(events))
		for i, want := range outcomes {
			to, err := next(from, events[i])
			require.Equal(t, want.to, to, "%s + %d", from, events[i])
			require.Equal(t, want.err, err, "%s + %d", from, events[i])
		}
		_, err := next(from, 0)
		require.Error(t, err)
	}
}

func TestStateNames(t *testing.T) {
	names := map[string]bool{}
	for s := State(0); s <= StateEnded; s++ {
		names[s.String()] = true
	}
	require.Len(t, names, int(StateEnded)+1, "every state has a name of its own")
}
