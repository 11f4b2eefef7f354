package bot_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/bot"
	"github.com/claimlinc/nphiesq/internal/nphiessim"
)

const (
	appID   = "11111111-aaaa-4bbb-8ccc-000000000001"
	tenant  = "22222222-aaaa-4bbb-8ccc-000000000002"
	service = "https://smba.trafficmanager.net/emea/"
)

// authority is a stand-in with a validator in front of which a clock may be moved.
type authority struct {
	*nphiessim.BotFramework
	address string
	ahead   atomic.Int64 // seconds
	away    atomic.Bool
}

func (a *authority) now() time.Time {
	return time.Now().Add(time.Duration(a.ahead.Load()) * time.Second)
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	f, err := nphiessim.NewBotFramework(appID, "secret", tenant)
	require.NoError(t, err)
	a := &authority{BotFramework: f}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.away.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		f.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	a.address = srv.URL
	return a
}

func (a *authority) framework(t *testing.T, change func(*bot.FrameworkSettings)) *bot.Framework {
	t.Helper()
	s := bot.FrameworkSettings{
		Metadata: a.address + "/.well-known/openidconfiguration", Issuer: bot.Issuer, AppID: appID, Tenants: []string{tenant}, Teams: []string{"19:team@thread.tacv2"},
		Hosts: []string{bot.ServiceHost}, Insecure: true, Now: a.now,
	}
	if change != nil {
		change(&s)
	}
	f, err := bot.NewFramework(s)
	require.NoError(t, err)
	return f
}

func invoke() bot.Activity {
	var a bot.Activity
	a.Type, a.Name, a.ChannelID, a.ServiceURL = "invoke", "adaptiveCard/action", "msteams", service
	a.From.ID, a.From.AADObjectID = "29:x", "oid-amal"
	a.Conversation.TenantID, a.ChannelData.Tenant.ID, a.ChannelData.Team.ID = tenant, tenant, "19:team@thread.tacv2"
	return a
}

// check is what the route does with a token and an activity.
func check(f *bot.Framework, token string, a bot.Activity) error {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/api/messages", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	s, err := f.Authenticate(r)
	if err != nil {
		return err
	}
	return f.Permit(s, a)
}

func (a *authority) sign(t *testing.T, change map[string]any) string {
	t.Helper()
	claims := a.Claims(service)
	for name, v := range change {
		if v == nil {
			delete(claims, name)
			continue
		}
		claims[name] = v
	}
	token, err := a.Sign("key-1", claims, nil)
	require.NoError(t, err)
	return token
}

func TestGoodTokens(t *testing.T) {
	a := newAuthority(t)
	f := a.framework(t, nil)
	require.NoError(t, check(f, a.sign(t, nil), invoke()))
	require.NoError(t, check(f, a.sign(t, map[string]any{"serviceurl": nil, "ServiceUrl": service}), invoke()), "the claim's name is compared without case")
	require.NoError(t, check(f, a.sign(t, map[string]any{"exp": time.Now().Add(-4 * time.Minute).Unix()}), invoke()), "within the skew")
	require.NoError(t, check(f, a.sign(t, map[string]any{"nbf": time.Now().Add(4 * time.Minute).Unix()}), invoke()), "within the skew")
	require.NoError(t, check(f, a.sign(t, map[string]any{"aud": []string{"other", appID}}), invoke()))
	require.Equal(t, 1, a.Reads(), "the keys are kept")
	installed := invoke()
	installed.Type, installed.From.AADObjectID = "conversationUpdate", ""
	require.NoError(t, check(f, a.sign(t, nil), installed), "an installation names no person")
}

