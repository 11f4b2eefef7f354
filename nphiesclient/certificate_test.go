package nphiesclient

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// authority is a certificate authority for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	a := &authority{cert: cert, key: key, pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

// issue returns a certificate and its key for name, as PEM. It ends in an hour.
func (a *authority) issue(t *testing.T, name string) (certificate, key []byte) {
	t.Helper()
	return a.issueUntil(t, name, time.Now().Add(time.Hour))
}

var serials atomic.Int64

func (a *authority) issueUntil(t *testing.T, name string, end time.Time) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(100 + serials.Add(1)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: end,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// p12 returns a certificate for name as PKCS#12.
func (a *authority) p12(t *testing.T, name, passphrase string, encoder *pkcs12.Encoder) []byte {
	t.Helper()
	pair, err := LoadPEM(a.issue(t, name))
	require.NoError(t, err)
	out, err := encoder.Encode(pair.PrivateKey, pair.Leaf, []*x509.Certificate{a.cert}, passphrase)
	require.NoError(t, err)
	return out
}

func TestLoadPKCS12(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	for form, encoder := range map[string]*pkcs12.Encoder{"AES": pkcs12.Modern, "3DES": pkcs12.LegacyDES, "RC2": pkcs12.LegacyRC2} {
		data := a.p12(t, "hospital", "open sesame", encoder)
		got, err := LoadPKCS12(data, "open sesame")
		require.NoError(t, err, form)
		require.Len(t, got.Certificate, 2)
		require.Equal(t, "hospital", got.Leaf.Subject.CommonName)
		_, err = LoadPKCS12(data, "wrong secret")
		require.Equal(t, fault.Config, fault.KindOf(err), form)
		require.NotContains(t, err.Error(), "wrong secret")
	}

	pair, err := LoadPEM(a.issue(t, "hospital"))
	require.NoError(t, err)
	backwards, err := pkcs12.Modern.Encode(pair.PrivateKey, a.cert, []*x509.Certificate{pair.Leaf}, "x")
	require.NoError(t, err)
	got, err := LoadPKCS12(backwards, "x")
	require.NoError(t, err)
	require.Equal(t, "hospital", got.Leaf.Subject.CommonName, "the certificate of the key, wherever it stands")
	require.Equal(t, [][]byte{pair.Leaf.Raw, a.cert.Raw}, got.Certificate)

	other, err := pkcs12.Modern.Encode(pair.PrivateKey, a.cert, nil, "x")
	require.NoError(t, err)
	_, err = LoadPKCS12(other, "x")
	require.ErrorContains(t, err, "does not belong")
	_, err = LoadPKCS12([]byte("nothing"), "x")
	require.Equal(t, fault.Config, fault.KindOf(err))
}

func TestLoadPEM(t *testing.T) {
	t.Parallel()
	cert, key := newAuthority(t).issue(t, "hospital")
	pair, err := LoadPEM(cert, key)
	require.NoError(t, err)
	require.NotNil(t, pair.Leaf)
	_, err = LoadPEM(cert, cert)
	require.Equal(t, fault.Config, fault.KindOf(err))
	_, err = LoadPEM(cert, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	require.ErrorContains(t, err, "encrypted")
	_, err = LoadRoots([]byte("nothing"))
	require.Equal(t, fault.Config, fault.KindOf(err))
	pool, err := LoadRoots(cert)
	require.NoError(t, err)
	require.NotNil(t, pool)
}

func TestMaterialDoesNotPrint(t *testing.T) {
	t.Parallel()
	m := Material{Passphrase: "hunter2", Key: []byte("hunter2")}
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", m, m, m, m), "hunter2")
	_, err := Material{PKCS12: []byte("x"), Key: []byte("y")}.Identity()
	require.ErrorContains(t, err, "keep one")
	cert, key := newAuthority(t).issue(t, "hospital")
	_, err = Material{Certificate: cert, Key: key, Roots: []byte("nothing")}.Identity()
	require.ErrorContains(t, err, "authorities")
	require.NotEqual(t, Material{Certificate: []byte("ab")}.digest(), Material{Certificate: []byte("a"), Key: []byte("b")}.digest())
}

func write(t *testing.T, path string, body []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", body, 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

func TestSources(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	dir := t.TempDir()
	cert, key := a.issue(t, "pem")
	write(t, filepath.Join(dir, "100.p12"), a.p12(t, "p12", "word", pkcs12.LegacyDES))
	write(t, filepath.Join(dir, "100.pass"), []byte("word\n"))
	write(t, filepath.Join(dir, "200.crt"), cert)
	write(t, filepath.Join(dir, "200.key"), key)
	write(t, filepath.Join(dir, "300.crt"), cert)
	write(t, filepath.Join(dir, "400.key"), key)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "500.p12"), 0o700))
	write(t, filepath.Join(dir, "600.p12"), a.p12(t, "bare", "", pkcs12.Modern))
	coded := base64.StdEncoding.EncodeToString(a.p12(t, "vault", "word", pkcs12.Modern))
	kv := kvStore{
		"x/1": {"pkcs12": coded[:70] + "\n" + coded[70:], "passphrase": "word", "ca": string(cert)},
		"x/2": {"certificate": string(cert), "key": string(key)},
		"x/3": {"pkcs12": "***"}, "x/4": {"certificate": string(cert)}, "x/5": {},
	}
	for _, c := range []struct {
		source Source
		name   string // of the certificate
		kind   fault.Kind
		say    string
	}{
		{InDirectory(dir, "100"), "p12", "", ""},
		{InDirectory(dir, "200"), "pem", "", ""},
		{InDirectory(dir, "300"), "", fault.Config, "300.key"},
		{InDirectory(dir, "400"), "", fault.Config, "400.crt"},
		{InDirectory(dir, "500"), "", fault.Config, "500.p12"},
		{InDirectory(dir, "600"), "bare", "", ""},
		{InDirectory(dir, "700"), "", fault.NotFound, "700.p12"},
		{PKCS12File(filepath.Join(dir, "100.p12"), "word"), "p12", "", ""},
		{PKCS12File(filepath.Join(dir, "100.p12"), "mot"), "", fault.Config, "passphrase"},
		{PKCS12File(filepath.Join(dir, "no.p12"), ""), "", fault.NotFound, "no.p12"},
		{PEMFiles(filepath.Join(dir, "200.crt"), filepath.Join(dir, "200.key")), "pem", "", ""},
		{PEMFiles(filepath.Join(dir, "no.crt"), filepath.Join(dir, "no.key")), "", fault.NotFound, "no.crt"},
		{InVault(kv, "x/1"), "vault", "", ""},
		{InVault(kv, "x/2"), "pem", "", ""},
		{InVault(kv, "x/3"), "", fault.Config, "base64"},
		{InVault(kv, "x/4"), "", fault.Config, "x/4 holds neither"},
		{InVault(kv, "x/5"), "", fault.Config, "x/5 holds neither"},
		{InVault(kv, "x/6"), "", fault.NotFound, "x/6"},
	} {
		m, err := c.source.Read(t.Context())
		var id *Identity
		if err == nil {
			id, err = m.Identity()
		}
		require.Equal(t, c.kind, fault.KindOf(err), "%s: %v", c.source, err)
		if c.kind != "" {
			require.ErrorContains(t, err, c.say)
			continue
		}
		require.Equal(t, c.name, id.Certificate.Leaf.Subject.CommonName)
		require.Len(t, id.Fingerprint(), 64)
	}
}

// kvStore plays Vault's KV engine.
type kvStore map[string]map[string]string

func (s kvStore) ReadKV(_ context.Context, path string) (map[string]string, int, error) {
	if v, ok := s[path]; ok {
		return v, 1, nil
	}
	return nil, 0, &fault.Error{Op: "read secret", Kind: fault.NotFound, Safe: "no secret at " + path}
}
