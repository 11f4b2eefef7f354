package signin_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/claimlinc/nphiesq/internal/signin"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const password = "correct horse battery"

var passwordHash = sync.OnceValue(func() string {
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return string(h)
})

func users(t testing.TB) *signin.Users {
	t.Helper()
	h := passwordHash()
	u, err := signin.ParseUsers("amal:operator:" + h + " vera:viewer:" + h + " sami:supervisor+privacy:" + h)
	require.NoError(t, err)
	return u
}

// clock is set by the test.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }

func (c *clock) pass(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.at = c.at.Add(d) }

// house is a listener with a door, and what is behind its wall.
type house struct {
	*httptest.Server
	pool  *pgxpool.Pool
	store *store.Store
	clock *clock
	log   *logged
}

// logged is what was logged.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }

func (l *logged) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// open starts a listener. change may be nil.
func open(t testing.TB, change func(*signin.Options)) *house {
	t.Helper()
	pool := testenv.Pool(t)
	return build(t, pool, testenv.Redis(t), &clock{at: time.Now().Truncate(time.Second)}, change)
}

func build(t testing.TB, pool *pgxpool.Pool, rc redis.UniversalClient, now *clock, change func(*signin.Options)) *house {
	t.Helper()
	h := &house{pool: pool, store: store.New(pool, store.Options{}), clock: now, log: &logged{}}
	mux := http.NewServeMux()
	h.Server = httptest.NewServer(mux)
	t.Cleanup(h.Close)
	o := signin.Options{Record: h.store, Redis: rc, Site: "monitor", Base: h.URL, InsecureCookies: true, Log: slog.New(slog.NewTextHandler(h.log, nil)), Now: now.Now}
	if change != nil {
		change(&o)
	}
	if o.Users == nil && o.Provider == nil {
		o.Users = users(t)
	}
	d, err := signin.New(o)
	require.NoError(t, err)
	d.Mount(mux)
	mux.Handle("/", d.Wall(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := signin.From(r.Context())
		_, _ = io.WriteString(w, s.ID+"|"+s.Name+"|"+s.Role()+"|"+s.Tenant+"|"+s.Method+"|csrf="+s.CSRF)
	})))
	for path, role := range map[string]signin.Role{"/decide": signin.Operator, "/discard": signin.Supervisor, "/patient": signin.Privacy} {
		mux.Handle("POST "+path, d.Wall(d.Form(role, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "done") })))
	}
	return h
}

// visitor is a browser without JavaScript.
type visitor struct {
	t    testing.TB
	base string
	http *http.Client
}

func (h *house) visitor(t testing.TB) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &visitor{t, h.URL, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (h *house) signIn(t testing.TB, name string) *visitor {
	t.Helper()
	v := h.visitor(t)
	a := v.post("/signin", url.Values{"name": {name}, "password": {password}})
	require.Equal(t, http.StatusSeeOther, a.status, a.body)
	return v
}

// answer is a response that has been read.
type answer struct {
	status  int
	to      string
	body    string
	header  http.Header
	cookies []*http.Cookie
}

func (v *visitor) do(method, path, body string, headers ...string) answer {
	v.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = v.base + path
	}
	r, err := http.NewRequestWithContext(v.t.Context(), method, path, strings.NewReader(body))
	require.NoError(v.t, err)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := v.http.Do(r)
	require.NoError(v.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(v.t, err)
	return answer{resp.StatusCode, resp.Header.Get("Location"), string(text), resp.Header, resp.Cookies()}
}

func (v *visitor) get(path string, headers ...string) answer {
	v.t.Helper()
	return v.do(http.MethodGet, path, "", headers...)
}

func (v *visitor) post(path string, form url.Values, headers ...string) answer {
	v.t.Helper()
	return v.do(http.MethodPost, path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...)
}

// who is what the page behind the wall says, "" when the wall holds.
func (v *visitor) who() string {
	v.t.Helper()
	a := v.get("/me")
	if a.status != http.StatusOK {
		return ""
	}
	name, _, _ := strings.Cut(a.body, "|csrf=")
	return name
}

var startLink = regexp.MustCompile(`href="(/signin/start[^"]*)"`)

var csrfField = regexp.MustCompile(`csrf=(\S+)`)

func (v *visitor) csrf() string {
	v.t.Helper()
	m := csrfField.FindStringSubmatch(v.get("/me").body)
	require.NotNil(v.t, m)
	return m[1]
}

func parse(t testing.TB, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	return u
}
