package density

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/bench/report"
	"github.com/livekit-connector/livekit-connector/bench/speech"
	"github.com/livekit-connector/livekit-connector/media/opus"
)

// stream is n packets, 20 ms apart, each late by what late says of its number.
func stream(n int, late func(int) time.Duration) (packets []arrival) {
	start := time.Unix(1_800_000_000, 0)
	for i := range n {
		packets = append(packets, arrival{
			at: start.Add(time.Duration(i)*speech.FrameDuration + late(i)), source: 7,
			sequence: uint16(65530 + i), timestamp: uint32(1<<32 - 960*3 + 960*i),
		})
	}
	return packets
}

func onTime(int) time.Duration { return 0 }

func TestLatenessIsAgainstTheEarliestPacket(t *testing.T) {
	late := lateness(stream(5, func(i int) time.Duration {
		return time.Duration([]int{5, 9, 3, 30, 5}[i]) * time.Millisecond
	}))
	require.Equal(t, []time.Duration{2e6, 6e6, 0, 27e6, 2e6}, late)
}

func TestASourceThatStartsAnewIsMeasuredByItself(t *testing.T) {
	first, second := stream(3, onTime), stream(3, onTime)
	for i := range second {
		second[i].source, second[i].at = 8, second[i].at.Add(time.Minute)
	}
	require.Equal(t, make([]time.Duration, 6), lateness(append(first, second...)))
}

func TestReceptionCountsEachCallByItself(t *testing.T) {
	whole := stream(50, onTime)
	half := stream(25, onTime)
	r := receive([][]arrival{whole, half}, time.Second)
	require.InDelta(t, 0.75, r.Delivered, 1e-9)
	require.InDelta(t, 0.5, r.Worst, 1e-9)
	require.InDelta(t, 20, r.LongestPause, 1e-9)
	require.Zero(t, r.Max)

	double := append(stream(50, onTime), stream(50, onTime)...)
	require.InDelta(t, 0.5, receive([][]arrival{double, nil}, time.Second).Delivered, 1e-9, "too much of one is not enough of the other")
	require.Zero(t, receive([][]arrival{nil}, time.Second).Delivered)
}

func TestAClipIsHeardWhenItCameWhole(t *testing.T) {
	clip, err := speech.Participant(speech.AgentFile)
	require.NoError(t, err)
	var packets []arrival
	for i := range 2 * len(clip.Packets) {
		if i%20 != 7 { // one in twenty is lost
			packets = append(packets, arrival{sequence: uint16(65500 + i), payload: clip.Packets[i%len(clip.Packets)]})
		}
	}
	var s Sound
	require.NoError(t, s.listen(packets, clip))
	require.Equal(t, 1, s.Good, s.Verdicts)

	other, err := speech.Caller(speech.CallerFile)
	require.NoError(t, err)
	require.NoError(t, s.listen(packets, other))
	require.Equal(t, 2, s.Calls)
	require.Equal(t, 1, s.Good, s.Verdicts)
}

func TestOfSeveralVoicesEachMustBeHeard(t *testing.T) {
	agent, err := speech.Participant(speech.AgentFile)
	require.NoError(t, err)
	other, err := speech.Participant(speech.CallerFile)
	require.NoError(t, err)
	one, both := recorded(t, agent), recorded(t, agent, other)
	var s Sound
	require.NoError(t, s.listen(both, agent, other))
	require.Equal(t, 1, s.Good, s.Verdicts)
	require.NoError(t, s.listen(one, agent, other))
	require.Equal(t, 1, s.Good, s.Verdicts)
	require.Equal(t, 2, s.Calls)
}

// recorded is 20 s of clips over each other, over and over.
func recorded(t *testing.T, clips ...*speech.Clip) (packets []arrival) {
	t.Helper()
	encoder, err := opus.NewEncoder(opus.EncoderOptions{SampleRate: 48000, Bitrate: 32000})
	require.NoError(t, err)
	pcm, packet := make([]int16, 960), make([]byte, opus.MaxPacketBytes)
	for frame := range 1000 {
		for i := range pcm {
			sum := 0
			for n, clip := range clips {
				sum += int(clip.PCM[(frame*960+i+n*20000)%len(clip.PCM)])
			}
			pcm[i] = int16(max(-32768, min(32767, sum)))
		}
		n, err := encoder.Encode(pcm, packet)
		require.NoError(t, err)
		packets = append(packets, arrival{sequence: uint16(frame), payload: append([]byte(nil), packet[:n]...)})
	}
	return packets
}

