package bot

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// skew is how far clocks may be apart.
const skew = 5 * time.Minute

// maxToken is the longest token looked at, in bytes.
const maxToken = 16 << 10

// The reasons of refusals: a closed set.
const (
	reasonHeader      = "no_bearer_token"
	reasonForm        = "malformed"
	reasonAlgorithm   = "algorithm"
	reasonKey         = "unknown_key"
	reasonSignature   = "signature"
	reasonIssuer      = "issuer"
	reasonAudience    = "audience"
	reasonExpired     = "expired"
	reasonEarly       = "not_yet_valid"
	reasonServiceURL  = "service_url"
	reasonHost        = "service_host"
	reasonEndorsement = "endorsement"
	reasonChannel     = "channel"
	reasonTenant      = "tenant"
	reasonTeam        = "team"
	reasonPerson      = "person_missing"
	reasonApp         = "app"
	reasonKeysAway    = "keys_unavailable"
)

// verified is a token whose signature, times, issuer and audience are good.
type verified struct {
	key    key
	claims map[string]any
}

// text is a claim that is a string, "" for any other.
func (v verified) text(name string) string {
	s, _ := v.claims[name].(string)
	return s
}

// bearer is the token of a request.
func bearer(r *http.Request) (string, bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 || len(values[0]) > maxToken {
		return "", false
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != "" && !strings.ContainsAny(token, " \t,")
}

// verify checks what all tokens must stand: RS256 only, a key of the issuer, its issuer, its audience, its times.
func verify(ctx context.Context, r *http.Request, keys *Keys, audience []string, issuers []string, now time.Time) (verified, error) {
	raw, ok := bearer(r)
	if !ok {
		return verified{}, refuse(ErrToken, reasonHeader, false)
	}
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		if _, other := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); other {
			return verified{}, refuse(ErrToken, reasonAlgorithm, false)
		}
		return verified{}, refuse(ErrToken, reasonForm, false)
	}
	if len(token.Headers) != 1 || token.Headers[0].Algorithm != string(jose.RS256) || token.Headers[0].KeyID == "" {
		return verified{}, refuse(ErrToken, reasonAlgorithm, false)
	}
	found, ok, err := keys.find(ctx, token.Headers[0].KeyID)
	if err != nil {
		return verified{}, refuse(ErrKeys, reasonKeysAway, false)
	}
	if !ok {
		return verified{}, refuse(ErrToken, reasonKey, false)
	}
	var standard jwt.Claims
	var claims map[string]any
	if err := token.Claims(found.public, &standard, &claims); err != nil {
		return verified{}, refuse(ErrToken, reasonSignature, false)
	}
	switch {
	case standard.Issuer == "" || !slices.Contains(issuers, standard.Issuer):
		return verified{}, refuse(ErrToken, reasonIssuer, true)
	case !slices.ContainsFunc(audience, func(a string) bool { return a != "" && slices.Contains(standard.Audience, a) }):
		return verified{}, refuse(ErrToken, reasonAudience, true)
	case standard.Expiry == nil || !now.Before(standard.Expiry.Time().Add(skew)):
		return verified{}, refuse(ErrToken, reasonExpired, true)
	case standard.NotBefore == nil || now.Before(standard.NotBefore.Time().Add(-skew)):
		return verified{}, refuse(ErrToken, reasonEarly, true)
	}
	return verified{found, claims}, nil
}

// FrameworkSettings are those of a Framework. All are needed but Teams, Insecure and Now.
type FrameworkSettings struct {
	// Metadata and Issuer are the Bot Framework's; other clouds have others.
	Metadata, Issuer string
	// AppID is the bot's application id: the audience.
	AppID string
	// Tenants are the directories whose activities are taken. Teams are ids of teams; without any, all teams of the tenants.
	Tenants, Teams []string
	// Hosts are the domains that a service URL may be at: tokens of ours are sent there.
	Hosts []string
	// Insecure permits http on loopback hosts. For tests.
	Insecure bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Framework checks what the Bot Framework sends. It is safe for concurrent use.
type Framework struct {
	set  FrameworkSettings
	keys *Keys
}

// The public cloud of Microsoft.
const (
	Metadata    = "https://login.botframework.com/v1/.well-known/openidconfiguration"
	Issuer      = "https://api.botframework.com"
	Scope       = "https://api.botframework.com/.default"
	ServiceHost = "smba.trafficmanager.net"
)

// NewFramework checks the settings. It does not connect.
func NewFramework(s FrameworkSettings) (*Framework, error) {
	if s.AppID == "" || s.Issuer == "" || len(s.Tenants) == 0 || len(s.Hosts) == 0 {
		return nil, errors.New("bot: application id, issuer, tenants and service hosts belong together")
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	keys, err := NewKeys(s.Metadata, s.Insecure, s.Now)
	if err != nil {
		return nil, err
	}
	return &Framework{s, keys}, nil
}

// Signed is a request whose token is good so far: what it says about the activity is checked by Permit.
type Signed struct{ verified }

// Authenticate checks the token of a request by itself: steps 1 to 3 of section 6.2 of the protocol. What it came with must pass Permit,
// too.
//
// Errors are a *RefusalError that wraps ErrToken or ErrKeys.
func (f *Framework) Authenticate(r *http.Request) (Signed, error) {
	v, err := verify(r.Context(), r, f.keys, []string{f.set.AppID}, []string{f.set.Issuer}, f.set.Now())
	return Signed{v}, err
}

// Permit checks an activity against the token it came with and against the settings: steps 4 to 6.
//
// Errors are a *RefusalError that wraps ErrToken or ErrPolicy.
func (f *Framework) Permit(s Signed, a Activity) error {
	if !s.servedBy(a.ServiceURL) {
		return refuse(ErrToken, reasonServiceURL, true)
	}
	if a.ChannelID == "" || !slices.Contains(s.key.endorsements, a.ChannelID) {
		return refuse(ErrPolicy, reasonEndorsement, true)
	}
	if a.ChannelID != "msteams" {
		return refuse(ErrPolicy, reasonChannel, true)
	}
	if !AllowedService(a.ServiceURL, f.set.Hosts, f.set.Insecure) {
		return refuse(ErrPolicy, reasonHost, true)
	}
	tenants := a.tenants()
	if len(tenants) == 0 || slices.ContainsFunc(tenants, func(t string) bool { return !within(f.set.Tenants, t) }) {
		return refuse(ErrPolicy, reasonTenant, true)
	}
	if len(f.set.Teams) > 0 && !slices.Contains(f.set.Teams, a.ChannelData.Team.ID) {
		return refuse(ErrPolicy, reasonTeam, true)
	}
	if a.acts() && a.From.AADObjectID == "" {
		return refuse(ErrPolicy, reasonPerson, true)
	}
	return nil
}

// within compares ids without regard to case.
func within(list []string, id string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, id) })
}

