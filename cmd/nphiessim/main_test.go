package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"--help"}, exitOK, "SIM-PEND-PARTIAL"},
		{[]string{"--nonsense"}, exitUsage, "nonsense"},
		{[]string{"serve"}, exitUsage, "unexpected argument"},
		{[]string{"certs", "--help"}, exitOK, "throwaway authority"},
		{[]string{"certs"}, exitUsage, "one directory is needed"},
		{[]string{"certs", "x"}, exitUsage, "--license is needed"},
		{[]string{"certs", "--license", "../x", "x"}, exitUsage, "no slash"},
		{[]string{"certs", "--days", "0", "--license", "1", "x"}, exitUsage, "1 to 3650"},
		{[]string{"--tls-cert", "x"}, exitUsage, "go together"},
		{[]string{"--client-ca", "x"}, exitUsage, "needs --tls-cert"},
		{[]string{"--client-cert-optional"}, exitUsage, "need --client-ca"},
		{[]string{"--certificate-licenses", "Group"}, exitUsage, "NAME=LICENSE"},
		{[]string{"--certificate-licenses", "Group=1"}, exitUsage, "need --client-ca"},
		{[]string{"--spelling", "welsh"}, exitUsage, "guide, oba or samples"},
		{[]string{"--teams-signing-key", "secret"}, exitUsage, "whsec_"},
		{[]string{"--addr", "nowhere:-1"}, exitError, "cannot serve"},
		{[]string{"--tls-cert", "/missing", "--tls-key", "/missing"}, exitError, "missing"},
	} {
		var out, log bytes.Buffer
		require.Equal(t, tc.code, run(t.Context(), tc.args, &out, &log), tc.args)
		if tc.code == exitOK {
			require.Contains(t, out.String(), tc.text)
			continue
		}
		require.Contains(t, log.String(), tc.text)
		require.Empty(t, out.String())
	}
}

// start runs the command on free ports and returns its addresses; at the end of the test it must exit with 0.
func start(t *testing.T, args ...string) addresses {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, append([]string{"--addr", "127.0.0.1:0", "--teams-addr", "127.0.0.1:0", "--log-level", "error"}, args...), w, os.Stderr)
	}()
	t.Cleanup(func() {
		cancel()
		require.Equal(t, exitOK, <-done)
	})
	line, err := bufio.NewReader(r).ReadBytes('\n')
	require.NoError(t, err)
	var a addresses
	require.NoError(t, json.Unmarshal(line, &a))
	return a
}

func fetch(t *testing.T, client *http.Client, method, url, body string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(raw), nil
}

func TestServe(t *testing.T) {
	t.Parallel()
	a := start(t)
	for url, text := range map[string]string{
		a.Control: "NPHIES simulator", a.Control + "claims": "[]", a.Teams: "No card has come yet", a.Teams + "/cards.json": "[]",
	} {
		status, body, err := fetch(t, http.DefaultClient, http.MethodGet, url, "")
		require.NoError(t, err)
		require.Equal(t, 200, status, url)
		require.Contains(t, body, text)
	}
	status, body, err := fetch(t, http.DefaultClient, http.MethodPost, a.NPHIES+"/$process-message", "{")
	require.NoError(t, err)
	require.Equal(t, 400, status)
	require.Contains(t, body, "GE-00013")
	status, body, err = fetch(t, http.DefaultClient, http.MethodPost, a.NPHIES+"/Claim", "{}")
	require.NoError(t, err)
	require.Equal(t, 404, status)
	require.Contains(t, body, "GE-00009")
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := newAuthority(t)
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	server := ca.issue(t, pkix.Name{CommonName: "localhost"})
	keyDER, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	require.NoError(t, err)
	flags := []string{
		"--tls-cert", write("cert.pem", "CERTIFICATE", server.Certificate[0]), "--tls-key", write("key.pem", "PRIVATE KEY", keyDER),
		"--client-ca", write("ca.pem", "CERTIFICATE", ca.cert.Raw), "--certificate-licenses", "Group=DEMO-PR-0009,DEMO-PR-0001",
	}
	message, err := os.ReadFile("../../internal/nphiessim/testdata/cancel-request.json")
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)

	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			a := start(t, flags...)
			require.True(t, strings.HasPrefix(a.NPHIES, "https://"))
			send := func(certs ...tls.Certificate) (int, string, error) {
				transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs, MinVersion: tls.VersionTLS12}}
				transport.ForceAttemptHTTP2 = protocol == "HTTP/2.0"
				return fetchBy(t, protocol, &http.Client{Transport: transport}, a.NPHIES+"/$process-message", string(message))
			}
			_, _, err = send()
			require.Error(t, err, "the handshake fails without a client certificate")
			_, _, err = send(newAuthority(t).issue(t, pkix.Name{CommonName: "DEMO-PR-0001"}))
			require.Error(t, err, "and with one of another authority")
			for _, name := range []pkix.Name{
				{CommonName: "DEMO-PR-0001"}, {SerialNumber: "DEMO-PR-0001"}, {Organization: []string{"DEMO-PR-0001"}}, {Organization: []string{"Group"}},
			} {
				status, body, err := send(ca.issue(t, name))
				require.NoError(t, err)
				require.Equal(t, 200, status, body)
			}
			for code, name := range map[string]pkix.Name{"GE-00020": {CommonName: "DEMO-PR-0002"}, "GE-00019": {Country: []string{"SA"}}} {
				status, body, err := send(ca.issue(t, name))
				require.NoError(t, err)
				require.Equal(t, 403, status)
				require.Contains(t, body, code)
			}
		})
	}
	t.Run("certificate optional, HTTP/1.1 only", func(t *testing.T) {
		t.Parallel()
		a := start(t, append(flags, "--client-cert-optional", "--http1")...)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
		status, body, err := fetchBy(t, "HTTP/1.1", client, a.NPHIES+"/$process-message", string(message))
		require.NoError(t, err)
		require.Equal(t, 403, status)
		require.Contains(t, body, "GE-00019")
	})
}

// fetchBy posts and insists on a protocol.
func fetchBy(t *testing.T, protocol string, client *http.Client, url, body string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, protocol, resp.Proto)
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(raw), nil
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return authority{cert, key}
}

func (a authority) issue(t *testing.T, name pkix.Name) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: name, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
