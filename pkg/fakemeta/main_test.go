package fakemeta_test

import (
	"testing"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }
