package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLoginAndLogout(t *testing.T) {
	s := open(t)
	v := s.visitor(t)
	for _, path := range []string{"/", "/claims", "/dead", "/notifications", "/audit", "/inbox", "/payments", "/pauses", "/eligibility", "/queues/", "/queues/static/js/main.5adda2da.chunk.js", "/nothing"} {
		r, _ := v.get(path)
		require.Equal(t, http.StatusSeeOther, r.StatusCode, path)
		require.Equal(t, "/signin?next="+url.QueryEscape(path), r.Header.Get("Location"))
	}
	r, _ := v.get("/queues/api/queues")
	require.Equal(t, http.StatusUnauthorized, r.StatusCode)
	r, _ = v.post("/dead/"+"x/retry", nil)
	require.Equal(t, http.StatusUnauthorized, r.StatusCode)

	r, page := v.post("/signin", url.Values{"name": {"amal"}, "password": {"wrong"}})
	require.Equal(t, http.StatusUnauthorized, r.StatusCode)
	require.Contains(t, page, "Name or password is wrong.")
	require.Empty(t, r.Cookies())
	r, other := v.post("/signin", url.Values{"name": {"nobody"}, "password": {password}})
	require.Equal(t, http.StatusUnauthorized, r.StatusCode)
	require.Equal(t, strings.ReplaceAll(page, "amal", "nobody"), other) // nothing tells who exists

	r, _ = v.post("/signin", url.Values{"name": {"Amal"}, "password": {password}, "next": {"/dead?state=open"}})
	require.Equal(t, http.StatusSeeOther, r.StatusCode)
	require.Equal(t, "/dead?state=open", r.Header.Get("Location"))
	c := r.Cookies()[0]
	require.Equal(t, "monitor-session", c.Name)
	require.True(t, c.HttpOnly)
	require.Equal(t, http.SameSiteLaxMode, c.SameSite)
	require.Equal(t, int((8 * time.Hour).Seconds()), c.MaxAge)

	for next, want := range map[string]string{"//evil.example/": "/", "https://evil.example/": "/", "/\\evil.example": "/", "claims": "/", "/claims/1": "/claims/1", "/\t/evil": "/"} {
		r, _ = v.get("/signin?next=" + url.QueryEscape(next))
		require.Equal(t, want, r.Header.Get("Location"), next)
	}

	r, _ = v.get("/login?next=/claims") // where it was before
	require.Equal(t, "/signin?next=%2Fclaims", r.Header.Get("Location"))

	token := v.csrf()
	r, _ = v.get("/signout")
	require.NotEqual(t, http.StatusSeeOther, r.StatusCode)
	r, _ = v.post("/signout", nil)
	require.Equal(t, http.StatusForbidden, r.StatusCode)
	r, _ = v.post("/signout", url.Values{"csrf": {token}})
	require.Equal(t, http.StatusSeeOther, r.StatusCode)
	r, _ = v.do(http.MethodGet, "/claims", nil, "Cookie", c.Name+"="+c.Value) // the old cookie is worth nothing
	require.Equal(t, http.StatusSeeOther, r.StatusCode)
}
