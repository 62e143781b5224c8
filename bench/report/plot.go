package report

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// Plot is a diagram of lines with marked points.
type Plot struct {
	// Name is a word for the file's name.
	Name string
	// Title and the names of the axes.
	Title, X, Y string
	// LogX and LogY use logarithmic axes; values that are not positive are then left out.
	LogX, LogY bool
	// Near lets a linear axis of Y begin near the lowest point rather than at zero.
	Near   bool
	Series []Series
}

// Series is one line of a Plot.
type Series struct {
	Name   string
	Points []Point
}

// Point is one place in a diagram.
type Point struct{ X, Y float64 }

// The drawing, in pixels.
const (
	plotWidth, plotHeight                            = 800, 440
	marginLeft, marginRight, marginTop, marginBottom = 76, 216, 44, 56
	ticksPerAxis                                     = 6
)

var colours = []string{"#1b6ca8", "#c8452c", "#2f8f4e", "#8a4fa3", "#b98a00", "#4d4d4d"}

// axis maps values to pixels.
type axis struct {
	log      bool
	from, to float64 // after log10 if log
	start    float64
	end      float64
}

func (a axis) at(v float64) float64 {
	if a.log {
		v = math.Log10(v)
	}
	return a.start + (v-a.from)/(a.to-a.from)*(a.end-a.start)
}

// SVG draws the plot.
func (p Plot) SVG() string {
	x := p.axis(func(q Point) float64 { return q.X }, p.LogX, marginLeft, plotWidth-marginRight)
	y := p.axis(func(q Point) float64 { return q.Y }, p.LogY, plotHeight-marginBottom, marginTop)
	if p.Near && !p.LogY {
		y = p.near(y)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, plotHeight)
	text(&b, marginLeft, 24, "start", "#222", 14, p.Title)
	text(&b, (marginLeft+plotWidth-marginRight)/2, plotHeight-14, "middle", "#222", 12, p.X)
	fmt.Fprintf(&b, `<g transform="rotate(-90 18 %d)">`, plotHeight/2)
	text(&b, 18, plotHeight/2, "middle", "#222", 12, p.Y)
	b.WriteString("</g>\n")
	for _, v := range x.ticks() {
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/>`+"\n", x.at(v), marginTop, x.at(v), plotHeight-marginBottom)
		text(&b, x.at(v), plotHeight-marginBottom+18, "middle", "#444", 11, number(v))
	}
	for _, v := range y.ticks() {
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`+"\n", marginLeft, y.at(v), plotWidth-marginRight, y.at(v))
		text(&b, marginLeft-8, y.at(v)+4, "end", "#444", 11, number(v))
	}
	for i, s := range p.Series {
		p.draw(&b, s, colours[i%len(colours)], x, y, marginTop+10+20*i)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (p Plot) draw(b *strings.Builder, s Series, colour string, x, y axis, legend int) {
	var path []string
	for _, q := range s.Points {
		if p.visible(q) {
			path = append(path, fmt.Sprintf("%.1f,%.1f", x.at(q.X), y.at(q.Y)))
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x.at(q.X), y.at(q.Y), colour)
		}
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(path, " "), colour)
	left := plotWidth - marginRight + 12
	fmt.Fprintf(b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-width="3"/>`+"\n", left, legend-4, left+18, legend-4, colour)
	text(b, float64(left+24), float64(legend), "start", "#222", 12, s.Name)
}

func (p Plot) visible(q Point) bool { return (!p.LogX || q.X > 0) && (!p.LogY || q.Y > 0) }

// axis spans all points; a linear one begins at zero.
func (p Plot) axis(value func(Point) float64, log bool, start, end float64) axis {
	low, high := math.Inf(1), math.Inf(-1)
	for _, s := range p.Series {
		for _, q := range s.Points {
			if p.visible(q) {
				low, high = min(low, value(q)), max(high, value(q))
			}
		}
	}
	if math.IsInf(low, 0) {
		low, high = 1, 10
	}
	a := axis{log: log, from: min(0, low), to: high * 1.05, start: start, end: end}
	if log {
		a.from, a.to = math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	}
	if a.to <= a.from {
		a.to = a.from + 1
	}
	return a
}

// near makes y span the points alone, and a tenth more on either side.
func (p Plot) near(y axis) axis {
	low, high := math.Inf(1), math.Inf(-1)
	for _, s := range p.Series {
		for _, q := range s.Points {
			if p.visible(q) {
				low, high = min(low, q.Y), max(high, q.Y)
			}
		}
	}
	if room := (high - low) / 10; room > 0 && !math.IsInf(room, 0) {
		y.from, y.to = low-room, high+room
	}
	return y
}

// ticks are round values along the axis.
func (a axis) ticks() (all []float64) {
	if a.log {
		for e := a.from; e <= a.to; e++ {
			all = append(all, math.Pow(10, e))
		}
		return all
	}
	step := math.Pow(10, math.Floor(math.Log10((a.to-a.from)/ticksPerAxis)))
	for _, f := range []float64{1, 2, 5, 10} {
		if (a.to-a.from)/(step*f) <= ticksPerAxis {
			step *= f
			break
		}
	}
	for v := math.Ceil(a.from/step) * step; v <= a.to; v += step {
		all = append(all, v)
	}
	return all
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

func text[N int | float64](b *strings.Builder, x, y N, anchor, colour string, size int, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s" font-size="%d">%s</text>`+"\n",
		float64(x), float64(y), anchor, colour, size, html.EscapeString(s))
}
