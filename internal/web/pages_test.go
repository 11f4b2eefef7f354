package web_test

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/internal/web"
)

// TestALetterLeadsToItsRunbook: to the page of its kind in a folder, to a single page as it is, and nowhere without the setting.
func TestALetterLeadsToItsRunbook(t *testing.T) {
	for base, want := range map[string]string{
		"https://git.example/runbooks/": `href="https://git.example/runbooks/network.md"`,
		"https://wiki.example/queues":   `href="https://wiki.example/queues"`,
		"":                              "",
	} {
		s := open(t, func(o *web.Options) { o.Runbook = base })
		letter, _ := s.deadLetter(t, s.claim(t))
		_, page := s.signIn(t, "vera").get("/dead/" + letter.ID.String())
		require.Contains(t, page, "network")
		if want == "" {
			require.NotContains(t, page, "the runbook")
			continue
		}
		require.Contains(t, page, want)
		require.Contains(t, page, "What to do about it: the runbook")
	}
}

func TestEveryPage(t *testing.T) {
	s := open(t)
	ctx := t.Context()
	done, stuck := s.claim(t), s.claim(t)
	s.answered(t, done)
	letter, _ := s.deadLetter(t, stuck)
	check, _, err := s.store.CreateCheck(ctx, store.NewCheck{License: "PR-1", Identifier: store.Identifier{System: "http://p.example/e", Value: "ELG-1"}, Payer: "INS-1", HeaderID: "h", BundleID: "b", SourceHash: "s", Body: []byte(patient)})
	require.NoError(t, err)
	answer, err := os.ReadFile("../../nphiesclient/testdata/messages/eligibility-response-eligible.json")
	require.NoError(t, err)
	_, err = s.store.SaveMessage(ctx, store.Message{Direction: store.In, Event: "eligibility-response", License: "PR-1", EligibilityID: &check.ID, Body: answer})
	require.NoError(t, err)
	_, _, err = s.store.RecordCheck(ctx, store.CheckAnswer{ID: check.ID, State: store.CheckEligible, SiteEligibility: "eligible"})
	require.NoError(t, err)
	notes, err := s.store.Notifications(ctx, &done.ID, 10)
	require.NoError(t, err)
	require.Len(t, notes, 1)
	digest := uuid.NewString()
	require.NoError(t, s.store.MarkSent(ctx, store.Sent{ID: notes[0].ID, StatusCode: 202, At: time.Now(), WebhookURL: "https://hooks.example/…#1", DigestID: digest}))
	poll, err := s.store.SaveMessage(ctx, store.Message{Direction: store.In, Event: "poll", License: "PR-1", Body: []byte(patient)})
	require.NoError(t, err)
	pos := 0
	_, err = s.store.SaveMessage(ctx, store.Message{Direction: store.In, Event: "advice", License: "PR-1", ParentID: &poll, Position: &pos, Body: []byte(patient)})
	require.NoError(t, err)

	for _, who := range []string{"amal", "vera"} {
		v := s.signIn(t, who)
		for path, want := range map[string][]string{
			"/":                                   {"1 open dead letter to decide on", "No worker is running", "24,667.00 claimed", "12,000.25 approved", "nphies-submit", "PR-1", "SRE"},
			"/claims":                             {done.Identifier.Value, stuck.Identifier.Value, "12,333.50", "Demo Insurance"},
			"/claims?state=partial":               {done.Identifier.Value},
			"/claims?q=" + stuck.Identifier.Value: {stuck.Identifier.Value},
			"/claims?q=none":                      {"No claim matches"},
			"/claims/" + done.ID.String():         {"partly approved", "Version 1", "MN-1-1", "Message to NPHIES", "Message from NPHIES, as answer", "Version 1 of the answer", "Card delivered to channel SRE in a digest", "RESP-1", string(cards.ClaimSubmittedEvent)},
			"/claims/" + stuck.ID.String():        {"Dead letter after 8 retries", "send claim-request: network: refused", "Message to NPHIES"},
			"/eligibility":                        {"ELG-1"},
			"/eligibility/" + check.ID.String():   {"ELG-1", "eligibility-request", "Only people with the role privacy see them"},
			"/dead":                               {stuck.Identifier.Value},
			"/dead?state=open&queue=nphies-submit&kind=network&reference=" + stuck.Identifier.Value: {stuck.Identifier.Value, "refused"},
			"/dead?state=resolved":                   {"No dead letter matches"},
			"/dead/" + letter.ID.String():            {letter.TaskID, "nphies:submit"},
			"/notifications":                         {string(cards.ClaimSubmittedEvent), "HTTP 202", "in a digest"},
			"/notifications?status=dead":             {"No notification matches"},
			"/notifications/" + notes[0].ID.String(): {"HTTP 202", "SRE"},
			"/notifications/" + digest:               {string(cards.ClaimSubmittedEvent)},
			"/inbox":                                 {"advice", "matches nothing"},
			"/payments":                              {"None."},
			"/pauses":                                {"Everything is sent"},
			"/audit":                                 {"The trail is whole: 0 rows"},
		} {
			r, page := v.get(path)
			require.Equal(t, http.StatusOK, r.StatusCode, path)
			for _, w := range want {
				require.Contains(t, page, w, path)
			}
			require.NotContains(t, page, "Dental Care", path)
			require.NotContains(t, page, "Fatimah", path)
			require.NotContains(t, page, "1098765432", path)
			require.Equal(t, strings.Count(page, `<script src="/static/live.js`), strings.Count(page, "<script"), path)
			require.NotContains(t, page, "style=", path)
			require.Contains(t, r.Header.Get("Content-Security-Policy"), "default-src 'none'", path)
			require.Contains(t, r.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'", path)
			require.Equal(t, "nosniff", r.Header.Get("X-Content-Type-Options"), path)
			require.Equal(t, "no-referrer", r.Header.Get("Referrer-Policy"), path)
			require.Equal(t, "no-store", r.Header.Get("Cache-Control"), path)
			if strings.HasPrefix(path, "/claims?q=CLM") || path == "/claims?state=partial" {
				require.Equal(t, 1, strings.Count(page, `<a href="/claims/`), path)
			}
		}
		for _, path := range []string{"/claims/x", "/claims/" + uuid.NewString(), "/dead/" + uuid.NewString(), "/eligibility/" + uuid.NewString(), "/notifications/" + uuid.NewString(), "/nothing"} {
			r, page := v.get(path)
			require.Equal(t, http.StatusNotFound, r.StatusCode, path)
			require.Contains(t, page, "There is no such", path)
		}
		r, _ := v.get("/claims?q=" + done.ID.String())
		require.Equal(t, http.StatusSeeOther, r.StatusCode)
		require.Equal(t, "/claims/"+done.ID.String(), r.Header.Get("Location"))
	}
}

func TestBenefitsAreAMessage(t *testing.T) {
	s := open(t)
	path := "/eligibility/" + s.check(t)
	_, page := s.signIn(t, "nora").get(path)
	require.Contains(t, page, "Dental Care")
	require.Contains(t, page, "benefit 250000.00 SAR (used 1840.50 SAR)")
	require.NotContains(t, page, "data-live=")
	list := s.actions(t)
	require.Len(t, list, 1)
	require.Equal(t, []string{"nora", "view", "benefits"}, []string{list[0].Actor, list[0].Verb, list[0].Detail["purpose"]})
}

func TestHealthNeedsNoLogin(t *testing.T) {
	s := open(t)
	v := s.visitor(t)
	for _, path := range []string{"/livez", "/readyz"} {
		r, body := v.get(path)
		require.Equal(t, http.StatusOK, r.StatusCode)
		require.Equal(t, "ok\n", body)
	}
	s.pool.Close()
	r, body := v.get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, r.StatusCode)
	require.NotContains(t, body, "postgres://")
	r, _ = v.get("/livez")
	require.Equal(t, http.StatusOK, r.StatusCode)
}

