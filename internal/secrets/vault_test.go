package secrets_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/secrets"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func newVault(t *testing.T, o secrets.Options) *secrets.Vault {
	t.Helper()
	o.Retry = 10 * time.Millisecond
	v, err := secrets.New(o)
	require.NoError(t, err)
	return v
}

// run keeps v logged in until the test ends.
func run(t *testing.T, v *secrets.Vault) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { v.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// area is a folder of secrets and a policy that allows to read it, for one test.
type area struct {
	root         *api.Client
	path, policy string
}

var areas atomic.Int64

func newArea(t *testing.T, s *testenv.VaultServer) *area {
	t.Helper()
	n := fmt.Sprintf("t%d-%d", os.Getpid(), areas.Add(1))
	a := &area{root: s.Root(t), path: "secret/" + n, policy: n}
	require.NoError(t, a.root.Sys().PutPolicyWithContext(t.Context(), n, `path "secret/data/`+n+`/*" { capabilities = ["read"] }`))
	return a
}

func (a *area) put(t *testing.T, name string, values map[string]any) {
	t.Helper()
	_, err := a.root.KVv2("secret").Put(t.Context(), strings.TrimPrefix(a.path, "secret/")+"/"+name, values)
	require.NoError(t, err)
}

// token makes a token that lives for an hour.
func (a *area) token(t *testing.T) string {
	t.Helper()
	s, err := a.root.Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{a.policy}, TTL: "1h"})
	require.NoError(t, err)
	return s.Auth.ClientToken
}

// appRole makes a role whose tokens live for ttl, at most for maxTTL.
func (a *area) appRole(t *testing.T, ttl, maxTTL string) (roleID, secretID string) {
	t.Helper()
	mount := a.policy + "-approle"
	require.NoError(t, a.root.Sys().EnableAuthWithOptionsWithContext(t.Context(), mount, &api.EnableAuthOptions{Type: "approle"}))
	role := "auth/" + mount + "/role/worker"
	_, err := a.root.Logical().WriteWithContext(t.Context(), role, map[string]any{"token_policies": a.policy, "token_ttl": ttl, "token_max_ttl": maxTTL})
	require.NoError(t, err)
	id, err := a.root.Logical().ReadWithContext(t.Context(), role+"/role-id")
	require.NoError(t, err)
	secret, err := a.root.Logical().WriteWithContext(t.Context(), role+"/secret-id", nil)
	require.NoError(t, err)
	return id.Data["role_id"].(string), secret.Data["secret_id"].(string)
}

func TestReadKV(t *testing.T) {
	s := testenv.Vault(t)
	a := newArea(t, s)
	v := newVault(t, secrets.Options{Address: s.Addr, Login: secrets.Token(a.token(t))})
	read := func(path string) (map[string]string, int, error) { return v.ReadKV(t.Context(), path) }

	require.False(t, v.Status().LoggedIn)
	a.put(t, "one", map[string]any{"passphrase": "word", "number": 12, "flag": true})
	for _, path := range []string{a.path + "/one", "/" + a.path + "/one/", strings.Replace(a.path, "secret/", "secret/data/", 1) + "/one"} {
		values, version, err := read(path)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"passphrase": "word", "number": "12", "flag": "true"}, values)
		require.Equal(t, 1, version)
	}
	require.True(t, v.Status().LoggedIn)
	require.InDelta(t, time.Hour.Seconds(), time.Until(v.Status().ExpiresAt).Seconds(), 60)

	a.put(t, "one", map[string]any{"passphrase": "mot"})
	values, version, err := read(a.path + "/one")
	require.NoError(t, err)
	require.Equal(t, "mot", values["passphrase"])
	require.Equal(t, 2, version)

	require.NoError(t, a.root.KVv2("secret").Delete(t.Context(), strings.TrimPrefix(a.path, "secret/")+"/one"))
	a.put(t, "nested", map[string]any{"passphrase": map[string]any{"hunter": "two"}})
	for path, want := range map[string]struct {
		kind fault.Kind
		say  string
	}{
		a.path + "/one":    {fault.NotFound, "no secret at " + a.path + "/one"},
		a.path + "/none":   {fault.NotFound, "no secret"},
		a.path + "/nested": {fault.Config, "the value of passphrase is not text"},
		"secret/other":     {fault.Config, "the policy needs read on secret/data/other"},
		"nomount/x":        {fault.Config, "nomount/data/x"},
		"justone":          {fault.Config, "no mount and name"},
		"":                 {fault.Config, "no mount and name"},
	} {
		_, _, err := read(path)
		require.Equal(t, want.kind, fault.KindOf(err), "%s: %v", path, err)
		require.ErrorContains(t, err, want.say)
	}
}

