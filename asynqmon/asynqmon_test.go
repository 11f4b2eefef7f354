package asynqmon_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/asynqmon"
	"github.com/claimlinc/nphiesq/internal/metric"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// book is an audit trail in memory.
type book struct {
	mu      sync.Mutex
	refuse  error
	state   func(asynqmon.Action) string
	before  []asynqmon.Action
	states  []string
	after   []asynqmon.Action
	results []asynqmon.Result
}

func (b *book) Before(_ context.Context, a asynqmon.Action) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		return b.refuse
	}
	b.before = append(b.before, a)
	if b.state != nil {
		b.states = append(b.states, b.state(a))
	}
	return nil
}

func (b *book) After(ctx context.Context, a asynqmon.Action, r asynqmon.Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() == nil {
		b.after, b.results = append(b.after, a), append(b.results, r)
	}
}

const queue = "q1"

type rig struct {
	t    *testing.T
	h    *asynqmon.Handler
	book *book
	rc   *redis.Client
	insp *asynq.Inspector
	put  *asynq.Client
}

func role(r *http.Request) (string, bool) {
	name := r.Header.Get("X-User")
	return name, name == "amal"
}

func newRig(t *testing.T) *rig {
	t.Helper()
	g := &rig{t: t, book: &book{}, rc: testenv.Redis(t)}
	g.insp, g.put = asynq.NewInspectorFromRedisClient(g.rc), asynq.NewClientFromRedisClient(g.rc)
	var err error
	g.h, err = asynqmon.New(asynqmon.Options{Redis: g.rc, RootPath: "/queues", Log: testenv.Discard(), Role: role, Audit: g.book, PayloadKeys: []string{"claim_id"}, Home: "/"})
	require.NoError(t, err)
	return g
}

// task puts a task into a state: pending, scheduled, or archived.
func (g *rig) task(id, state string, payload string) {
	g.t.Helper()
	opts := []asynq.Option{asynq.Queue(queue), asynq.TaskID(id), asynq.MaxRetry(3)}
	if state == "scheduled" {
		opts = append(opts, asynq.ProcessIn(1e12))
	}
	_, err := g.put.EnqueueContext(g.t.Context(), asynq.NewTask("demo", []byte(payload)), opts...)
	require.NoError(g.t, err)
	if state == "archived" {
		require.NoError(g.t, g.insp.ArchiveTask(queue, id))
	}
}

func (g *rig) state(id string) string {
	info, err := g.insp.GetTaskInfo(queue, id)
	if err != nil {
		return ""
	}
	return info.State.String()
}

