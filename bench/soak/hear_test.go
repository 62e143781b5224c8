package soak

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/bench/speech"
	"github.com/livekit-connector/livekit-connector/media/opus"
	"github.com/livekit-connector/livekit-connector/media/resample/soxr"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

var (
	moment = time.Unix(1_800_000_000, 0) // at which recordings begin
	// How the two ends hear.
	alone = bar{share: minShare, similarity: hearing.MinSimilarity}
	amid  = bar{share: minShareAmong}
)

// spoken is a clip at listenRate.
func spoken(t *testing.T, load func(string) (*speech.Clip, error), file string) []int16 {
	t.Helper()
	clip, err := load(file)
	require.NoError(t, err)
	pcm, err := soxr.Convert(clip.PCM, clip.Rate, listenRate)
	require.NoError(t, err)
	return pcm
}

// voice plays a clip over and over from a moment on, heard that much later.
type voice struct {
	said  []int16
	from  time.Duration // since the recording began; the first time began before it if negative
	later time.Duration
}

// begun is each time that the clip began.
func (v voice) begun() (all []time.Time) {
	for at := v.from; at < listenTo; at += time.Duration(len(v.said)) * time.Second / listenRate {
		all = append(all, moment.Add(at))
	}
	return all
}

// record gives the sum of voices through Opus. Each packet comes as soon as its samples are due, or later by what late says.
func record(t *testing.T, late func(packet int) time.Duration, voices ...voice) *recording {
	t.Helper()
	const frame = listenRate / 50
	encoder, err := opus.NewEncoder(opus.EncoderOptions{SampleRate: listenRate, Bitrate: 20000})
	require.NoError(t, err)
	decoder, err := opus.NewDecoder(listenRate)
	require.NoError(t, err)
	pcm, packet := make([]int16, frame), make([]byte, opus.MaxPacketBytes)
	var all []int16
	var marks []mark
	for n := range int(listenTo / speech.FrameDuration) {
		for i := range pcm {
			sum := 0
			for _, v := range voices {
				if at := n*frame + i - duration(v.later) - int(v.from*listenRate/time.Second); at >= 0 {
					sum += int(v.said[at%len(v.said)])
				}
			}
			pcm[i] = int16(max(-32768, min(32767, sum)))
		}
		length, err := encoder.Encode(pcm, packet)
		require.NoError(t, err)
		_, err = decoder.Decode(packet[:length], pcm)
		require.NoError(t, err)
		marks = append(marks, mark{sample: len(all), arrived: moment.Add(time.Duration(n)*speech.FrameDuration + late(n))})
		all = append(all, pcm...)
	}
	return newRecording(all, marks)
}

func onTime(int) time.Duration { return 0 }

// lagOf is where the clip was found when it began for the n-th time.
func lagOf(t *testing.T, v voice, n int, r *recording) time.Duration {
	t.Helper()
	heard := r.since(v.begun()[n], len(v.said)+duration(latestHeard))
	require.NotNil(t, heard)
	verdict := hearing.CompareWithin(v.said, heard, listenRate, 0, latestHeard)
	require.True(t, verdict.Found)
	return verdict.Lag
}

// Opus looks 6.5 ms ahead (RFC 6716, section 2), which comes on top.
const lookahead = 6500 * time.Microsecond

func TestTheTrueLagIsFound(t *testing.T) {
	t.Parallel()
	for _, later := range []time.Duration{0, 80 * time.Millisecond, 400 * time.Millisecond} {
		v := voice{said: spoken(t, speech.Caller, speech.CallerFile), from: -3 * time.Second, later: later}
		r := record(t, onTime, v)
		c, words := alone.judge(v.said, v.begun(), r)
		require.Equal(t, HeardWell, c, words)
		require.InDelta(t, (later + lookahead).Seconds(), lagOf(t, v, 1, r).Seconds(), 0.002)
	}
}

