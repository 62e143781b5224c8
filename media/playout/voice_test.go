package playout_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/playout"
)

// heardFrom follows where in the source the sound is from.
type heardFrom struct {
	tb        testing.TB
	pos       int // of the newest sample
	started   bool
	backwards int // most that was heard again, in samples
	skipped   int // most that was skipped at once
}

func (h *heardFrom) frame(pcm []int16) {
	if !h.started {
		h.started = true
		h.pos = posOf(pcm[len(pcm)-1], 0)
		return
	}
	for _, s := range pcm {
		pos := posOf(s, h.pos+1)
		if d := pos - h.pos - 1; d > 8 {
			h.skipped = max(h.skipped, d)
		} else if -d > 8 {
			h.backwards = max(h.backwards, -d)
		}
		h.pos = pos
	}
}

// What is said is heard once, in order, whole, over minutes, whatever the network
// does; and as much is heard as was said.
func TestNothingIsLostOrRepeated(t *testing.T) {
	ms := time.Millisecond
	const minutes = 3
	const n = minutes * 60 * 50
	for _, w := range []network{
		{name: "clean"},
		{name: "duplicates", twice: 0.3},
		{name: "jitter", jitter: 20 * ms},
		{name: "reordered", jitter: 60 * ms, reord: true, twice: 0.1},
		{name: "fast clock", drift: 500},
		{name: "slow clock", drift: -500},
		{name: "fast clock, jitter", drift: 500, jitter: 30 * ms, reord: true},
		{name: "slow clock, jitter", drift: -500, jitter: 30 * ms, reord: true},
		{name: "loss", loss: 0.1},
		{name: "all of it", loss: 0.1, burst: 2, jitter: 40 * ms, reord: true, twice: 0.05, drift: 300},
	} {
		for _, fec := range []bool{false, true} {
			name := w.name
			if fec {
				name += ", FEC"
			}
			t.Run(name, func(t *testing.T) {
				d := &markerDecoder{}
				v := newVoice(t, d)
				in, lost := w.send(11, n, speech(fec))
				h := &heardFrom{tb: t}
				run(v, in, 103*ms, in[len(in)-1].at, func(_ time.Duration, pcm []int16, s media.Sound) {
					if s.Active && w.loss == 0 {
						h.frame(pcm)
					}
				})
				st := v.Stats()
				for i := 1; i < len(d.decoded); i++ {
					require.Greater(t, d.decoded[i], d.decoded[i-1], "each packet once, in order")
				}
				require.EqualValues(t, len(d.decoded), st.Decoded)
				last := d.decoded[len(d.decoded)-1]
				require.Greater(t, last, n-20, "as much is heard as was said")
				missed := last + 1 - len(d.decoded)
				require.LessOrEqual(t, missed, lost+int(st.Late)+1)
				if fec { // which is waited for instead
					require.LessOrEqual(t, st.Late, uint64(n/20))
				} else {
					require.LessOrEqual(t, st.Late, uint64(n/40))
				}
				require.Zero(t, st.Discarded)
				require.Zero(t, st.Garbage)
				require.LessOrEqual(t, st.MaxDepth, 250*ms)
				require.InDelta(t, missed, st.Recovered+st.Concealed, 2, "every hole is filled")
				if w.loss == 0 {
					// A step is a pitch period, or a hole of a packet that came too late.
					require.LessOrEqual(t, h.backwards, 25*rate/1000)
					require.LessOrEqual(t, h.skipped, 25*rate/1000)
				}
			})
		}
	}
}

// A clean network costs nothing: what is heard is what the decoder gave, sample by
// sample, and no packet is touched.
func TestCleanIsUntouched(t *testing.T) {
	v := newVoice(t, &markerDecoder{})
	in, _ := network{}.send(1, 1000, speech(false))
	h := &heardFrom{tb: t}
	var first, frames int
	run(v, in, 107*time.Millisecond, in[len(in)-1].at, func(_ time.Duration, pcm []int16, s media.Sound) {
		require.True(t, s.Active)
		require.False(t, s.Concealed)
		if frames == 0 {
			first = posOf(pcm[0], 0)
		}
		frames++
		h.frame(pcm)
	})
	require.LessOrEqual(t, first, 8, "from the first sample on")
	require.LessOrEqual(t, h.skipped, 8)
	require.LessOrEqual(t, h.backwards, 8)
	require.InDelta(t, frames*frame, h.pos, 8)
	st := v.Stats()
	require.Zero(t, st.Stretched+st.Shortened+st.Underruns)
	require.LessOrEqual(t, st.MaxDepth, 40*time.Millisecond)
}

