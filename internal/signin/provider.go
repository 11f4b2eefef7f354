package signin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/store"
)

const (
	// providerTimeout bounds one question to the provider.
	providerTimeout = 10 * time.Second
	// discoverTimeout bounds how long the sign-in page waits for a provider that is away, discoverPause how long it does not ask again.
	discoverTimeout = 3 * time.Second
	discoverPause   = 10 * time.Second
	// skew is how far the provider's clock may be off.
	skew = time.Minute
	// maxAnswer is the largest answer of the provider, in bytes.
	maxAnswer = 1 << 20
)

// algorithms are the signatures that are taken, whatever the provider says of itself: never none and never one with a shared key.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA}

// ProviderSettings describe a provider of single sign-on.
type ProviderSettings struct {
	// Issuer is its address, exactly as its tokens give it.
	Issuer, ClientID, ClientSecret string
	// Name is what the sign-in page calls it; "" means the host of Issuer.
	Name string
	// Scopes are asked for; openid must be among them.
	Scopes []string
	// Tenants are the directories (tid) whose people may sign in. Without any, a token with a tid is taken only when that tid is
	// part of Issuer, as it is for Microsoft Entra.
	Tenants []string
	// RoleClaim is the claim with roles or groups, Roles what its values mean.
	RoleClaim string
	Roles     map[string][]Role
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Provider is a provider of single sign-on (OpenID Connect). It is safe for concurrent use.
type Provider struct {
	set    ProviderSettings
	client *http.Client
	// origin is the SHA-256 of the settings that decide who may do what.
	origin [32]byte

	mu     sync.Mutex
	found  *oidc.Provider
	failed error
	askAt  time.Time
}

// ParseRoleMapping reads pairs role=value, separated by blanks or commas: which roles a value of the role claim gives. A role may
// have several values and a value several roles.
func ParseRoleMapping(text string) (map[string][]Role, error) {
	out := map[string][]Role{}
	for i, pair := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) {
		role, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" || !slices.Contains(Roles(), Role(role)) {
			return nil, fmt.Errorf("pair %d: want role=value, role %s", i+1, roleNames())
		}
		out[value] = append(out[value], Role(role))
	}
	if len(out) == 0 {
		return nil, errors.New("nobody would have a role; want role=value, role " + roleNames())
	}
	return out, nil
}

// NewProvider returns a provider. It does not dial: its metadata is fetched when somebody signs in.
func NewProvider(s ProviderSettings) (*Provider, error) {
	switch u, err := url.Parse(s.Issuer); {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !secureOrLoopback(u):
		return nil, errors.New("the issuer is no address; want https:// (http:// for loopback only)")
	case s.ClientID == "" || s.ClientSecret == "":
		return nil, errors.New("client id or client secret is missing")
	case !slices.Contains(s.Scopes, oidc.ScopeOpenID):
		return nil, errors.New("openid must be among the scopes")
	case s.RoleClaim == "" || len(s.Roles) == 0:
		return nil, errors.New("role claim or roles are missing: nobody would have a role")
	case s.Name == "":
		s.Name = u.Host
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	basis, err := json.Marshal([]any{s.Issuer, s.ClientID, s.Tenants, s.RoleClaim, s.Roles})
	if err != nil {
		return nil, err
	}
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // the standard library's own
	t.MaxResponseHeaderBytes = 64 << 10
	return &Provider{set: s, client: &http.Client{Timeout: providerTimeout, Transport: bounded{t}}, origin: sha256.Sum256(basis)}, nil
}

// bounded cuts answers that are too long.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if resp != nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	}
	return resp, err
}

// secureOrLoopback allows http for loopback hosts only.
func secureOrLoopback(u *url.URL) bool {
	host := u.Hostname()
	ip, err := netip.ParseAddr(host)
	return u.Scheme == "https" || (u.Scheme == "http" && (host == "localhost" || (err == nil && ip.IsLoopback())))
}

// checkBase checks the public address of a listener.
func checkBase(base string) error {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || !secureOrLoopback(u) {
		return errors.New("not an address that the provider may lead back to; want https://host (http:// for loopback only), without a path")
	}
	return nil
}

// Name is what the sign-in page calls the provider.
func (p *Provider) Name() string { return p.set.Name }

// discover returns the provider's metadata. It is fetched once, and again after it failed.
func (p *Provider) discover(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, nil
	}
	if p.failed != nil && p.set.Now().Before(p.askAt) {
		return nil, p.failed
	}
	// The one who asks first asks for all: their going away must not fail the others. The client outlives ctx with the keys.
	actx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discoverTimeout)
	defer cancel()
	p.found, p.failed = oidc.NewProvider(oidc.ClientContext(actx, p.client), p.set.Issuer)
	p.askAt = p.set.Now().Add(discoverPause)
	return p.found, p.failed
}

