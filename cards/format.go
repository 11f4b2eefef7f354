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
func moment(t time.Time) said {
	if t.IsZero() {
		return ""
	}
	return said(t.UTC().Format("2006-01-02T15:04:05Z") + " · " + t.In(riyadh).Format("2006-01-02 15:04") + " Asia/Riyadh")
}

var amount = regexp.MustCompile(`^(-?)(\d+)(\.\d+)?$`)

// sar writes a decimal string as an amount of money with thousands separators. What is no number is shown as it came.
func (l Language) sar(s string) said {
	m := amount.FindStringSubmatch(s)
	if m == nil {
		return plain(s)
	}
	return l.say("SAR %s", m[1]+thousands(m[2])+m[3])
}

// sarOrUnknown is for amounts that an answer may not tell: what nobody knows is no 0.00.
func (l Language) sarOrUnknown(s string) said {
	if s == "" {
		return l.say("unknown")
	}
	return l.sar(s)
}

// thousands puts a comma before each third digit from the end.
func thousands(digits string) string {
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// count writes how many there are; "" for none, which means that nobody knows.
func count(n int) string {
	if n <= 0 {
		return ""
	}
	return thousands(strconv.Itoa(n))
}

// size writes bytes for people: "512 B", "1.5 GiB"; "" for none.
func size(bytes int64) string {
	if bytes <= 0 {
		return ""
	}
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	i, v := 0, float64(bytes)
	for v >= 1024 && i < len(units)-1 {
		v /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
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
func (l Language) span(d time.Duration) said {
	switch {
	case d <= 0:
		return ""
	case d < time.Second:
		return l.say("%s ms", max(1, d.Milliseconds()))
	case d < time.Minute && d%time.Second < 100*time.Millisecond:
		return l.say("%s s", int(d/time.Second))
	case d < time.Minute:
		return l.say("%s s", fmt.Sprintf("%d.%d", d/time.Second, d%time.Second/(100*time.Millisecond)))
	case d < time.Hour:
		return l.twoUnits(d, time.Minute, time.Second, "%s m", "%s m %s s")
	case d < 24*time.Hour:
		return l.twoUnits(d, time.Hour, time.Minute, "%s h", "%s h %s m")
	}
	return l.twoUnits(d, 24*time.Hour, time.Hour, "%s d", "%s d %s h")
}

func (l Language) twoUnits(d, large, small time.Duration, one, both phrase) said {
	if rest := d % large / small; rest > 0 {
		return l.say(both, int(d/large), int(rest))
	}
	return l.say(one, int(d/large))
}

// within writes a measured value and the allowed one, which may be unknown.
func (l Language) within(value, allowed said) said {
	if value == "" || allowed == "" {
		return value
	}
	return l.say("%s, allowed %s", value, allowed)
}

// items writes "1 item", "4 items", or "" for none.
func (l Language) items(n int) said {
	switch {
	case n <= 0:
		return ""
	case n == 1:
		return l.say("1 item")
	}
	return l.say("%s items", n)
}

// of writes "n/m", or "" when m is unknown.
func of(n, m int) string {
	if m <= 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", n, m)
}
