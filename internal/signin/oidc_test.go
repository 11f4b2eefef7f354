package signin_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/signin"
	"github.com/claimlinc/nphiesq/internal/testidp"
)

const (
	tenant = "6babcaad-604b-40ac-a9d7-9fd97c0b779f"
	other  = "11111111-2222-3333-4444-555555555555"
)

const mapping = "operator=nphiesq.operator privacy=nphiesq.privacy, viewer=nphiesq.viewer\nsupervisor=nphiesq.lead supervisor=nphiesq.deputy"

func settings(t testing.TB, issuer string) signin.ProviderSettings {
	t.Helper()
	roles, err := signin.ParseRoleMapping(mapping)
	require.NoError(t, err)
	return signin.ProviderSettings{
		Issuer: issuer, ClientID: testidp.ClientID, ClientSecret: testidp.ClientSecret, Scopes: []string{"openid", "profile", "email"}, Tenants: []string{tenant},
		RoleClaim: "roles", Roles: roles,
	}
}

func provider(t testing.TB, s signin.ProviderSettings) *signin.Provider {
	t.Helper()
	p, err := signin.NewProvider(s)
	require.NoError(t, err)
	return p
}

func people() []testidp.User {
	return []testidp.User{
		{Name: "nora@contoso.example", Password: password, ID: "oid-nora", Tenant: tenant, Roles: []string{"nphiesq.operator", "nphiesq.privacy", "unknown"}},
		{Name: "lead@contoso.example", Password: password, ID: "oid-lead", Tenant: tenant, Roles: []string{"nphiesq.deputy"}},
		{Name: "nobody@contoso.example", Password: password, ID: "oid-nobody", Tenant: tenant, Roles: []string{"else.admin"}},
		{Name: "guest@elsewhere.example", Password: password, ID: "oid-guest", Tenant: other, Roles: []string{"nphiesq.operator"}},
		{Name: "homeless@contoso.example", Password: password, ID: "oid-homeless", Roles: []string{"nphiesq.operator"}},
		{Name: "groups@contoso.example", Password: password, ID: "oid-groups", Tenant: tenant, Claims: map[string]any{"_claim_names": map[string]any{"roles": "src1"}, "_claim_sources": map[string]any{"src1": map[string]any{"endpoint": "https://graph.example/x"}}, "roles": nil}},
		{Name: "sub@contoso.example", Password: password, Tenant: tenant, Roles: []string{"nphiesq.viewer"}},
		{Name: "local@contoso.example", Password: password, ID: "local:amal", Tenant: tenant, Roles: []string{"nphiesq.operator"}},
	}
}

// walk goes from a page behind the wall to the provider and back: what /signin/callback answered.
func (v *visitor) walk(idp *testidp.Provider, name, path string) answer {
	v.t.Helper()
	return v.get(idp.Submit(v.t, v.http, v.begin(path), name, password))
}

// begin goes from a page behind the wall to the address of the provider.
func (v *visitor) begin(path string) string {
	v.t.Helper()
	page := v.get(v.get(path).to)
	m := startLink.FindStringSubmatch(page.body)
	require.NotNil(v.t, m, page.body)
	a := v.get(strings.ReplaceAll(m[1], "&amp;", "&"))
	require.Equal(v.t, http.StatusSeeOther, a.status, a.body)
	return a.to
}

