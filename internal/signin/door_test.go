package signin_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/claimlinc/nphiesq/internal/signin"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

func TestSignInAndOut(t *testing.T) {
	h := open(t, nil)
	v := h.visitor(t)
	a := v.get("/claims?state=open")
	require.Equal(t, http.StatusSeeOther, a.status)
	require.Equal(t, "/signin?next=%2Fclaims%3Fstate%3Dopen", a.to)
	require.Equal(t, http.StatusUnauthorized, v.post("/claims", nil).status, "nobody reads a page here")
	page := v.get(a.to)
	require.Equal(t, http.StatusOK, page.status)
	require.Contains(t, page.body, `value="/claims?state=open"`)
	require.Contains(t, page.body, `name="password"`)
	require.NotContains(t, page.body, "/signin/start")
	require.NotContains(t, page.body, "<script")
	require.Regexp(t, `^default-src 'none'; style-src 'nonce-[\w-]+'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'$`, page.header.Get("Content-Security-Policy"))
	require.Equal(t, "no-store", page.header.Get("Cache-Control"))
	for _, path := range []string{"/signin/start", "/signin/callback?state=x"} {
		require.Equal(t, http.StatusNotFound, v.get(path).status, path)
	}

	wrong := v.post("/signin", url.Values{"name": {"amal"}, "password": {"wrong"}})
	require.Equal(t, http.StatusUnauthorized, wrong.status)
	require.Contains(t, wrong.body, "Name or password is wrong.")
	require.Empty(t, wrong.cookies)
	other := v.post("/signin", url.Values{"name": {"nobody"}, "password": {password}})
	require.Equal(t, http.StatusUnauthorized, other.status)
	nonce := regexp.MustCompile(`nonce="[^"]+"`)
	require.Equal(t, nonce.ReplaceAllString(strings.ReplaceAll(wrong.body, "amal", "nobody"), ""), nonce.ReplaceAllString(other.body, ""), "nothing tells who exists")
	for _, bad := range []string{"", password + "\x00", strings.Repeat(password, 5)} {
		require.Equal(t, http.StatusUnauthorized, v.post("/signin", url.Values{"name": {"amal"}, "password": {bad}}).status)
	}
	require.NotContains(t, h.log.String(), "nobody", "what is typed into a failing form is not logged")

	a = v.post("/signin", url.Values{"name": {"AMAL"}, "password": {password}, "next": {"/claims?state=open"}})
	require.Equal(t, http.StatusSeeOther, a.status)
	require.Equal(t, "/claims?state=open", a.to)
	require.Len(t, a.cookies, 1)
	c := a.cookies[0]
	require.Equal(t, "monitor-session", c.Name)
	require.True(t, c.HttpOnly)
	require.Equal(t, http.SameSiteLaxMode, c.SameSite)
	require.Equal(t, int((8 * time.Hour).Seconds()), c.MaxAge)
	require.Equal(t, "local:amal|amal|operator||password", v.who())
	require.Equal(t, "/x", v.get("/signin?next=/x").to, "signed in already")
	require.Contains(t, h.log.String(), `msg="signed in" site=monitor user=local:amal method=password roles=operator`)
	require.NotContains(t, h.log.String(), c.Value)

	token := v.csrf()
	require.Equal(t, http.StatusForbidden, v.post("/signout", nil).status)
	require.Equal(t, http.StatusForbidden, v.post("/signout", url.Values{"csrf": {h.signIn(t, "amal").csrf()}}).status, "the token of another session")
	require.NotEmpty(t, v.who())
	a = v.post("/signout", url.Values{"csrf": {token}})
	require.Equal(t, "/signin", a.to)
	require.Equal(t, -1, a.cookies[0].MaxAge)
	require.Equal(t, http.StatusSeeOther, v.get("/me", "Cookie", c.Name+"="+c.Value).status, "the old cookie is worth nothing")
	require.Contains(t, h.log.String(), `msg="signed out" site=monitor user=local:amal`)
}

func TestNextStaysHere(t *testing.T) {
	h := open(t, nil)
	v := h.signIn(t, "amal")
	for next, want := range map[string]string{
		"": "/", "/claims/1?x=1#y": "/claims/1?x=1#y", "//evil.example/": "/", "///evil.example/": "/", "https://evil.example/": "/", "https:evil.example": "/",
		"javascript:alert(1)": "/", "/\\evil.example": "/", "\\\\evil.example": "/", "claims": "/", "/\t/evil.example": "/", "/x\r\nSet-Cookie: a=b": "/",
		"/%zz": "/", "/\x7f": "/", " //evil.example": "/", "/" + strings.Repeat("x", 2001): "/", "/%2f%2fevil.example": "/%2f%2fevil.example", "http://127.0.0.1@evil.example/": "/",
	} {
		require.Equal(t, want, v.get("/signin?next="+url.QueryEscape(next)).to, next)
		require.Equal(t, want, h.visitor(t).post("/signin", url.Values{"name": {"amal"}, "password": {password}, "next": {next}}).to, next)
	}
}