func (g *rig) call(user, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	g.t.Helper()
	r := httptest.NewRequestWithContext(g.t.Context(), method, "http://monitor.example"+path, strings.NewReader(body))
	r.Header.Set("X-User", user)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	g.h.ServeHTTP(w, r)
	require.Equal(g.t, "nosniff", w.Header().Get("X-Content-Type-Options"), path)
	require.Contains(g.t, w.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'", path)
	return w
}

const base = "/queues/api/queues/" + queue

func TestAllowedChangesAreOnRecordFirst(t *testing.T) {
	g := newRig(t)
	for _, id := range []string{"a1", "a2", "a3", "a4"} {
		g.task(id, "archived", "{}")
	}
	g.task("s1", "scheduled", "{}")
	g.task("p1", "pending", "{}")
	g.book.state = func(a asynqmon.Action) string {
		if len(a.Tasks) > 0 {
			return g.state(a.Tasks[0])
		}
		return ""
	}
	for i, c := range []struct {
		method, path, body string
		status             int
		want               asynqmon.Action
		done               string
		was, is            string
	}{
		{"POST", "/archived_tasks/a1:run", "", 204, asynqmon.Action{Verb: asynqmon.Run, State: "archived", Tasks: []string{"a1"}}, "a1", "archived", "pending"},
		{"DELETE", "/archived_tasks/a2", "", 204, asynqmon.Action{Verb: asynqmon.Delete, State: "archived", Tasks: []string{"a2"}}, "a2", "archived", ""},
		{"POST", "/archived_tasks:batch_run", `{"task_ids":["a3"]}`, 200, asynqmon.Action{Verb: asynqmon.BatchRun, State: "archived", Tasks: []string{"a3"}}, "a3", "archived", "pending"},
		{"POST", "/archived_tasks:batch_delete", `{"task_ids":["a4"]}`, 200, asynqmon.Action{Verb: asynqmon.BatchDelete, State: "archived", Tasks: []string{"a4"}}, "a4", "archived", ""},
		{"POST", "/scheduled_tasks/s1:run", "", 204, asynqmon.Action{Verb: asynqmon.Run, State: "scheduled", Tasks: []string{"s1"}}, "s1", "scheduled", "pending"},
		{"DELETE", "/pending_tasks/p1", "", 204, asynqmon.Action{Verb: asynqmon.Delete, State: "pending", Tasks: []string{"p1"}}, "p1", "pending", ""},
		{"POST", ":pause", "", 204, asynqmon.Action{Verb: asynqmon.Pause}, "", "", ""},
		{"POST", ":resume", "", 204, asynqmon.Action{Verb: asynqmon.Resume}, "", "", ""},
	} {
		w := g.call("amal", c.method, base+c.path, c.body, "X-Reason", " because\n")
		require.Equal(t, c.status, w.Code, c.path)
		require.Len(t, g.book.before, i+1)
		require.Len(t, g.book.after, i+1)
		got := g.book.before[i]
		c.want.ID, c.want.User, c.want.Queue, c.want.Reason = got.ID, "amal", queue, "because"
		require.Equal(t, c.want, got)
		require.Equal(t, got, g.book.after[i])
		require.True(t, g.book.results[i].OK(), c.path)
		require.Equal(t, c.was, g.book.states[i], "before it was on record: %s", c.path)
		if c.done != "" {
			require.Equal(t, []string{c.done}, g.book.results[i].Done)
			require.Equal(t, c.is, g.state(c.done), c.path)
		}
	}
}

func TestRefused(t *testing.T) {
	g := newRig(t)
	g.task("a1", "archived", "{}")
	g.task("p1", "pending", "{}")
	g.task("s1", "scheduled", "{}")
	many := `{"task_ids":["` + strings.Repeat(`x","`, 200) + `x"]}`
	for _, c := range []struct {
		user, method, path, body string
		status                   int
		headers                  []string
	}{
		{"amal", "POST", base + "/archived_tasks:run_all", "", 403, nil},
		{"amal", "DELETE", base + "/archived_tasks:delete_all", "", 403, nil},
		{"amal", "POST", base + "/pending_tasks:archive_all", "", 403, nil},
		{"amal", "POST", base + "/scheduled_tasks:archive_all", "", 403, nil},
		{"amal", "POST", base + "/retry_tasks:archive_all", "", 403, nil},
		{"amal", "POST", base + "/active_tasks:cancel_all", "", 403, nil},
		{"amal", "POST", base + "/active_tasks/p1:cancel", "", 403, nil},
		{"amal", "POST", base + "/pending_tasks/p1:archive", "", 403, nil},
		{"amal", "POST", base + "/pending_tasks:batch_archive", `{"task_ids":["p1"]}`, 403, nil},
		{"amal", "DELETE", base, "", 403, nil},
		{"amal", "DELETE", base + "/", "", 403, nil},
		{"amal", "PUT", base + ":pause", "", 403, nil},
		{"amal", "POST", "/queues/api/../api/queues/" + queue + "/archived_tasks:run_all", "", 403, nil},
		{"amal", "POST", "/elsewhere", "", 404, nil},
		{"amal", "POST", base + "/archived_tasks/p1:run", "", 409, nil},
		{"amal", "DELETE", base + "/archived_tasks/none", "", 409, nil},
		{"amal", "POST", base + "/archived_tasks:batch_run", `{"task_ids":["a1","p1"]}`, 409, nil},
		{"amal", "POST", base + "/archived_tasks:batch_run", `{"task_ids":[]}`, 400, nil},
		{"amal", "POST", base + "/archived_tasks:batch_run", `nonsense`, 400, nil},
		{"amal", "POST", base + "/archived_tasks:batch_run", many, 400, nil},
		{"vera", "POST", base + "/archived_tasks/a1:run", "", 403, nil},
		{"vera", "DELETE", base + "/archived_tasks/a1", "", 403, nil},
		{"vera", "POST", base + ":pause", "", 403, nil},
		{"", "POST", base + "/archived_tasks/a1:run", "", 401, nil},
		{"", "GET", "/queues/", "", 401, nil},
		{"amal", "POST", base + "/archived_tasks/a1:run", "", 403, []string{"Origin", "https://evil.example"}},
		{"amal", "DELETE", base + "/archived_tasks/a1", "", 403, []string{"Sec-Fetch-Site", "cross-site"}},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, "http://monitor.example"+c.path, strings.NewReader(c.body))
		r.Header.Set("X-User", c.user)
		for i := 0; i+1 < len(c.headers); i += 2 {
			r.Header.Set(c.headers[i], c.headers[i+1])
		}
		w := httptest.NewRecorder()
		g.h.ServeHTTP(w, r)
		require.Equal(t, c.status, w.Code, "%s %s", c.method, c.path)
	}
	require.Empty(t, g.book.before)
	for id, want := range map[string]string{"a1": "archived", "p1": "pending", "s1": "scheduled"} {
		require.Equal(t, want, g.state(id))
	}
	info, err := g.insp.GetQueueInfo(queue)
	require.NoError(t, err)
	require.False(t, info.Paused)
}

