package web_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/signin"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/internal/web"
	"github.com/claimlinc/nphiesq/tasks"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const password = "correct horse battery"

// everybody is one channel.
type everybody struct{}

func (everybody) Channels(who []cards.Stakeholder) []store.Channel {
	return []store.Channel{{Name: "SRE", Stakeholders: who, Redacted: "https://hooks.example/…#1"}}
}

// site is a running monitor with its servers.
type site struct {
	*httptest.Server
	store *store.Store
	pool  *pgxpool.Pool
	redis *redis.Client
	queue *broker.Queue
	web   *web.Server
}

func users(t testing.TB) *signin.Users {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	require.NoError(t, err)
	u, err := signin.ParseUsers(fmt.Sprintf("amal:operator:%s\n  vera:viewer:%s olga:operator:%s nora:privacy:%s huda:operator+privacy:%s", hash, hash, hash, hash, hash))
	require.NoError(t, err)
	return u
}

func open(t testing.TB, change ...func(*web.Options)) *site {
	t.Helper()
	s := &site{pool: testenv.Pool(t), redis: testenv.Redis(t)}
	s.store = store.New(s.pool, store.Options{Router: everybody{}, Environment: "test"})
	s.queue = broker.New(s.redis)
	require.NoError(t, s.queue.Register(t.Context()))
	var h *web.Server
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	o := web.Options{
		Store: s.store, Queue: s.queue, Redis: s.redis, Users: users(t), Log: testenv.Discard(), Environment: "test", Version: "v0", InsecureCookies: true, Address: s.URL,
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	h, err = web.New(o)
	require.NoError(t, err)
	s.web = h
	t.Cleanup(func() { h.EndStreams(); s.Close() })
	return s
}

// visitor is a browser without JavaScript.
type visitor struct {
	t    testing.TB
	base string
	http *http.Client
}

func (s *site) visitor(t testing.TB) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &visitor{t, s.URL, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// signIn returns a visitor that is signed in.
func (s *site) signIn(t testing.TB, name string) *visitor {
	t.Helper()
	v := s.visitor(t)
	r, _ := v.post("/signin", url.Values{"name": {name}, "password": {password}})
	require.Equal(t, http.StatusSeeOther, r.StatusCode)
	return v
}

// reply is an answer whose body has been read.
type reply struct {
	StatusCode int
	Header     http.Header
	cookies    []*http.Cookie
}

func (r reply) Cookies() []*http.Cookie { return r.cookies }

func (v *visitor) do(method, path string, body io.Reader, headers ...string) (reply, string) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.base+path, body)
	require.NoError(v.t, err)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := v.http.Do(r)
	require.NoError(v.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(v.t, err)
	return reply{resp.StatusCode, resp.Header, resp.Cookies()}, string(text)
}

func (v *visitor) get(path string) (reply, string) {
	v.t.Helper()
	return v.do(http.MethodGet, path, nil)
}

func (v *visitor) post(path string, form url.Values, headers ...string) (reply, string) {
	v.t.Helper()
	return v.do(http.MethodPost, path, strings.NewReader(form.Encode()), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...)
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// csrf reads the token out of a page.
func (v *visitor) csrf() string {
	v.t.Helper()
	_, page := v.get("/dead")
	m := csrfField.FindStringSubmatch(page)
	require.NotNil(v.t, m)
	return m[1]
}

// patient is what must be on no page.
const patient = "Fatimah-1098765432"

var claims = 0

func (s *site) claim(t testing.TB) store.Claim {
	t.Helper()
	claims++
	c, _, err := s.store.CreateClaim(t.Context(), store.NewClaim{
		License: "PR-1", Identifier: store.Identifier{System: "http://p.example/claim", Value: fmt.Sprintf("CLM-%04d", claims)}, Payer: "INS-1", PayerName: "Demo Insurance",
		Type: "professional", SubType: "op", Items: 2, Claimed: decimal.RequireFromString("12333.50"), HeaderID: uuid.NewString(), BundleID: uuid.NewString(),
		SourceHash: "s", Event: "claim-request", Body: []byte(`{"patient":"` + patient + `"}`),
	})
	require.NoError(t, err)
	return c
}

// answered gives a claim a partial approval.
func (s *site) answered(t testing.TB, c store.Claim) {
	t.Helper()
	status := 200
	id, err := s.store.SaveMessage(t.Context(), store.Message{Direction: store.In, Event: "claim-response", License: c.License, ClaimID: &c.ID, HTTPStatus: &status, Body: []byte(`{"patient":"` + patient + `"}`)})
	require.NoError(t, err)
	_, err = s.store.RecordAnswer(t.Context(), store.Answer{
		ClaimID: c.ID, MessageID: id, Fingerprint: uuid.NewString(), Outcome: "complete", Adjudication: "partial", State: store.Partial,
		Response: store.Identifier{System: "http://i.example", Value: "RESP-1"}, Approved: decimal.NewNullDecimal(decimal.RequireFromString("12000.25")),
		Disposition: "partly approved", Detail: []byte(`{"items":[{"sequence":1,"outcome":"partial","amounts":{"benefit":12000.25},"reasons":["MN-1-1"]}]}`),
	}, func(store.Applied) []store.Event {
		return []store.Event{{Event: cards.Event{Type: cards.ClaimSubmittedEvent, Details: cards.ClaimSubmitted{ClaimID: c.ID.String(), ClaimRef: c.Identifier.Value, Payer: c.Payer, Amount: "12333.50", Items: 2}}, Key: c.ID.String(), ClaimID: &c.ID}}
	})
	require.NoError(t, err)
}

// deadLetter archives the submission of a claim.
func (s *site) deadLetter(t testing.TB, c store.Claim) (store.DeadLetter, tasks.Task) {
	t.Helper()
	task := s.archived(t, c)
	now := time.Now()
	id, _, _, err := s.store.RecordDeadLetter(t.Context(), store.DeadLetter{
		Queue: task.Queue, TaskType: task.Type(), TaskID: task.ID, Payload: task.Payload(), ClaimID: &c.ID, License: c.License, Reference: c.Identifier.Value,
		Retried: 8, ErrorKind: "network", ErrorText: "send claim-request: network: refused", FirstFailedAt: now, LastFailedAt: now,
	}, nil)
	require.NoError(t, err)
	l, err := s.store.DeadLetter(t.Context(), id)
	require.NoError(t, err)
	return l, task
}

// archived makes the task of a claim and archives it.
func (s *site) archived(t testing.TB, c store.Claim) tasks.Task {
	t.Helper()
	task := tasks.NewSubmit(c.ID, c.Episode)
	_, err := s.queue.Enqueue(t.Context(), task)
	require.NoError(t, err)
	require.NoError(t, s.queue.Inspector().ArchiveTask(task.Queue, task.ID))
	return task
}

func (s *site) taskState(t testing.TB, task tasks.Task) string {
	t.Helper()
	state, err := s.queue.TaskState(task.Queue, task.ID)
	require.NoError(t, err)
	return state
}

func (s *site) actions(t testing.TB) []store.Action {
	t.Helper()
	list, err := s.store.Actions(context.WithoutCancel(t.Context()), "", 0)
	require.NoError(t, err)
	return list
}