// servedBy reports whether the token was made for a service URL. The name of its claim is spelt in more than one way.
func (s Signed) servedBy(address string) bool {
	found := false
	for name, value := range s.claims {
		if !strings.EqualFold(name, "serviceurl") {
			continue
		}
		if text, ok := value.(string); !ok || text == "" || text != address {
			return false
		}
		found = true
	}
	return found
}

// AllowedService reports whether a service URL is one that tokens of ours may be sent to: https on port 443 at one of the domains or below it.
// insecure permits loopback hosts.
func AllowedService(address string, hosts []string, insecure bool) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" || u.Fragment != "" || u.RawQuery != "" || strings.ContainsAny(address, "#?\\ ") {
		return false
	}
	host := strings.ToLower(u.Hostname())
	if insecure && loopback(host) && (u.Scheme == "http" || u.Scheme == "https") {
		return true
	}
	if u.Scheme != "https" || (u.Port() != "" && u.Port() != "443") {
		return false
	}
	return slices.ContainsFunc(hosts, func(d string) bool {
		d = strings.ToLower(strings.Trim(d, "."))
		return d != "" && (host == d || strings.HasSuffix(host, "."+d))
	})
}

// EntraSettings are those of an Entra. All are needed but Insecure and Now.
type EntraSettings struct {
	// Metadata and Issuers hold "<tenant>" where the directory's id belongs.
	Metadata string
	Issuers  []string
	// Audiences are what our API is called in Entra; Tenants and Apps are those that may call it.
	Audiences, Tenants, Apps []string
	Insecure                 bool
	Now                      func() time.Time
}

// Entra checks tokens that apps get for our API with client credentials. It is safe for concurrent use.
type Entra struct {
	set  EntraSettings
	keys map[string]*Keys // by tenant
}

// App is who calls.
type App struct {
	// ID is its application id, Tenant the directory it belongs to.
	ID, Tenant string
}

// NewEntra checks the settings. It does not connect.
func NewEntra(s EntraSettings) (*Entra, error) {
	if len(s.Issuers) == 0 || len(s.Audiences) == 0 || len(s.Tenants) == 0 || len(s.Apps) == 0 {
		return nil, errors.New("bot: issuers, audience, tenants and apps belong together")
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	e := &Entra{s, map[string]*Keys{}}
	for _, t := range s.Tenants {
		keys, err := NewKeys(strings.ReplaceAll(s.Metadata, "<tenant>", t), s.Insecure, s.Now)
		if err != nil {
			return nil, err
		}
		e.keys[strings.ToLower(t)] = keys
	}
	return e, nil
}

// Authenticate checks the token of a request: RS256 by a key of its tenant, issuer (v1 or v2) of that tenant, audience, times, tenant and
// app.
//
// Errors are a *RefusalError that wraps ErrToken, ErrPolicy or ErrKeys.
func (e *Entra) Authenticate(r *http.Request) (App, error) {
	raw, ok := bearer(r)
	if !ok {
		return App{}, refuse(ErrToken, reasonHeader, false)
	}
	// Whose keys are to be used only the token says. It is believed no more than that: the issuer must be the same tenant's.
	tenant := e.claimedTenant(raw)
	keys := e.keys[strings.ToLower(tenant)]
	if keys == nil {
		return App{}, refuse(ErrToken, reasonTenant, false)
	}
	issuers := make([]string, 0, len(e.set.Issuers))
	for _, i := range e.set.Issuers {
		issuers = append(issuers, strings.ReplaceAll(i, "<tenant>", tenant))
	}
	v, err := verify(r.Context(), r, keys, e.set.Audiences, issuers, e.set.Now())
	if err != nil {
		return App{}, err
	}
	if v.text("tid") != tenant {
		return App{}, refuse(ErrPolicy, reasonTenant, true)
	}
	app := v.text("azp")
	if old := v.text("appid"); app == "" {
		app = old
	} else if old != "" && old != app {
		return App{}, refuse(ErrPolicy, reasonApp, true)
	}
	if app == "" || !within(e.set.Apps, app) {
		return App{}, refuse(ErrPolicy, reasonApp, true)
	}
	return App{app, tenant}, nil
}

// claimedTenant is the tid of a token that nobody has checked.
func (e *Entra) claimedTenant(raw string) string {
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return ""
	}
	var claims map[string]json.RawMessage
	var tenant string
	if token.UnsafeClaimsWithoutVerification(&claims) != nil || json.Unmarshal(claims["tid"], &tenant) != nil {
		return ""
	}
	return tenant
}