// A reader that is late now and then has no reason to change the sound's length.
func TestLateReaderStretchesNothing(t *testing.T) {
	for phase := range 10 {
		v := newVoice(t, &markerDecoder{})
		in, _ := network{}.send(1, 3000, speech(false))
		rng := rand.New(rand.NewPCG(1, uint64(phase)))
		pcm := make([]int16, frame)
		first := 102*time.Millisecond + time.Duration(phase)*media.FrameDuration/10
		for tick := first; tick < 60*time.Second; tick += media.FrameDuration {
			now := tick
			if rng.Float64() < 0.2 {
				now += time.Duration(rng.Int64N(int64(15 * time.Millisecond)))
			}
			for len(in) > 0 && in[0].at <= now {
				v.Write(in[0].p, in[0].at)
				in = in[1:]
			}
			v.Read(pcm, now)
		}
		st := v.Stats()
		require.Zero(t, st.Shortened+st.Stretched, "phase %d", phase)
	}
}

// A voice that was relayed goes on from there, and builds its margin by stretching.
func TestPrimedSoundGoesOn(t *testing.T) {
	d := &toneDecoder{freq: 200, amp: 8000}
	v := newVoice(t, d)
	for i := range 5 {
		v.Prime(payloadOf(i, false))
	}
	var got []int16
	recall := make([]int16, frame)
	v.Recall(recall)
	got = append(got, recall...)
	pcm := make([]int16, frame)
	read := func(now time.Duration) media.Sound {
		s := v.Read(pcm, now)
		got = append(got, pcm...)
		return s
	}
	at := 100 * time.Millisecond
	require.True(t, read(at).Active, "nothing is there yet")
	for i := 5; i < 100; i++ {
		v.Write(rtpPacket(uint16(i), uint32(i*media.FrameSamples), payloadOf(i, false)), at+13*time.Millisecond)
		at += media.FrameDuration
		s := read(at)
		require.True(t, s.Active)
	}
	require.EqualValues(t, 100, v.Stats().Decoded+5)
	d.requireSmooth(t, got)
}

func TestFinishAndPending(t *testing.T) {
	for _, depth := range []int{0, 1, 2, 3, 4} { // in units of 7 ms, decoded and left over
		d := &toneDecoder{freq: 250, amp: 8000}
		v := newVoice(t, d)
		var in []arrival
		for i := range 100 {
			in = append(in, arrival{time.Duration(i) * media.FrameDuration, rtpPacket(uint16(70+i), uint32(i*media.FrameSamples), payloadOf(i, false))})
		}
		var got []int16
		now := time.Duration(0)
		run(v, in[:98], 5*time.Millisecond, 98*media.FrameDuration, func(at time.Duration, pcm []int16, _ media.Sound) {
			got = append(got, pcm...)
			now = at
		})
		if depth > 0 { // leave some over
			v.Write(in[98].p, in[98].at)
			part := make([]int16, frame-depth*7*rate/2000)
			v.Read(part, now+media.FrameDuration)
			got = append(got, part...)
			v.Write(in[99].p, in[99].at)
		}
		pcm := make([]int16, frame)
		s := v.Finish(pcm, now+2*media.FrameDuration)
		got = append(got, pcm...)
		require.LessOrEqual(t, s.Level, uint8(20))
		d.requireSmooth(t, got[frame:])
		var pending []uint16
		v.Pending(func(p *rtp.Packet) {
			pending = append(pending, p.SequenceNumber)
			require.EqualValues(t, int(p.SequenceNumber-70)*media.FrameSamples, p.Timestamp)
			require.EqualValues(t, 5, p.SSRC)
			require.Equal(t, payloadOf(int(p.SequenceNumber-70), false), p.Payload)
		})
		if depth > 0 {
			require.Equal(t, []uint16{169}, pending)
		} else {
			require.Empty(t, pending)
		}
	}
}

