package settings

import (
	"fmt"
	"slices"
	"strings"
)

// Suggest ends a complaint about an unknown name with the nearest known one: ", did you mean x?", or nothing.
func Suggest(unknown string, known []string) string { return suggest(unknown, known) }

// suggest ends a complaint about an unknown name with the nearest known one.
func suggest(unknown string, known []string) string {
	best, least := "", 0
	for _, name := range slices.Sorted(slices.Values(known)) {
		if d := difference(fold(unknown), fold(name)); best == "" || d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %s?", best)
}

// difference is the distance, or less if a is b with pieces left out, as max_calls is of max_active_calls.
func difference(a, b string) int {
	d := distance(a, b)
	i := 0
	for j := 0; i < len(a) && j < len(b); j++ {
		if a[i] == b[j] {
			i++
		}
	}
	if i == len(a) && len(a) > 2 {
		d = min(d, 1+(len(b)-len(a))/4)
	}
	return d
}

// fold takes away case and the signs between words: the commonest slips cost nothing.
func fold(s string) string { return separators.Replace(strings.ToLower(s)) }

var separators = strings.NewReplacer("_", "", "-", "", ".", "")

// distance is the number of insertions, deletions, substitutions and swaps of neighbours between two strings
// (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
