package chain

import (
	"fmt"
	"runtime"
	"strconv"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/codec"
)

// Line is livekit-connector's way, with the product's settings: mode as given, and so many sources decoded at once at
// most (zero is the product's default).
func Line(name string, mode media.Mode, maxVoices int) Maker {
	return Maker{Name: name, New: func(dst media.Writer) (Chain, error) {
		codecs, err := codec.New(codec.ToPhone())
		if err != nil {
			return nil, fmt.Errorf("make codecs: %w", err)
		}
		p := media.NewPacer(runtime.GOMAXPROCS(0))
		l := media.NewLine(dst, media.LineOptions{Pacer: p, Codecs: codecs, Mode: mode, MaxVoices: maxVoices})
		l.Open()
		return &line{pacer: p, line: l}, nil
	}}
}

type line struct {
	pacer *media.Pacer
	line  *media.Line
	count int
}

func (l *line) Source() (media.Writer, error) {
	l.count++
	return l.line.AddSource(strconv.Itoa(l.count), media.SourceOptions{}), nil
}

func (l *line) Close() {
	l.line.Close()
	l.pacer.Close()
}
