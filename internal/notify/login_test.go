package notify

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tenantServer gives tokens, and takes posts that carry one of them.
type tenantServer struct {
	*httptest.Server
	mu      sync.Mutex
	given   int
	seconds int
	refuse  func(w http.ResponseWriter) bool // answers instead of giving a token
	revoked bool                             // the token given last is not taken
	posts   int
}

func newTenant(t *testing.T) *tenantServer {
	t.Helper()
	s := &tenantServer{seconds: 3599}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /tenant-1/oauth2/v2.0/token", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.refuse != nil && s.refuse(w) {
			return
		}
		if r.PostFormValue("grant_type") != "client_credentials" || r.PostFormValue("client_id") != "app" || r.PostFormValue("client_secret") != "s3cr+t&=" ||
			r.PostFormValue("scope") != TokenScope {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":"invalid_client","error_description":"AADSTS7000215: s3cr+t&="}`)
			return
		}
		s.given++
		s.revoked = false
		_, _ = fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":%d,"access_token":"T%d"}`, s.seconds, s.given)
	})
	mux.HandleFunc("POST /hook", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.posts++
		if s.revoked || r.Header.Get("Authorization") != fmt.Sprintf("Bearer T%d", s.given) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *tenantServer) login(t *testing.T, secret string) Login {
	t.Helper()
	l, err := NewLogin(LoginSettings{
		Tenant: "tenant-1", ClientID: "app", ClientSecret: secret, TokenURL: s.URL + "/<tenant>/oauth2/v2.0/token", AllowInsecure: true,
	})
	require.NoError(t, err)
	return l
}

func TestLogin(t *testing.T) {
	s := newTenant(t)
	now := noon
	p := poster(t, Options{Now: func() time.Time { return now }})
	m := Post{URL: address(t, s.URL+"/hook"), WebhookID: "x", Body: []byte("{}"), Login: s.login(t, "s3cr+t&=")}
	post := func() Result { t.Helper(); return p.Post(t.Context(), m) }

	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { p.Post(t.Context(), m) })
	}
	wg.Wait()
	require.Equal(t, 1, s.given, "ten posts, one token")
	now = noon.Add(3599*time.Second - 5*time.Minute - time.Second)
	require.Equal(t, Accepted, post().Class)
	require.Equal(t, 1, s.given)
	now = now.Add(time.Second)
	require.Equal(t, Accepted, post().Class)
	require.Equal(t, 2, s.given, "another one five minutes before the end")

	s.revoked = true
	require.Equal(t, Config, post().Class)
	require.Equal(t, Accepted, post().Class, "a token that was refused is not used again")
	require.Equal(t, 3, s.given)

	s.seconds = 60
	now = now.Add(24 * time.Hour)
	require.Equal(t, Accepted, post().Class)
	require.Equal(t, Accepted, post().Class)
	require.Equal(t, 5, s.given, "one that ends within five minutes serves once")

	other := m
	other.Login = Login{}
	require.Equal(t, Config, p.Post(t.Context(), other).Class, "the trigger demands a token")
}

