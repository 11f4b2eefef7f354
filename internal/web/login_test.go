package web_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/internal/web"
)

func TestParseUsers(t *testing.T) {
	b, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	require.NoError(t, err)
	hash := string(b)
	apache := "$2y$" + strings.TrimPrefix(hash, "$2a$") // htpasswd's mark
	for name, c := range map[string]struct{ text, want string }{
		"two":             {"amal:operator:" + hash + "\nvera:viewer:" + apache, ""},
		"none":            {" \n ", "nobody may sign in; want name:role:bcrypt-hash"},
		"plain password":  {"amal:operator:" + hash + " vera:viewer:hunter2", "entry 2: the hash is no bcrypt hash"},
		"cut hash":        {"amal:operator:" + hash[:59], "entry 1: the hash is no bcrypt hash"},
		"unknown role":    {"amal:admin:" + hash, "entry 1: the role must be viewer or operator"},
		"no role":         {"amal:" + hash, "entry 1: want name:role:bcrypt-hash"},
		"odd name":        {"<b>:viewer:" + hash, "entry 1: the name"},
		"same name twice": {"amal:viewer:" + hash + " Amal:operator:" + hash, "entry 2: the name was given before"},
		"too costly":      {"amal:viewer:$2a$31$" + hash[7:], "entry 1: the hash costs too much"},
	} {
		_, err := web.ParseUsers(c.text)
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, c.want, name)
		require.NotContains(t, err.Error(), hash[10:], name)
		require.NotContains(t, err.Error(), "hunter2", name)
	}
}

func TestHash(t *testing.T) {
	h, err := web.Hash([]byte(password))
	require.NoError(t, err)
	require.NoError(t, bcrypt.CompareHashAndPassword([]byte(h), []byte(password)))
	_, err = web.Hash([]byte("short"))
	require.Error(t, err)
	_, err = web.Hash([]byte(strings.Repeat("x", 73)))
	require.Error(t, err)
}

func TestLoginAndLogout(t *testing.T) {
	s := open(t)
	v := s.visitor(t)
	for _, path := range []string{"/", "/claims", "/dead", "/notifications", "/audit", "/inbox", "/payments", "/pauses", "/eligibility", "/queues/", "/queues/static/js/main.5adda2da.chunk.js", "/nothing"} {
		r, _ := v.get(path)
		require.Equal(t, http.StatusSeeOther, r.StatusCode, path)
		require.Equal(t, "/login?next="+url.QueryEscape(path), r.Header.Get("Location"))
	}
	r, _ := v.get("/queues/api/queues")
	require.Equal(t, http.StatusUnauthorized, r.StatusCode)
	r, _ = v.post("/dead/"+"x/retry", nil)
	require.Equal(t, http.StatusUnauthorized, r.StatusCode)

	r, page := v.post("/login", url.Values{"name": {"amal"}, "password": {"wrong"}})
	require.Equal(t, http.StatusUnauthorized, r.StatusCode)
	require.Contains(t, page, "Name or password is wrong.")
	require.Empty(t, r.Cookies())
	r, other := v.post("/login", url.Values{"name": {"nobody"}, "password": {password}})
	require.Equal(t, http.StatusUnauthorized, r.StatusCode)
	require.Equal(t, strings.ReplaceAll(page, "amal", "nobody"), other) // nothing tells who exists

	r, _ = v.post("/login", url.Values{"name": {"Amal"}, "password": {password}, "next": {"/dead?state=open"}})
	require.Equal(t, http.StatusSeeOther, r.StatusCode)
	require.Equal(t, "/dead?state=open", r.Header.Get("Location"))
	c := r.Cookies()[0]
	require.Equal(t, "session", c.Name)
	require.True(t, c.HttpOnly)
	require.Equal(t, http.SameSiteLaxMode, c.SameSite)
	require.Equal(t, int((8 * time.Hour).Seconds()), c.MaxAge)

	for next, want := range map[string]string{"//evil.example/": "/", "https://evil.example/": "/", "/\\evil.example": "/", "claims": "/", "/claims/1": "/claims/1", "/\t/evil": "/"} {
		r, _ = v.get("/login?next=" + url.QueryEscape(next))
		require.Equal(t, want, r.Header.Get("Location"), next)
	}

	token := v.csrf()
	r, _ = v.get("/logout")
	require.NotEqual(t, http.StatusSeeOther, r.StatusCode)
	r, _ = v.post("/logout", nil)
	require.Equal(t, http.StatusForbidden, r.StatusCode)
	r, _ = v.post("/logout", url.Values{"csrf": {token}})
	require.Equal(t, http.StatusSeeOther, r.StatusCode)
	r, _ = v.do(http.MethodGet, "/claims", nil, "Cookie", c.Name+"="+c.Value) // the old cookie is worth nothing
	require.Equal(t, http.StatusSeeOther, r.StatusCode)
}

func TestLockout(t *testing.T) {
	s := open(t)
	v := s.visitor(t)
	for range 10 {
		r, _ := v.post("/login", url.Values{"name": {"amal"}, "password": {"wrong"}})
		require.Equal(t, http.StatusUnauthorized, r.StatusCode)
	}
	r, page := v.post("/login", url.Values{"name": {"AMAL"}, "password": {password}})
	require.Equal(t, http.StatusTooManyRequests, r.StatusCode)
	require.Contains(t, page, "Wait 15 minutes")
	require.Equal(t, "900", r.Header.Get("Retry-After"))
	require.Empty(t, r.Cookies())
	s.signIn(t, "vera") // others at the same address are not concerned
}

// TestTimePasses holds lock-out and session to the clock. The handler is called directly: no network in a bubble.
func TestTimePasses(t *testing.T) {
	rc, pool := testenv.Redis(t), testenv.Pool(t)
	synctest.Test(t, func(t *testing.T) {
		h, err := web.New(web.Options{Store: store.New(pool, store.Options{}), Queue: broker.New(rc), Redis: rc, Users: users(t), Log: testenv.Discard()})
		require.NoError(t, err)
		call := func(method, path, form string, cookie *http.Cookie) reply {
			r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(form))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if cookie != nil {
				r.AddCookie(cookie)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			resp := w.Result()
			defer resp.Body.Close()
			return reply{resp.StatusCode, resp.Header, resp.Cookies()}
		}
		right := url.Values{"name": {"amal"}, "password": {password}}.Encode()
		for range 10 {
			require.Equal(t, http.StatusUnauthorized, call("POST", "/login", "name=amal&password=x", nil).StatusCode)
		}
		time.Sleep(14 * time.Minute)
		require.Equal(t, http.StatusTooManyRequests, call("POST", "/login", right, nil).StatusCode)
		time.Sleep(time.Minute)
		r := call("POST", "/login", right, nil)
		require.Equal(t, http.StatusSeeOther, r.StatusCode)
		c := r.Cookies()[0]
		require.Equal(t, "__Host-session", c.Name)
		require.True(t, c.Secure)
		require.True(t, c.HttpOnly)
		require.Equal(t, "/", c.Path)
		require.Empty(t, c.Domain)
		require.Equal(t, http.StatusNotFound, call("GET", "/nothing", "", c).StatusCode)
		time.Sleep(8*time.Hour - time.Second)
		require.Equal(t, http.StatusNotFound, call("GET", "/nothing", "", c).StatusCode)
		time.Sleep(time.Second)
		require.Equal(t, http.StatusSeeOther, call("GET", "/nothing", "", c).StatusCode)
	})
}