func TestSingleSignOn(t *testing.T) {
	idp := testidp.Start(t, people()...)
	h := open(t, func(o *signin.Options) { o.Provider = provider(t, settings(t, idp.Issuer)) })
	v := h.visitor(t)
	page := v.get("/signin?next=/dead")
	require.Contains(t, page.body, "Sign in with "+strings.TrimPrefix(idp.Issuer, "http://"))
	require.NotContains(t, page.body, `name="password"`, "there are no local users")
	require.Equal(t, http.StatusNotFound, v.post("/signin", url.Values{"name": {"amal"}, "password": {password}}).status)

	asked := parse(t, v.begin("/dead?state=open")).Query()
	require.Equal(t, "code", asked.Get("response_type"))
	require.Equal(t, "S256", asked.Get("code_challenge_method"))
	require.Equal(t, h.URL+"/signin/callback", asked.Get("redirect_uri"))
	require.Equal(t, "openid profile email", asked.Get("scope"))
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		require.Len(t, asked.Get(name), 43, name)
	}

	a := v.walk(idp, "nora@contoso.example", "/dead?state=open")
	require.Equal(t, http.StatusSeeOther, a.status, a.body)
	require.Equal(t, "/dead?state=open", a.to)
	require.Equal(t, "oid-nora|nora@contoso.example|operator, privacy|"+tenant+"|oidc", v.who())
	require.Equal(t, http.StatusOK, v.post("/patient", url.Values{"csrf": {v.csrf()}}).status)
	require.Equal(t, http.StatusForbidden, v.post("/discard", url.Values{"csrf": {v.csrf()}}).status)
	require.Contains(t, h.log.String(), `msg="signed in" site=monitor user=oid-nora method=oidc`)

	lead := h.visitor(t)
	lead.walk(idp, "lead@contoso.example", "/")
	require.Equal(t, "oid-lead|lead@contoso.example|supervisor|"+tenant+"|oidc", lead.who())
	sub := h.visitor(t)
	sub.walk(idp, "sub@contoso.example", "/")
	require.Equal(t, "sub-sub@contoso.example|sub@contoso.example|viewer|"+tenant+"|oidc", sub.who())

	for name, want := range map[string]struct{ page, log string }{
		"nobody@contoso.example":   {"you have no role here", "no role"},
		"guest@elsewhere.example":  {"People of your directory may not sign in here", "tenant is not allowed"},
		"homeless@contoso.example": {"People of your directory may not sign in here", "tenant is not allowed"},
		"groups@contoso.example":   {"you have no role here", "too many groups"},
		"local@contoso.example":    {"The answer of the provider is not in order", "no usable id"},
	} {
		v := h.visitor(t)
		a := v.walk(idp, name, "/dead")
		require.Equal(t, http.StatusForbidden, a.status, name)
		require.Contains(t, a.body, want.page, name)
		require.Contains(t, h.log.String(), want.log, name)
		require.Contains(t, a.body, "/signin/start?next=%2Fdead", "one may try again")
		require.Empty(t, v.who())
		require.NotContains(t, h.log.String(), name, "who is refused is not named")
	}

	// What decides about roles has changed, or single sign-on is off: sessions end.
	cookie := v.http.Jar.Cookies(parse(t, h.URL))
	for name, change := range map[string]func(*signin.Options){
		"other roles": func(o *signin.Options) {
			s := settings(t, idp.Issuer)
			s.Roles = map[string][]signin.Role{"nphiesq.operator": {signin.Viewer}}
			o.Provider = provider(t, s)
		},
		"off": nil,
	} {
		v := h.visitor(t)
		v.walk(idp, "nora@contoso.example", "/")
		next := build(t, h.pool, nil, h.clock, change)
		v.base = next.URL
		require.Empty(t, v.who(), name)
	}
	require.NotEmpty(t, cookie)
}

func TestGroupsGiveRoles(t *testing.T) {
	idp := testidp.Start(t, testidp.User{Name: "g", Password: password, ID: "oid-g", Tenant: tenant, Groups: []string{other}}, testidp.User{Name: "one", Password: password, Tenant: tenant, Claims: map[string]any{"groups": other}})
	h := open(t, func(o *signin.Options) {
		s := settings(t, idp.Issuer)
		var err error
		s.RoleClaim = "groups"
		s.Roles, err = signin.ParseRoleMapping("supervisor=" + other + " privacy=" + other)
		require.NoError(t, err)
		s.Name = "Contoso"
		o.Provider, o.Users = provider(t, s), users(t)
	})
	for name, want := range map[string]string{"g": "oid-g|g", "one": "sub-one|one"} {
		v := h.visitor(t)
		require.Equal(t, http.StatusSeeOther, v.walk(idp, name, "/").status)
		require.Equal(t, want+"|supervisor, privacy|"+tenant+"|oidc", v.who())
	}
	page := h.visitor(t).get("/signin")
	require.Contains(t, page.body, "Sign in with Contoso")
	require.Contains(t, page.body, `name="password"`)
	require.NotEmpty(t, h.signIn(t, "amal").who(), "local users are there, too")
}