func TestWrongTokens(t *testing.T) {
	a := newAuthority(t)
	f := a.framework(t, nil)
	require.NoError(t, a.AddKey("key-2", "webchat"))
	require.NoError(t, a.AddKey("key-3", "msteams"))
	a.HideKey("key-3", true)
	now := time.Now()
	der, err := x509.MarshalPKIXPublicKey(a.PublicKey("key-1"))
	require.NoError(t, err)
	forged := map[string]string{}
	for name, secret := range map[string][]byte{"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "DER": der, "n": a.PublicKey("key-1").N.Bytes()} {
		forged[name], err = nphiessim.SignHS256(secret, a.Claims(service), map[string]any{"kid": "key-1"})
		require.NoError(t, err)
	}
	with := func(key string, header map[string]any) string {
		token, err := a.Sign(key, a.Claims(service), header)
		require.NoError(t, err)
		return token
	}
	good := a.sign(t, nil)
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"key-1"}`))
	other := func(change func(*bot.Activity)) bot.Activity {
		x := invoke()
		change(&x)
		return x
	}
	flipped := []byte(parts[2])
	flipped[10] = map[bool]byte{true: 'A', false: 'B'}[flipped[10] == 'B']
	for _, c := range []struct {
		name, token string
		activity    bot.Activity
		want        error
		reason      string
	}{
		{"none at all", "", invoke(), bot.ErrToken, "no_bearer_token"},
		{"not a token", "abc", invoke(), bot.ErrToken, "malformed"},
		{"two parts", parts[0] + "." + parts[1], invoke(), bot.ErrToken, "malformed"},
		{"alg none", none + "." + parts[1] + ".", invoke(), bot.ErrToken, "algorithm"},
		{"alg none with the signature", none + "." + parts[1] + "." + parts[2], invoke(), bot.ErrToken, "algorithm"},
		{"HS256 with the public key in PEM", forged["PEM"], invoke(), bot.ErrToken, "algorithm"},
		{"HS256 with the public key in DER", forged["DER"], invoke(), bot.ErrToken, "algorithm"},
		{"HS256 with the modulus", forged["n"], invoke(), bot.ErrToken, "algorithm"},
		{"RS256 said to be RS512", with("key-1", map[string]any{"alg": "RS512"}), invoke(), bot.ErrToken, "algorithm"},
		{"PS256", with("key-1", map[string]any{"alg": "PS256"}), invoke(), bot.ErrToken, "algorithm"},
		{"no kid", with("key-1", map[string]any{"kid": ""}), invoke(), bot.ErrToken, "algorithm"},
		{"the key in the header", with("key-3", map[string]any{"kid": "key-9", "jwk": map[string]any{"kty": "RSA", "n": "AQ", "e": "AQAB"}}), invoke(), bot.ErrToken, ""},
		{"a key that is not published", with("key-3", nil), invoke(), bot.ErrToken, "unknown_key"},
		{"signed by another key", with("key-3", map[string]any{"kid": "key-1"}), invoke(), bot.ErrToken, "signature"},
		{"a flipped bit in the signature", parts[0] + "." + parts[1] + "." + string(flipped), invoke(), bot.ErrToken, "signature"},
		{"another body", parts[0] + "." + strings.Split(a.sign(t, map[string]any{"x": 1}), ".")[1] + "." + parts[2], invoke(), bot.ErrToken, "signature"},
		{"another issuer", a.sign(t, map[string]any{"iss": "https://sts.windows.net/" + tenant + "/"}), invoke(), bot.ErrToken, "issuer"},
		{"no issuer", a.sign(t, map[string]any{"iss": nil}), invoke(), bot.ErrToken, "issuer"},
		{"another audience", a.sign(t, map[string]any{"aud": "another-bot"}), invoke(), bot.ErrToken, "audience"},
		{"no audience", a.sign(t, map[string]any{"aud": nil}), invoke(), bot.ErrToken, "audience"},
		{"expired", a.sign(t, map[string]any{"exp": now.Add(-301 * time.Second).Unix()}), invoke(), bot.ErrToken, "expired"},
		{"without an end", a.sign(t, map[string]any{"exp": nil}), invoke(), bot.ErrToken, "expired"},
		{"not yet valid", a.sign(t, map[string]any{"nbf": now.Add(310 * time.Second).Unix()}), invoke(), bot.ErrToken, "not_yet_valid"},
		{"without a beginning", a.sign(t, map[string]any{"nbf": nil}), invoke(), bot.ErrToken, "not_yet_valid"},
		{"no service URL", a.sign(t, map[string]any{"serviceurl": nil}), invoke(), bot.ErrToken, "service_url"},
		{"another service URL", a.sign(t, map[string]any{"serviceurl": "https://smba.trafficmanager.net/amer/"}), invoke(), bot.ErrToken, "service_url"},
		{"two service URLs", a.sign(t, map[string]any{"serviceUrl": "https://evil.example/"}), invoke(), bot.ErrToken, "service_url"},
		{"the activity's service URL changed", good, other(func(x *bot.Activity) { x.ServiceURL = "https://evil.example/" }), bot.ErrToken, "service_url"},
		{"a service URL elsewhere, signed", a.sign(t, map[string]any{"serviceurl": "https://evil.example/"}), other(func(x *bot.Activity) { x.ServiceURL = "https://evil.example/" }), bot.ErrPolicy, "service_host"},
		{"a key endorsed for others", with("key-2", nil), invoke(), bot.ErrPolicy, "endorsement"},
		{"another channel", good, other(func(x *bot.Activity) { x.ChannelID = "directline" }), bot.ErrPolicy, "channel"},
		{"a channel that the key is not endorsed for", good, other(func(x *bot.Activity) { x.ChannelID = "emulator" }), bot.ErrPolicy, "endorsement"},
		{"another tenant", good, other(func(x *bot.Activity) { x.ChannelData.Tenant.ID = "else" }), bot.ErrPolicy, "tenant"},
		{"another tenant in one of two places", good, other(func(x *bot.Activity) { x.Conversation.TenantID = "else" }), bot.ErrPolicy, "tenant"},
		{"no tenant", good, other(func(x *bot.Activity) { x.Conversation.TenantID, x.ChannelData.Tenant.ID = "", "" }), bot.ErrPolicy, "tenant"},
		{"another team", good, other(func(x *bot.Activity) { x.ChannelData.Team.ID = "19:other@thread.tacv2" }), bot.ErrPolicy, "team"},
		{"nobody", good, other(func(x *bot.Activity) { x.From.AADObjectID = "" }), bot.ErrPolicy, "person_missing"},
	} {
		err := check(f, c.token, c.activity)
		require.ErrorIs(t, err, c.want, c.name)
		var r *bot.RefusalError
		require.ErrorAs(t, err, &r, c.name)
		if c.reason != "" {
			require.Equal(t, c.reason, r.Reason, c.name)
		}
	}
	require.NoError(t, check(f, good, invoke()), "nothing of it does harm")
}

func TestUnknownKeysCauseOneRead(t *testing.T) {
	a := newAuthority(t)
	f := a.framework(t, nil)
	require.NoError(t, a.AddKey("key-2", "msteams"))
	a.HideKey("key-2", true)
	require.NoError(t, check(f, a.sign(t, nil), invoke()))
	token, err := a.Sign("key-2", a.Claims(service), nil)
	require.NoError(t, err)
	a.ahead.Store(301)
	fresh := a.Claims(service)
	fresh["exp"] = time.Now().Add(48 * time.Hour).Unix()
	good, err := a.Sign("key-1", fresh, nil)
	require.NoError(t, err)
	errs := make([]error, 100)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = check(f, token, invoke()) })
	}
	wg.Wait()
	for _, err := range errs {
		require.ErrorIs(t, err, bot.ErrToken)
	}
	require.Equal(t, 2, a.Reads(), "a storm of unknown keys reads once more")
	a.HideKey("key-2", false)
	require.ErrorIs(t, check(f, token, invoke()), bot.ErrToken, "within five minutes it is not read again")
	a.ahead.Store(602)
	require.NoError(t, check(f, token, invoke()), "then it is")
	require.Equal(t, 3, a.Reads())

	// A day later they are read again; what is older is not used.
	a.HideKey("key-2", true)
	a.away.Store(true)
	a.ahead.Store(602 + 23*3600)
	require.NoError(t, check(f, good, invoke()), "for a day old ones will do")
	a.ahead.Store(602 + 24*3600)
	require.ErrorIs(t, check(f, good, invoke()), bot.ErrKeys)
	a.away.Store(false)
	a.ahead.Store(602 + 24*3600 + 11)
	require.NoError(t, check(f, good, invoke()))
	require.Equal(t, 4, a.Reads())
}

func TestServiceHosts(t *testing.T) {
	hosts := []string{bot.ServiceHost, ".botframework.example"}
	for address, want := range map[string]bool{
		service: true, "https://smba.trafficmanager.net": true, "https://smba.trafficmanager.net:443/x/": true, "https://a.botframework.example/": true,
		"http://smba.trafficmanager.net/": false, "https://smba.trafficmanager.net:8443/": false, "https://evilsmba.trafficmanager.net/": false,
		"https://smba.trafficmanager.net.evil.example/": false, "https://u:p@smba.trafficmanager.net/": false, "https://evil.example/smba.trafficmanager.net": false,
		"https://smba.trafficmanager.net/?a=b": false, "https://smba.trafficmanager.net/#x": false, "": false, "/": false, "http://127.0.0.1:1/": false,
		`https://evil.example\.smba.trafficmanager.net/`: false,
	} {
		require.Equal(t, want, bot.AllowedService(address, hosts, false), address)
	}
	require.True(t, bot.AllowedService("http://127.0.0.1:1/", hosts, true))
	require.False(t, bot.AllowedService("http://10.0.0.1:1/", hosts, true))
}