func TestAStepIsTheDifferenceBetweenTwoMoments(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	idle := usage{resident: 40e6, files: 10, sockets: 8, metrics: map[string]float64{"go_goroutines": 20}}
	before := usage{at: at, cpu: time.Second, waited: time.Second, load: time.Second, busy: []time.Duration{0, 0}, metrics: map[string]float64{
		"go_memstats_mallocs_total": 1000, "go_gc_duration_seconds_count": 4,
	}}
	after := usage{
		at: at.Add(10 * time.Second), cpu: 5 * time.Second, waited: 2 * time.Second, load: 9 * time.Second,
		busy: []time.Duration{9 * time.Second, 5 * time.Second}, resident: 80e6, files: 490, sockets: 448, threads: 9,
		metrics: map[string]float64{"go_goroutines": 2260, "go_memstats_mallocs_total": 81000, "go_gc_duration_seconds_count": 6},
	}
	s := newStep(40, []int{1}, idle, before, after)
	require.InDelta(t, 10, s.CPUPerCall, 1e-9, "4 s for 400 call-seconds")
	require.InDelta(t, 0.4, s.Used, 1e-9)
	require.InDelta(t, 0.1, s.Waited, 1e-9)
	require.InDelta(t, 0.8, s.LoadUsed, 1e-9)
	require.InDelta(t, 1e6, s.Memory, 1e-9)
	require.InDelta(t, 56, s.Goroutines, 1e-9)
	require.InDelta(t, 11, s.Sockets, 1e-9)
	require.InDelta(t, 12, s.Files, 1e-9)
	require.InDelta(t, 200, s.Allocations, 1e-9)
	require.InDelta(t, 2, s.GCs, 1e-9)
	require.Equal(t, []float64{0.9, 0.5}, s.BusyCPUs)
	require.InDelta(t, 0.1, s.Others, 1e-9, "CPU 1 was busy for 0.5, the bridge took 0.4")
}

func relayRow(candidate string, cost func(calls int) float64, calls ...int) Row {
	r := Row{Candidate: candidate, Mode: Relay}
	for _, n := range calls {
		heard := Reception{Delivered: 1, Worst: 1}
		r.Steps = append(r.Steps, Step{
			Calls: n, CPUPerCall: 1000 * cost(n) / float64(n), Used: cost(n), Memory: 1e6, AtPhone: heard, AtAgent: heard,
		})
	}
	return r
}

func TestCapacityIsReadFromTheLine(t *testing.T) {
	r := relayRow(Ours, func(n int) float64 { return 0.05 + 0.0051*float64(n) }, 10, 20, 40, 80)
	require.Equal(t, "~127", r.capacity(1), "beyond what was measured")
	r = relayRow(Ours, func(n int) float64 { return 0.05 + 0.0051*float64(n) }, 10, 80, 160)
	require.Equal(t, "127", r.capacity(1))
	r = relayRow(Ours, func(int) float64 { return 0.3 }, 10)
	require.Equal(t, "-", r.capacity(1), "one point is no line")
}

