package cards

import (
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// riyadh has had no daylight saving time since it was defined; a fixed zone needs no zone database on the machine.
var riyadh = time.FixedZone("Asia/Riyadh", 3*60*60)

// moment writes t in UTC and in the reader's zone.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z") + " · " + t.In(riyadh).Format("2006-01-02 15:04") + " Asia/Riyadh"
}

var amount = regexp.MustCompile(`^(-?)(\d+)(\.\d+)?$`)

// sar writes a decimal string as an amount of money with thousands separators. What is no number is shown as it came.
func sar(s string) string {
	m := amount.FindStringSubmatch(s)
	if s == "" || m == nil {
		return s
	}
	digits := m[2]
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return "SAR " + m[1] + b.String() + m[3]
}

// difference is a minus b as a decimal string with two places, or "" when one of them is no number.
func difference(a, b string) string {
	x, ok := rat(a)
	y, ok2 := rat(b)
	if !ok || !ok2 {
		return ""
	}
	return new(big.Rat).Sub(x, y).FloatString(2)
}

// share is part of whole in percent with one decimal ("87.5 %"), or "" where that means nothing. Rounding never turns less
// than the whole into 100 %.
func share(part, whole string) string {
	p, ok := rat(part)
	w, ok2 := rat(whole)
	if !ok || !ok2 || w.Sign() <= 0 {
		return ""
	}
	q := new(big.Rat).Quo(p, w)
	s := new(big.Rat).Mul(q, big.NewRat(100, 1)).FloatString(1)
	if s == "100.0" && q.Cmp(big.NewRat(1, 1)) < 0 {
		s = "99.9"
	}
	return s + " %"
}

// rat reads a decimal string exactly. Its length is bounded because the work grows with it.
func rat(s string) (*big.Rat, bool) {
	if len(s) > 40 || !amount.MatchString(s) {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// span writes a duration for people: "1.2 s", "3 m 20 s", "2 h 5 m", "3 d 4 h". Zero and less is "".
func span(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(1, d.Milliseconds()))
	case d < time.Minute:
		return fmt.Sprintf("%d.%d s", d/time.Second, d%time.Second/(100*time.Millisecond))
	case d < time.Hour:
		return fmt.Sprintf("%d m %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %d m", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d d %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// items writes "1 item", "4 items", or "" for none.
func items(n int) string {
	switch {
	case n <= 0:
		return ""
	case n == 1:
		return "1 item"
	}
	return strconv.Itoa(n) + " items"
}

// of writes "n/m", or "" when m is unknown.
func of(n, m int) string {
	if m <= 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", n, m)
}

// list joins the first limit of all, and says how many there are beside them.
func list(all []string, limit int, separator string) string {
	shown := all[:min(len(all), limit)]
	s := strings.Join(shown, separator)
	if more := len(all) - len(shown); more > 0 {
		s += fmt.Sprintf("%s… and %d more", separator, more)
	}
	return s
}