// An outage longer than anybody wants to wait for is skipped, and what follows is on time.
func TestOutageEndsWithABurst(t *testing.T) {
	d := &markerDecoder{}
	v := newVoice(t, d)
	in, _ := network{}.send(1, 600, speech(false))
	for i := 200; i < 300; i++ { // two seconds of packets at once
		in[i].at = in[300].at
	}
	var depth time.Duration
	run(v, in, 101*time.Millisecond, in[len(in)-1].at, func(time.Duration, []int16, media.Sound) { depth = v.Depth() })
	st := v.Stats()
	require.NotZero(t, st.Discarded)
	require.Less(t, st.Discarded, uint64(101))
	require.Less(t, depth, 150*time.Millisecond)
	require.Greater(t, d.decoded[len(d.decoded)-1], 590)
}

func TestGarbageIsConcealed(t *testing.T) {
	d := &brokenDecoder{bad: func(p []byte) bool { return p[5]%4 == 3 }}
	v := newVoice(t, d)
	in, _ := network{}.send(1, 400, speech(false))
	for i, a := range in {
		if i%8 == 5 {
			a.p.Payload = []byte{0xFF, 0x00, 0x00, 0xFF, 0, 0} // no frames: not Opus
		}
	}
	run(v, in, 101*time.Millisecond, in[len(in)-1].at, func(_ time.Duration, _ []int16, s media.Sound) {
		require.True(t, s.Active)
	})
	st := v.Stats()
	require.InDelta(t, 150, st.Garbage, 2)
	require.Greater(t, d.conceals, 90)
	require.Greater(t, len(d.decoded), 240)
}

func TestAnotherStreamTakesOver(t *testing.T) {
	d := &resetCounter{}
	v := newVoice(t, d)
	in, _ := network{}.send(1, 300, speech(false))
	for i, a := range in {
		switch {
		case i >= 200:
			a.p.SSRC, a.p.SequenceNumber, a.p.Timestamp = 77, uint16(9+i), uint32(i*media.FrameSamples+12345)
		case i >= 100:
			a.p.SequenceNumber += 30000
			a.p.Timestamp += 987654321
		}
	}
	run(v, in, 105*time.Millisecond, in[len(in)-1].at+time.Second, func(time.Duration, []int16, media.Sound) {})
	require.Equal(t, 2, d.resets)
	require.GreaterOrEqual(t, len(d.decoded), 299, "one packet confirms the jump")
}

func TestVoiceMayBeRenewed(t *testing.T) {
	d := &markerDecoder{}
	var closed int
	v := newVoice(t, d, func(o *playout.Options) { o.Closed = func(*playout.Voice) { closed++ } })
	in, _ := network{loss: 0.1, jitter: 30 * time.Millisecond}.send(1, 500, speech(true))
	run(v, in, 0, in[len(in)-1].at, func(time.Duration, []int16, media.Sound) {})
	v.Close()
	v.Close()
	require.Equal(t, 1, closed)
	require.NoError(t, v.Renew())
	require.Equal(t, media.VoiceStats{Target: 11 * time.Millisecond}, v.Stats())
	pcm := make([]int16, frame)
	s := v.Read(pcm, 0)
	require.Equal(t, media.Sound{Level: 127}, s)
	require.Equal(t, make([]int16, frame), pcm)
	*d = markerDecoder{}
	in, _ = network{}.send(1, 100, speech(true))
	run(v, in, 0, in[len(in)-1].at+time.Millisecond, func(time.Duration, []int16, media.Sound) {})
	require.Len(t, d.decoded, 99)
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := playout.New(playout.Options{Rate: 16000})
	require.ErrorIs(t, err, playout.ErrOptions)
	_, err = playout.New(playout.Options{Decoder: &markerDecoder{}})
	require.ErrorIs(t, err, playout.ErrOptions)
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	for _, w := range []network{{name: "clean"}, {name: "bad", jitter: 40 * time.Millisecond, loss: 0.1, burst: 2, reord: true, drift: 300}} {
		t.Run(w.name, func(t *testing.T) {
			d := &toneDecoder{freq: 170, amp: 5000}
			v := newVoice(t, d)
			in, _ := w.send(1, 3000, speech(true))
			pcm := make([]int16, frame)
			now := time.Duration(0)
			require.Zero(t, testing.AllocsPerRun(2900, func() {
				for len(in) > 0 && in[0].at <= now {
					v.Write(in[0].p, in[0].at)
					in = in[1:]
				}
				v.Read(pcm, now)
				v.Stats()
				now += media.FrameDuration
			}))
		})
	}
}