func TestNoToken(t *testing.T) {
	s := newTenant(t)
	p := poster(t, Options{Now: func() time.Time { return noon }})
	answer := func(status int, body string, header ...string) func(http.ResponseWriter) bool {
		return func(w http.ResponseWriter) bool {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	for _, tt := range []struct {
		name   string
		secret string
		refuse func(http.ResponseWriter) bool
		want   Result
	}{
		{"wrong secret", "other-s3cr3t", nil, Result{Class: Config, Safe: "no token for the webhook: HTTP 400 invalid_client"}},
		{"away", "s3cr+t&=", answer(503, ""), Result{Class: Temporary, Safe: "no token for the webhook: HTTP 503 "}},
		{"slow down", "s3cr+t&=", answer(429, "", "Retry-After", "7"), Result{Class: Temporary, Throttled: true, Safe: "no token for the webhook: HTTP 429 ", RetryAfter: 7 * time.Second}},
		{"redirect", "s3cr+t&=", answer(302, "", "Location", s.URL+"/hook"), Result{Class: Config, Safe: "no token for the webhook: HTTP 302 "}},
		{"no JSON", "s3cr+t&=", answer(200, "<html>"), Result{Class: Config, Safe: "no token for the webhook: the token endpoint answered something else"}},
		{"no token", "s3cr+t&=", answer(200, `{"token_type":"Bearer","expires_in":3599}`), Result{Class: Config, Safe: "no token for the webhook: the token endpoint answered something else"}},
		{"two lines", "s3cr+t&=", answer(200, `{"token_type":"Bearer","expires_in":3599,"access_token":"a\r\nb"}`), Result{Class: Config, Safe: "no token for the webhook: the token endpoint answered something else"}},
		{"not a bearer", "s3cr+t&=", answer(200, `{"token_type":"mac","expires_in":3599,"access_token":"a"}`), Result{Class: Config, Safe: "no token for the webhook: the token endpoint answered something else"}},
	} {
		s.refuse = tt.refuse
		r := p.Post(t.Context(), Post{URL: address(t, s.URL+"/hook"), WebhookID: "x", Login: s.login(t, tt.secret)})
		tt.want.Safe, r.Safe = trim(tt.want.Safe), trim(r.Safe)
		require.Equal(t, tt.want, r, tt.name)
		require.NotContains(t, r.Safe, tt.secret)
	}
	require.Zero(t, s.posts, "nothing was posted without a token")
	s.Close()
	r := poster(t, Options{}).Post(t.Context(), Post{URL: address(t, s.URL+"/hook"), WebhookID: "x", Login: s.login(t, "s3cr+t&=")})
	require.Equal(t, Result{Class: Temporary, Safe: "the token endpoint refused the connection"}, r, "nothing was sent, so nothing is ambiguous")
}

func trim(s string) string {
	for len(s) > 0 && s[len(s)-1] == ' ' {
		s = s[:len(s)-1]
	}
	return s
}

func TestNewLogin(t *testing.T) {
	for _, bad := range []LoginSettings{
		{},
		{Tenant: "t", ClientID: "c"},
		{Tenant: "t", ClientSecret: "hidden"},
		{Tenant: "a/b", ClientID: "c", ClientSecret: "hidden"},
		{Tenant: "t", ClientID: "c", ClientSecret: "hidden", TokenURL: "http://login.example/x"},
		{Tenant: "t", ClientID: "c", ClientSecret: "hidden", TokenURL: "http://login.example/x", AllowInsecure: true},
		{Tenant: "t", ClientID: "c", ClientSecret: "hidden", TokenURL: "login.example"},
		{Tenant: "t", ClientID: "c", ClientSecret: "hidden", TokenURL: "https://u@login.example/"},
	} {
		_, err := NewLogin(bad)
		require.ErrorIs(t, err, ErrLogin)
		require.NotContains(t, err.Error(), "hidden")
	}
	l, err := NewLogin(LoginSettings{Tenant: "contoso.example", ClientID: "c", ClientSecret: "s"})
	require.NoError(t, err)
	endpoint, form := l.reveal()
	require.Equal(t, "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token", endpoint)
	require.Equal(t, "https://service.flow.microsoft.com//.default", form.Get("scope"), "the double slash is right")
}

func TestVersionsOfTLS(t *testing.T) {
	var version uint16
	server := func(highest uint16) *httptest.Server {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			version = r.TLS.Version
			w.WriteHeader(202)
		}))
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: highest}
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	post := func(s *httptest.Server, lowest uint16) Result {
		pool := x509.NewCertPool()
		pool.AddCert(s.Certificate())
		return poster(t, Options{RootCAs: pool, MinTLS: lowest}).Post(t.Context(), Post{URL: address(t, s.URL), WebhookID: "x"})
	}
	require.Equal(t, Accepted, post(server(0), 0).Class)
	require.Equal(t, uint16(tls.VersionTLS13), version, "the highest of both")
	require.Equal(t, Accepted, post(server(tls.VersionTLS12), 0).Class)
	require.Equal(t, uint16(tls.VersionTLS12), version)
	refused := Result{Class: Config, Safe: "Teams speaks only versions of TLS that are not allowed"}
	require.Equal(t, refused, post(server(tls.VersionTLS12), tls.VersionTLS13))
	require.Equal(t, refused, post(server(tls.VersionTLS11), 0))
	require.Equal(t, refused, post(server(tls.VersionTLS11), tls.VersionTLS10), "1.2 is the least whatever is set")

	r := poster(t, Options{}).Post(t.Context(), Post{URL: address(t, "https"+teams(t).URL[4:]+"/ok"), WebhookID: "x"})
	require.Equal(t, Result{Class: Config, Safe: "Teams does not speak TLS"}, r)
}
