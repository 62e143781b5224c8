package node

import (
	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// planned are the bounds of a call: the node's own where the plan has none.
func planned(t call.Timeouts, plan *connectorpb.CallPlan) call.Timeouts {
	if d := plan.GetMaxDuration(); d != nil {
		t.MaxDuration = d.AsDuration()
	}
	if d := plan.GetAloneTimeout(); d != nil {
		t.Alone = d.AsDuration()
	}
	return t
}

// statusesSeen says whether Meta's webhooks about a number's calls come to ReportCall.
func (n *Node) statusesSeen(phoneNumberID string) bool {
	return n.opts.StatusesSeen != nil && n.opts.StatusesSeen(phoneNumberID)
}
