package route

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/livekit/psrpc"

	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// readTimeout is how long a node may take to tell what it knows.
const readTimeout = 3 * time.Second

// Call tells about one call, live or over, to the key that made it: ErrNotFound if no node knows such a call. All nodes are
// asked, because the registry knows nothing of calls that are over.
func (c *Client) Call(ctx context.Context, apiKey, callID string) (*connectorpb.CallRecord, error) {
	answers, err := askAll(ctx, c, func(ctx context.Context, nodeID string) (*connectorpb.CallRecord, error) {
		res, err := c.bus.GetCall(ctx, nodeID, &connectorpb.GetCallRequest{CallId: callID, ApiKey: apiKey}, psrpc.WithRequestTimeout(readTimeout))
		if errors.Is(err, psrpc.NotFound) {
			return nil, nil
		}
		return res.GetCall(), told(err)
	})
	var newest *connectorpb.CallRecord // a call that went over to another node is known to both
	for _, r := range answers {
		if r != nil && (newest == nil || newest.GetCreatedAt().AsTime().Before(r.GetCreatedAt().AsTime())) {
			newest = r
		}
	}
	switch {
	case newest != nil:
		return newest, nil
	case err != nil: // one that did not answer may be the one that knows
		return nil, err
	default:
		return nil, ErrNotFound
	}
}

// Calls tells about the calls of all nodes that the key made, and with ended about those that are over. Those of a node
// that does not answer are missing; the error says so.
func (c *Client) Calls(ctx context.Context, apiKey string, ended bool) ([]*connectorpb.CallRecord, error) {
	answers, err := askAll(ctx, c, func(ctx context.Context, nodeID string) ([]*connectorpb.CallRecord, error) {
		res, err := c.bus.ListCalls(ctx, nodeID, &connectorpb.ListCallsRequest{ApiKey: apiKey, Ended: ended}, psrpc.WithRequestTimeout(readTimeout))
		return res.GetCalls(), told(err)
	})
	var all []*connectorpb.CallRecord
	for _, calls := range answers {
		all = append(all, calls...)
	}
	return all, err
}

// askAll asks every node at once. The answers come without those of nodes that failed, which the error is about.
func askAll[T any](ctx context.Context, c *Client, ask func(ctx context.Context, nodeID string) (T, error)) ([]T, error) {
	nodes, err := c.registry.Nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRegistry, err)
	}
	answers, errs := make([]T, len(nodes)), make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, nodeID := range nodes {
		wg.Go(func() { answers[i], errs[i] = ask(ctx, nodeID) })
	}
	wg.Wait()
	var good []T
	for i := range answers {
		if errs[i] == nil {
			good = append(good, answers[i])
		}
	}
	return good, errors.Join(errs...)
}
