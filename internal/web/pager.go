package web

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/claimlinc/nphiesq/internal/store"
)

// shown is how many rows a page of a list has.
const shown = 50

// pager leads to the pages before and after.
type pager struct {
	Prev, Next string
	// Cut: the search was cut off, and goes on at the next page.
	Cut bool
}

func turnOf(r *http.Request) store.Turn {
	return store.Turn{After: r.FormValue("after"), Before: r.FormValue("before"), Limit: shown}
}

func pagerOf[T any](r *http.Request, p store.Paged[T]) pager {
	link := func(name, at string) string {
		if at == "" {
			return ""
		}
		query := r.URL.Query()
		query.Del("after")
		query.Del("before")
		query.Del("result")
		query.Set(name, at)
		return here(r, query)
	}
	return pager{Prev: link("before", p.Prev), Next: link("after", p.Next), Cut: p.Cut}
}

// typed is what somebody typed into a field of a filter: no blanks around it, nothing the database would refuse.
func typed(r *http.Request, name string) string {
	return strings.TrimSpace(strings.ToValidUTF8(strings.ReplaceAll(r.FormValue(name), "\x00", ""), ""))
}

// day reads a date of a filter as Riyadh has it; end is for the last day, which counts in full. What is no date is left out.
func day(r *http.Request, name string, end bool) (text string, at time.Time) {
	text = r.FormValue(name)
	at, err := time.ParseInLocation(time.DateOnly, text, riyadh)
	if err != nil {
		return "", time.Time{}
	}
	if end {
		at = at.AddDate(0, 0, 1)
	}
	return text, at
}

// with is the address of this page with one thing changed in its query.
func with(r *http.Request, name, value string) string {
	query := url.Values{}
	for k, v := range r.URL.Query() {
		if k != "result" {
			query[k] = v
		}
	}
	query.Del(name)
	if value != "" {
		query.Set(name, value)
	}
	return here(r, query)
}