func TestFormsAreOurs(t *testing.T) {
	h := open(t, nil)
	amal, vera, sami := h.signIn(t, "amal"), h.signIn(t, "vera"), h.signIn(t, "sami")
	for _, c := range []struct {
		who                        *visitor
		decide, discard, patientOK bool
	}{{amal, true, false, false}, {vera, false, false, false}, {sami, true, true, true}} {
		for path, ok := range map[string]bool{"/decide": c.decide, "/discard": c.discard, "/patient": c.patientOK} {
			want := map[bool]int{true: http.StatusOK, false: http.StatusForbidden}[ok]
			require.Equal(t, want, c.who.post(path, url.Values{"csrf": {c.who.csrf()}}).status, path)
		}
	}
	good := url.Values{"csrf": {amal.csrf()}}
	for name, c := range map[string]struct {
		header []string
		form   url.Values
		want   int
	}{
		"same origin":            {[]string{"Sec-Fetch-Site", "same-origin", "Origin", h.URL}, good, http.StatusOK},
		"old browser":            {[]string{"Origin", h.URL}, good, http.StatusOK},
		"another site":           {[]string{"Sec-Fetch-Site", "cross-site"}, good, http.StatusForbidden},
		"another host of ours":   {[]string{"Sec-Fetch-Site", "same-site"}, good, http.StatusForbidden},
		"old browser, elsewhere": {[]string{"Origin", "https://evil.example"}, good, http.StatusForbidden},
		"sandboxed frame":        {[]string{"Origin", "null"}, good, http.StatusForbidden},
		"no token":               {nil, nil, http.StatusForbidden},
		"token in the address":   {nil, url.Values{"x": {"1"}}, http.StatusForbidden},
		"another's token":        {nil, url.Values{"csrf": {vera.csrf()}}, http.StatusForbidden},
		"too large":              {nil, url.Values{"pad": {strings.Repeat("x", 9000)}, "csrf": good["csrf"]}, http.StatusForbidden},
	} {
		path := "/decide"
		if name == "token in the address" {
			path += "?csrf=" + amal.csrf()
		}
		require.Equal(t, c.want, amal.post(path, c.form, c.header...).status, name)
	}
	// Signing somebody in from elsewhere, as oneself, would put what they do on one's own record.
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
		a := h.visitor(t).post("/signin", url.Values{"name": {"amal"}, "password": {password}}, header...)
		require.Equal(t, http.StatusForbidden, a.status)
		require.Empty(t, a.cookies)
		require.Equal(t, http.StatusForbidden, amal.post("/signout", good, header...).status)
	}
	require.NotEmpty(t, amal.who())
}

func TestCookieIsNewAtSignIn(t *testing.T) {
	h := open(t, nil)
	v := h.visitor(t)
	planted := strings.Repeat("A", 43)
	a := v.post("/signin", url.Values{"name": {"amal"}, "password": {password}}, "Cookie", "monitor-session="+planted)
	require.NotEqual(t, planted, a.cookies[0].Value)
	require.Equal(t, http.StatusSeeOther, v.get("/me", "Cookie", "monitor-session="+planted).status)
	before := a.cookies[0].Value
	a = v.post("/signin", url.Values{"name": {"vera"}, "password": {password}})
	require.NotEqual(t, before, a.cookies[0].Value)
	old := h.visitor(t)
	require.Equal(t, http.StatusSeeOther, old.get("/me", "Cookie", "monitor-session="+before).status, "the session before has ended")
	require.Equal(t, "local:vera|vera|viewer||password", v.who())
}

// TestSessionsOutliveTheMonitor: another process, another monitor beside it, but not another listener.
func TestSessionsOutliveTheMonitor(t *testing.T) {
	h := open(t, nil)
	v := h.signIn(t, "amal")
	h.Close()
	rc := testenv.Redis(t)
	next := build(t, h.pool, rc, h.clock, nil)
	v.base = next.URL // cookies know no ports
	require.Equal(t, "local:amal|amal|operator||password", v.who())

	cookie := v.http.Jar.Cookies(parse(t, next.URL))[0].Value
	actions := build(t, h.pool, rc, h.clock, func(o *signin.Options) { o.Site = "actions" })
	stranger := actions.visitor(t)
	for _, name := range []string{"monitor-session", "actions-session"} {
		require.Equal(t, http.StatusSeeOther, stranger.get("/me", "Cookie", name+"="+cookie).status, "a cookie is for its listener")
	}
}