func TestNoRecordNoAction(t *testing.T) {
	g := newRig(t)
	g.task("a1", "archived", "{}")
	g.book.refuse = errors.New("the book is closed")
	w := g.call("amal", "POST", base+"/archived_tasks/a1:run", "")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.NotContains(t, w.Body.String(), "closed")
	require.Equal(t, "archived", g.state("a1"))
	require.Empty(t, g.book.after)
}

func TestPayloadsAreMasked(t *testing.T) {
	g := newRig(t)
	g.task("p1", "pending", `{"claim_id":"0198-abc","name":"Fatimah","claim_note":"x"}`)
	g.task("p2", "pending", `{"claim_id":"Fatimah al-Zahrani, born 1990"}`)
	g.task("p3", "pending", "Fatimah\n1098765432")
	g.task("p4", "pending", "")
	for _, path := range []string{base + "/pending_tasks", base + "/tasks/p1", base + "/tasks/p2", base + "/tasks/p3"} {
		for _, user := range []string{"amal", "vera"} {
			body := g.call(user, "GET", path, "").Body.String()
			require.NotContains(t, body, "Fatimah", path)
			require.NotContains(t, body, "1098765432", path)
		}
	}
	body := g.call("vera", "GET", base+"/pending_tasks", "").Body.String()
	require.Contains(t, body, "claim_id=0198-abc")
	require.Contains(t, body, "(18 bytes, not shown)")
	require.Contains(t, body, "(empty)")
}

func TestPages(t *testing.T) {
	g := newRig(t)
	g.task("p1", "pending", "{}")
	for _, path := range []string{"/queues/", "/queues/queues/q1", "/queues/servers", "/queues/queues/q1/tasks/p1"} {
		w := g.call("amal", "GET", path, "")
		require.Equal(t, 200, w.Code, path)
		page, policy := w.Body.String(), w.Header().Get("Content-Security-Policy")
		require.NotContains(t, page, "googleapis", path)
		require.NotContains(t, page, "manifest", path)
		require.NotContains(t, page, "<script>", path)
		nonce := regexp.MustCompile(`'nonce-([^']+)'`).FindStringSubmatch(policy)
		require.NotNil(t, nonce, policy)
		require.Equal(t, 2, strings.Count(page, `<script nonce="`+nonce[1]+`">`), path)
		require.NotContains(t, policy, "unsafe-eval")
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		require.Contains(t, page, `window.FLAG_READ_ONLY="false"`)
		require.NotEqual(t, policy, g.call("amal", "GET", path, "").Header().Get("Content-Security-Policy"), "a nonce serves once")
	}
	require.Contains(t, g.call("vera", "GET", "/queues/", "").Body.String(), `window.FLAG_READ_ONLY="true"`)
	require.Equal(t, 200, g.call("vera", "HEAD", "/queues/", "").Code)

	w := g.call("vera", "GET", "/queues/api/queues", "")
	require.Equal(t, "application/json; charset=utf-8", w.Header().Get("Content-Type"))
	require.Contains(t, w.Body.String(), `"queue":"q1"`)
	w = g.call("vera", "GET", "/queues/static/js/main.5adda2da.chunk.js", "")
	require.Equal(t, 200, w.Code)
	require.Equal(t, "text/javascript; charset=utf-8", w.Header().Get("Content-Type"))
	for path, status := range map[string]int{
		"/queues/api/none": 404, "/queues/api/": 404, "/queues/api": 404, "/queues/static/js/main.5adda2da.chunk.js.map": 404, "/elsewhere": 404,
		base + "/pending_tasks?size=100000": 400, base + "/pending_tasks?size=-1": 400, "/queues/api/queues/none": 502,
	} {
		w := g.call("amal", "GET", path, "")
		require.Equal(t, status, w.Code, path)
		require.NotContains(t, w.Body.String(), "<html", path)
	}
}

