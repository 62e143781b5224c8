package audio_test

import (
	"encoding/gob"
	"encoding/json"
	"flag"
	"log"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/chain"
	"github.com/livekit-connector/livekit-connector/bench/latency"
	"github.com/livekit-connector/livekit-connector/bench/micro"
	"github.com/livekit-connector/livekit-connector/bench/quality"
	"github.com/livekit-connector/livekit-connector/bench/report"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/bench/reference/mediasdk"
)

// The flags of a part.
var (
	part   = flag.String("part", "", "run a `PART` of the benchmark instead of the tests: "+names())
	out    = flag.String("out", "", "`FILE` for its section of the report")
	python = flag.String("python", "", "`PROGRAM` that has the package pesq; none for no PESQ")
	short  = flag.Bool("less", false, "measure less")
)

// parts of the benchmark by name.
func parts() map[string]func(t *testing.T) (report.Section, error) {
	return map[string]func(t *testing.T) (report.Section, error){
		"micro": measureMicro, "latency": measureLatency, "quality": measureQuality,
	}
}

func names() string {
	all := ""
	for name := range parts() {
		all += name + " "
	}
	return all
}

func TestMain(m *testing.M) {
	flag.Parse()
	which, other := "test.skip", "^TestPart$"
	if *part != "" {
		which = "test.run"
	}
	if err := flag.Set(which, other); err != nil {
		log.Fatal(err)
	}
	os.Exit(m.Run())
}

// TestPart is no test but the program.
func TestPart(t *testing.T) {
	run := parts()[*part]
	require.NotNil(t, run, "there is no part %q", *part)
	s, err := run(t)
	require.NoError(t, err)
	data, err := json.Marshal(s.Data)
	require.NoError(t, err)
	s.Data = json.RawMessage(data)
	gob.Register(json.RawMessage{})
	f, err := os.Create(*out)
	require.NoError(t, err)
	require.NoError(t, gob.NewEncoder(f).Encode(s))
	require.NoError(t, f.Close())
}

// rivals are media-sdk as livekit-sip has it, and with its jitter buffer.
func rivals() []chain.Maker {
	return []chain.Maker{mediasdk.Maker("media-sdk, jb off", false), mediasdk.Maker("media-sdk, jb on", true)}
}

func measureQuality(t *testing.T) (report.Section, error) {
	t.Helper()
	return quality.Section(quality.Options{
		Rivals: append(rivals(), mediasdk.MetaMaker("media-sdk, jb on, 20 kb/s")), Short: *short, Python: *python, Folder: t.TempDir(),
		Bubble:   func(f func()) { synctest.Test(t, func(*testing.T) { f() }) },
		Progress: func(cell string) { log.Printf("quality: %s", cell) },
	})
}

func measureLatency(t *testing.T) (report.Section, error) {
	t.Helper()
	return latency.Section(latency.Options{
		Rivals: rivals(), Short: *short,
		Progress: func(run string) { log.Printf("latency: %s", run) },
	})
}

func measureMicro(t *testing.T) (report.Section, error) {
	t.Helper()
	repeats, batch := 7, 100*time.Millisecond
	if *short {
		repeats, batch = 5, 20*time.Millisecond
	}
	return micro.Section(micro.Options{
		Rivals: mediasdk.Stages(), Repeats: repeats, Batch: batch,
		Bubble:   func(f func()) { synctest.Test(t, func(*testing.T) { f() }) },
		Progress: func(stage string) { log.Printf("micro: %s", stage) },
	})
}
