package nphiessim

import (
	"bytes"
	"crypto/rand"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed page
var pageFiles embed.FS

var pageTemplates = template.Must(template.New("").Funcs(template.FuncMap{
	"clock": func(t time.Time) string { return t.In(riyadh).Format("15:04:05") },
}).ParseFS(pageFiles, "page/*.html"))

// maxShown is how many rows or cards of a channel a page shows.
const maxShown = 200

// page is what every page has.
type page struct {
	Nonce string
	Style template.CSS
}

// render writes a page that may load nothing but its own style sheet and run nothing.
func (s *Sim) render(w http.ResponseWriter, name string, data func(page) any) {
	style, err := pageFiles.ReadFile("page/style.css")
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	nonce := rand.Text()
	var buf bytes.Buffer
	css := template.CSS(style) //nolint:gosec // our own embedded file
	if err := pageTemplates.ExecuteTemplate(&buf, name, data(page{nonce, css})); err != nil {
		http.Error(w, fmt.Sprintf("page not made: %v", err), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+nonce+"'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(buf.Bytes())
}

type shownChannel struct {
	Name   string
	Anchor string
	Total  int
	Cards  []shownCard
}

type shownCard struct {
	Card
	Priority string
	Times    int
	Blocks   []block
}

// cardsPage shows the cards per channel, newest first.
func (s *Sim) cardsPage(w http.ResponseWriter, _ *http.Request) {
	cards := s.Cards()
	refused := s.RefusedPosts()
	slices.Reverse(refused)
	pages := s.PagerEvents()
	slices.Reverse(pages)
	byName := map[string]*shownChannel{}
	var channels []*shownChannel
	for _, c := range slices.Backward(cards) {
		ch := byName[c.Channel]
		if ch == nil {
			ch = &shownChannel{Name: c.Channel}
			byName[c.Channel] = ch
			channels = append(channels, ch)
		}
		if ch.Total++; ch.Total <= maxShown {
			ch.Cards = append(ch.Cards, shownCard{c, c.Headers["x-priority"], c.Duplicates + 1, blocksOf(c.card)})
		}
	}
	slices.SortFunc(channels, func(a, b *shownChannel) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	for i, ch := range channels {
		ch.Anchor = "channel-" + strconv.Itoa(i+1)
	}
	s.render(w, "cards", func(p page) any {
		return struct {
			page
			Total    int
			Channels []*shownChannel
			Refused  []RefusedPost
			Pages    []PagerEvent
		}{p, len(cards), channels, refused[:min(len(refused), maxShown)], pages[:min(len(pages), maxShown)]}
	})
}

// shownRequest is a request whose equal findings are folded.
type shownRequest struct {
	Request
	Folded []foldedFinding
	More   int // different findings that are not shown
}

// maxShownFindings is how many different findings of a request the list shows; its own page has all.
const maxShownFindings = 10

type foldedFinding struct {
	Finding
	Times int
}

// fold shows at most so many different findings of each request.
func fold(requests []Request, most int) []shownRequest {
	out := make([]shownRequest, 0, len(requests))
	for _, q := range requests {
		shown, at := shownRequest{Request: q}, map[Finding]int{}
		for _, f := range q.Findings {
			i, seen := at[f]
			switch {
			case seen && i < most:
				shown.Folded[i].Times++
			case seen:
			case len(at) < most:
				shown.Folded = append(shown.Folded, foldedFinding{f, 1})
			default:
				shown.More++
			}
			if !seen {
				at[f] = len(at)
			}
		}
		out = append(out, shown)
	}
	return out
}

type shownCount struct {
	Name  string
	Value int
}

// filter is what of the requests the page shows; empty fields do not filter.
type filter struct {
	Event   string
	License string
	Refused bool
}

func (f filter) keeps(q Request) bool {
	return (f.Event == "" || q.Event == f.Event) && (f.License == "" || q.Sender == f.License) && (!f.Refused || len(q.Findings) > 0)
}

// controlPage shows what arrived and why it was refused.
func (s *Sim) controlPage(w http.ResponseWriter, r *http.Request) {
	claims, requests, st := s.Claims(), s.Requests(), s.Stats()
	f := filter{Event: r.FormValue("event"), License: r.FormValue("license"), Refused: r.FormValue("refused") != ""}
	slices.Reverse(claims)
	slices.Reverse(requests)
	note := ""
	if len(claims) > maxShown {
		note = fmt.Sprintf("The newest %d of %d.", maxShown, len(claims))
	}
	licenses, seen := []string{}, map[string]bool{}
	kept := make([]Request, 0, len(requests))
	for _, q := range requests {
		if q.Sender != "" && !seen[q.Sender] {
			seen[q.Sender] = true
			licenses = append(licenses, q.Sender)
		}
		if f.keeps(q) {
			kept = append(kept, q)
		}
	}
	slices.Sort(licenses)
	s.render(w, "control", func(p page) any {
		return struct {
			page
			Counts     []shownCount
			Claims     []Claim
			ClaimsNote string
			Filter     filter
			Events     []string
			Licenses   []string
			Arrived    int
			Kept       int
			Requests   []shownRequest
			Behaviours []Behaviour
		}{
			p,
			[]shownCount{
				{"requests", st.Requests},
				{"claims billed", st.Billed},
				{"authorizations", st.Authorizations},
				{"identifiers with changed contents", st.Changed},
				{"requests refused", st.Refused},
				{"faults", st.Faults},
				{"messages waiting", st.Waiting},
				{"messages delivered", st.Delivered},
			},
			claims[:min(len(claims), maxShown)], note, f, playedEvents(), licenses, len(requests), len(kept),
			fold(kept[:min(len(kept), maxShown)], maxShownFindings), Behaviours(),
		}
	})
}

// maxShownBytes is how much of a message the page shows; the rest is behind a link.
const maxShownBytes = 256 << 10

// exchangePage shows one request with its answer.
func (s *Sim) exchangePage(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.Atoi(r.PathValue("id"))
	request, sent, ok := s.Exchange(id)
	all := s.Requests()
	i := slices.IndexFunc(all, func(q Request) bool { return q.ID == id })
	if !ok || i < 0 {
		writeProblem(w, http.StatusNotFound, "this request is not remembered")
		return
	}
	s.render(w, "exchange", func(p page) any {
		return struct {
			page
			shownRequest
			Parts []shownPart
		}{p, fold(all[i:i+1], len(all[i].Findings))[0], []shownPart{shown("request", "Request", request), shown("answer", "Answer", sent)}}
	})
}

// shownPart is one direction of an exchange.
type shownPart struct {
	Link, Title string
	Bytes       int
	Text        string // indented if it is JSON, the beginning if it is long
	Cut         bool
}

func shown(link, title string, raw []byte) shownPart {
	out := shownPart{Link: link, Title: title, Bytes: len(raw)}
	if len(raw) <= maxShownBytes {
		var pretty bytes.Buffer
		if _, err := parseJSON(raw); err == nil && json.Indent(&pretty, raw, "", "  ") == nil { // deep nesting makes it much longer
			raw = pretty.Bytes()
		}
	}
	if len(raw) > maxShownBytes {
		raw, out.Cut = raw[:maxShownBytes], true
	}
	out.Text = strings.ToValidUTF8(string(raw), "�")
	return out
}