func TestTargetsCompareTheBestOfBoth(t *testing.T) {
	rows := []Row{
		relayRow(Ours, func(n int) float64 { return 0.005 * float64(n) }, 10, 80),
		relayRow(Reference, func(n int) float64 { return 0.045 * float64(n) }, 10, 20),
	}
	verdicts := targets(rows)
	require.Equal(t, report.Met, verdicts[0].Outcome)
	require.Equal(t, "9.0x (45.0 ms at 20 / 5.00 ms at 80)", verdicts[0].Got)
	require.Equal(t, report.Missed, verdicts[1].Outcome)
	require.Equal(t, report.NotMeasured, verdicts[2].Outcome)
	require.Equal(t, report.Met, verdicts[3].Outcome)

	rows[0].Steps[1].Others = 0.3
	require.Equal(t, report.Verdict{
		Name: verdicts[0].Name, Want: verdicts[0].Want, Got: "machine too busy: 9.0x (45.0 ms at 20 / 5.00 ms at 80)",
		Outcome: report.NotMeasured,
	}, targets(rows)[0])
	rows[0].Steps[1].Others = 0
	rows[0].Steps[1].SoundAtPhone = Sound{Calls: 2}
	require.Equal(t, report.NotMeasured, targets(rows)[0].Outcome, "what is cheap because it does not work does not count")
	rows[0].Steps[1].SoundAtPhone.Good = 1
	require.Equal(t, report.Met, targets(rows)[0].Outcome)
	rows[0].Steps[1].AtPhone.Delivered = 0.9
	require.Equal(t, report.NotMeasured, targets(rows)[0].Outcome, "80 calls that nobody understands do not count")
	rows[0].Steps[1].AtPhone.Delivered = 0.97
	rows[0].busy = true
	require.Equal(t, report.Met, targets(rows)[0].Outcome, "on a busy machine a little loss is not the bridge's")
}

func TestARowEndsWhenThereIsNoMore(t *testing.T) {
	fine := Reception{Delivered: 1}
	s := Step{Used: 0.5, AtPhone: fine, AtAgent: fine}
	require.Empty(t, s.end(false))
	s.AtAgent.P99 = 2 * maxLate
	require.Contains(t, s.end(false), "CPU to spare")
	require.Empty(t, s.end(true))
	s.AtAgent.Delivered = 0.9
	require.NotEmpty(t, s.end(true), "so little means that the bridge does not do its work")
	s.Used = 0.9
	require.Equal(t, "the audio suffered", s.end(false))
	s.Used = 0.96
	require.Equal(t, "the bridge used up its CPUs", s.end(true))
}

func TestAProfileIsReadByFunctionAndPackage(t *testing.T) {
	r := Row{Candidate: Ours, Mode: Relay, profiled: 80, Profile: parseTop(`File: connector
Type: cpu
Showing nodes accounting for 2920ms, 100% of 2920ms total
      flat  flat%   sum%        cum   cum%
    1020ms 34.93% 34.93%     1020ms 34.93%  internal/runtime/syscall/linux.Syscall6
     130ms  4.45% 39.38%      130ms  4.45%  internal/sync.(*Mutex).Lock (inline)
      30ms  1.03% 57.88%      140ms  4.79%  github.com/pion/ice/v4.(*Conn).ReadWithAttributes
      30ms  1.03% 58.91%      140ms  4.79%  github.com/pion/ice/v4.newECNPacketReader.func2
         0     0% 58.91%      410ms 14.04%  github.com/livekit/media-sdk.(*sampleWriter[go.shape.[]uint8]).WriteSample
`)}
	require.Len(t, r.Profile, 5)
	require.Equal(t, "internal/sync.(*Mutex).Lock", r.Profile[1].Function)
	require.InDelta(t, 0.0445, r.Profile[1].Self, 1e-9)
	tables := r.hot(time.Second)
	require.Equal(t, []string{"pion/ice/v4.(*Conn).ReadWithAttributes", "1.0 %", "4.8 %"}, tables[0].Rows[2])
	require.Equal(t, [][]string{
		{"internal/runtime/syscall/linux", "34.9 %"}, {"internal/sync", "4.5 %"}, {"pion/ice/v4", "2.1 %"},
	}, tables[1].Rows)
	require.Equal(t, "livekit/media-sdk", packageOf(r.Profile[4].Function))
	require.Empty(t, (&Row{}).hot(time.Second))
}

func TestListsOfCPUs(t *testing.T) {
	cpus, err := parseCPUs("0,2-4")
	require.NoError(t, err)
	require.Equal(t, []int{0, 2, 3, 4}, cpus)
	for _, bad := range []string{"", "a", "3-1", "1,", "-1"} {
		_, err = parseCPUs(bad)
		require.Error(t, err, bad)
	}
}
