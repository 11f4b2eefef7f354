package actionweb_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/actionlink"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/actionweb"
	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/signin"
	"github.com/claimlinc/nphiesq/internal/signing"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const (
	password = "correct horse battery"
	apiKey   = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	apiKeyID = "ed11014c"
	linkKey  = "k1:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
)

type oneChannel struct{}

func (oneChannel) Channels(who []cards.Stakeholder) []store.Channel {
	return []store.Channel{{Name: "SRE", Stakeholders: who}}
}

type site struct {
	*httptest.Server
	t     *testing.T
	store *store.Store
	redis *redis.Client
	keys  actionlink.Keys
	log   *bytes.Buffer
	mu    *sync.Mutex
	ahead atomic.Int64 // seconds of the clock of links
	fails []string
}

func (s *site) AuthFailure(source actions.Source, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = append(s.fails, string(source)+" "+reason)
}

func (s *site) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func open(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, store: store.New(testenv.Pool(t), store.Options{Router: oneChannel{}}), redis: testenv.Redis(t), log: &bytes.Buffer{}, mu: &sync.Mutex{}}
	log := slog.New(slog.NewTextHandler(s, nil))
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	require.NoError(t, err)
	users, err := signin.ParseUsers(fmt.Sprintf("amal:operator:%[1]s salem:operator:%[1]s vera:viewer:%[1]s boss:supervisor:%[1]s", hash))
	require.NoError(t, err)
	door, err := signin.New(signin.Options{Record: s.store, Site: "actions", Users: users, InsecureCookies: true, Log: log})
	require.NoError(t, err)
	s.keys, err = actionlink.ParseKeys(linkKey)
	require.NoError(t, err)
	roles, err := actions.ParsePermissions("discard=supervisor", "viewer", "operator", "supervisor", "privacy")
	require.NoError(t, err)
	core := &actions.Core{Store: s.store, Queue: broker.New(s.redis), Log: log}
	mux := http.NewServeMux()
	door.Mount(mux)
	(&actionweb.Links{
		Keys: s.keys, Core: core, Record: s.store, Door: door, Roles: roles, Failures: ratelimit.NewFailures(s.redis, "link", ratelimit.FailureSettings{Limit: 30, Window: time.Minute}),
		Metrics: s, Monitor: "https://monitor.example", Log: log, Now: func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load()) * time.Second) },
	}).Mount(mux)
	keys, err := signing.ParseKeys(apiKey)
	require.NoError(t, err)
	mux.Handle(actionweb.APIPath, &actionweb.API{
		Receiver: &signing.Receiver{Route: actionweb.APIRoute, Keys: keys, Replays: signing.NewReplays(s.redis)}, Core: core,
		Failures: ratelimit.NewFailures(s.redis, "api", ratelimit.FailureSettings{Limit: 10, Window: time.Minute}), Metrics: s, Log: log,
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// dead is a claim whose submission died; it returns its notification.
func (s *site) dead() (store.Claim, store.DeadLetter, store.Notification) {
	s.t.Helper()
	const number = "CLM-1"
	ctx := s.t.Context()
	c, _, err := s.store.CreateClaim(ctx, store.NewClaim{
		License: "PR-1", Identifier: store.Identifier{System: "s", Value: number}, Payer: "INS", Claimed: decimal.New(100, -2), HeaderID: "h", BundleID: "b", SourceHash: "x",
		Event: "claim-request", Body: []byte("{}"),
	})
	require.NoError(s.t, err)
	task := tasks.NewSubmit(c.ID, 1)
	id, _, _, err := s.store.RecordDeadLetter(ctx, store.DeadLetter{
		Queue: task.Queue, TaskType: tasks.TypeSubmit, TaskID: task.ID, ClaimID: &c.ID, Reference: number, ErrorKind: "network", ErrorText: "refused", LastFailedAt: time.Now(), FirstFailedAt: time.Now(),
	}, func(l store.DeadLetter) []store.Event {
		return []store.Event{{
			Event: cards.Event{Type: cards.TaskDLQEvent, Details: cards.DeadLetter{ID: l.ID.String(), ClaimID: c.ID.String(), ClaimRef: number, TaskType: l.TaskType}},
			Key:   "dead/" + l.ID.String(), ClaimID: &c.ID, DeadLetterID: &l.ID,
		}}
	})
	require.NoError(s.t, err)
	l, err := s.store.DeadLetter(ctx, id)
	require.NoError(s.t, err)
	list, err := s.store.Notifications(ctx, &c.ID, 1)
	require.NoError(s.t, err)
	return c, l, list[0]
}

func (s *site) link(n uuid.UUID, v actions.Verb) string {
	s.t.Helper()
	now := time.Now()
	token, err := s.keys.Mint(actionlink.Token{Alert: n.String(), Verb: string(v), Audience: "SRE", Issued: now, Expires: now.Add(time.Hour)})
	require.NoError(s.t, err)
	return s.URL + "/a/" + token
}

// browser follows no redirect and keeps cookies.
type browser struct {
	*http.Client
	s *site
}

func (s *site) browser(name string) *browser {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(s.t, err)
	b := &browser{&http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, s}
	if name != "" {
		status, _, _ := b.post(s.URL+"/signin", url.Values{"name": {name}, "password": {password}, "next": {"/"}})
		require.Equal(s.t, http.StatusSeeOther, status)
	}
	return b
}

func (b *browser) do(method, address string, header map[string]string, body io.Reader) (int, string, http.Header) {
	b.s.t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(b.s.t.Context()), method, address, body)
	require.NoError(b.s.t, err)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := b.Do(req)
	require.NoError(b.s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(b.s.t, err)
	return resp.StatusCode, string(text), resp.Header
}

func (b *browser) get(address string) (int, string, http.Header) {
	return b.do("GET", address, nil, nil)
}

func (b *browser) post(address string, form url.Values) (int, string, http.Header) {
	return b.do("POST", address, map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}, strings.NewReader(form.Encode()))
}

var hidden = regexp.MustCompile(`name="(form|proof)" value="([^"]+)"`)

// fields are the hidden ones of a page.
func fields(page string) url.Values {
	out := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(page, -1) {
		out.Set(m[1], m[2])
	}
	return out
}

func (s *site) state(n uuid.UUID) store.AlertState {
	s.t.Helper()
	a, err := s.store.AlertOf(context.WithoutCancel(s.t.Context()), n)
	require.NoError(s.t, err)
	return a.State
}

// TestAPersonRetries is the whole way: the link, signing in, the page, the reason, the button.
func TestAPersonRetries(t *testing.T) {
	s := open(t)
	c, l, n := s.dead()
	link := s.link(n.ID, actions.Retry)
	b := s.browser("")
	status, _, h := b.get(link)
	require.Equal(t, http.StatusSeeOther, status)
	next, err := url.Parse(h.Get("Location"))
	require.NoError(t, err)
	require.Equal(t, "/signin", next.Path)
	status, _, h = b.post(s.URL+"/signin", url.Values{"name": {"amal"}, "password": {password}, "next": {next.Query().Get("next")}})
	require.Equal(t, http.StatusSeeOther, status)
	require.Equal(t, strings.TrimPrefix(link, s.URL), h.Get("Location"), "back to where they wanted to go")

	status, page, h := b.get(link)
	require.Equal(t, http.StatusOK, status)
	for _, want := range []string{"CLM-1", "task.dlq", "open", "Retry", "required", "Signed in as amal", "https://monitor.example/notifications/" + n.ID.String()} {
		require.Contains(t, page, want)
	}
	require.NotContains(t, page, "<script")
	require.Equal(t, []string{"no-store", "no-referrer", "noindex", "nosniff", "DENY"},
		[]string{h.Get("Cache-Control"), h.Get("Referrer-Policy"), h.Get("X-Robots-Tag"), h.Get("X-Content-Type-Options"), h.Get("X-Frame-Options")})
	require.Regexp(t, `^default-src 'none'; style-src 'nonce-[A-Z2-7]+'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'$`, h.Get("Content-Security-Policy"))

	form := fields(page)
	status, page, _ = b.post(link, form)
	require.Equal(t, 422, status)
	require.Contains(t, page, "A reason is needed")
	form = fields(page)
	form.Set("reason", "NPHIES is back")
	status, _, h = b.post(link, form)
	require.Equal(t, http.StatusSeeOther, status)
	status, page, _ = b.get(s.URL + h.Get("Location"))
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, "tried again")
	require.Contains(t, page, "retrying")
	letter, err := s.store.DeadLetter(t.Context(), l.ID)
	require.NoError(t, err)
	require.Equal(t, []any{store.LetterRetrying, "amal", "NPHIES is back"}, []any{letter.State, letter.DecidedBy, letter.Reason})
	state, err := broker.New(s.redis).TaskState(tasks.QueueSubmit, tasks.NewSubmit(c.ID, 2).ID)
	require.NoError(t, err)
	require.Equal(t, "pending", state)

	// The same form again changes nothing and says the same; a new page says who did it.
	status, _, _ = b.post(link, form)
	require.Equal(t, http.StatusSeeOther, status)
	status, page, _ = s.browser("salem").get(link)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, "By amal")
	require.NotContains(t, page, "<form")
	trail, err := s.store.Actions(t.Context(), "", 0)
	require.NoError(t, err)
	applied := 0
	for _, a := range trail {
		if a.TargetKind == "alert" && a.Outcome == "applied" {
			applied++
			require.Equal(t, []string{"local:amal", "password", "k1"}, []string{a.Detail["actor_id"], a.Detail["auth_method"], a.Detail["key_id"]})
		}
	}
	require.Equal(t, 1, applied)
	require.NotContains(t, s.log.String(), strings.TrimPrefix(link, s.URL+"/a/"), "no token in the log")
}