func TestProviderAway(t *testing.T) {
	idp := testidp.Start(t, people()...)
	idp.Away(true)
	h := open(t, nil)
	s := settings(t, idp.Issuer)
	s.Now = h.clock.Now
	h = build(t, h.pool, nil, h.clock, func(o *signin.Options) { o.Provider, o.Users = provider(t, s), users(t) })
	v := h.visitor(t)
	page := v.get("/signin?next=/dead")
	require.Equal(t, http.StatusOK, page.status)
	require.Contains(t, page.body, "is not available now")
	require.Contains(t, page.body, `name="password"`, "local users get in")
	require.NotContains(t, page.body, "/signin/start")
	require.Equal(t, http.StatusServiceUnavailable, v.get("/signin/start").status)
	idp.Away(false)
	require.Contains(t, v.get("/signin").body, "is not available now", "it is not asked with every page")
	h.clock.pass(10 * time.Second)
	require.Equal(t, http.StatusSeeOther, v.walk(idp, "nora@contoso.example", "/dead").status)

	// It goes away while somebody is there.
	w := h.visitor(t)
	back := idp.Submit(t, w.http, w.begin("/dead"), "nora@contoso.example", password)
	idp.Away(true)
	a := w.get(back)
	require.Equal(t, http.StatusBadGateway, a.status)
	require.Contains(t, a.body, "does not answer at the moment")
	code := parse(t, back).Query().Get("code")
	require.NotContains(t, h.log.String(), code)
	require.NotContains(t, h.log.String(), testidp.ClientSecret)
	require.NotEmpty(t, v.who(), "whoever is in stays")
}