func TestRedisErrorsAreNotShown(t *testing.T) {
	g := newRig(t)
	require.NoError(t, g.rc.Set(t.Context(), "asynq:queues", "not a set", 0).Err())
	w := g.call("amal", "GET", "/queues/api/queues", "")
	require.Equal(t, http.StatusBadGateway, w.Code)
	require.NotContains(t, w.Body.String(), "WRONGTYPE")
}

func TestOptions(t *testing.T) {
	rc := testenv.Redis(t)
	good := asynqmon.Options{Redis: rc, RootPath: "/queues", Log: testenv.Discard(), Role: role, Audit: &book{}}
	for name, spoil := range map[string]func(*asynqmon.Options){
		"Redis": func(o *asynqmon.Options) { o.Redis = nil }, "Role": func(o *asynqmon.Options) { o.Role = nil }, "Audit": func(o *asynqmon.Options) { o.Audit = nil },
		"Log": func(o *asynqmon.Options) { o.Log = nil }, "RootPath": func(o *asynqmon.Options) { o.RootPath = "/queues/" },
	} {
		o := good
		spoil(&o)
		_, err := asynqmon.New(o)
		require.ErrorContains(t, err, name)
	}
	_, err := asynqmon.New(good)
	require.NoError(t, err)
}

// TestCharts: the page with charts asks Prometheus for asynq's names, and for no more than that.
func TestCharts(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Query().Get("query"))
		_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"matrix","result":[]}}`))
	}))
	defer prometheus.Close()
	g := newRig(t)
	get := func(h *asynqmon.Handler, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.Header.Set("X-User", "vera")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	require.Equal(t, http.StatusNotFound, get(g.h, "/queues/api/metrics").Code, "without a Prometheus there are no charts")

	h, err := asynqmon.New(asynqmon.Options{Redis: g.rc, RootPath: "/queues", Log: testenv.Discard(), Role: role, Audit: g.book, Prometheus: prometheus.URL})
	require.NoError(t, err)
	for _, bad := range []string{`queues=a"}%20or%20up{x="`, "duration=0", "duration=99999999", "duration=x"} {
		require.Equal(t, http.StatusBadRequest, get(h, "/queues/api/metrics?"+bad).Code, bad)
	}
	require.Empty(t, asked)
	w := get(h, "/queues/api/metrics?duration=3600&queues=nphies-submit,teams")
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	names := regexp.MustCompile(`asynq_[a-z_]+`)
	shown := map[string]bool{}
	for _, r := range metric.Table() {
		shown[r.Name] = true
	}
	require.Len(t, asked, 9)
	for _, q := range asked {
		require.Contains(t, q, `queue=~"nphies-submit|teams"`)
		for _, n := range names.FindAllString(q, -1) {
			require.True(t, shown[n], "the worker shows %s", n)
		}
	}
	require.Contains(t, get(h, "/queues/").Body.String(), prometheus.URL[len("http://"):], "the page knows that there are charts")
}
