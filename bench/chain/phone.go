package chain

import (
	"fmt"
	"slices"
	"time"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/opus"
)

// PhoneRate is what the phone plays at, in Hz.
const PhoneRate = 16000

// frame is 20 ms at PhoneRate.
const frame = PhoneRate / 50

// Sound is what the phone hears.
type Sound struct {
	// PCM is at PhoneRate, from the first packet on.
	PCM []int16
	// Left is when each 20 ms of PCM left the chain; negative for what the phone made up.
	Left []time.Duration
	// BitrateBPS is that of the payloads, silence included.
	BitrateBPS float64
}

// Hear decodes a recording as a phone would that has all the time of the world: it puts packets in order, fills what is
// missing from in-band FEC of the next packet or by concealment, and waits for what is late. All chains get the same
// phone, so what differs is theirs.
func Hear(all []Departure) (*Sound, error) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Departure) int { return int(int16(a.Seq - b.Seq)) })
	d, err := opus.NewDecoder(PhoneRate)
	if err != nil {
		return nil, fmt.Errorf("make the phone's decoder: %w", err)
	}
	s := &Sound{}
	buf := make([]int16, 6*frame)
	bytes := 0
	for i, p := range all {
		if i > 0 {
			if p.Seq == all[i-1].Seq {
				continue
			}
			missing := int(int32(p.TS-all[i-1].TS))/media.FrameSamples - 1
			s.conceal(d, p.Payload, missing)
		}
		n, err := d.Decode(p.Payload, buf)
		if err != nil {
			return nil, fmt.Errorf("decode what the phone got: %w", err)
		}
		for range n / frame {
			s.Left = append(s.Left, p.At)
		}
		s.PCM = append(s.PCM, buf[:n]...)
		bytes += len(p.Payload)
	}
	if len(s.PCM) > 0 {
		s.BitrateBPS = float64(8*bytes) * PhoneRate / float64(len(s.PCM))
	}
	return s, nil
}

// conceal fills missing frames before next.
func (s *Sound) conceal(d *opus.Decoder, next []byte, missing int) {
	const most = 50 // a second; beyond that no phone makes anything up
	buf := make([]int16, frame)
	for i := range min(missing, most) {
		var err error
		if i == missing-1 && media.OpusHasFEC(next) {
			err = d.DecodeFEC(next, buf)
		} else {
			err = d.Conceal(buf)
		}
		if err != nil {
			clear(buf)
		}
		s.PCM = append(s.PCM, buf...)
		s.Left = append(s.Left, -1)
	}
}