// TestStateIsGoodOnce holds sign-ins under way to the browser and the time they began in.
func TestStateIsGoodOnce(t *testing.T) {
	idp := testidp.Start(t, people()...)
	h := open(t, func(o *signin.Options) { o.Provider = provider(t, settings(t, idp.Issuer)) })
	const nora = "nora@contoso.example"
	refused := func(a answer, log string) {
		t.Helper()
		require.Equal(t, http.StatusBadRequest, a.status)
		require.Contains(t, a.body, "begun elsewhere, took longer than 10 minutes or was used already")
		require.Empty(t, a.cookies)
		require.Contains(t, h.log.String(), log)
	}
	v := h.visitor(t)
	back := idp.Submit(t, v.http, v.begin("/dead"), nora, password)
	require.Equal(t, http.StatusSeeOther, v.get(back).status)
	exchanged := idp.Tokens()
	require.Equal(t, 1, exchanged)
	refused(v.get(back), "unknown state")

	// An attacker leads a victim to the callback with the attacker's own code.
	attacker, victim := h.visitor(t), h.visitor(t)
	back = idp.Submit(t, attacker.http, attacker.begin("/dead"), nora, password)
	refused(victim.get(back), "no state or no cookie")
	victim.begin("/dead") // also while the victim signs in
	refused(victim.get(back), "state of another browser")
	refused(attacker.get(back), "unknown state") // that attempt used it up

	// The attacker's code in the victim's state: PKCE and nonce belong to the victim's.
	back = idp.Submit(t, attacker.http, attacker.begin("/dead"), nora, password)
	mine := parse(t, idp.Submit(t, victim.http, victim.begin("/dead"), nora, password))
	q := mine.Query()
	q.Set("code", parse(t, back).Query().Get("code"))
	mine.RawQuery = q.Encode()
	a := victim.get(mine.String())
	require.Equal(t, http.StatusForbidden, a.status)
	require.Empty(t, victim.who())
	require.Contains(t, h.log.String(), "code refused: invalid_grant")

	for path, log := range map[string]string{
		"/signin/callback": "no state or no cookie",
		"/signin/callback?code=x&state=" + strings.Repeat("A", 43):     "unknown state",
		"/signin/callback?code=x&state=" + strings.Repeat("A", 30_000): "",
	} {
		if a := victim.get(path); log != "" {
			refused(a, log)
		} else {
			require.GreaterOrEqual(t, a.status, 400)
		}
	}

	late := h.visitor(t)
	back = idp.Submit(t, late.http, late.begin("/dead"), nora, password)
	h.clock.pass(10 * time.Minute)
	refused(late.get(back), "unknown state")
	h.clock.pass(-10 * time.Minute)

	// Two tabs of a browser.
	tabs := h.visitor(t)
	first, second := tabs.begin("/one"), tabs.begin("/two")
	require.Equal(t, "/one", tabs.get(idp.Submit(t, tabs.http, first, nora, password)).to)
	require.Equal(t, "/two", tabs.get(idp.Submit(t, tabs.http, second, nora, password)).to)

	// The provider's own refusal. What it says about it is not repeated.
	turned := h.visitor(t)
	state := parse(t, turned.begin("/dead")).Query().Get("state")
	a = turned.get("/signin/callback?error=access_denied&error_description=%3Cscript%3Ecall+0900%3C/script%3E&state=" + state)
	require.Equal(t, http.StatusForbidden, a.status)
	require.Contains(t, a.body, "did not let you in")
	require.NotContains(t, a.body, "0900")
	require.Contains(t, h.log.String(), "provider: access_denied")
	state = parse(t, turned.begin("/dead")).Query().Get("state")
	turned.get("/signin/callback?error=%0Aforged&state=" + state)
	require.Contains(t, h.log.String(), "provider: unknown")

	// No other page begins one, and none leads elsewhere.
	a = turned.get("/signin/start?next=/dead", "Sec-Fetch-Site", "cross-site")
	require.Equal(t, "/signin?next=%2Fdead", a.to)
	require.Empty(t, a.cookies)
	evil := h.visitor(t)
	to := evil.get("/signin/start?next=" + url.QueryEscape("//evil.example/")).to
	require.Equal(t, "/", evil.get(idp.Submit(t, evil.http, to, nora, password)).to)

	// What is stored does not suffice to finish a sign-in.
	w := h.visitor(t)
	asked := parse(t, w.begin("/dead")).Query()
	var rows string
	require.NoError(t, h.pool.QueryRow(t.Context(), `SELECT string_agg(s::text, ' ') FROM sign_in_starts s`).Scan(&rows))
	for _, secret := range []string{asked.Get("state"), asked.Get("nonce"), w.http.Jar.Cookies(parse(t, h.URL))[0].Value} {
		require.NotContains(t, rows, secret)
	}
}

// forger is a provider whose ID token the test writes: what a real one never does.
type forger struct {
	*httptest.Server
	t   *testing.T
	key *rsa.PrivateKey

	mu    sync.Mutex
	token func(nonce string) string
	nonce string
	// keyless lets the keys be away.
	keyless bool
}

