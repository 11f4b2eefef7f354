package nphiessim

import (
	"bytes"
	"crypto/rand"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
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
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+nonce+"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
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
		}{p, len(cards), channels, refused[:min(len(refused), maxShown)]}
	})
}

// shownRequest is a request whose equal findings are folded.
type shownRequest struct {
	Request
	Folded []foldedFinding
}

type foldedFinding struct {
	Finding
	Times int
}

func fold(requests []Request) []shownRequest {
	out := make([]shownRequest, 0, len(requests))
	for _, q := range requests {
		shown := shownRequest{Request: q}
		for _, f := range q.Findings {
			i := slices.IndexFunc(shown.Folded, func(g foldedFinding) bool { return g.Finding == f })
			if i < 0 {
				shown.Folded = append(shown.Folded, foldedFinding{f, 1})
				continue
			}
			shown.Folded[i].Times++
		}
		out = append(out, shown)
	}
	return out
}

type shownCount struct {
	Name  string
	Value int
}

// controlPage shows what arrived and why it was refused.
func (s *Sim) controlPage(w http.ResponseWriter, _ *http.Request) {
	claims, requests, st := s.Claims(), s.Requests(), s.Stats()
	slices.Reverse(claims)
	slices.Reverse(requests)
	note := ""
	if len(claims) > maxShown {
		note = fmt.Sprintf("The newest %d of %d.", maxShown, len(claims))
	}
	s.render(w, "control", func(p page) any {
		return struct {
			page
			Counts     []shownCount
			Claims     []Claim
			ClaimsNote string
			Requests   []shownRequest
			Behaviours []Behaviour
		}{p, []shownCount{
			{"requests", st.Requests},
			{"claims billed", st.Billed},
			{"identifiers with changed contents", st.Changed},
			{"requests refused", st.Refused},
			{"faults", st.Faults},
			{"messages waiting", st.Waiting},
			{"messages delivered", st.Delivered},
		}, claims[:min(len(claims), maxShown)], note, fold(requests[:min(len(requests), maxShown)]), Behaviours()}
	})
}
