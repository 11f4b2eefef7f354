package app_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/claimlinc/nphiesq/internal/app"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/nphiessim"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/nphiesclient"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// authority signs client certificates that the simulator takes.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.issue("authority", func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.BasicConstraintsValid = true, x509.KeyUsageCertSign, true
	})
	return a
}

func (a *authority) issue(organization string, change func(*x509.Certificate)) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(a.t, err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "client", Organization: []string{organization}}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	change(template)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	require.NoError(a.t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	return c, key
}

// client returns a certificate for a licence as PEM, key as PEM, and PKCS#12 with the passphrase "pass".
func (a *authority) client(license string) (crt, key, p12 []byte) {
	a.t.Helper()
	c, k := a.issue(license, func(*x509.Certificate) {})
	der, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(a.t, err)
	p12, err = pkcs12.Modern.Encode(k, c, nil, "pass")
	require.NoError(a.t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), p12
}

func write(t *testing.T, path string, body []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, body, 0o600))
	// A change within the same instant would not be seen by its time; here it always has another one.
	require.NoError(t, os.Chtimes(path, time.Time{}, time.Now().Add(time.Duration(len(body))*time.Second)))
}

// site is NPHIES with mutual TLS, and the settings that reach it.
func site(t *testing.T) (a *authority, env map[string]string) {
	t.Helper()
	a = newAuthority(t)
	sim := nphiessim.New(nphiessim.Options{VerifyClient: true})
	srv := httptest.NewUnstartedServer(sim.NPHIES())
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	srv.StartTLS()
	t.Cleanup(func() { sim.Close(); srv.Close() })
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write(t, ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	return a, map[string]string{
		"DATABASE_URL": "postgres://127.0.0.1/x", "NPHIES_BASE_URL": srv.URL, "NPHIES_CA_FILE": ca, "NPHIES_PROVIDER_LICENSE": "DEMO-PR-0001,DEMO-PR-0002",
	}
}

func clients(t *testing.T, env map[string]string) (*nphiesclient.Clients, error) {
	t.Helper()
	cfg, err := config.LoadFrom(env)
	require.NoError(t, err)
	v, err := app.Vault(cfg)
	require.NoError(t, err)
	c, err := app.NPHIES(cfg, "test", v)
	if err != nil {
		return nil, err
	}
	return c, app.LoadCertificates(t.Context(), cfg, c, time.Second)
}

// poll sends an empty poll for a licence and returns the first error code, "" for none.
func poll(t *testing.T, c *nphiesclient.Clients, license string) string {
	t.Helper()
	req, err := nphiesclient.BuildPoll(nphiesclient.PollOptions{License: license})
	require.NoError(t, err)
	raw, err := c.Send(t.Context(), license, req.Body)
	require.NoError(t, err)
	answer, err := nphiesclient.ParseHTTP(raw)
	require.NoError(t, err)
	if len(answer.Errors) > 0 {
		return answer.Errors[0].Code
	}
	require.Equal(t, "completed", answer.Poll.Status)
	return ""
}

func TestEachLicenceHasItsCertificate(t *testing.T) {
	a, env := site(t)
	dir := t.TempDir()
	env["NPHIES_CLIENT_CERT_DIR"] = dir
	crt, key, _ := a.client("DEMO-PR-0001")
	_, err := clients(t, env)
	require.ErrorContains(t, err, "NPHIES_CLIENT_CERT_DIR: no client certificate for licence DEMO-PR-0001")

	write(t, filepath.Join(dir, "DEMO-PR-0001.crt"), crt)
	write(t, filepath.Join(dir, "DEMO-PR-0001.key"), key)
	_, _, p12 := a.client("DEMO-PR-0002")
	write(t, filepath.Join(dir, "DEMO-PR-0002.p12"), p12)
	_, err = clients(t, env)
	require.ErrorContains(t, err, "NPHIES_CLIENT_CERT_DIR: licence DEMO-PR-0002: ")
	write(t, filepath.Join(dir, "DEMO-PR-0002.pass"), []byte("pass\n"))
	c, err := clients(t, env)
	require.NoError(t, err)
	for _, license := range []string{"DEMO-PR-0001", "DEMO-PR-0002"} {
		require.Empty(t, poll(t, c, license), license)
	}

	// The wrong certificate for the licence: NPHIES says so. It takes effect without a restart; so does the right one.
	_, _, other := a.client("DEMO-PR-0009")
	write(t, filepath.Join(dir, "DEMO-PR-0002.p12"), other)
	require.Equal(t, "GE-00020", poll(t, c, "DEMO-PR-0002"))
	_, _, p12 = a.client("DEMO-PR-0002")
	write(t, filepath.Join(dir, "DEMO-PR-0002.p12"), append(p12, 0))
	require.Equal(t, "GE-00020", poll(t, c, "DEMO-PR-0002"), "a broken file leaves the one before in use")
	write(t, filepath.Join(dir, "DEMO-PR-0002.p12"), p12)
	require.Empty(t, poll(t, c, "DEMO-PR-0002"))
	for _, s := range c.Certificates() {
		require.NoError(t, s.Problem)
	}
}

func TestDefaultCertificate(t *testing.T) {
	a, env := site(t)
	env["NPHIES_PROVIDER_LICENSE"] = "DEMO-PR-0001"
	_, _, p12 := a.client("DEMO-PR-0001")
	file := filepath.Join(t.TempDir(), "client.p12")
	write(t, file, p12)
	env["NPHIES_CLIENT_PKCS12_FILE"], env["NPHIES_CLIENT_PKCS12_PASSWORD"] = file, "wrong"
	_, err := clients(t, env)
	require.ErrorContains(t, err, "NPHIES_CLIENT_PKCS12_FILE: cannot read the PKCS#12 file")
	require.NotContains(t, err.Error(), "wrong\"")
	env["NPHIES_CLIENT_PKCS12_PASSWORD"] = "pass"
	c, err := clients(t, env)
	require.NoError(t, err)
	require.Empty(t, poll(t, c, "DEMO-PR-0001"))
}

func TestCertificatesInVault(t *testing.T) {
	v := testenv.Vault(t)
	a, env := site(t)
	path := "secret/nphies/" + strings.ToLower(rand.Text())
	env["VAULT_ADDR"], env["VAULT_TOKEN"], env["NPHIES_CLIENT_VAULT_PATH"] = v.Addr, v.Token, path
	_, err := clients(t, env)
	require.ErrorContains(t, err, "NPHIES_CLIENT_VAULT_PATH: no client certificate for licence DEMO-PR-0001")

	put := func(license string, values map[string]any) {
		t.Helper()
		_, err := v.Root(t).KVv2("secret").Put(context.WithoutCancel(t.Context()), strings.TrimPrefix(path, "secret/")+"/"+license, values)
		require.NoError(t, err)
	}
	crt, key, _ := a.client("DEMO-PR-0001")
	put("DEMO-PR-0001", map[string]any{"certificate": string(crt), "key": string(key)})
	_, _, p12 := a.client("DEMO-PR-0002")
	put("DEMO-PR-0002", map[string]any{"pkcs12": base64.StdEncoding.EncodeToString(p12), "passphrase": "pass\n"})
	c, err := clients(t, env)
	require.NoError(t, err)
	require.Empty(t, poll(t, c, "DEMO-PR-0001"))
	require.Empty(t, poll(t, c, "DEMO-PR-0002"))

	crt, key, _ = a.client("DEMO-PR-0009")
	put("DEMO-PR-0001", map[string]any{"certificate": string(crt), "key": string(key)})
	c.Refresh(t.Context())
	require.Equal(t, "GE-00020", poll(t, c, "DEMO-PR-0001"), "a new version is in use after the next look")
	put("DEMO-PR-0001", map[string]any{"note": "oops"})
	c.Refresh(t.Context())
	require.Equal(t, "GE-00020", poll(t, c, "DEMO-PR-0001"), "what cannot be used leaves the one before")
}

func TestVaultAwayAtTheStart(t *testing.T) {
	_, env := site(t)
	env["VAULT_ADDR"], env["VAULT_TOKEN"], env["NPHIES_CLIENT_VAULT_PATH"] = "http://127.0.0.1:1", "t0ken", "secret/nphies"
	_, err := clients(t, env)
	require.ErrorContains(t, err, "NPHIES_CLIENT_VAULT_PATH: licence DEMO-PR-0001: Vault does not answer")
	require.NotContains(t, err.Error(), "t0ken")
}

func TestUnreadableVaultCAIsNamed(t *testing.T) {
	_, env := site(t)
	env["VAULT_ADDR"], env["VAULT_TOKEN"], env["VAULT_CACERT"] = "https://127.0.0.1:1", "t0ken", "/nonexistent.pem"
	cfg, err := config.LoadFrom(env)
	require.NoError(t, err)
	_, err = app.Vault(cfg)
	require.ErrorContains(t, err, "VAULT_CACERT: ")
}

func TestStoppedWhileItWaitsForVault(t *testing.T) {
	_, env := site(t)
	env["VAULT_ADDR"], env["VAULT_TOKEN"], env["NPHIES_CLIENT_VAULT_PATH"] = "http://127.0.0.1:1", "t0ken", "secret/nphies"
	cfg, err := config.LoadFrom(env)
	require.NoError(t, err)
	v, err := app.Vault(cfg)
	require.NoError(t, err)
	c, err := app.NPHIES(cfg, "test", v)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, app.LoadCertificates(ctx, cfg, c, time.Minute), context.Canceled)
}