func TestLogins(t *testing.T) {
	s := testenv.Vault(t)
	a := newArea(t, s)
	a.put(t, "x", map[string]any{"k": "v"})
	roleID, secretID := a.appRole(t, "1h", "1h")
	file := func(content string) string {
		path := filepath.Join(t.TempDir(), "f")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	reviewer := kubernetes(t, a)
	for name, tt := range map[string]struct {
		login secrets.Login
		kind  fault.Kind
		say   string
	}{
		"token":                      {secrets.Token(a.token(t)), "", ""},
		"token file":                 {secrets.TokenFile(file(a.token(t) + "\n")), "", ""},
		"AppRole":                    {secrets.AppRole(a.policy+"-approle", roleID, secretID, ""), "", ""},
		"AppRole with a file":        {secrets.AppRole(a.policy+"-approle", roleID, "", file(secretID+"\n")), "", ""},
		"Kubernetes":                 {secrets.Kubernetes(a.policy+"-k8s", "worker", file(reviewer("nphiesq", "worker"))), "", ""},
		"another service account":    {secrets.Kubernetes(a.policy+"-k8s", "worker", file(reviewer("nphiesq", "other"))), fault.Config, "refuses"},
		"wrong token":                {secrets.Token("hunter2-token"), fault.Config, "refuses"},
		"empty token file":           {secrets.TokenFile(file("\n")), fault.Config, "is empty"},
		"no token file":              {secrets.TokenFile("/no/such/file"), fault.Config, "/no/such/file: no such file"},
		"wrong secret id":            {secrets.AppRole(a.policy+"-approle", roleID, "hunter2-secret", ""), fault.Config, "refuses"},
		"no secret id file":          {secrets.AppRole(a.policy+"-approle", roleID, "", "/no/such/file"), fault.Config, "/no/such/file"},
		"no service account":         {secrets.Kubernetes(a.policy+"-k8s", "worker", "/no/such/file"), fault.Config, "/no/such/file"},
		"no secret id":               {secrets.AppRole(a.policy+"-approle", roleID, "", ""), fault.Config, "not complete"},
		"service account, no role":   {secrets.Kubernetes(a.policy+"-k8s", "", file("x")), fault.Config, "not complete"},
		"a mount that is not there ": {secrets.AppRole("nowhere", roleID, secretID, ""), fault.Config, "refuses"},
	} {
		v := newVault(t, secrets.Options{Address: s.Addr, Login: tt.login})
		values, _, err := v.ReadKV(t.Context(), a.path+"/x")
		require.Equal(t, tt.kind, fault.KindOf(err), "%s: %v", name, err)
		if tt.kind == "" {
			require.Equal(t, "v", values["k"])
			require.NoError(t, v.Status().Err)
			continue
		}
		require.ErrorContains(t, err, tt.say, name)
		require.NotContains(t, err.Error(), "hunter2")
		require.Equal(t, 1, v.Status().Failures)
		require.Error(t, v.Status().Err)
		require.False(t, v.Status().LoggedIn)
	}
}

// kubernetes enables the Kubernetes login for the service account nphiesq/worker, with a stand-in for the API server's token
// review, and returns a maker of service account tokens.
func kubernetes(t *testing.T, a *area) (token func(namespace, name string) string) {
	t.Helper()
	coded := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	token = func(namespace, name string) string {
		now := time.Now().Unix()
		return coded(map[string]string{"alg": "RS256", "typ": "JWT"}) + "." + coded(map[string]any{
			"iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:" + namespace + ":" + name, "iat": now, "nbf": now, "exp": now + 3600,
			"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]string{"name": name, "uid": "u-" + name}},
		}) + "." + base64.RawURLEncoding.EncodeToString([]byte("not checked here"))
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			Spec struct {
				Token     string   `json:"token"`
				Audiences []string `json:"audiences"`
			} `json:"spec"`
		}
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
		}
		name := "other"
		if review.Spec.Token != "" && strings.Contains(decodeClaims(review.Spec.Token), ":worker") {
			name = "worker"
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
			"status": map[string]any{
				"authenticated": true, "audiences": review.Spec.Audiences,
				"user": map[string]any{"username": "system:serviceaccount:nphiesq:" + name, "uid": "u-" + name},
			},
		})
	}))
	t.Cleanup(srv.Close)
	mount := a.policy + "-k8s"
	require.NoError(t, a.root.Sys().EnableAuthWithOptionsWithContext(t.Context(), mount, &api.EnableAuthOptions{Type: "kubernetes"}))
	for path, data := range map[string]map[string]any{
		"config":      {"kubernetes_host": srv.URL, "disable_local_ca_jwt": true, "token_reviewer_jwt": token("kube-system", "reviewer")},
		"role/worker": {"bound_service_account_names": "worker", "bound_service_account_namespaces": "nphiesq", "token_policies": a.policy},
	} {
		_, err := a.root.Logical().WriteWithContext(t.Context(), "auth/"+mount+"/"+path, data)
		require.NoError(t, err)
	}
	return token
}

