package web_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
)

var (
	nextLink   = regexp.MustCompile(`rel="next" href="([^"]+)"`)
	untilField = regexp.MustCompile(`name="until" value="([^"]+)"`)
)

// exchange keeps a claim with messages as they go over the wire, and returns its messages.
func (s *site) exchange(t testing.TB) (store.Claim, []store.Message) {
	t.Helper()
	read := func(name string) []byte {
		body, err := os.ReadFile("../../nphiesclient/testdata/messages/" + name)
		require.NoError(t, err)
		return body
	}
	c, _, err := s.store.CreateClaim(t.Context(), store.NewClaim{
		License: "PR-1", Identifier: store.Identifier{System: "http://p.example/claim", Value: "WIRE-" + uuid.NewString()[:8]}, Payer: "INS-1", PayerName: "Demo Insurance", Type: "professional",
		Items: 2, Claimed: decimal.RequireFromString("100.50"), HeaderID: uuid.NewString(), BundleID: uuid.NewString(), SourceHash: "s", Event: "claim-request", Body: read("claim-request-professional.json"),
	})
	require.NoError(t, err)
	sent, err := s.store.ClaimMessages(t.Context(), c.ID)
	require.NoError(t, err)
	status := 200
	_, err = s.store.SaveMessage(t.Context(), store.Message{
		Direction: store.In, Event: "claim-response", License: c.License, ClaimID: &c.ID, ReplyTo: &sent[0].ID, HTTPStatus: &status, ContentType: "application/fhir+json", Body: read("claim-response-partial.json"),
	})
	require.NoError(t, err)
	sent, err = s.store.ClaimMessages(t.Context(), c.ID)
	require.NoError(t, err)
	return c, sent
}

func TestOnlyPrivacySeesMessagesAndEachLookIsOnRecord(t *testing.T) {
	s := open(t)
	_, sent := s.exchange(t)
	path := "/messages/" + sent[0].ID.String()
	want, err := s.store.MessageBody(t.Context(), sent[0].ID)
	require.NoError(t, err)
	for _, who := range []string{"vera", "amal"} {
		v := s.signIn(t, who)
		r, page := v.get(path)
		require.Equal(t, http.StatusOK, r.StatusCode)
		require.Contains(t, page, "Only people with the role privacy see them")
		require.Contains(t, page, "claim-request")
		require.Contains(t, page, "/messages/"+sent[1].ID.String())
		for _, name := range []string{"Patient", "birthDate", "resourceType", "download>"} {
			require.NotContains(t, page, name, who)
		}
		r, page = v.get(path + "/body")
		require.Equal(t, http.StatusForbidden, r.StatusCode)
		require.NotContains(t, page, "resourceType")
	}
	for _, a := range s.actions(t) {
		require.Equal(t, "refused", a.Outcome, "who tried is on record, nobody has seen anything")
	}

	nora := s.signIn(t, "nora")
	_, page := nora.get(path)
	require.Contains(t, page, "entry[1] Claim")
	require.Contains(t, page, "birthDate")
	require.Contains(t, page, "As JSON")
	require.Contains(t, page, "That you look at this message is on record.")
	r, body := nora.get(path + "/body")
	require.Equal(t, string(want), body, "the exact bytes")
	require.Contains(t, r.Header.Get("Content-Disposition"), "attachment")
	_, page = nora.get("/messages/" + sent[1].ID.String())
	require.Contains(t, page, "What it answers")
	require.Contains(t, page, "adjudication")
	list := s.actions(t)
	require.Len(t, list, 5, "and the two who tried")
	require.Equal(t, "page", list[0].Detail["purpose"])
	require.Equal(t, []string{"nora", "view", "message", sent[0].ID.String(), "download", "monitor"}, []string{list[1].Actor, list[1].Verb, list[1].TargetKind, list[1].Target, list[1].Detail["purpose"], list[1].Source})
	_, page = nora.get("/audit?verb=view&actor=nora")
	require.Contains(t, page, path)

	// What cannot be put on record is not shown.
	_, err = s.pool.Exec(t.Context(), `ALTER TABLE operator_actions RENAME COLUMN reason TO why`)
	require.NoError(t, err)
	for _, p := range []string{path, path + "/body"} {
		r, page = nora.get(p)
		require.Equal(t, http.StatusServiceUnavailable, r.StatusCode, p)
		require.Contains(t, page, "could not be put on record")
		require.NotContains(t, page, "birthDate")
	}
}

