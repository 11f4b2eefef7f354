package nphiessim

import (
	"encoding/json"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxCardBytes = 28_000
	// maxTeamsRead bounds what is read of a post; anything above maxCardBytes is refused anyway.
	maxTeamsRead = 1 << 20
)

// Card is a post that Teams accepted.
type Card struct {
	Channel    string    `json:"channel"`
	WebhookID  string    `json:"webhook_id"`
	ReceivedAt time.Time `json:"received_at"`
	// Duplicates counts further posts with the same webhook-id; they are not shown again.
	Duplicates int `json:"duplicates"`
	// Changed tells that one of the duplicates had another body.
	Changed bool            `json:"changed,omitempty"`
	Body    json.RawMessage `json:"body"`
	// Headers are those of the first post, without signature and cookies.
	Headers map[string]string `json:"headers"`

	card node
}

// RefusedPost is a post that Teams did not accept.
type RefusedPost struct {
	Channel    string    `json:"channel"`
	WebhookID  string    `json:"webhook_id,omitempty"`
	ReceivedAt time.Time `json:"received_at"`
	Status     int       `json:"status"` // 0 if a fault closed the connection
	Reasons    []string  `json:"reasons"`
}

// maxRefused is how many refused posts are remembered.
const maxRefused = 500

type teamsState struct {
	cards   []*Card
	byID    map[string]*Card // channel and webhook-id
	posts   map[string][]time.Time
	refused []RefusedPost
}

// Cards returns the accepted cards, oldest first.
func (s *Sim) Cards() []Card {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Card, 0, len(s.teams.cards))
	for _, c := range s.teams.cards {
		out = append(out, *c)
	}
	return out
}

// RefusedPosts returns the last posts that were not accepted, oldest first, at most 500.
func (s *Sim) RefusedPosts() []RefusedPost {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.teams.refused)
}

// Teams returns the handler of the Teams stand-in: webhooks below /workflows/{channel}/triggers/manual/paths/invoke, the
// page of cards at /, the cards as JSON at /cards.json and the refused posts at /refused.json. Beside it stands PagerDuty: POST /v2/enqueue takes
// events, /pagerduty.json shows them.
func (s *Sim) Teams() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /workflows/{channel}/triggers/manual/paths/invoke", s.takeCard)
	mux.HandleFunc("POST /v2/enqueue", s.takePage)
	mux.HandleFunc("GET /pagerduty.json", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"incidents": publicIncidents(s.PagerIncidents()), "events": s.PagerEvents()})
	})
	mux.HandleFunc("GET /{$}", s.cardsPage)
	mux.HandleFunc("GET /cards.json", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.Cards()) })
	mux.HandleFunc("GET /refused.json", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.RefusedPosts()) })
	return mux
}

// takeCard answers a post as a workflow does: 202 and nothing else.
func (s *Sim) takeCard(w http.ResponseWriter, r *http.Request) {
	channel := r.PathValue("channel")
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTeamsRead))
	if err != nil {
		s.refusePost(w, r, http.StatusRequestEntityTooLarge, "the body cannot be read or is far too large")
		return
	}
	now := s.opt.Now()
	s.mu.Lock()
	fault := s.strike("teams:"+channel, "").Kind
	s.mu.Unlock()
	if fault != "" && !fault.afterwards() {
		s.inflictTeams(w, r, fault)
		return
	}
	if !s.authorized(r) {
		s.refusePost(w, r, http.StatusUnauthorized, "the URL parameter sig is missing or wrong")
		return
	}
	if wait := s.throttle(channel, now); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(wait))
		s.refusePost(w, r, http.StatusTooManyRequests, "too many posts, wait "+strconv.Itoa(wait)+" s")
		return
	}
	if len(body) > maxCardBytes {
		s.refusePost(w, r, http.StatusRequestEntityTooLarge, strconv.Itoa(len(body))+" bytes; at most "+strconv.Itoa(maxCardBytes))
		return
	}
	if len(s.keys) > 0 {
		if err := verifySignature(r.Header, body, s.keys, now); err != nil {
			s.refusePost(w, r, http.StatusUnauthorized, err.Error())
			return
		}
	}
	card, reasons := inspectPost(r.Header, body)
	if len(reasons) > 0 {
		s.refusePost(w, r, http.StatusBadRequest, reasons...)
		return
	}
	s.showCard(channel, r.Header, body, card, now)
	switch fault {
	case FaultSlow:
		s.wait(r, s.opt.SlowDelay)
	case FaultCutAfter, FaultTruncate:
		panic(http.ErrAbortHandler)
	default:
	}
	w.WriteHeader(http.StatusAccepted)
}

