package media_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
)

func TestPacerSpreadsLinesOverTheTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := media.NewPacer(2)
		defer p.Close()
		start := time.Now()
		var lines []*media.Line
		var heard []*recorder
		for range 200 {
			dst := &recorder{}
			l := media.NewLine(dst, media.LineOptions{Pacer: p})
			l.Open()
			lines, heard = append(lines, l), append(heard, dst)
		}
		require.Equal(t, 200, p.Stats().Lines)
		time.Sleep(100 * time.Millisecond) // fake time
		synctest.Wait()
		phases := map[time.Duration]int{}
		for i, l := range lines {
			l.Close()
			phases[heard[i].all()[2].at.Sub(start)%media.FrameDuration]++
		}
		require.Len(t, phases, 8, "every slot is used")
	})
}

func TestPacerKeepsTimeForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := media.NewPacer(1)
		defer p.Close()
		dst := &countWriter{}
		l := media.NewLine(dst, media.LineOptions{Pacer: p})
		defer l.Close()
		l.Open()
		time.Sleep(time.Hour) // fake time
		synctest.Wait()
		require.InDelta(t, 180_000, dst.n, 2)
		require.Zero(t, p.Stats().Skipped)
	})
}

func TestPacerSaysThatItStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := media.NewPacer(1)
		time.Sleep(time.Hour) // fake time
		require.Zero(t, p.Stall(), "nothing to do is no stall")
		l := media.NewLine(&countWriter{}, media.LineOptions{Pacer: p})
		defer l.Close()
		l.Open()
		require.Zero(t, p.Stall(), "what came just now was never due")
		time.Sleep(time.Minute) // fake time
		synctest.Wait()
		require.LessOrEqual(t, p.Stall(), media.FrameDuration)
		p.Close()
		time.Sleep(time.Minute) // fake time
		require.GreaterOrEqual(t, p.Stall(), time.Minute)
	})
}

func TestPacerCatchesUpAfterAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := media.NewPacer(1)
		defer p.Close()
		dst := &recorder{}
		l := media.NewLine(dst, media.LineOptions{Pacer: p})
		defer l.Close()
		l.Open()
		start := time.Now()
		// A destination that blocks holds up the whole shard.
		var n int
		slow := media.NewLine(writerFunc(func(*rtp.Packet) error {
			if n++; n == 2 {
				time.Sleep(300 * time.Millisecond) // fake time
			}
			return nil
		}), media.LineOptions{Pacer: p})
		slow.Open()
		time.Sleep(2 * time.Second) // fake time
		synctest.Wait()
		slow.Close()
		elapsed := time.Since(start)
		require.InDelta(t, elapsed/media.FrameDuration, dst.count(), 2, "what was missed was made up for")
		require.NotZero(t, p.Stats().Skipped)
		requireContinuous(t, dst.all())
	})
}

func TestPacerSleepsWithoutLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := media.NewPacer(3)
		time.Sleep(time.Minute) // fake time
		require.Zero(t, p.Stats().Ticks)
		l := media.NewLine(&countWriter{}, media.LineOptions{Pacer: p})
		l.Open()
		time.Sleep(time.Second) // fake time
		l.Close()
		synctest.Wait()
		n := p.Stats().Ticks
		require.InDelta(t, 50, n, 2, "one visit per frame and line")
		time.Sleep(time.Minute) // fake time
		require.LessOrEqual(t, p.Stats().Ticks, n+1)
		require.Zero(t, p.Stats().Lines)
		p.Close()
		p.Close()
	})
}

type countWriter struct{ n int }

func (c *countWriter) WriteRTP(*rtp.Packet) error { c.n++; return nil }