func TestPagesWithoutRedis(t *testing.T) {
	pool := testenv.Pool(t)
	rc := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = rc.Close() })
	q := broker.New(rc)
	st := store.New(pool, store.Options{})
	h, err := web.New(web.Options{Store: st, Queue: q, Redis: rc, Users: users(t), Log: testenv.Discard(), InsecureCookies: true})
	require.NoError(t, err)
	s := open(t) // a site with Redis only to make the letter
	s.store, s.pool = st, pool
	letter, _ := s.deadLetter(t, s.claim(t))
	s.Config.Handler = h

	v := s.signIn(t, "amal")
	began := time.Now()
	r, page := v.get("/")
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Contains(t, page, "Redis does not answer")
	require.Contains(t, page, "open dead letter")
	require.Less(t, time.Since(began), 10*time.Second)

	// The decision counts all the same.
	r, _ = v.post("/dead/"+letter.ID.String()+"/retry", url.Values{"csrf": {v.csrf()}, "reason": {"line is back"}})
	require.Equal(t, "/dead/"+letter.ID.String()+"?result=later", r.Header.Get("Location"))
	_, page = v.get(r.Header.Get("Location"))
	require.Contains(t, page, "The decision is on record")
	r, body := v.get("/queues/api/queues")
	require.Equal(t, http.StatusBadGateway, r.StatusCode)
	require.NotContains(t, body, "127.0.0.1")
}

func TestStaticFiles(t *testing.T) {
	v := open(t).visitor(t)
	r, _ := v.get("/static/style.css")
	require.Equal(t, "text/css; charset=utf-8", r.Header.Get("Content-Type"))
	r, _ = v.get("/static/icon.svg")
	require.Equal(t, "image/svg+xml", r.Header.Get("Content-Type"))
	for _, path := range []string{"/static/", "/static/%2e%2e/templates/layout.html", "/static/none.css"} {
		r, _ = v.get(path)
		require.NotEqual(t, http.StatusOK, r.StatusCode, path)
	}
}
