package doctor

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// What a clock may be off. LiveKit refuses tokens from the future at once and expired ones after minutes; Meta's webhooks
// count as stale after webhook.max_age.
const (
	skewWarn = 5 * time.Second
	skewFail = 30 * time.Second
)

const clockRemedy = "synchronise this machine's clock (chrony, systemd-timesyncd); if it is right, that server's"

// clock compares this machine's clock with the Date of LiveKit's and Meta's answers. If neither answers, the kernel says
// whether it is kept in step.
func (e *examination) clock(ctx context.Context) []Line {
	var lines []Line
	var fine []string
	for _, to := range e.endpoints()[:2] {
		skew, ok := e.skew(ctx, to.url)
		switch off := skew.Abs().Round(time.Second); {
		case !ok:
		case off >= skewFail:
			lines = append(lines, failed(apart(skew, to.who), clockRemedy))
		case off >= skewWarn:
			lines = append(lines, doubtful(apart(skew, to.who), clockRemedy))
		default:
			fine = append(fine, to.who)
		}
	}
	if len(fine) > 0 {
		lines = append(lines, good("as that of %s", strings.Join(fine, " and ")))
	}
	if len(lines) > 0 {
		return lines
	}
	switch synchronised, known := e.o.system.clockSynchronised(); {
	case !known:
		return one(skipped("nobody to compare with"))
	case synchronised:
		return one(good("kept in step, says the kernel"))
	default:
		return one(doubtful("the kernel says that this machine's clock is not kept in step", clockRemedy))
	}
}

func apart(skew time.Duration, who string) string {
	direction := "ahead of"
	if skew > 0 {
		direction = "behind"
	}
	return fmt.Sprintf("this machine's clock is %s %s that of %s", skew.Abs().Round(time.Second), direction, who)
}

// skew is how far a server's clock is ahead of ours, as far as the Date of an answer tells: to the second.
func (e *examination) skew(ctx context.Context, where string) (time.Duration, bool) {
	asked := time.Now()
	a, err := e.get(ctx, where, nil)
	if err != nil {
		return 0, false
	}
	answered := time.Now()
	date, err := http.ParseTime(a.date)
	if err != nil {
		return 0, false
	}
	switch latest := date.Add(time.Second); { // Date is cut to the second
	case latest.Before(asked):
		return latest.Sub(asked), true
	case date.After(answered):
		return date.Sub(answered), true
	default:
		return 0, true
	}
}
