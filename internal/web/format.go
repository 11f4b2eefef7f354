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

// funcs are what templates may call, in one language.
func funcs(now func() time.Time, l lang) template.FuncMap {
	return template.FuncMap{
		"t":      func(format string, args ...any) string { return say(format, args...).in(l) },
		"tr":     l.text,
		"word":   l.word,
		"when":   func(v any) string { return when(v) },
		"iso":    func(v any) string { return iso(v) },
		"ago":    func(v any) string { return l.ago(v, now()) },
		"sar":    sar,
		"count":  count,
		"dur":    l.duration,
		"or0":    func(n *int) string { return orDash(n) },
		"short":  func(id uuid.UUID) string { return id.String()[:8] },
		"add":    func(a, b int) int { return a + b },
		"dict":   dict,
		"notnil": func(s *string) bool { return s != nil },
		"deref":  func(s *string) string { return *s },
	}
}

// dict makes a map of names and values, for templates that need more than one thing.
func dict(pairs ...any) map[string]any {
	out := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		out[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return out
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