func (p *Provider) oauth(found *oidc.Provider, base string) *oauth2.Config {
	return &oauth2.Config{ClientID: p.set.ClientID, ClientSecret: p.set.ClientSecret, Endpoint: found.Endpoint(), RedirectURL: base + CallbackPath, Scopes: p.set.Scopes}
}

// refusal is a person or a token that is not taken. Its text is for the person; reason is for the log.
type refusal struct{ reason, text string }

func (r *refusal) Error() string { return r.reason }

const foreignToken = "The answer of the provider is not in order. Sign in anew; if this stays, tell the operators of nphiesq."

// person exchanges a code and says who signed in.
//
// Errors: *refusal, and those of the way to the provider.
func (p *Provider) person(ctx context.Context, base, code, verifier, nonce string) (Person, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return Person{}, err
	}
	ctx = oidc.ClientContext(ctx, p.client)
	tokens, err := p.oauth(found, base).Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.Response != nil && refused.Response.StatusCode < 500 {
			return Person{}, &refusal{"code refused: " + word(refused.ErrorCode), foreignToken}
		}
		return Person{}, errors.New("the code cannot be exchanged: " + way(err))
	}
	raw, _ := tokens.Extra("id_token").(string)
	if raw == "" {
		return Person{}, &refusal{"no id_token", foreignToken}
	}
	return p.verify(ctx, found, raw, nonce)
}

// claims are those of an ID token that we read.
type claims struct {
	OID      string `json:"oid"`
	Tenant   string `json:"tid"`
	Username string `json:"preferred_username"`
	Name     string `json:"name"`
	Email    string `json:"email"`
	Party    string `json:"azp"`
}

// verify checks an ID token: signature, iss, aud, exp, nbf, nonce, azp, tid, and that its person has a role.
func (p *Provider) verify(ctx context.Context, found *oidc.Provider, raw, nonce string) (Person, error) {
	now := p.set.Now()
	idToken, err := found.VerifierContext(ctx, &oidc.Config{
		ClientID: p.set.ClientID, SupportedSigningAlgs: algorithms, Now: func() time.Time { return now.Add(-skew) },
	}).Verify(ctx, raw)
	switch {
	case err != nil && strings.Contains(err.Error(), "fetching keys"): // the library has no type for it
		return Person{}, errors.New("the provider's keys cannot be fetched")
	case err != nil:
		return Person{}, &refusal{"token: " + err.Error(), foreignToken}
	}
	var c claims
	var all map[string]any
	if idToken.Claims(&c) != nil || idToken.Claims(&all) != nil {
		return Person{}, &refusal{"token: claims of another kind", foreignToken}
	}
	switch {
	case nonce == "" || idToken.Nonce != nonce:
		return Person{}, &refusal{"token: nonce of another sign-in", foreignToken}
	case len(idToken.Audience) > 1 && c.Party != p.set.ClientID, c.Party != "" && c.Party != p.set.ClientID:
		return Person{}, &refusal{"token: issued to another party (azp)", foreignToken}
	case idToken.IssuedAt.After(now.Add(skew)):
		return Person{}, &refusal{"token: issued in the future", foreignToken}
	case !p.admits(c.Tenant):
		return Person{}, &refusal{"tenant is not allowed", "People of your directory may not sign in here."}
	}
	who := Person{ID: cmp.Or(c.OID, idToken.Subject), Tenant: c.Tenant, Method: ByOIDC}
	who.Name = readable(cmp.Or(c.Username, c.Name, c.Email, who.ID))
	if who.ID == "" || who.ID != readable(who.ID) || strings.HasPrefix(who.ID, "local:") || who.Name == "" {
		return Person{}, &refusal{"token: no usable id or name", foreignToken}
	}
	var names []string
	for _, v := range values(all[p.set.RoleClaim]) {
		for _, r := range p.set.Roles[v] {
			names = append(names, string(r))
		}
	}
	if who.Roles, err = rolesOf(names); err != nil || len(who.Roles) == 0 {
		reason := "no role"
		if beyond, ok := all["_claim_names"].(map[string]any); ok && beyond[p.set.RoleClaim] != nil {
			reason = "no role: the person has too many groups for a token; use app roles"
		}
		return Person{}, &refusal{reason, "You are signed in at " + p.set.Name + ", but you have no role here. Ask those who look after nphiesq for one."}
	}
	return who, nil
}

// admits reports whether people of a directory may sign in.
func (p *Provider) admits(tenant string) bool {
	switch {
	case len(p.set.Tenants) > 0:
		return slices.Contains(p.set.Tenants, tenant)
	case tenant == "":
		return true
	default:
		return slices.Contains(strings.Split(p.set.Issuer, "/"), tenant)
	}
}