// TestScannersChangeNothing: whoever only looks at an address, a hundred at once, signed in or not.
func TestScannersChangeNothing(t *testing.T) {
	s := open(t)
	_, _, n := s.dead()
	operator := s.browser("amal")
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			for _, verb := range actions.Verbs() {
				b := operator
				if i%2 == 0 {
					b = &browser{&http.Client{}, s}
				}
				req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), []string{"GET", "HEAD"}[i/2%2], s.link(n.ID, verb), nil)
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := b.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
	all.Wait()
	require.Equal(t, store.AlertOpen, s.state(n.ID))
	trail, err := s.store.Actions(t.Context(), "", 0)
	require.NoError(t, err)
	require.Empty(t, trail)
}

// TestAHundredPress at once, each on a page of their own: one is the first, the others are told who.
func TestAHundredPress(t *testing.T) {
	s := open(t)
	_, _, n := s.dead()
	link := s.link(n.ID, actions.Acknowledge)
	people := []*browser{s.browser("amal"), s.browser("salem"), s.browser("boss")}
	var forms []url.Values
	for i := range 100 {
		_, page, _ := people[i%3].get(link)
		forms = append(forms, fields(page))
	}
	var all sync.WaitGroup
	var refused atomic.Int32
	for i := range 100 {
		all.Go(func() {
			if status, _, _ := people[i%3].post(link, forms[i]); status != http.StatusSeeOther {
				refused.Add(1)
			}
		})
	}
	all.Wait()
	require.Zero(t, refused.Load(), "to be the second is no error")
	trail, err := s.store.Actions(t.Context(), "", 0)
	require.NoError(t, err)
	count := map[string]int{}
	for _, a := range trail {
		count[a.Outcome]++
	}
	require.Equal(t, map[string]int{"applied": 1, "already": 99}, count)
}