func TestBodiesOfEveryKindAreReadable(t *testing.T) {
	s := open(t)
	v := s.signIn(t, "nora")
	for body, want := range map[string]string{
		"":                       "Nothing is here: it was erased",
		"<html>503</html>":       "This is no JSON document",
		`{"a":1}{"b":2}`:         "This is no JSON document",
		`[1,2,{"x":"<script>"}]`: "As JSON",
		`{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"x","details":{"coding":[{"system":"s","code":"BV-1","display":"Bad"}]}}]}`: "BV-1 – Bad",
		strings.Repeat(`{"a":`, 300) + "1" + strings.Repeat("}", 300):                                                                                       "This is no JSON document",
		`{"resourceType":"Bundle","entry":[` + strings.Repeat(`{"resource":{"n":"v"}},`, 5000) + `{}]}`:                                                     "more elements than are shown",
	} {
		id, err := s.store.SaveMessage(t.Context(), store.Message{Direction: store.In, Event: "x", License: "PR-1", Body: []byte(body)})
		require.NoError(t, err)
		r, page := v.get("/messages/" + id.String())
		require.Equal(t, http.StatusOK, r.StatusCode)
		require.Contains(t, page, want)
		require.NotContains(t, page, `"<script>"`)
	}
}

func TestSearchOfClaims(t *testing.T) {
	s := open(t)
	v := s.signIn(t, "vera")
	for range 60 {
		s.claim(t)
	}
	first, err := s.store.SearchClaims(t.Context(), store.ClaimSearch{}, store.Turn{Limit: 1})
	require.NoError(t, err)
	count := func(page string) int { return strings.Count(page, `<td data-label="Claim">`) }
	_, page := v.get("/claims")
	require.Equal(t, 50, count(page))
	next := nextLink.FindStringSubmatch(page)
	require.NotNil(t, next)
	require.NotContains(t, page, `rel="prev"`)
	_, page = v.get(strings.ReplaceAll(next[1], "&amp;", "&"))
	require.Equal(t, 10, count(page))
	require.Contains(t, page, `rel="prev"`)
	require.NotContains(t, page, `rel="next"`)
	number := first.Rows[0].Identifier.Value
	today := time.Now().UTC().Add(3 * time.Hour).Format(time.DateOnly)
	for query, want := range map[string]int{
		"q=" + number: 1, "q=CLM-": 50, "payer=INS-1": 50, "payer=none": 0, "license=PR-1&state=received": 50, "code=X": 0, "from=" + today + "&to=" + today: 50, "to=2020-01-01": 0, "use=preauthorization": 0,
		"state=nonsense": 50, "from=nonsense": 50, "after=nonsense": 50, "q=%00": 50, "q=%ff": 50,
	} {
		r, page := v.get("/claims?" + query)
		require.Equal(t, http.StatusOK, r.StatusCode, query)
		require.Equal(t, want, count(page), query)
	}
}

func TestTimelineBothWays(t *testing.T) {
	s := open(t)
	c := s.claim(t)
	s.answered(t, c)
	v := s.signIn(t, "vera")
	_, page := v.get("/claims/" + c.ID.String())
	require.Less(t, strings.Index(page, "Message to NPHIES"), strings.Index(page, "Version 1 of the answer"))
	_, page = v.get("/claims/" + c.ID.String() + "?order=newest")
	require.Greater(t, strings.Index(page, "Message to NPHIES"), strings.Index(page, "Version 1 of the answer"))
	require.Contains(t, page, "Show the oldest first")
}