func TestNoSwitchDisablesAStep(t *testing.T) {
	full := bot.FrameworkSettings{Metadata: bot.Metadata, Issuer: bot.Issuer, AppID: appID, Tenants: []string{tenant}, Hosts: []string{bot.ServiceHost}}
	_, err := bot.NewFramework(full)
	require.NoError(t, err)
	for i, strip := range []func(*bot.FrameworkSettings){
		func(s *bot.FrameworkSettings) { s.Metadata = "" }, func(s *bot.FrameworkSettings) { s.Metadata = "http://login.botframework.com/" },
		func(s *bot.FrameworkSettings) { s.Issuer = "" }, func(s *bot.FrameworkSettings) { s.AppID = "" }, func(s *bot.FrameworkSettings) { s.Tenants = nil },
		func(s *bot.FrameworkSettings) { s.Hosts = nil },
	} {
		s := full
		strip(&s)
		_, err := bot.NewFramework(s)
		require.Error(t, err, i)
	}
}

func TestTokensOfApps(t *testing.T) {
	a := newAuthority(t)
	const app, api = "33333333-aaaa-4bbb-8ccc-000000000003", "api://nphiesq"
	e, err := bot.NewEntra(bot.EntraSettings{
		Metadata: a.address + "/.well-known/openidconfiguration?t=<tenant>", Issuers: []string{"https://login.microsoftonline.com/<tenant>/v2.0", "https://sts.windows.net/<tenant>/"},
		Audiences: []string{api}, Tenants: []string{tenant}, Apps: []string{app}, Insecure: true,
	})
	require.NoError(t, err)
	call := func(change map[string]any, key string) error {
		claims := map[string]any{
			"iss": "https://login.microsoftonline.com/" + tenant + "/v2.0", "aud": api, "tid": tenant, "azp": app, "nbf": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		}
		maps.Copy(claims, change)
		token, err := a.Sign(key, claims, nil)
		require.NoError(t, err)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		got, err := e.Authenticate(r)
		if err == nil {
			require.Equal(t, bot.App{ID: app, Tenant: tenant}, got)
		}
		return err
	}
	require.NoError(t, call(nil, "key-1"))
	require.NoError(t, call(map[string]any{"iss": "https://sts.windows.net/" + tenant + "/", "azp": "", "appid": app}, "key-1"), "version 1")
	require.NoError(t, a.AddKey("key-2"))
	a.HideKey("key-2", true)
	for name, change := range map[string]map[string]any{
		"issuer": {"iss": "https://login.microsoftonline.com/other/v2.0"}, "the bot framework's": {"iss": bot.Issuer}, "audience": {"aud": "https://graph.microsoft.com"},
		"tenant": {"tid": "other"}, "no tenant": {"tid": nil}, "issuer of another tenant": {"tid": "other", "iss": "https://login.microsoftonline.com/other/v2.0"},
		"app": {"azp": "someone"}, "no app": {"azp": ""}, "two apps": {"appid": "someone"}, "expired": {"exp": time.Now().Add(-time.Hour).Unix()},
		"early": {"nbf": time.Now().Add(time.Hour).Unix()}, "person instead of text": {"azp": 7},
	} {
		require.Error(t, call(change, "key-1"), name)
	}
	require.ErrorIs(t, call(nil, "key-2"), bot.ErrToken)
	require.NotContains(t, fmt.Sprint(call(map[string]any{"azp": "someone"}, "key-1")), "someone")
}