func forge(t *testing.T) *forger {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	f := &forger{t: t, key: key}
	mux := http.NewServeMux()
	write := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		write(w, map[string]any{
			"issuer": f.URL + "/" + r.PathValue("tenant") + "/v2.0", "authorization_endpoint": f.URL + "/authorize", "token_endpoint": f.URL + "/token", "jwks_uri": f.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.keyless {
			http.Error(w, "away", http.StatusBadGateway)
			return
		}
		write(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		write(w, map[string]any{"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": f.token(f.nonce)})
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

// issuer is that of a directory of Microsoft Entra.
func (f *forger) issuer() string { return f.URL + "/" + tenant + "/v2.0" }

func (f *forger) sign(key any, alg jose.SignatureAlgorithm, claims map[string]any) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
	if err != nil {
		return err.Error()
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return err.Error()
	}
	o, err := s.Sign(body)
	if err != nil {
		return err.Error()
	}
	text, err := o.CompactSerialize()
	if err != nil {
		return err.Error()
	}
	return text
}

// attempt signs in with a token: what /signin/callback answers.
func (f *forger) attempt(v *visitor, token func(nonce string) string) answer {
	f.t.Helper()
	asked := parse(f.t, v.begin("/dead")).Query()
	f.mu.Lock()
	f.nonce, f.token = asked.Get("nonce"), token
	f.mu.Unlock()
	return v.get("/signin/callback?code=c&state=" + asked.Get("state"))
}

func TestTokensAreChecked(t *testing.T) {
	f := forge(t)
	now := time.Now()
	h := open(t, nil)
	h = build(t, h.pool, nil, &clock{at: now}, func(o *signin.Options) {
		s := settings(t, f.issuer())
		s.Now = func() time.Time { return now }
		o.Provider = provider(t, s)
	})
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	good := func(nonce string) map[string]any {
		return map[string]any{
			"iss": f.issuer(), "aud": testidp.ClientID, "sub": "s", "oid": "oid-x", "tid": tenant, "nonce": nonce, "preferred_username": "x@contoso.example",
			"roles": []string{"nphiesq.operator"}, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		}
	}
	with := func(change map[string]any) func(string) string {
		return func(nonce string) string {
			c := good(nonce)
			maps.Copy(c, change)
			return f.sign(f.key, jose.RS256, c)
		}
	}
	unsigned := func(alg string) func(string) string {
		return func(nonce string) string {
			body, err := json.Marshal(good(nonce))
			if err != nil {
				return err.Error()
			}
			return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"`+alg+`","kid":"k"}`)) + "." + base64.RawURLEncoding.EncodeToString(body) + "."
		}
	}
	f.keyless = true
	a := f.attempt(h.visitor(t), with(nil))
	require.Equal(t, http.StatusBadGateway, a.status, "that is nobody's fault here")
	require.Contains(t, a.body, "does not answer at the moment")
	f.keyless = false
	for name, c := range map[string]struct {
		token func(nonce string) string
		log   string // "" for one that is taken
	}{
		"good":                        {with(nil), ""},
		"expired within the skew":     {with(map[string]any{"exp": now.Add(-59 * time.Second).Unix()}), ""},
		"issued soon, by the skew":    {with(map[string]any{"iat": now.Add(59 * time.Second).Unix(), "nbf": now.Add(59 * time.Second).Unix()}), ""},
		"two audiences, ours the azp": {with(map[string]any{"aud": []string{"x", testidp.ClientID}, "azp": testidp.ClientID}), ""},
		"expired":                     {with(map[string]any{"exp": now.Add(-61 * time.Second).Unix()}), "token is expired"},
		"no expiry":                   {with(map[string]any{"exp": nil}), "failed to unmarshal claims"},
		"not yet":                     {with(map[string]any{"nbf": now.Add(time.Hour).Unix()}), "before the nbf"},
		"issued in the future":        {with(map[string]any{"iat": now.Add(61 * time.Second).Unix()}), "issued in the future"},
		"another issuer":              {with(map[string]any{"iss": "https://evil.example"}), "different provider"},
		"another directory's issuer":  {with(map[string]any{"iss": f.URL + "/" + other + "/v2.0"}), "different provider"},
		"another audience":            {with(map[string]any{"aud": "other"}), "expected audience"},
		"two audiences, other azp":    {with(map[string]any{"aud": []string{"x", testidp.ClientID}, "azp": "x"}), "another party"},
		"two audiences, no azp":       {with(map[string]any{"aud": []string{"x", testidp.ClientID}}), "another party"},
		"other azp":                   {with(map[string]any{"azp": "x"}), "another party"},
		"nonce of another sign-in":    {with(map[string]any{"nonce": strings.Repeat("A", 43)}), "nonce of another"},
		"no nonce":                    {with(map[string]any{"nonce": nil}), "nonce of another"},
		"another tenant":              {with(map[string]any{"tid": other}), "tenant is not allowed"},
		"no tenant":                   {with(map[string]any{"tid": nil}), "tenant is not allowed"},
		"tenant of another kind":      {with(map[string]any{"tid": []string{tenant}}), "claims of another kind"},
		"no roles":                    {with(map[string]any{"roles": nil}), "no role"},
		"roles of another kind":       {with(map[string]any{"roles": map[string]any{"nphiesq.operator": true}}), "no role"},
		"role in another case":        {with(map[string]any{"roles": "NPHIESQ.OPERATOR"}), "no role"},
		"nobody":                      {with(map[string]any{"oid": nil, "sub": ""}), "no usable id"},
		"id that cannot be read":      {with(map[string]any{"oid": "a\u202eb"}), "no usable id"},
		"another key":                 {func(n string) string { return f.sign(foreign, jose.RS256, good(n)) }, "failed to verify"},
		"shared key": {func(n string) string {
			return f.sign([]byte(testidp.ClientSecret+strings.Repeat("x", 32)), jose.HS256, good(n))
		}, "unexpected signature algorithm"},
		"alg none":        {unsigned("none"), "none"},
		"alg None":        {unsigned("None"), "None"},
		"no signature":    {unsigned("RS256"), "token: "},
		"no token":        {func(string) string { return "" }, "no id_token"},
		"no token at all": {func(string) string { return "x.y" }, "malformed jwt"},
	} {
		v := h.visitor(t)
		before := len(h.log.String())
		a := f.attempt(v, c.token)
		if c.log == "" {
			require.Equal(t, http.StatusSeeOther, a.status, name+a.body)
			require.NotEmpty(t, v.who(), name)
			continue
		}
		require.Equal(t, http.StatusForbidden, a.status, name)
		require.Contains(t, h.log.String()[before:], c.log, name)
		require.NotContains(t, h.log.String()[before:], "contoso", name)
		require.Empty(t, v.who(), name)
	}
}

// TestTenants: without OIDC_TENANTS only the directory counts that is part of the issuer.
func TestTenants(t *testing.T) {
	f := forge(t)
	for _, c := range []struct {
		issuer  string
		tenants []string
		tid     any
		ok      bool
	}{
		{f.issuer(), nil, tenant, true},
		{f.issuer(), nil, other, false},
		{f.issuer(), nil, "v2.0", true}, // a part of the issuer: nobody has such a directory
		{f.issuer(), nil, nil, true},    // the issuer itself is checked
		{f.URL + "/any/v2.0", nil, tenant, false},
		{f.URL + "/any/v2.0", []string{other, tenant}, tenant, true},
		{f.URL + "/any/v2.0", []string{other}, nil, false},
	} {
		h := open(t, func(o *signin.Options) {
			s := settings(t, c.issuer)
			s.Tenants = c.tenants
			o.Provider = provider(t, s)
		})
		a := f.attempt(h.visitor(t), func(nonce string) string {
			return f.sign(f.key, jose.RS256, map[string]any{
				"iss": c.issuer, "aud": testidp.ClientID, "sub": "s", "tid": c.tid, "nonce": nonce, "roles": "nphiesq.viewer", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
			})
		})
		require.Equal(t, map[bool]int{true: http.StatusSeeOther, false: http.StatusForbidden}[c.ok], a.status, "%+v", c)
	}
}

func TestProviderSettings(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*signin.ProviderSettings)
		want   string
	}{
		"good":      {func(*signin.ProviderSettings) {}, ""},
		"loopback":  {func(s *signin.ProviderSettings) { s.Issuer = "http://[::1]:99/x" }, ""},
		"http":      {func(s *signin.ProviderSettings) { s.Issuer = "http://idp.example" }, "want https://"},
		"no scheme": {func(s *signin.ProviderSettings) { s.Issuer = "idp.example" }, "want https://"},
		"password":  {func(s *signin.ProviderSettings) { s.Issuer = "https://a:b@idp.example" }, "want https://"},
		"client":    {func(s *signin.ProviderSettings) { s.ClientSecret = "" }, "client secret is missing"},
		"openid":    {func(s *signin.ProviderSettings) { s.Scopes = []string{"profile"} }, "openid must be"},
		"roles":     {func(s *signin.ProviderSettings) { s.Roles = nil }, "nobody would have a role"},
	} {
		s := settings(t, "https://idp.example")
		c.change(&s)
		_, err := signin.NewProvider(s)
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, c.want, name)
	}
	for text, want := range map[string]string{"": "nobody would have a role", "admin=x": "pair 1", "viewer=x operator": "pair 2", "viewer=": "pair 1"} {
		_, err := signin.ParseRoleMapping(text)
		require.ErrorContains(t, err, want)
	}
}