func (s *Sim) authorized(r *http.Request) bool {
	sig := r.URL.Query().Get("sig")
	return sig != "" && (s.opt.TeamsSig == "" || sig == s.opt.TeamsSig)
}

// throttle counts a post against the channel's windows; it returns the seconds to wait, 0 if the post is within them.
func (s *Sim) throttle(channel string, now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	posts := slices.DeleteFunc(s.teams.posts[channel], func(t time.Time) bool { return now.Sub(t) >= max(s.opt.TeamsWindow, time.Second) })
	s.teams.posts[channel] = posts
	wait := max(over(posts, now, s.opt.TeamsRate, s.opt.TeamsWindow), over(posts, now, s.opt.TeamsBurst, time.Second))
	if wait > 0 {
		return int((wait + time.Second - 1) / time.Second)
	}
	s.teams.posts[channel] = append(posts, now)
	return 0
}

// over tells how long until fewer than limit of the posts lie within the window; 0 if that is so now.
func over(posts []time.Time, now time.Time, limit int, window time.Duration) time.Duration {
	if limit <= 0 || len(posts) < limit {
		return 0
	}
	return max(0, posts[len(posts)-limit].Add(window).Sub(now))
}

func (s *Sim) showCard(channel string, h http.Header, body []byte, card node, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := h.Get("Webhook-Id")
	if c := s.teams.byID[channel+"|"+id]; c != nil && id != "" {
		c.Duplicates++
		c.Changed = c.Changed || string(c.Body) != string(body)
		s.stats.Duplicates++
		return
	}
	c := &Card{Channel: channel, WebhookID: id, ReceivedAt: now, Body: body, Headers: publicHeaders(h), card: card}
	s.teams.cards = append(s.teams.cards, c)
	s.teams.byID[channel+"|"+id] = c
}

// publicHeaders keeps what is no secret.
func publicHeaders(h http.Header) map[string]string {
	out := map[string]string{}
	for name := range h {
		switch name {
		case "Webhook-Signature", "Authorization", "Cookie", "Proxy-Authorization":
		default:
			out[strings.ToLower(name)] = h.Get(name)
		}
	}
	return out
}

// refusePost answers in the form of the workflow service's errors.
func (s *Sim) refusePost(w http.ResponseWriter, r *http.Request, status int, reasons ...string) {
	s.noteRefused(r, status, reasons...)
	writeJSON(w, status, map[string]any{"error": map[string]string{"code": http.StatusText(status), "message": strings.Join(reasons, "; ")}})
}

func (s *Sim) noteRefused(r *http.Request, status int, reasons ...string) {
	channel := r.PathValue("channel")
	s.log.InfoContext(r.Context(), "post not accepted", slog.String("channel", channel), slog.Int("status", status), slog.Any("reasons", reasons))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.TeamsRefused++
	if len(s.teams.refused) >= maxRefused {
		s.teams.refused = slices.Delete(s.teams.refused, 0, 1)
	}
	s.teams.refused = append(s.teams.refused, RefusedPost{
		Channel: channel, WebhookID: r.Header.Get("Webhook-Id"), ReceivedAt: s.opt.Now(), Status: status, Reasons: reasons,
	})
}

func (s *Sim) inflictTeams(w http.ResponseWriter, r *http.Request, kind FaultKind) {
	status := map[FaultKind]int{
		Fault429: http.StatusTooManyRequests, Fault401: http.StatusUnauthorized, Fault500: http.StatusInternalServerError,
		FaultOutcome: http.StatusInternalServerError, Fault503: http.StatusServiceUnavailable,
	}[kind]
	if status == 0 {
		s.noteRefused(r, 0, "fault "+string(kind))
		s.inflict(w, r, kind, nil)
		return
	}
	if kind == Fault429 {
		w.Header().Set("Retry-After", "1")
	}
	s.refusePost(w, r, status, "fault "+string(kind))
}

// isJSONWithCharset wants application/json with a charset: without it emoji suffer.
func isJSONWithCharset(contentType string) bool {
	kind, params, err := mime.ParseMediaType(contentType)
	return err == nil && kind == "application/json" && strings.EqualFold(params["charset"], "utf-8")
}