func TestLinksThatAreRefused(t *testing.T) {
	s := open(t)
	_, _, n := s.dead()
	b := s.browser("amal")
	good := s.link(n.ID, actions.Discard)
	old, err := s.keys.Mint(actionlink.Token{Alert: n.ID.String(), Verb: "retry", Issued: time.Now().Add(-2 * time.Hour), Expires: time.Now().Add(-time.Hour)})
	require.NoError(t, err)
	odd, err := s.keys.Mint(actionlink.Token{Alert: n.ID.String(), Verb: "format", Issued: time.Now(), Expires: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	for name, x := range map[string]struct {
		link   string
		status int
	}{
		"changed": {good[:len(good)-2] + "AA", 400}, "none of ours": {s.URL + "/a/x", 400}, "expired": {s.URL + "/a/" + old, 410},
		"a verb of another version": {s.URL + "/a/" + odd, 400}, "alert gone": {s.link(uuid.New(), actions.Retry), 404},
	} {
		status, _, _ := b.get(x.link)
		require.Equal(t, x.status, status, name)
		status, _, _ = b.post(x.link, url.Values{"reason": {"x"}})
		require.Equal(t, x.status, status, name)
	}

	// The form is bound to the session, the link and the origin.
	_, page, _ := b.get(good)
	require.Contains(t, page, "needs the role supervisor")
	require.NotContains(t, page, "<form")
	boss := s.browser("boss")
	_, page, _ = boss.get(good)
	form := fields(page)
	form.Set("reason", "no use")
	status, _, _ := b.post(good, form)
	require.Equal(t, 403, status, "another one's form")
	status, _, _ = boss.post(s.link(n.ID, actions.Retry), form)
	require.Equal(t, 403, status, "another link's form")
	for _, h := range []map[string]string{{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "same-site"}} {
		h["Content-Type"] = "application/x-www-form-urlencoded"
		status, _, _ = boss.do("POST", good, h, strings.NewReader(form.Encode()))
		require.Equal(t, 403, status, "%v", h)
	}
	status, _, _ = boss.do("POST", good, map[string]string{"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}, strings.NewReader("{}"))
	require.Equal(t, 415, status)
	form.Set("reason", strings.Repeat("x", 9<<10))
	status, _, _ = boss.post(good, form)
	require.Equal(t, 413, status)
	status, _, _ = s.browser("").post(good, form)
	require.Equal(t, 401, status)
	require.Equal(t, store.AlertOpen, s.state(n.ID))

	// Who may not, is refused and on record, even with a form of their own.
	viewer := s.browser("vera")
	_, page, _ = viewer.get(s.link(n.ID, actions.Acknowledge))
	require.Contains(t, page, "You may look but not do this")
	form.Set("reason", "no use")
	status, page, h := boss.post(good, form)
	require.Equal(t, http.StatusSeeOther, status, page)
	_, page, _ = boss.get(s.URL + h.Get("Location"))
	require.Contains(t, page, "Given up")
	require.Equal(t, store.AlertDiscarded, s.state(n.ID))

	// A link that has expired since the form was shown is refused, but what came of a form can still be read.
	s.ahead.Store(3 * 3600)
	status, _, _ = boss.post(good, form)
	require.Equal(t, 410, status)
	status, _, _ = boss.get(s.URL + h.Get("Location"))
	require.Equal(t, 200, status)
}

// TestWhoTriesTokensIsStopped by address.
func TestWhoTriesTokensIsStopped(t *testing.T) {
	s := open(t)
	_, _, n := s.dead()
	b := s.browser("amal")
	for range 30 {
		status, _, _ := b.get(s.URL + "/a/v1.k1.x.y")
		require.Equal(t, 400, status)
	}
	status, _, h := b.get(s.link(n.ID, actions.Retry))
	require.Equal(t, 429, status)
	require.NotEmpty(t, h.Get("Retry-After"))
	require.Len(t, s.fails, 30)
	trail, err := s.store.Actions(t.Context(), "", 0)
	require.NoError(t, err)
	require.Len(t, trail, 20, "they are on record, but a flood of them does not fill it")
	require.Equal(t, []string{"unknown", "link", "refused", "token"}, []string{trail[0].Actor, trail[0].Source, trail[0].Outcome, trail[0].Detail["reason"]})
}

// call signs a call.
func (s *site) call(id, body string, change func(*http.Request)) (int, map[string]any, http.Header) {
	s.t.Helper()
	keys, err := signing.ParseKeys(apiKey)
	require.NoError(s.t, err)
	req, err := http.NewRequestWithContext(context.WithoutCancel(s.t.Context()), "POST", s.URL+actionweb.APIPath, strings.NewReader(body))
	require.NoError(s.t, err)
	now := time.Now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(signing.HeaderID, id)
	req.Header.Set(signing.HeaderTimestamp, fmt.Sprint(now.Unix()))
	req.Header.Set(signing.HeaderSignature, signing.Sign(keys, id, now, []byte(body)))
	if change != nil {
		change(req)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	var out map[string]any
	require.NoError(s.t, json.NewDecoder(resp.Body).Decode(&out))
	return resp.StatusCode, out, resp.Header
}

func TestTheSignedAPI(t *testing.T) {
	s := open(t)
	_, l, n := s.dead()
	body := func(verb, reason string) string {
		return fmt.Sprintf(`{"type":"alert.%s","alert_id":%q,"reason":%q,"actor":{"id":"a.user@example.com","name":"A. User"}}`, verb, n.ID, reason)
	}
	status, out, h := s.call("act_1", body("acknowledge", ""), nil)
	require.Equal(t, 200, status, out)
	require.Equal(t, "application/json", h.Get("Content-Type"))
	require.Equal(t, []any{"applied", "applied", "acknowledged", "A. User"}, []any{out["outcome"], out["code"], out["state"], out["actor"]})
	require.NotEmpty(t, out["request_id"])
	trail, err := s.store.Actions(t.Context(), "", 1)
	require.NoError(t, err)
	require.Equal(t, []string{"api", apiKeyID, "hmac", "service"}, []string{trail[0].Source, trail[0].Detail["asserted_by"], trail[0].Detail["auth_method"], trail[0].Detail["actor_type"]})

	// The same call again gets the same answer; another one under its id does not.
	status, again, _ := s.call("act_1", body("acknowledge", ""), nil)
	require.Equal(t, 200, status)
	require.Equal(t, []any{true, out["command_id"], out["at"], "applied"}, []any{again["repeated"], again["command_id"], again["at"], again["outcome"]})
	status, out, h = s.call("act_1", body("escalate", ""), nil)
	require.Equal(t, 409, status)
	require.Equal(t, "application/problem+json", h.Get("Content-Type"))
	require.EqualValues(t, 409, out["status"])
	status, out, _ = s.call("act_2", body("acknowledge", ""), nil)
	require.Equal(t, []any{200, "already"}, []any{status, out["outcome"]})
	status, out, _ = s.call("act_3", body("retry", ""), nil)
	require.Equal(t, []any{422, "reason_missing"}, []any{status, out["code"]})
	status, out, _ = s.call("act_4", body("retry", "NPHIES is back"), nil)
	require.Equal(t, []any{200, "retrying"}, []any{status, out["state"]})
	status, out, _ = s.call("act_5", body("discard", "x"), nil)
	require.Equal(t, []any{409, "not_possible"}, []any{status, out["code"]})
	letter, err := s.store.DeadLetter(t.Context(), l.ID)
	require.NoError(t, err)
	require.Equal(t, []any{store.LetterRetrying, "A. User"}, []any{letter.State, letter.DecidedBy})

	for name, x := range map[string]struct {
		body   string
		status int
	}{
		"no JSON": {"{", 400}, "two objects": {body("resolve", "") + "{}", 400}, "an unknown field": {strings.Replace(body("resolve", ""), `"reason"`, `"reasons"`, 1), 400},
		"an unknown verb": {body("drop", ""), 400}, "no type": {`{"alert_id":"x"}`, 400}, "no id": {strings.Replace(body("resolve", ""), n.ID.String(), "alr_1", 1), 400},
		"no actor": {fmt.Sprintf(`{"type":"alert.resolve","alert_id":%q}`, n.ID), 400}, "unknown alert": {strings.Replace(body("resolve", ""), n.ID.String(), uuid.NewString(), 1), 404},
		"another spelling": {strings.Replace(body("resolve", ""), `"type"`, `"TYPE"`, 1), 400},
		"a name twice":     {strings.Replace(body("resolve", ""), `{"type"`, `{"type":"alert.retry","type"`, 1), 400},
		"too large":        {body("resolve", strings.Repeat("x", 70<<10)), 413},
	} {
		status, out, h := s.call("odd_"+base64.RawURLEncoding.EncodeToString([]byte(name)), x.body, nil)
		require.Equal(t, x.status, status, name)
		require.Equal(t, "application/problem+json", h.Get("Content-Type"), name)
		require.NotEmpty(t, out["detail"], name)
	}
	require.Equal(t, store.AlertRetrying, s.state(n.ID))
}

func TestCallsThatAreNotSignedWell(t *testing.T) {
	s := open(t)
	_, _, n := s.dead()
	body := fmt.Sprintf(`{"type":"alert.resolve","alert_id":%q,"actor":{"id":"x"}}`, n.ID)
	status, _, _ := s.call("a", body, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") })
	require.Equal(t, 415, status)
	for i, change := range []func(*http.Request){
		func(r *http.Request) { r.Header.Del(signing.HeaderSignature) },
		func(r *http.Request) { r.Header.Set(signing.HeaderID, "other") },
		func(r *http.Request) { r.Header.Set(signing.HeaderTimestamp, fmt.Sprint(time.Now().Unix()-301)) },
		func(r *http.Request) { r.Header.Add(signing.HeaderID, "a") },
		func(r *http.Request) {
			other := strings.Replace(body, "resolve", "discard", 1)
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(other)), int64(len(other))
		},
	} {
		status, out, _ := s.call(fmt.Sprint("x", i), body, change)
		require.Equal(t, 401, status, i)
		require.Equal(t, "Unauthorized", out["detail"], "no reason is told")
	}
	require.Equal(t, store.AlertOpen, s.state(n.ID))
	for i := range 5 {
		s.call(fmt.Sprint("y", i), body, func(r *http.Request) { r.Header.Del(signing.HeaderSignature) })
	}
	status, _, h := s.call("good", body, nil)
	require.Equal(t, 429, status)
	require.NotEmpty(t, h.Get("Retry-After"))
	require.Contains(t, s.fails, "api signature")

	// With Redis away nobody knows whether a call came before: it is not taken.
	require.NoError(t, s.redis.Close())
	status, _, _ = s.call("good", body, nil)
	require.Equal(t, 503, status)
	require.Equal(t, store.AlertOpen, s.state(n.ID))
	resp, err := http.Get(s.URL + actionweb.APIPath) //nolint:noctx // a test
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 405, resp.StatusCode)
}
