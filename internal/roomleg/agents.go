package roomleg

import (
	"context"
	"fmt"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
)

// agentPlan says by which of two ways the agents come. A room token's agents count only if the join creates the room
// (livekit-server, RoomManager.getOrCreateRoom); in a room that exists they are silently ignored, and each needs a
// CreateDispatch. Both ways at once would bring two of each.
type agentPlan struct {
	token   []*livekit.RoomAgentDispatch // go into the token, the room being new
	request []*livekit.RoomAgentDispatch // are requested after the join, the room having been there
}

// planAgents looks whether the room exists. Without agents it does not even look.
func (s services) planAgents(ctx context.Context, room string, agents []*livekit.RoomAgentDispatch) (agentPlan, error) {
	if len(agents) == 0 {
		return agentPlan{}, nil
	}
	found, err := s.findRoom(ctx, room)
	if err != nil {
		return agentPlan{}, err
	}
	if found == nil {
		return agentPlan{token: agents}, nil
	}
	return agentPlan{request: agents}, nil
}

// dispatchAgents does, once we are in the room, what the token could not. Since we are in, the room cannot go away: a room
// that ended between the look and the join is served as well. The other race is somebody creating the room in that
// time, which leaves our token unheeded; so the room is asked what became of it.
func (s services) dispatchAgents(ctx context.Context, room string, plan agentPlan) error {
	missing := plan.request
	if len(plan.token) > 0 {
		present, err := s.dispatches(ctx, room)
		if err != nil {
			return err
		}
		missing = without(plan.token, present)
	}
	for _, agent := range missing {
		if err := s.requestAgent(ctx, room, agent); err != nil {
			return err
		}
	}
	return nil
}

// without returns the wanted agents that no dispatch stands for. Each dispatch stands for one.
func without(wanted []*livekit.RoomAgentDispatch, present []*livekit.AgentDispatch) []*livekit.RoomAgentDispatch {
	type order struct{ name, metadata, deployment string }
	there := make(map[order]int)
	for _, d := range present {
		there[order{d.AgentName, d.Metadata, d.Deployment}]++
	}
	var missing []*livekit.RoomAgentDispatch
	for _, w := range wanted {
		o := order{w.AgentName, w.Metadata, w.Deployment}
		if there[o] > 0 {
			there[o]--
			continue
		}
		missing = append(missing, w)
	}
	return missing
}

func (s services) dispatches(ctx context.Context, room string) ([]*livekit.AgentDispatch, error) {
	ctx, err := s.authorize(ctx, &auth.VideoGrant{RoomAdmin: true, Room: room})
	if err != nil {
		return nil, err
	}
	res, err := s.dispatch.ListDispatch(ctx, &livekit.ListAgentDispatchRequest{Room: room})
	if err != nil {
		return nil, fmt.Errorf("look up agents of the room: %w", explain(ctx, err))
	}
	return res.AgentDispatches, nil
}

func (s services) requestAgent(ctx context.Context, room string, agent *livekit.RoomAgentDispatch) error {
	ctx, err := s.authorize(ctx, &auth.VideoGrant{RoomAdmin: true, Room: room})
	if err != nil {
		return err
	}
	_, err = s.dispatch.CreateDispatch(ctx, &livekit.CreateAgentDispatchRequest{
		Room: room, AgentName: agent.AgentName, Metadata: agent.Metadata, RestartPolicy: agent.RestartPolicy,
		Deployment: agent.Deployment, Attributes: agent.Attributes,
	})
	if err != nil {
		return fmt.Errorf("dispatch agent %q: %w", agent.AgentName, explain(ctx, err))
	}
	return nil
}