// values are those of a claim that is a text or a list of texts.
func values(claim any) []string {
	switch v := claim.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, one := range v {
			if s, ok := one.(string); ok {
				out = append(out, s)
			}
		}
		return out
	default:
		return nil
	}
}

// readable keeps what can be shown on one line, 200 characters at most.
func readable(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "")))
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200])
	}
	return s
}

// word keeps an error code of the protocol, which is a word; anything else is not ours to repeat.
func word(code string) string {
	if code == "" || len(code) > 40 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "unknown"
	}
	return code
}

// way is what failed on the way to the provider, without addresses: the code and the verifier may be in them.
func way(err error) string {
	var status *oauth2.RetrieveError
	var n net.Error
	switch {
	case errors.As(err, &status) && status.Response != nil:
		return fmt.Sprintf("HTTP %d", status.Response.StatusCode)
	case errors.As(err, &n) && n.Timeout():
		return "no answer in time"
	default:
		return "no connection, or no answer of the protocol"
	}
}

// start leads to the provider.
func (d *Door) start(w http.ResponseWriter, r *http.Request) {
	p, ctx, next := d.opt.Provider, r.Context(), Local(r.FormValue("next"))
	if p == nil {
		d.opt.Pages.Problem(w, r, http.StatusNotFound, "There is no single sign-on.")
		return
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" { // only our own page begins one
		http.Redirect(w, r, Path+"?next="+url.QueryEscape(next), http.StatusSeeOther)
		return
	}
	found, err := p.discover(ctx)
	if err != nil {
		d.opt.Log.ErrorContext(ctx, "single sign-on is not available", slog.String("error", way(err)))
		d.show(w, r, http.StatusServiceUnavailable, Form{Next: next})
		return
	}
	// Several tabs of a browser share its cookie; each has a state of its own.
	browser, state, now := d.presented(r, "start"), token(), d.opt.Now()
	if browser == "" {
		browser = token()
	}
	if err := d.opt.Record.BeginSignIn(ctx, store.SignInStart{
		State: digest(state), Browser: digest(browser), Site: d.opt.Site, Next: next, EndsAt: now.Add(startLife),
	}, now); err != nil {
		d.broken(w, r, err)
		return
	}
	http.SetCookie(w, d.cookie("start", browser, startLife))
	http.Redirect(w, r, p.oauth(found, d.opt.Base).AuthCodeURL(state, oidc.Nonce(derived(browser, "nonce "+state)),
		oauth2.S256ChallengeOption(derived(browser, "verifier "+state))), http.StatusSeeOther)
}

// callback is where the provider leads back to.
func (d *Door) callback(w http.ResponseWriter, r *http.Request) {
	p, ctx := d.opt.Provider, r.Context()
	if p == nil {
		d.opt.Pages.Problem(w, r, http.StatusNotFound, "There is no single sign-on.")
		return
	}
	refuse := func(status int, next, reason, text string) {
		d.opt.Log.WarnContext(ctx, "login failed", slog.String("site", d.opt.Site), slog.String("method", ByOIDC), slog.String("reason", reason),
			slog.String("address", ratelimit.Address(r.RemoteAddr)))
		d.show(w, r, status, Form{Next: next, Error: text})
	}
	const anew = "This sign-in was begun elsewhere, took longer than 10 minutes or was used already. Sign in anew."
	q := r.URL.Query()
	browser, state := d.presented(r, "start"), q.Get("state")
	if browser == "" || len(state) != tokenChars {
		refuse(http.StatusBadRequest, "", "no state or no cookie", anew)
		return
	}
	begun, err := d.opt.Record.TakeSignIn(ctx, d.opt.Site, digest(state), d.opt.Now())
	switch {
	case store.IsNotFound(err):
		refuse(http.StatusBadRequest, "", "unknown state", anew)
		return
	case err != nil:
		d.broken(w, r, err)
		return
	case string(begun.Browser) != string(digest(browser)):
		refuse(http.StatusBadRequest, "", "state of another browser", anew)
		return
	case q.Get("error") != "":
		refuse(http.StatusForbidden, begun.Next, "provider: "+word(q.Get("error")), p.Name()+" did not let you in, or you turned back.")
		return
	}
	who, err := p.person(ctx, d.opt.Base, q.Get("code"), derived(browser, "verifier "+state), derived(browser, "nonce "+state))
	if refused, ok := errors.AsType[*refusal](err); ok {
		refuse(http.StatusForbidden, begun.Next, refused.reason, refused.text)
		return
	}
	if err != nil {
		refuse(http.StatusBadGateway, begun.Next, err.Error(), p.Name()+" does not answer at the moment. Try again.")
		return
	}
	d.enter(w, r, who, p.origin, begun.Next)
}