func decodeClaims(jwt string) string {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return ""
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	return string(b)
}

// TestTokenIsRenewed: a token of three seconds is kept alive past its end.
func TestTokenIsRenewed(t *testing.T) {
	t.Parallel()
	s := testenv.Vault(t)
	a := newArea(t, s)
	roleID, secretID := a.appRole(t, "3s", "1h")
	v := newVault(t, secrets.Options{Address: s.Addr, Login: secrets.AppRole(a.policy+"-approle", roleID, secretID, "")})
	run(t, v)
	testenv.Eventually(t, func() bool { return v.Status().LoggedIn }, "login")
	first := v.Status()
	testenv.Eventually(t, func() bool { return v.Status().RenewedAt.After(first.ExpiresAt) }, "renewal after the token's first end")
	st := v.Status()
	require.Equal(t, first.LoggedInAt, st.LoggedInAt, "the same login")
	require.True(t, st.LoggedIn)
	require.True(t, st.ExpiresAt.After(first.ExpiresAt))
}

// TestNewLoginAtTheEnd: a token that may not be renewed any more is followed by another one, before it ends.
func TestNewLoginAtTheEnd(t *testing.T) {
	t.Parallel()
	s := testenv.Vault(t)
	a := newArea(t, s)
	a.put(t, "x", map[string]any{"k": "v"})
	roleID, secretID := a.appRole(t, "2s", "4s")
	v := newVault(t, secrets.Options{Address: s.Addr, Login: secrets.AppRole(a.policy+"-approle", roleID, secretID, "")})
	run(t, v)
	testenv.Eventually(t, func() bool { return v.Status().LoggedIn }, "login")
	first := v.Status().LoggedInAt
	testenv.Eventually(t, func() bool {
		_, _, err := v.ReadKV(t.Context(), a.path+"/x")
		require.NoError(t, err, "there is always a token")
		return v.Status().LoggedInAt.After(first)
	}, "second login")
}