func TestNothingStoredOpensASession(t *testing.T) {
	h := open(t, nil)
	v := h.signIn(t, "sami")
	cookie, csrf := v.http.Jar.Cookies(parse(t, h.URL))[0].Value, v.csrf()
	var rows string
	require.NoError(t, h.pool.QueryRow(t.Context(), `SELECT string_agg(s::text, ' ') FROM sign_ins s`).Scan(&rows))
	require.Contains(t, rows, "local:sami")
	for _, secret := range []string{cookie, csrf, password, passwordHash()} {
		require.NotContains(t, rows, secret)
	}
	// Who can write only last_seen_at cannot make a viewer an operator; a row of roles that do not exist lets nobody in.
	vera := h.signIn(t, "vera")
	_, err := h.pool.Exec(t.Context(), `UPDATE sign_ins SET roles = '{admin}' WHERE person_id = 'local:vera'`)
	require.NoError(t, err)
	require.Empty(t, vera.who())
	vera = h.signIn(t, "vera")
	_, err = h.pool.Exec(t.Context(), `UPDATE sign_ins SET roles = '{}' WHERE person_id = 'local:vera'`)
	require.NoError(t, err)
	require.Empty(t, vera.who())
}

func TestSessionsEnd(t *testing.T) {
	h := open(t, nil)
	v := h.signIn(t, "amal")
	cookie := v.http.Jar.Cookies(parse(t, h.URL))[0]
	keep := []string{"Cookie", cookie.Name + "=" + cookie.Value}
	seen := func() (at time.Time) {
		require.NoError(t, h.pool.QueryRow(t.Context(), `SELECT last_seen_at FROM sign_ins`).Scan(&at))
		return at.UTC()
	}
	began := h.clock.Now().UTC()
	require.Equal(t, began, seen())
	h.clock.pass(59 * time.Second)
	require.Equal(t, http.StatusOK, v.get("/me", keep...).status)
	require.Equal(t, began, seen(), "once a minute will do")
	h.clock.pass(time.Second)
	require.Equal(t, http.StatusOK, v.get("/me", keep...).status)
	require.Equal(t, began.Add(time.Minute), seen())
	h.clock.pass(8*time.Hour - time.Minute - time.Second)
	require.Equal(t, http.StatusOK, v.get("/me", keep...).status)
	h.clock.pass(time.Second)
	require.Equal(t, http.StatusSeeOther, v.get("/me", keep...).status)
	h.signIn(t, "vera")
	var left int
	require.NoError(t, h.pool.QueryRow(t.Context(), `SELECT count(*) FROM sign_ins`).Scan(&left))
	require.Equal(t, 1, left, "what has ended is deleted")
}

func TestSecureCookie(t *testing.T) {
	h := open(t, func(o *signin.Options) { o.InsecureCookies = false })
	c := h.visitor(t).post("/signin", url.Values{"name": {"amal"}, "password": {password}}).cookies[0]
	require.Equal(t, "__Host-monitor-session", c.Name)
	require.True(t, c.Secure)
	require.True(t, c.HttpOnly)
	require.Equal(t, "/", c.Path)
	require.Empty(t, c.Domain)
}

func TestRecordAway(t *testing.T) {
	h := open(t, nil)
	v := h.signIn(t, "amal")
	h.pool.Close()
	for _, path := range []string{"/me", "/signin"} {
		a := v.get(path)
		require.Equal(t, http.StatusServiceUnavailable, a.status, "a session is neither granted nor denied")
		require.Contains(t, a.body, "The record does not answer")
	}
	require.Equal(t, http.StatusServiceUnavailable, h.visitor(t).post("/signin", url.Values{"name": {"amal"}, "password": {password}}).status)
}

