package rules

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // containers often lack the time zones

	"github.com/livekit-connector/livekit-connector/internal/settings"
)

// window is a part of the week by the clock on the wall: when the clock is put forward, minutes that do not exist are in no
// window; when it is put back, those that come twice are in it twice.
type window struct {
	days [7]bool // by time.Weekday, the day on which the window opens
	// from and to are minutes of the day; to is outside. A window whose to is not after from goes on into the next day.
	from, to int
	zone     *time.Location
}

const minutesOfDay = 24 * 60

func (w window) contains(at time.Time) bool {
	at = at.In(w.zone)
	day := int(at.Weekday())
	minute := at.Hour()*60 + at.Minute()
	if w.from < w.to {
		return w.days[day] && minute >= w.from && minute < w.to
	}
	yesterday := (day + 6) % 7
	return w.days[day] && minute >= w.from || w.days[yesterday] && minute < w.to
}

// parseClock reads "09:30" as minutes of the day; 24:00 is the end of it.
func parseClock(text string) (int, error) {
	bad := fmt.Errorf(`want a time of day such as "09:30", up to "24:00", got %q`, cut(text, 40))
	h, m, ok := strings.Cut(text, ":")
	if !ok || len(h) < 1 || len(h) > 2 || len(m) != 2 {
		return 0, bad
	}
	hours, err := strconv.ParseUint(h, 10, 8)
	if err != nil {
		return 0, bad
	}
	minutes, err := strconv.ParseUint(m, 10, 8)
	if err != nil || minutes > 59 || hours*60+minutes > minutesOfDay {
		return 0, bad
	}
	return int(hours*60 + minutes), nil
}

var dayNames = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// parseDays adds "mon", "Monday", or "mon-fri" to days.
func parseDays(text string, days *[7]bool) error {
	first, last, isRange := strings.Cut(text, "-")
	from, err := parseDay(first)
	if err != nil {
		return err
	}
	to := from
	if isRange {
		if to, err = parseDay(last); err != nil {
			return err
		}
	}
	for day := from; ; day = (day + 1) % 7 {
		days[day] = true
		if day == to {
			return nil
		}
	}
}

func parseDay(text string) (int, error) {
	name := strings.ToLower(strings.TrimSpace(text))
	for i, day := range dayNames {
		if name == day || name == day[:3] {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%q is no day of the week%s", cut(text, 40), settings.Suggest(name, dayNames))
}

// parseZone reads the name of a time zone in the IANA database.
func parseZone(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("%q is no time zone of the IANA database, such as Europe/Berlin", cut(name, 40))
	}
	return zone, nil
}