// TestRevokedToken: a token that was taken away is noticed by the next reading, which logs in again.
func TestRevokedToken(t *testing.T) {
	s := testenv.Vault(t)
	a := newArea(t, s)
	a.put(t, "x", map[string]any{"k": "v"})
	path := filepath.Join(t.TempDir(), "token")
	put := func() string {
		token := a.token(t)
		require.NoError(t, os.WriteFile(path, []byte(token), 0o600))
		return token
	}
	token := put()
	v := newVault(t, secrets.Options{Address: s.Addr, Login: secrets.TokenFile(path)})
	run(t, v)
	_, _, err := v.ReadKV(t.Context(), a.path+"/x")
	require.NoError(t, err)
	require.NoError(t, a.root.Auth().Token().RevokeTreeWithContext(t.Context(), token))
	_, _, err = v.ReadKV(t.Context(), a.path+"/x")
	require.Equal(t, fault.Config, fault.KindOf(err), "the file has no better token yet")
	put()
	values, _, err := v.ReadKV(t.Context(), a.path+"/x")
	require.NoError(t, err)
	require.Equal(t, "v", values["k"])
	testenv.Eventually(t, func() bool { return v.Status().LoggedIn }, "login")

	// A path that the policy forbids is no reason to log in again.
	before := v.Status().LoggedInAt
	_, _, err = v.ReadKV(t.Context(), "secret/forbidden")
	require.Equal(t, fault.Config, fault.KindOf(err))
	require.Equal(t, before, v.Status().LoggedInAt)
}

// door is a way to Vault that can be shut.
type door struct {
	http.Handler
	shut atomic.Bool
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.shut.Load() {
		panic(http.ErrAbortHandler)
	}
	d.Handler.ServeHTTP(w, r)
}

func newDoor(t *testing.T, addr string) *door {
	t.Helper()
	u, err := url.Parse(addr)
	require.NoError(t, err)
	return &door{Handler: httputil.NewSingleHostReverseProxy(u)}
}

// TestVaultAway: what cannot be reached is said to be unavailable, and found again without help.
func TestVaultAway(t *testing.T) {
	s := testenv.Vault(t)
	a := newArea(t, s)
	a.put(t, "x", map[string]any{"k": "v"})
	d := newDoor(t, s.Addr)
	d.shut.Store(true)
	srv := httptest.NewServer(d)
	t.Cleanup(srv.Close)
	v := newVault(t, secrets.Options{Address: srv.URL, Login: secrets.Token(a.token(t))})
	run(t, v)
	testenv.Eventually(t, func() bool { return v.Status().Failures > 2 }, "failed logins")
	require.Equal(t, fault.Unavailable, fault.KindOf(v.Status().Err))
	_, _, err := v.ReadKV(t.Context(), a.path+"/x")
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	d.shut.Store(false)
	testenv.Eventually(t, func() bool { return v.Status().LoggedIn }, "login")
	require.NoError(t, v.Status().Err)
	_, _, err = v.ReadKV(t.Context(), a.path+"/x")
	require.NoError(t, err)
	d.shut.Store(true)
	_, _, err = v.ReadKV(t.Context(), a.path+"/x")
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.True(t, v.Status().LoggedIn, "the token is still good")
}

func TestVaultSealed(t *testing.T) {
	s := testenv.Vault(t)
	if s.UnsealKey == "" {
		t.Skip("the key of this Vault is not known: it would stay sealed")
	}
	a := newArea(t, s)
	a.put(t, "x", map[string]any{"k": "v"})
	v := newVault(t, secrets.Options{Address: s.Addr, Login: secrets.Token(a.token(t))})
	require.NoError(t, a.root.Sys().SealWithContext(t.Context()))
	_, _, err := v.ReadKV(t.Context(), a.path+"/x")
	_, unseal := a.root.Sys().UnsealWithContext(context.WithoutCancel(t.Context()), s.UnsealKey)
	require.NoError(t, unseal)
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.ErrorContains(t, err, "HTTP 503: Vault is sealed")
	testenv.Eventually(t, func() bool { _, _, err = v.ReadKV(t.Context(), a.path+"/x"); return err == nil }, "unsealed")
}