// What is late on its way moves no sample: recordings are laid out by RTP timestamps.
func TestPacketsMayComeLate(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	const most = 60 * time.Millisecond
	late := func(int) time.Duration { return time.Duration(random.Int64N(int64(most))) }
	v := voice{said: spoken(t, speech.Participant, speech.AgentFile), from: 2 * time.Second, later: 80 * time.Millisecond}
	r := record(t, late, v)
	c, words := alone.judge(v.said, v.begun(), r)
	require.Equal(t, HeardWell, c, words)
	lag := lagOf(t, v, 0, r) // what was under way when it was said counts as well
	require.GreaterOrEqual(t, lag, v.later+lookahead-2*time.Millisecond)
	require.LessOrEqual(t, lag, v.later+lookahead+most)
}

// Two voices that loop, each at a place of its own: both are found where they are, never before they were said, and never
// where the other one is.
func TestEachOfTwoVoicesIsFoundWhereItIs(t *testing.T) {
	t.Parallel()
	agent, other := spoken(t, speech.Participant, speech.AgentFile), spoken(t, speech.Participant, speech.CallerFile)
	random := rand.New(rand.NewPCG(2, 2))
	for range 5 {
		both := []voice{
			{said: agent, from: -time.Duration(random.IntN(8000)) * time.Millisecond, later: 80 * time.Millisecond},
			{said: other, from: -time.Duration(random.IntN(7000)) * time.Millisecond, later: 120 * time.Millisecond},
		}
		r := record(t, onTime, both...)
		for _, v := range both {
			c, words := amid.judge(v.said, v.begun(), r)
			require.Equal(t, HeardWell, c, "%s; %v", words, v.from)
			require.InDelta(t, (v.later + lookahead).Seconds(), lagOf(t, v, 1, r).Seconds(), speech.FrameDuration.Seconds(), "to a packet")
		}
	}
}

// A voice that is not there is not laid upon the one that is, and there are no numbers to tell of it.
func TestAnotherVoiceIsNotTakenForTheOneThatIsMissing(t *testing.T) {
	t.Parallel()
	agent, other := spoken(t, speech.Participant, speech.AgentFile), spoken(t, speech.Participant, speech.CallerFile)
	for _, from := range []time.Duration{0, -2 * time.Second, -5 * time.Second} {
		there, missing := voice{said: agent, from: from}, voice{said: other, from: -time.Second}
		c, words := amid.judge(missing.said, missing.begun(), record(t, onTime, there))
		require.Equal(t, NotPlaced, c)
		require.NotContains(t, words, "%")
	}
}

// Speech that is in the recording before it was said, or long after, is not what was said then.
func TestNothingIsHeardBeforeItIsSaidOrLongAfter(t *testing.T) {
	t.Parallel()
	said := spoken(t, speech.Caller, speech.CallerFile)
	for _, later := range []time.Duration{-327 * time.Millisecond, latestHeard + 500*time.Millisecond} {
		v := voice{said: said, from: 2 * time.Second, later: later}
		r := record(t, onTime, v)
		heard := r.since(v.begun()[0], len(said)+duration(latestHeard))
		require.NotNil(t, heard)
		verdict := hearing.CompareWithin(said, heard, listenRate, 0, latestHeard)
		require.GreaterOrEqual(t, verdict.Lag, time.Duration(0))
		require.LessOrEqual(t, verdict.Lag, latestHeard)
		for _, p := range verdict.Pieces {
			require.GreaterOrEqual(t, p.Lag, time.Duration(0))
			require.LessOrEqual(t, p.Lag, latestHeard)
		}
		c, _ := alone.judge(said, v.begun(), r)
		require.NotEqual(t, HeardWell, c)
	}
}

func TestWhatWasLostOfItIsTold(t *testing.T) {
	t.Parallel()
	v := voice{said: spoken(t, speech.Caller, speech.CallerFile), from: 500 * time.Millisecond, later: 80 * time.Millisecond}
	r := record(t, onTime, v)
	for at := 0; at < len(r.pcm); at += listenRate { // a quarter of it
		clear(r.pcm[at:min(len(r.pcm), at+listenRate/4)])
	}
	c, words := alone.judge(v.said, v.begun(), r)
	require.Equal(t, HeardBadly, c)
	require.Contains(t, words, "of the speech arrived")
}