func TestBulkRetry(t *testing.T) {
	s := open(t)
	var letters []store.DeadLetter
	var archived []tasks.Task
	for range 3 {
		l, task := s.deadLetter(t, s.claim(t))
		letters, archived = append(letters, l), append(archived, task)
	}
	amal, vera := s.signIn(t, "amal"), s.signIn(t, "vera")
	_, page := amal.get("/dead")
	require.Contains(t, page, "/dead/bulk?code=&amp;exact=1&amp;kind=network&amp;queue=nphies-submit")
	_, page = vera.get("/dead")
	require.NotContains(t, page, "/dead/bulk?")
	const preview = "/dead/bulk?kind=network&queue=nphies-submit"
	_, page = vera.get(preview)
	require.NotContains(t, page, `name="rate"`)
	_, page = amal.get(preview)
	require.Contains(t, page, `<dd id="chosen-count">3</dd>`)
	until := untilField.FindStringSubmatch(page)
	require.NotNil(t, until)
	late, lateTask := s.deadLetter(t, s.claim(t)) // nobody saw this one
	form := url.Values{"csrf": {amal.csrf()}, "queue": {"nphies-submit"}, "kind": {"network"}, "until": {until[1]}, "verb": {"retry"}, "rate": {"6000"}, "reason": {"the line is back"}}
	with := func(name, value string) url.Values {
		out := url.Values{}
		maps.Copy(out, form)
		out.Set(name, value)
		return out
	}
	for result, f := range map[string]url.Values{"no-reason": with("reason", " "), "bad-rate": with("rate", "0"), "nothing": with("queue", "teams")} {
		r, _ := amal.post("/dead/bulk", f)
		require.Contains(t, r.Header.Get("Location"), "result="+result)
	}
	for name, f := range map[string]url.Values{"verb": with("verb", "delete"), "until": with("until", "soon")} {
		r, _ := amal.post("/dead/bulk", f)
		require.Equal(t, http.StatusBadRequest, r.StatusCode, name)
	}
	r, _ := amal.post("/dead/bulk", with("csrf", "x"))
	require.Equal(t, http.StatusForbidden, r.StatusCode)
	r, _ = amal.post("/dead/bulk", form, "Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusForbidden, r.StatusCode)
	r, _ = vera.post("/dead/bulk", with("csrf", vera.csrf()))
	require.Equal(t, http.StatusForbidden, r.StatusCode)
	tried := s.actions(t)
	require.Len(t, tried, 1)
	require.Equal(t, []string{"vera", "refused"}, []string{tried[0].Actor, tried[0].Outcome})

	r, _ = amal.post("/dead/bulk", form)
	run := strings.TrimSuffix(r.Header.Get("Location"), "?result=begun")
	require.Contains(t, run, "/dead/bulk/")
	list := s.actions(t)
	require.Len(t, list, 2, "on record before anything is done")
	require.Equal(t, []string{"amal", "bulk_retry", "requested", "the line is back"}, []string{list[0].Actor, list[0].Verb, list[0].Outcome, list[0].Reason})
	_, page = amal.get(run)
	require.Contains(t, page, "0 / 3")
	s.work(t)
	testenv.Eventually(t, func() bool { _, page = amal.get(run); return strings.Contains(page, `badge done`) }, "the run gets on")
	require.Contains(t, page, "3 / 3")
	for i, l := range letters {
		require.Empty(t, s.taskState(t, archived[i]))
		require.Equal(t, "pending", s.taskState(t, tasks.NewSubmit(*l.ClaimID, 2)))
	}
	require.Equal(t, "archived", s.taskState(t, lateTask))
	l, err := s.store.DeadLetter(t.Context(), late.ID)
	require.NoError(t, err)
	require.Equal(t, store.LetterOpen, l.State)
	_, err = s.store.VerifyTrail(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, s.actions(t), 6) // refused, wish, three letters, end
	r, _ = amal.post(run+"/stop", url.Values{"csrf": {amal.csrf()}, "reason": {"x"}})
	require.Equal(t, run+"?result=over", r.Header.Get("Location"))
}

func TestBulkRunIsStopped(t *testing.T) {
	s := open(t)
	for range 3 {
		s.deadLetter(t, s.claim(t))
	}
	p, err := s.store.PreviewBulk(t.Context(), store.BulkChoice{}, 1)
	require.NoError(t, err)
	run, err := s.store.BeginBulk(t.Context(), store.BulkDiscard, store.BulkChoice{Until: *p.Until}, 1, store.Decision{Actor: "amal", Source: "monitor", Reason: "x"})
	require.NoError(t, err)
	s.work(t)
	// A slow run holds no other up.
	l, _ := s.deadLetter(t, s.claim(t))
	p, err = s.store.PreviewBulk(t.Context(), store.BulkChoice{Reference: l.Reference}, 1)
	require.NoError(t, err)
	_, err = s.store.BeginBulk(t.Context(), store.BulkDiscard, store.BulkChoice{Until: *p.Until, Reference: l.Reference}, 60, store.Decision{Actor: "amal", Source: "monitor", Reason: "x"})
	require.NoError(t, err)
	testenv.Eventually(t, func() bool {
		l, err := s.store.DeadLetter(t.Context(), l.ID)
		return err == nil && l.State == store.LetterDiscarded
	}, "the second run is through")
	amal := s.signIn(t, "amal")
	path := "/dead/bulk/" + run.ID.String()
	var page string
	testenv.Eventually(t, func() bool { _, page = amal.get(path); return strings.Contains(page, "1 / 3") }, "the run gets on")
	require.Contains(t, page, "the rest takes 2 min")
	r, _ := amal.post(path+"/stop", url.Values{"csrf": {amal.csrf()}, "reason": {"enough"}})
	require.Equal(t, path+"?result=stopped", r.Header.Get("Location"))
	_, page = amal.get(path)
	require.Contains(t, page, "stopped by amal")
	letters, err := s.store.DeadLetters(t.Context(), store.LetterFilter{States: []store.LetterState{store.LetterOpen}})
	require.NoError(t, err)
	require.Len(t, letters, 2)
}

// work runs what the monitor does in the background until the test ends.
func (s *site) work(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.web.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func TestResend(t *testing.T) {
	s := open(t)
	s.answered(t, s.claim(t))
	notes, err := s.store.Notifications(t.Context(), nil, 1)
	require.NoError(t, err)
	path := "/notifications/" + notes[0].ID.String()
	amal := s.signIn(t, "amal")
	_, page := amal.get(path)
	require.NotContains(t, page, "/resend", "it waits")
	r, _ := amal.post(path+"/resend", url.Values{"csrf": {amal.csrf()}, "reason": {"x"}})
	require.Equal(t, path+"?result=waits", r.Header.Get("Location"))
	require.NoError(t, s.store.MarkSent(t.Context(), store.Sent{ID: notes[0].ID, StatusCode: 202, At: time.Now(), WebhookURL: "https://hooks.example/…#1"}))
	_, page = amal.get(path)
	for _, want := range []string{"The card as it was sent", "https://hooks.example/…#1", "webhook-id", `class="ac-facts"`, "As JSON", "HTTP 202"} {
		require.Contains(t, page, want)
	}
	r, _ = s.signIn(t, "vera").post(path+"/resend", url.Values{"reason": {"x"}})
	require.Equal(t, http.StatusForbidden, r.StatusCode)
	r, _ = amal.post(path+"/resend", url.Values{"csrf": {amal.csrf()}, "reason": {"it was lost"}})
	require.Contains(t, r.Header.Get("Location"), "?result=resent")
	require.NotContains(t, r.Header.Get("Location"), path, "it leads to the copy")
	_, page = amal.get(path)
	require.Contains(t, page, "it was lost")
	for query, want := range map[string]int{"": 2, "status=sent": 1, "status=waiting": 1, "status=dead": 0, "channel=SRE": 2, "channel=x": 0, "event=" + string(cards.ClaimSubmittedEvent): 2, "priority=INFO": 2, "priority=HIGH": 0, "unacknowledged=1": 0} {
		_, page := amal.get("/notifications?" + query)
		require.Equal(t, want, strings.Count(page, `<td data-label="Event">`), query)
	}
}

func TestForeignCardIsInert(t *testing.T) {
	s := open(t)
	s.answered(t, s.claim(t))
	notes, err := s.store.Notifications(t.Context(), nil, 1)
	require.NoError(t, err)
	_, err = s.pool.Exec(t.Context(), `UPDATE teams_notifications SET card_payload = $1`, `{"type":"AdaptiveCard","body":[{"type":"TextBlock","text":"<img src=x onerror=alert(1)>"},
		{"type":"Input.Text","id":"x"},{"type":"ColumnSet","columns":[{"items":[{"type":"TextBlock","text":"in a column"}]}]}],
		"actions":[{"type":"Action.OpenUrl","title":"bad","url":"javascript:alert(1)"},{"type":"Action.Execute","title":"never"}]}`)
	require.NoError(t, err)
	_, page := s.signIn(t, "vera").get("/notifications/" + notes[0].ID.String())
	require.Contains(t, page, "&lt;img src=x onerror=alert(1)&gt;")
	require.Contains(t, page, "in a column")
	require.NotContains(t, page, `href="javascript`)
	require.NotContains(t, page, "<img src=x")
	require.NotContains(t, strings.Split(page, "As JSON")[0], "never")
}

func TestLanguageIsRemembered(t *testing.T) {
	s := open(t)
	v := s.signIn(t, "amal")
	r, _ := v.get("/claims?state=partial&lang=ar")
	require.Equal(t, http.StatusSeeOther, r.StatusCode)
	require.Equal(t, "/claims?state=partial", r.Header.Get("Location"))
	_, page := v.get("/claims")
	require.Contains(t, page, `<html lang="ar" dir="rtl">`)
	require.Contains(t, page, "المطالبات")
	r, _ = v.get("/claims?lang=xx")
	require.Equal(t, http.StatusSeeOther, r.StatusCode)
	require.Empty(t, r.Cookies())
	r, _ = v.get("//evil.example/?lang=en")
	require.NotContains(t, r.Header.Get("Location"), "//")
	_, page = v.get("/claims")
	require.Contains(t, page, `<html lang="en" dir="ltr">`)
}

func TestAuditFilters(t *testing.T) {
	s := open(t)
	for i := range 60 {
		require.NoError(t, s.store.AppendAction(t.Context(), &store.Action{Actor: fmt.Sprintf("p%d", i%2), Source: "cli", Verb: "retry", TargetKind: "task", Target: fmt.Sprint(i), Outcome: "applied"}))
	}
	v := s.signIn(t, "vera")
	count := func(page string) int { return strings.Count(page, `<td data-label="Nr"`) }
	_, page := v.get("/audit")
	require.Equal(t, 50, count(page))
	next := nextLink.FindStringSubmatch(page)
	require.NotNil(t, next)
	_, page = v.get(strings.ReplaceAll(next[1], "&amp;", "&"))
	require.Equal(t, 10, count(page))
	for query, want := range map[string]int{"actor=p1": 30, "actor=p1&target=3": 1, "verb=view": 0, "source=cli": 50, "source=monitor": 0, "from=2100-01-01": 0, "to=2100-01-01": 50, "verify=all": 50} {
		_, page := v.get("/audit?" + query)
		require.Equal(t, want, count(page), query)
	}
}

// event reads server-sent events until want comes.
func event(in *bufio.Reader, want string) error {
	for {
		line, err := in.ReadString('\n')
		if err != nil || strings.TrimSpace(line) == "event: "+want {
			return err
		}
	}
}

func TestStreams(t *testing.T) {
	s := open(t)
	v := s.signIn(t, "vera")
	strict := httptest.NewUnstartedServer(s.web) // its time to read is over long before the first news
	strict.Config.ReadTimeout, strict.Config.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond
	strict.Start()
	t.Cleanup(func() { s.web.EndStreams(); strict.Close() })
	listen := func(of string) (int, http.Header, io.Reader) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strict.URL+"/live?of="+of, nil)
		require.NoError(t, err)
		resp, err := v.http.Do(r)
		require.NoError(t, err)
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp.StatusCode, resp.Header, resp.Body
	}
	status, header, stream := listen("dead")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "text/event-stream; charset=utf-8", header.Get("Content-Type"))
	in := bufio.NewReader(stream)
	require.NoError(t, event(in, "hello"))
	news := make(chan error, 1)
	go func() { news <- event(in, "change") }()
	for changed := false; !changed; { // until it is seen: the first look may be after the change
		s.deadLetter(t, s.claim(t))
		select {
		case err := <-news:
			require.NoError(t, err)
			changed = true
		case <-time.After(300 * time.Millisecond):
		}
	}
	status, _, _ = listen("nonsense")
	require.Equal(t, http.StatusBadRequest, status)
	many := 0
	for range 20 {
		if status, _, _ := listen("claims"); status == http.StatusOK {
			many++
		}
	}
	require.Equal(t, 11, many, "twelve for one person")
	stranger, _ := s.visitor(t).get("/live?of=dead")
	require.Equal(t, http.StatusSeeOther, stranger.StatusCode)
	// A server that ends does not wait for them.
	s.web.EndStreams()
	for {
		if _, err := in.ReadString('\n'); err != nil {
			break
		}
	}
	status, _, _ = listen("dead")
	require.Equal(t, http.StatusServiceUnavailable, status)
}

