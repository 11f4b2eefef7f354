package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/claimlinc/nphiesq/cards"
)

// The public cloud of Microsoft: where tokens come from, and what they are for.
const (
	// TokenURL holds "<tenant>" where the tenant belongs.
	TokenURL = "https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token" //nolint:gosec // an address, no secret
	// TokenScope is the audience of a flow's trigger, with its own slash and one more.
	TokenScope = "https://service.flow.microsoft.com//.default" //nolint:gosec // an address, no secret
)

// ErrLogin says that what should be a Login is not one. The text never shows a secret.
var ErrLogin = errors.New("notify: unusable login for a webhook")

// LoginSettings make a Login.
type LoginSettings struct {
	// Tenant is the directory's id or domain; ClientID and ClientSecret are those of an app registration in it.
	Tenant, ClientID, ClientSecret string
	// TokenURL and Scope are for other clouds; "" stands for the constants.
	TokenURL, Scope string
	// AllowInsecure permits http on loopback hosts.
	AllowInsecure bool
}

// Login is how a token is had for a webhook whose trigger demands one (OAuth 2.0, client credentials). It cannot be printed. The
// zero value is no login.
type Login struct {
	// reveal is a function for the reason given at WebhookURL.
	reveal func() (endpoint string, form url.Values)
	key    string
}

var tenant = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$`)

// NewLogin checks the settings. It does not connect.
//
// Errors wrap ErrLogin.
func NewLogin(s LoginSettings) (Login, error) {
	bad := func(why string) (Login, error) { return Login{}, fmt.Errorf("%w: %s", ErrLogin, why) }
	switch {
	case s.ClientID == "" || s.ClientSecret == "":
		return bad("tenant, client id and client secret belong together")
	case !tenant.MatchString(s.Tenant):
		return bad("the tenant must be the directory's id or domain")
	}
	if s.TokenURL == "" {
		s.TokenURL = TokenURL
	}
	if s.Scope == "" {
		s.Scope = TokenScope
	}
	endpoint := strings.ReplaceAll(s.TokenURL, "<tenant>", s.Tenant)
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return bad("the token endpoint is not an address")
	}
	if u.Scheme != "https" && (!s.AllowInsecure || u.Scheme != "http" || !loopback(u.Hostname())) {
		return bad("the token endpoint must begin with https://")
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {s.ClientID}, "client_secret": {s.ClientSecret}, "scope": {s.Scope}}
	sum := sha256.Sum256([]byte(endpoint + "\n" + form.Encode()))
	return Login{reveal: func() (string, url.Values) { return endpoint, form }, key: hex.EncodeToString(sum[:])}, nil
}

// IsZero reports whether there is no login.
func (l Login) IsZero() bool { return l.reveal == nil }

// String hides the login.
func (Login) String() string { return "<secret>" }

// GoString hides the login.
func (Login) GoString() string { return "<secret>" }

// Format hides the login whatever the verb.
func (Login) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "<secret>") }

// MarshalText hides the login.
func (Login) MarshalText() ([]byte, error) { return []byte("<secret>"), nil }

// LogValue hides the login from slog.
func (Login) LogValue() slog.Value { return slog.StringValue("<secret>") }

// early is how long before its end a token is no longer used.
const early = 5 * time.Minute

// tokens has the tokens that were had, until 5 minutes before their end.
type tokens struct {
	mu   sync.Mutex
	held map[string]*token
}

type token struct {
	mu    sync.Mutex // one request for it at a time
	value string
	until time.Time
}

func (t *tokens) of(l Login) *token {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == nil {
		t.held = map[string]*token{}
	}
	if t.held[l.key] == nil {
		t.held[l.key] = &token{}
	}
	return t.held[l.key]
}

// forget drops a token that was refused, unless another one is held by now.
func (t *tokens) forget(l Login, value string) {
	held := t.of(l)
	held.mu.Lock()
	defer held.mu.Unlock()
	if held.value == value {
		held.value = ""
	}
}

// token returns a token for l, or what became of the attempt to get one: nothing was posted then.
func (p *Poster) token(ctx context.Context, l Login) (string, *Result) {
	held := p.tokens.of(l)
	held.mu.Lock()
	defer held.mu.Unlock()
	if held.value != "" && p.now().Before(held.until) {
		return held.value, nil
	}
	endpoint, form := l.reveal()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return "", &Result{Class: Config, Safe: "the token endpoint cannot be used"}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", p.userAgent)
	res, err := p.client.Do(req)
	if err != nil {
		r := failed(err, false, "the token endpoint")
		return "", &r
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // one that breaks off does not parse
	var answer struct {
		Type    string      `json:"token_type"`
		Token   string      `json:"access_token"`
		Seconds json.Number `json:"expires_in"` // a number, or text
		Error   string      `json:"error"`
	}
	malformed := json.Unmarshal(body, &answer) != nil
	if res.StatusCode != http.StatusOK {
		r := Result{Class: Config, Throttled: res.StatusCode == http.StatusTooManyRequests, Safe: cards.SafeLine(fmt.Sprintf("no token for the webhook: HTTP %d %s", res.StatusCode, answer.Error), maxSafe)}
		if classOf(res.StatusCode) == Temporary {
			r.Class = Temporary
			r.RetryAfter = retryAfter(Temporary, res.Header, p.now())
		}
		return "", &r
	}
	seconds, err := answer.Seconds.Int64()
	if malformed || err != nil || seconds <= 0 || !strings.EqualFold(answer.Type, "bearer") || answer.Token == "" || answer.Token != headerText(answer.Token, maxToken) {
		return "", &Result{Class: Config, Safe: "no token for the webhook: the token endpoint answered something else"}
	}
	held.value, held.until = answer.Token, p.now().Add(time.Duration(min(seconds, 86400))*time.Second-early)
	return held.value, nil
}

// maxToken is the length of the longest token taken, in bytes.
const maxToken = 16 << 10