// TestTLS: VAULT_CACERT decides whom we believe.
func TestTLS(t *testing.T) {
	s := testenv.Vault(t)
	a := newArea(t, s)
	a.put(t, "x", map[string]any{"k": "v"})
	srv := httptest.NewUnstartedServer(newDoor(t, s.Addr))
	srv.Config.ErrorLog = nil
	srv.StartTLS()
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600))
	login := secrets.Token(a.token(t))
	_, _, err := newVault(t, secrets.Options{Address: srv.URL, CACert: ca, Login: login}).ReadKV(t.Context(), a.path+"/x")
	require.NoError(t, err)
	_, _, err = newVault(t, secrets.Options{Address: srv.URL, Login: login}).ReadKV(t.Context(), a.path+"/x")
	require.Equal(t, fault.Config, fault.KindOf(err))
	require.ErrorContains(t, err, "VAULT_CACERT")
}

func TestNewRefuses(t *testing.T) {
	_, err := secrets.New(secrets.Options{Address: "http://127.0.0.1:1", CACert: "/no/such/file"})
	require.Equal(t, fault.Config, fault.KindOf(err))
	require.ErrorContains(t, err, "/no/such/file")
	_, err = secrets.New(secrets.Options{Address: "http://%zz"})
	require.Equal(t, fault.Config, fault.KindOf(err))
}

// TestOnlyTheOptionsCount: the library reads the environment too; we do not want it to.
func TestOnlyTheOptionsCount(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "of-the-environment")
	t.Setenv("VAULT_NAMESPACE", "of-the-environment")
	var got http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"errors":["permission denied"]}`)
	}))
	t.Cleanup(srv.Close)
	for _, namespace := range []string{"", "of-the-options"} {
		v := newVault(t, secrets.Options{Address: srv.URL, Namespace: namespace, Login: secrets.Token("of-the-options")})
		_, _, err := v.ReadKV(t.Context(), "secret/x")
		require.Equal(t, fault.Config, fault.KindOf(err))
		require.Equal(t, "of-the-options", got.Get("X-Vault-Token"))
		require.Equal(t, namespace, got.Get("X-Vault-Namespace"))
	}
}

// TestSecretsDoNotPrint: neither options nor client show what they hold.
func TestSecretsDoNotPrint(t *testing.T) {
	for _, login := range []secrets.Login{secrets.Token("hunter2"), secrets.AppRole("approle", "role", "hunter2", "")} {
		o := secrets.Options{Address: "http://127.0.0.1:1", Login: login}
		v := newVault(t, o)
		_, _, err := v.ReadKV(t.Context(), "secret/x")
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		cause := fault.Of(err).Err.Error()
		require.NotContains(t, fmt.Sprintf("%v %+v %#v %v %+v %#v %s %+v", o, o, o, v, v, v, cause, v.Status()), "hunter2")
	}
}

// TestAnswerWithoutToken: a login that succeeds without a token is none.
func TestAnswerWithoutToken(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"data":{}}`) }))
	t.Cleanup(srv.Close)
	for _, login := range []secrets.Login{secrets.Token("x"), secrets.AppRole("approle", "role", "secret", "")} {
		v := newVault(t, secrets.Options{Address: srv.URL, Login: login})
		_, _, err := v.ReadKV(t.Context(), "secret/x")
		require.Equal(t, fault.Config, fault.KindOf(err))
		require.False(t, v.Status().LoggedIn)
	}
}

func TestSomethingElseAtTheAddress(t *testing.T) {
	for _, answer := range []string{"", `{"data":{"ttl":"soon"}}`, "null"} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if answer == "" {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			_, _ = io.WriteString(w, answer)
		}))
		v, err := secrets.New(secrets.Options{Address: srv.URL, Login: secrets.Token("t0ken")})
		require.NoError(t, err)
		_, _, err = v.ReadKV(t.Context(), "secret/x")
		require.ErrorContains(t, err, "what answers is not Vault: see VAULT_ADDR", "%q", answer)
		require.NotContains(t, err.Error(), "t0ken")
		srv.Close()
	}
}
