// Package testidp gives tests a real provider of single sign-on (OpenID Connect) on loopback, whose tokens have the shape of those
// of Microsoft Entra. People sign in there with a form that a browser, or SignIn, fills in. For tests only.
package testidp

import (
	"context"
	"crypto/rand"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// User is somebody at the provider.
type User struct {
	// Name is what is typed into the form, and the preferred_username.
	Name, Password string
	// ID is the oid, Tenant the tid; empty ones are left out.
	ID, Tenant string
	// Roles and Groups are claims of the same names.
	Roles, Groups []string
	// Claims are more claims. They go over the others.
	Claims map[string]any
}

// The client that the provider knows.
const (
	ClientID     = "nphiesq-test"
	ClientSecret = "a secret of the tests"
)

// Provider is a running provider.
type Provider struct {
	// Issuer is its address.
	Issuer, ClientID, ClientSecret string
	away                           atomic.Bool
	tokens                         atomic.Int64
}

// Start starts a provider that ends with the test. It leads back to /signin/callback on any port of 127.0.0.1 or localhost.
func Start(t testing.TB, users ...User) *Provider {
	t.Helper()
	p := &Provider{ClientID: ClientID, ClientSecret: ClientSecret}
	var h http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.away.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		if strings.HasSuffix(r.URL.Path, "/token") {
			p.tokens.Add(1)
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	p.Issuer = srv.URL

	st := &people{byName: map[string]User{}}
	for _, u := range users {
		st.byName[u.Name] = u
	}
	st.Storage = storage.NewStorageWithClients(st, map[string]*storage.Client{})
	st.client = client{storage.WebClient(ClientID, ClientSecret)}
	cfg := &op.Config{CodeMethodS256: true, AuthMethodPost: true}
	_, err := rand.Read(cfg.CryptoKey[:])
	require.NoError(t, err)
	provider, err := op.NewProvider(cfg, st, op.StaticIssuer(p.Issuer), op.WithAllowInsecure(), op.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login/username", func(w http.ResponseWriter, r *http.Request) { form(w, r.FormValue("authRequestID"), "") })
	mux.Handle("POST /login/username", op.NewIssuerInterceptor(provider.IssuerFromRequest).HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.FormValue("id")
		if err := st.CheckUsernamePassword(r.FormValue("username"), r.FormValue("password"), id); err != nil {
			form(w, id, err.Error())
			return
		}
		http.Redirect(w, r, op.AuthCallbackURL(provider)(r.Context(), id), http.StatusFound)
	}))
	mux.Handle("/", provider)
	h = mux
	return p
}

// Away lets the provider answer 503 to everything, or be back.
func (p *Provider) Away(away bool) { p.away.Store(away) }

// Tokens is how often a code was to be exchanged.
func (p *Provider) Tokens() int { return int(p.tokens.Load()) }

var page = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><title>Test provider</title><h1>Test provider</h1><p>{{.Error}}</p>
<form method="post" action="/login/username"><input type="hidden" name="id" value="{{.ID}}">
<label for="username">User</label><input id="username" name="username"> <label for="password">Password</label><input id="password" name="password" type="password">
<button id="submit" type="submit">Sign in</button></form></html>`))

func form(w http.ResponseWriter, id, problem string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = page.Execute(w, struct{ ID, Error string }{id, problem})
}

var idField = regexp.MustCompile(`name="id" value="([^"]+)"`)

// Submit fills in the provider's form, which is at address (what our /signin/start leads to), as a browser with c's cookies would. c
// must not follow redirects. It returns the address that the provider leads back to, not yet visited.
func (p *Provider) Submit(t testing.TB, c *http.Client, address, name, password string) string {
	t.Helper()
	visit := func(method, address string, form url.Values) (location, body string) {
		r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
		require.NoError(t, err)
		if form != nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		resp, err := c.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		if l, err := resp.Location(); err == nil {
			location = l.String()
		}
		return location, string(text)
	}
	login, text := visit(http.MethodGet, address, nil)
	require.NotEmpty(t, login, text)
	_, text = visit(http.MethodGet, login, nil)
	id := idField.FindStringSubmatch(text)
	require.NotNil(t, id, text)
	next, text := visit(http.MethodPost, p.Issuer+"/login/username", url.Values{"id": {id[1]}, "username": {name}, "password": {password}})
	require.NotEmpty(t, next, text)
	back, text := visit(http.MethodGet, next, nil)
	require.NotEmpty(t, back, text)
	return back
}

// client lets the provider lead back to any port of this machine.
type client struct{ *storage.Client }

func (client) RedirectURIGlobs() []string {
	return []string{"http://127.0.0.1:*/signin/callback", "http://localhost:*/signin/callback"}
}

func (client) PostLogoutRedirectURIGlobs() []string { return nil }

// people is the provider's storage: that of the example, with our users and claims.
type people struct {
	*storage.Storage
	client client
	byName map[string]User
}

// GetUserByUsername implements storage.UserStore.
func (s *people) GetUserByUsername(name string) *storage.User {
	u, ok := s.byName[name]
	if !ok {
		return nil
	}
	return &storage.User{ID: "sub-" + u.Name, Username: u.Name, Password: u.Password}
}

// GetUserByID implements storage.UserStore.
func (s *people) GetUserByID(id string) *storage.User {
	return s.GetUserByUsername(strings.TrimPrefix(id, "sub-"))
}

// ExampleClientID implements storage.UserStore.
func (s *people) ExampleClientID() string { return ClientID }

// GetClientByClientID implements op.Storage.
func (s *people) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != ClientID {
		return nil, oidc.ErrInvalidClient()
	}
	return s.client, nil
}

// AuthorizeClientIDSecret implements op.Storage.
func (s *people) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if id != ClientID || secret != ClientSecret {
		return oidc.ErrInvalidClient()
	}
	return nil
}

// SetUserinfoFromRequest implements op.CanSetUserinfoFromRequest: what ID tokens say.
func (s *people) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, r op.IDTokenRequest, _ []string) error {
	u := s.byName[strings.TrimPrefix(r.GetSubject(), "sub-")]
	info.Subject, info.PreferredUsername = r.GetSubject(), u.Name
	for name, value := range map[string]any{"oid": u.ID, "tid": u.Tenant, "roles": u.Roles, "groups": u.Groups} {
		if text, ok := value.(string); ok && text == "" {
			continue
		}
		info.AppendClaims(name, value)
	}
	for name, value := range u.Claims {
		info.AppendClaims(name, value)
	}
	return nil
}
