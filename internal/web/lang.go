package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// lang is a language of the pages.
type lang string

const (
	english lang = "en"
	arabic  lang = "ar"
)

// langCookie keeps the language that a browser chose.
const langCookie = "lang"

// dir is the direction of writing.
func (l lang) dir() string {
	if l == arabic {
		return "rtl"
	}
	return "ltr"
}

// other is the language to switch to.
func (l lang) other() lang {
	if l == arabic {
		return english
	}
	return arabic
}

// phrase is a text of ours that is put into words when a page is written: the English format is its key in the table of phrases.
// Its arguments may be phrases themselves.
type phrase struct {
	format string
	args   []any
}

// say makes a phrase. The format must be in the table of phrases; a test reads the calls.
func say(format string, args ...any) phrase { return phrase{format, args} }

// in puts a phrase into words.
func (p phrase) in(l lang) string {
	format := p.format
	args := make([]any, len(p.args))
	for i, a := range p.args {
		switch a := a.(type) {
		case phrase:
			args[i] = a.in(l)
		case time.Duration:
			args[i] = l.duration(a)
		default:
			args[i] = l.isolated(a)
		}
	}
	if l == arabic {
		if translated, ok := phrases[format]; ok {
			format = translated
		}
	}
	if len(args) == 0 {
		return format
	}
	return fmt.Sprintf(format, args...)
}

// isolated keeps numbers, codes and names of others in their own direction within an Arabic sentence.
func (l lang) isolated(v any) string {
	if l != arabic {
		return fmt.Sprint(v)
	}
	return "\u2068" + fmt.Sprint(v) + "\u2069"
}

// text puts anything into words: a phrase, or a text that is in the table; what is not stays as it is.
func (l lang) text(v any) string {
	switch v := v.(type) {
	case phrase:
		return v.in(l)
	case *phrase:
		return v.in(l)
	}
	return say(fmt.Sprint(v)).in(l)
}

// word puts a value of the record (a state, a kind, a verb) into words. Unknown ones are shown as they are.
func (l lang) word(v any) string {
	key := strings.ReplaceAll(fmt.Sprint(v), "_", " ")
	if first, rest, several := strings.Cut(key, ", "); several && l == arabic {
		return l.word(first) + "، " + l.word(rest)
	}
	if l == arabic {
		if translated, ok := phrases[key]; ok {
			return translated
		}
	}
	return key
}

// duration writes the two largest units at most.
func (l lang) duration(d time.Duration) string {
	d = d.Round(time.Second)
	n := func(f float64) int { return int(f) }
	switch {
	case d < time.Minute:
		return say("%d s", n(d.Seconds())).number(l)
	case d < time.Hour:
		return say("%d min", n(d.Minutes())).number(l)
	case d < 48*time.Hour:
		if m := n(d.Minutes()) % 60; m != 0 {
			return say("%d h %d min", n(d.Hours()), m).number(l)
		}
		return say("%d h", n(d.Hours())).number(l)
	default:
		return say("%d days", n(d.Hours())/24).number(l)
	}
}

// number is in for formats with %d.
func (p phrase) number(l lang) string {
	format := p.format
	if translated, ok := phrases[format]; ok && l == arabic {
		format = translated
	}
	return fmt.Sprintf(format, p.args...)
}

// ago says how far a time is from now.
func (l lang) ago(v any, now time.Time) string {
	t, ok := moment(v)
	if !ok {
		return say("never").in(l)
	}
	switch d := now.Sub(t); {
	case d < -time.Second:
		return say("in %s", -d).in(l)
	case d < 2*time.Second:
		return say("just now").in(l)
	default:
		return say("%s ago", d).in(l)
	}
}

// plural counts things: one and many are phrases, the latter with a %s for the number.
func plural(n int, one, many phrase) phrase {
	if n == 1 {
		return one
	}
	many.args = []any{count(n)}
	return many
}

type langKey struct{}

// languageOf returns the language of a request.
func languageOf(ctx context.Context) lang {
	if l, ok := ctx.Value(langKey{}).(lang); ok {
		return l
	}
	return english
}

// speaking finds the language of a request: ?lang= chooses one for this browser, its cookie remembers it, and English is the rest.
func (s *Server) speaking(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if chosen := lang(query.Get("lang")); r.Method == http.MethodGet && query.Has("lang") {
			if chosen == english || chosen == arabic {
				http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure but for loopback and the demo, by a setting of its own
					Name: langCookie, Value: string(chosen), Path: "/", MaxAge: 365 * 24 * 60 * 60, HttpOnly: true, Secure: !s.opt.InsecureCookies, SameSite: http.SameSiteLaxMode,
				})
			}
			query.Del("lang")
			http.Redirect(w, r, here(r, query), http.StatusSeeOther) //nolint:gosec // a path of this host, whatever was asked for
			return
		}
		l := english
		if c, err := r.Cookie(langCookie); err == nil && lang(c.Value) == arabic {
			l = arabic
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), langKey{}, l)))
	})
}

// here is the address of a page of ours with another query.
func here(r *http.Request, query url.Values) string {
	u := url.URL{Path: "/" + strings.TrimLeft(r.URL.Path, "/\\"), RawQuery: query.Encode()}
	return u.String()
}
