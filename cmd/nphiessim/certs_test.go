package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"
)

func TestThrowawayCertificates(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "certs")
	args := []string{"certs", "--license", "DEMO-PR-0001", dir, "--license", "DEMO-PR-0002"}
	var out, log bytes.Buffer
	require.Equal(t, exitOK, run(t.Context(), args, &out, &log), log.String())
	require.Contains(t, out.String(), "DEMO-PR-0002.p12")
	require.Equal(t, exitError, run(t.Context(), args, &out, &log), "nothing is written over")
	require.Contains(t, log.String(), "exists")

	at := func(name string) string { return filepath.Join(dir, name) }
	a := start(t, "--tls-cert", at("server.crt"), "--tls-key", at("server.key"), "--client-ca", at("ca.crt"))
	ca, err := os.ReadFile(at("ca.crt"))
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(ca))
	message, err := os.ReadFile("../../internal/nphiessim/testdata/cancel-request.json")
	require.NoError(t, err)
	send := func(c tls.Certificate) int {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
			RootCAs: pool, Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12,
		}}}
		status, _, err := fetch(t, client, http.MethodPost, a.NPHIES+"/$process-message", string(message))
		require.NoError(t, err)
		return status
	}
	own, err := tls.LoadX509KeyPair(at("DEMO-PR-0001.crt"), at("DEMO-PR-0001.key"))
	require.NoError(t, err)
	require.Equal(t, 200, send(own))
	p12, err := os.ReadFile(at("DEMO-PR-0002.p12"))
	require.NoError(t, err)
	pass, err := os.ReadFile(at("DEMO-PR-0002.pass"))
	require.NoError(t, err)
	key, cert, _, err := pkcs12.DecodeChain(p12, strings.TrimSpace(string(pass)))
	require.NoError(t, err)
	require.Equal(t, 403, send(tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}), "the message is of the other licence")
}