// TestLockout: all monitors count together, and by themselves while Redis is away.
func TestLockout(t *testing.T) {
	for name, redisAway := range map[string]bool{"with Redis": false, "without Redis": true} {
		rc := testenv.Redis(t)
		var away redis.UniversalClient = rc
		if redisAway {
			away = redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
			t.Cleanup(func() { _ = away.Close() })
		}
		now := &clock{at: time.Now()}
		pool := testenv.Pool(t)
		all := users(t)
		set := func(o *signin.Options) { o.Users = all }
		first, second := build(t, pool, away, now, set), build(t, pool, away, now, set)
		right := url.Values{"name": {"Amal"}, "password": {password}}
		v := first.visitor(t)
		for range 10 {
			require.Equal(t, http.StatusUnauthorized, v.post("/signin", url.Values{"name": {"amal"}, "password": {"wrong"}}).status, name)
		}
		a := v.post("/signin", right)
		require.Equal(t, http.StatusTooManyRequests, a.status, name)
		require.Contains(t, a.body, "Wait 15 minutes")
		require.Equal(t, "900", a.header.Get("Retry-After"))
		require.Empty(t, a.cookies)
		first.signIn(t, "vera") // others at the same address are not concerned
		if redisAway {
			second.signIn(t, "amal")
			require.Contains(t, first.log.String(), "counted by each monitor alone")
			now.pass(14 * time.Minute)
			require.Equal(t, http.StatusTooManyRequests, v.post("/signin", right).status)
			now.pass(time.Minute)
			require.Equal(t, http.StatusSeeOther, v.post("/signin", right).status)
			continue
		}
		require.Equal(t, http.StatusTooManyRequests, second.visitor(t).post("/signin", right).status, "the other monitor knows")
		keys, err := rc.Keys(t.Context(), "*").Result()
		require.NoError(t, err)
		require.Len(t, keys, 2)
		for _, k := range keys {
			require.Regexp(t, `^rate:failures:signin(-name)?:\{`, k)
			require.NotContains(t, k, "amal", "people type passwords into the field for the name")
			require.NoError(t, rc.Del(t.Context(), k).Err()) // a quarter of an hour passes
		}
		second.signIn(t, "amal")
	}
}

func TestAddressesAreLockedOut(t *testing.T) {
	h := open(t, nil)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			v := h.visitor(t)
			for j := range 25 {
				v.post("/signin", url.Values{"name": {strings.Repeat("x", i+1) + strings.Repeat("y", j)}, "password": {"wrong"}})
			}
		})
	}
	wg.Wait()
	require.Equal(t, http.StatusTooManyRequests, h.visitor(t).post("/signin", url.Values{"name": {"amal"}, "password": {password}}).status)
}

// TestManyAttemptsAtOnce: what is tried at the same time is counted all the same.
func TestManyAttemptsAtOnce(t *testing.T) {
	slow, err := bcrypt.GenerateFromPassword([]byte(password), 9)
	require.NoError(t, err)
	h := open(t, func(o *signin.Options) {
		o.Users, err = signin.ParseUsers("amal:operator:" + string(slow))
		require.NoError(t, err)
	})
	var wg sync.WaitGroup
	var compared atomic.Int64
	for range 60 {
		wg.Go(func() {
			if a := h.visitor(t).post("/signin", url.Values{"name": {"amal"}, "password": {"wrong"}}); a.status == http.StatusUnauthorized {
				compared.Add(1)
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, compared.Load(), int64(11), "10, and one that was under way with the tenth")
}

// TestUnknownNamesTakeAsLong compares hashes of both kinds, whoever asks.
func TestUnknownNamesTakeAsLong(t *testing.T) {
	strong, err := bcrypt.GenerateFromPassword([]byte(password), 10)
	require.NoError(t, err)
	for kind, hash := range map[string]string{"bcrypt": string(strong), "argon2id": argon("m=32768,t=4,p=1")} {
		h := open(t, func(o *signin.Options) {
			o.Users, err = signin.ParseUsers("amal:operator:" + hash)
			require.NoError(t, err)
		})
		v := h.visitor(t)
		took := func(name string) time.Duration {
			best := time.Hour
			for range 3 {
				began := time.Now()
				require.Equal(t, http.StatusUnauthorized, v.post("/signin", url.Values{"name": {name}, "password": {"wrong"}}).status)
				best = min(best, time.Since(began))
			}
			return best
		}
		require.Greater(t, took("nobody"), took("amal")/4, kind)
	}
}

func TestOptions(t *testing.T) {
	h := open(t, nil)
	for name, c := range map[string]struct {
		o    signin.Options
		want string
	}{
		"nobody":    {signin.Options{Record: h.store, Site: "x", Log: testenv.Discard()}, "nobody may sign in"},
		"no record": {signin.Options{Site: "x", Log: testenv.Discard(), Users: users(t)}, "Record, Log or Site is missing"},
		"no base":   {signin.Options{Record: h.store, Site: "x", Log: testenv.Discard(), Provider: new(signin.Provider)}, "want https://host"},
		"plain":     {signin.Options{Record: h.store, Site: "x", Log: testenv.Discard(), Provider: new(signin.Provider), Base: "http://monitor.example"}, "want https://host"},
		"path":      {signin.Options{Record: h.store, Site: "x", Log: testenv.Discard(), Provider: new(signin.Provider), Base: "https://x.example/y"}, "without a path"},
	} {
		_, err := signin.New(c.o)
		require.ErrorContains(t, err, c.want, name)
	}
}