func TestSilenceIsNothingHeard(t *testing.T) {
	t.Parallel()
	v := voice{said: spoken(t, speech.Caller, speech.CallerFile), from: time.Second}
	c, words := alone.judge(v.said, v.begun(), record(t, onTime))
	require.Equal(t, NothingHeard, c)
	require.Equal(t, "nothing heard", words)
}

// A machine that stalls makes the connector fill in silence; what was said comes in a burst afterwards, and the stream is
// ahead of the clock from then on. What is said later is where it came.
func TestAStreamThatIsAheadOfTheClockIsFollowed(t *testing.T) {
	t.Parallel()
	v := voice{said: spoken(t, speech.Participant, speech.AgentFile), from: -4 * time.Second, later: 20 * time.Millisecond}
	r := record(t, onTime, v)
	const at, stall = 3 * time.Second, 600 * time.Millisecond
	r.pcm = slices.Insert(r.pcm, duration(at), make([]int16, duration(stall))...)[:duration(listenTo)]
	for i := range r.marks {
		if r.marks[i].sample >= duration(at) {
			r.marks[i].sample += duration(stall)
		}
	}
	c, words := alone.judge(v.said, v.begun(), r)
	require.Equal(t, HeardWell, c, words)
	require.InDelta(t, (v.later + lookahead).Seconds(), lagOf(t, v, 1, r).Seconds(), 0.002)
}

// A recording that begins a moment after the clip did lacks a moment of it, and no more.
func TestWhatWasSaidBeforeTheRecordingIsMissing(t *testing.T) {
	t.Parallel()
	v := voice{said: spoken(t, speech.Participant, speech.AgentFile), from: -60 * time.Millisecond, later: 80 * time.Millisecond}
	r := record(t, onTime, v)
	r.pcm = r.pcm[:duration(v.from+8*time.Second)]
	c, words := alone.judge(v.said, v.begun(), r)
	require.Equal(t, HeardWell, c, words)
	require.InDelta(t, (v.later + lookahead).Seconds(), lagOf(t, v, 0, r).Seconds(), 0.002)
}

// Without most of it in the recording nothing can be said, and nothing is.
func TestARecordingThatIsTooShortIsNotJudged(t *testing.T) {
	t.Parallel()
	v := voice{said: spoken(t, speech.Caller, speech.CallerFile), from: time.Second}
	r := record(t, onTime, v)
	r.pcm = r.pcm[:3*listenRate]
	c, words := alone.judge(v.said, v.begun(), r)
	require.Equal(t, NotPlaced, c)
	require.Contains(t, words, "no time that it was said")
	c, _ = alone.judge(v.said, nil, r)
	require.Equal(t, NotPlaced, c)
	require.Nil(t, (&recording{}).since(moment, 1))
}

func TestTheWorstVoiceCounts(t *testing.T) {
	require.Equal(t, HeardWell, worse(HeardWell, HeardWell))
	require.Equal(t, NothingHeard, worse(HeardBadly, NothingHeard))
	require.Equal(t, NotPlaced, worse(NotPlaced, HeardWell))
}

func TestRoundsFollowEachOther(t *testing.T) {
	clip := &speech.Clip{Packets: make([][]byte, 100)} // 2 s
	require.Equal(t, []time.Time{moment, moment.Add(2 * time.Second), moment.Add(4 * time.Second)}, rounds(moment, moment.Add(5*time.Second), clip))
	require.Empty(t, rounds(time.Time{}, moment, clip), "who never spoke")
}

func TestRecordingsAreKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "unheard.wav")
	require.NoError(t, newRecording([]int16{1, -2, 3}, nil).save(file))
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	pcm, rate, err := hearing.ReadWAV(f)
	require.NoError(t, err)
	require.Equal(t, []int16{1, -2, 3}, pcm)
	require.Equal(t, listenRate, rate)
}