func TestOverviewTellsConditionsAndMoney(t *testing.T) {
	s := open(t)
	s.answered(t, s.claim(t))
	s.claim(t)
	_, err := s.store.Raise(t.Context(), store.Condition{Type: cards.RedisNodeDownEvent, Identity: store.RedisMaster, Details: cards.Redis{Instance: "r", State: "down"}})
	require.NoError(t, err)
	_, err = s.store.Suppress(t.Context(), cards.QueueBacklogEvent)
	require.NoError(t, err)
	_, page := s.signIn(t, "vera").get("/")
	for _, want := range []string{"it explains 1 more events", string(cards.RedisNodeDownEvent), "<svg", "The same as a table", `<span class="n">12,333.50</span>`, `<span class="n">12,000.25</span>`} {
		require.Contains(t, page, want)
	}
}

// TestBulkRunGoesOnElsewhere: the monitor that works a run off ends in the middle of it, and another goes on where it was.
func TestBulkRunGoesOnElsewhere(t *testing.T) {
	s := open(t)
	for range 3 {
		s.deadLetter(t, s.claim(t))
	}
	p, err := s.store.PreviewBulk(t.Context(), store.BulkChoice{}, 1)
	require.NoError(t, err)
	run, err := s.store.BeginBulk(t.Context(), store.BulkRetry, store.BulkChoice{Until: *p.Until}, 60, store.Decision{Actor: "amal", Source: "monitor", Reason: "x"})
	require.NoError(t, err)
	seen := func(n int) func() bool {
		return func() bool {
			r, err := s.store.BulkRun(t.Context(), run.ID)
			return err == nil && r.Done >= n
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.web.Run(ctx) }()
	testenv.Eventually(t, seen(1), "the first letter is decided")
	cancel()
	<-done
	s.work(t)
	testenv.Eventually(t, seen(3), "all letters are decided")
	testenv.Eventually(t, func() bool {
		r, err := s.store.BulkRun(t.Context(), run.ID)
		return err == nil && r.State == store.BulkDone && r.Done == 3 && r.Skipped == 0 && r.Failed == 0
	}, "the run is over, and no letter was decided twice")
}
