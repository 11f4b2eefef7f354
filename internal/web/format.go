package web

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"
)

// riyadh is where the readers are. It has no daylight saving time, so a fixed zone will do.
var riyadh = time.FixedZone("Riyadh", 3*60*60)

// funcs are what templates may call.
func funcs(now func() time.Time) template.FuncMap {
	return template.FuncMap{
		"when":  func(v any) string { return when(v) },
		"iso":   func(v any) string { return iso(v) },
		"ago":   func(v any) string { return ago(v, now()) },
		"sar":   sar,
		"count": count,
		"dur":   duration,
		"words": func(s any) string { return strings.ReplaceAll(fmt.Sprint(s), "_", " ") },
		"or0":   func(n *int) string { return orDash(n) },
		"short": func(id uuid.UUID) string { return id.String()[:8] },
		"add":   func(a, b int) int { return a + b },
	}
}

// moment takes a time or a pointer to one; ok is false for none.
func moment(v any) (t time.Time, ok bool) {
	switch v := v.(type) {
	case time.Time:
		return v, !v.IsZero()
	case *time.Time:
		if v != nil {
			return *v, true
		}
	}
	return time.Time{}, false
}

func when(v any) string {
	t, ok := moment(v)
	if !ok {
		return "–"
	}
	return t.In(riyadh).Format("2006-01-02 15:04:05")
}

func iso(v any) string {
	t, ok := moment(v)
	if !ok {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// ago says how far a time is from now, in words.
func ago(v any, now time.Time) string {
	t, ok := moment(v)
	if !ok {
		return "never"
	}
	switch d := now.Sub(t); {
	case d < -time.Second:
		return "in " + duration(-d)
	case d < 2*time.Second:
		return "just now"
	default:
		return duration(d) + " ago"
	}
}

// duration writes the two largest units at most.
func duration(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		if m := int(d.Minutes()) % 60; m != 0 {
			return fmt.Sprintf("%d h %d min", int(d.Hours()), m)
		}
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d.Hours())/24)
	}
}

// sar writes an amount with thousands separators, "–" for none.
func sar(v any) string {
	var d decimal.Decimal
	switch v := v.(type) {
	case decimal.Decimal:
		d = v
	case decimal.NullDecimal:
		if !v.Valid {
			return "–"
		}
		d = v.Decimal
	default:
		return "–"
	}
	whole, cents, _ := strings.Cut(d.StringFixed(2), ".")
	return thousands(whole) + "." + cents
}

func count(n int) string { return thousands(strconv.Itoa(n)) }

func thousands(digits string) string {
	sign := ""
	if rest, ok := strings.CutPrefix(digits, "-"); ok {
		sign, digits = "-", rest
	}
	var b strings.Builder
	for i, r := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(r)
	}
	return sign + b.String()
}

func orDash(n *int) string {
	if n == nil {
		return "–"
	}
	return strconv.Itoa(*n)
}
