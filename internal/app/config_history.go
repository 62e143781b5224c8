package app

import (
	"time"

	"github.com/livekit-connector/livekit-connector/internal/node"
)

// CallHistoryConfig is about calls that are over, for those who ask why one was silent.
type CallHistoryConfig struct {
	Keep time.Duration `yaml:"keep" group:"Inspection" help:"How long GET /connector/v1/calls tells about a call after its end. 0 forgets it at once."`
	Max  int           `yaml:"max" help:"Ended calls that are kept at most, in memory, some kilobytes each."`
}

func defaultCallHistory() CallHistoryConfig { return CallHistoryConfig{Keep: time.Hour, Max: 1000} }

func (c *CallHistoryConfig) history() node.History { return node.History{Keep: c.Keep, Max: c.Max} }

func (v *validation) callHistory(c *CallHistoryConfig) {
	v.between("call_history.keep", c.Keep, 0, 7*24*time.Hour)
	v.within("call_history.max", c.Max, 0, 1_000_000)
}
