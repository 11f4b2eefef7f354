package nphiesclient

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// mirror is a server with mutual TLS that answers with the name on the client's certificate and keeps watch of its connections.
type mirror struct {
	url  string
	auth *authority
	hold chan struct{} // a request with "hold" as its body waits for it

	mu   sync.Mutex
	open map[net.Conn]bool
}

func newMirror(t *testing.T, proto string) *mirror {
	t.Helper()
	m := &mirror{auth: newAuthority(t), hold: make(chan struct{}), open: map[net.Conn]bool{}}
	cert, err := LoadPEM(m.auth.issue(t, "server"))
	require.NoError(t, err)
	s := &http.Server{
		ReadHeaderTimeout: time.Minute,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: m.auth.pool},
		ConnState: func(c net.Conn, state http.ConnState) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if state == http.StateClosed {
				delete(m.open, c)
			} else {
				m.open[c] = true
			}
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err == nil && string(body) == "hold" {
				<-m.hold
			}
			_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
		}),
		Protocols: new(http.Protocols),
	}
	s.Protocols.SetHTTP1(proto == "HTTP/1.1")
	s.Protocols.SetHTTP2(proto == "HTTP/2.0")
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = s.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = s.Close() })
	m.url = "https://" + l.Addr().String()
	return m
}

func (m *mirror) connections() int { m.mu.Lock(); defer m.mu.Unlock(); return len(m.open) }

func (m *mirror) config() Config {
	return Config{BaseURL: m.url, TLS: &tls.Config{RootCAs: m.auth.pool}}
}

// put writes a certificate for name as PEM files of a licence.
func (m *mirror) put(t *testing.T, dir, license, name string) {
	t.Helper()
	cert, key := m.auth.issue(t, name)
	write(t, filepath.Join(dir, license+".key"), key)
	write(t, filepath.Join(dir, license+".crt"), cert)
}

func newTestClients(t *testing.T, cfg ClientsConfig) *Clients {
	t.Helper()
	c, err := NewClients(cfg)
	require.NoError(t, err)
	return c
}

func sender(t *testing.T, c *Clients) func(license string) string {
	t.Helper()
	return func(license string) string {
		a, err := c.Send(t.Context(), license, []byte("{}"))
		require.NoError(t, err, "%v", errors.Unwrap(err))
		return string(a.Body)
	}
}

func inDirectory(dir string) func(string) Source {
	return func(license string) Source { return InDirectory(dir, license) }
}

func TestEachLicenceShowsItsOwnCertificate(t *testing.T) {
	t.Parallel()
	m, dir := newMirror(t, "HTTP/2.0"), t.TempDir()
	m.put(t, dir, "100", "hospital 100")
	m.put(t, dir, "200", "hospital 200")
	m.put(t, dir, "other", "the group")
	c := newTestClients(t, ClientsConfig{
		Config: m.config(), Own: inDirectory(dir), Default: PEMFiles(filepath.Join(dir, "other.crt"), filepath.Join(dir, "other.key")),
	})
	send := sender(t, c)
	var wg sync.WaitGroup
	for range 10 {
		for license, want := range map[string]string{"100": "hospital 100", "200": "hospital 200", "300": "the group", "../200": "the group"} {
			wg.Go(func() {
				a, err := c.Send(t.Context(), license, []byte("{}"))
				if err != nil || string(a.Body) != want {
					t.Errorf("%s: %v, %v", license, a, err)
				}
			})
		}
	}
	wg.Wait()
	var names []string
	for _, s := range c.Certificates() {
		require.NoError(t, s.Problem)
		require.Len(t, s.Fingerprint, 64)
		require.Equal(t, "test authority", s.Issuer)
		require.NotEmpty(t, s.Serial)
		require.True(t, s.NotAfter.After(time.Now()))
		names = append(names, s.License+" "+s.CommonName)
	}
	require.Equal(t, []string{"default the group", "100 hospital 100", "200 hospital 200"}, names)

	m.put(t, dir, "300", "hospital 300")
	require.Equal(t, "hospital 300", send("300"), "a certificate that comes later takes over from the default one")
}

func TestLicenceWithoutCertificate(t *testing.T) {
	t.Parallel()
	m, dir := newMirror(t, "HTTP/1.1"), t.TempDir()
	m.put(t, dir, "100", "hospital 100")
	c := newTestClients(t, ClientsConfig{Config: m.config(), Own: inDirectory(dir)})
	require.NoError(t, c.LoadDefault(t.Context()))
	require.NoError(t, c.Load(t.Context(), "100"))
	for license, say := range map[string]string{"200": "200.p12", "../100": "letters, digits"} {
		require.ErrorContains(t, c.Load(t.Context(), license), "licence "+license+": ")
		_, err := c.Send(t.Context(), license, []byte("{}"))
		requireFault(t, err, fault.Certificate, DeliveryNotSent)
		require.ErrorContains(t, err, say)
	}
	require.Zero(t, m.connections())

	loud := m.config()
	loud.BaseURL = strings.Replace(loud.BaseURL, "https:", " HTTPS:", 1)
	c = newTestClients(t, ClientsConfig{Config: loud, Own: inDirectory(dir)})
	require.Equal(t, fault.NotFound, fault.KindOf(c.Load(t.Context(), "200")), "a scheme is one in any case")

	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	c = newTestClients(t, ClientsConfig{Config: Config{BaseURL: plain.URL}, Own: inDirectory(dir)})
	require.NoError(t, c.Load(t.Context(), "200"), "no certificate is needed for http")
	require.Empty(t, sender(t, c)("200"))

	c = newTestClients(t, ClientsConfig{Config: m.config(), Default: PKCS12File(filepath.Join(dir, "no.p12"), "")})
	require.Equal(t, fault.NotFound, fault.KindOf(c.LoadDefault(t.Context())))
	_, err := c.Send(t.Context(), "100", []byte("{}"))
	requireFault(t, err, fault.Certificate, DeliveryNotSent)
	_, err = NewClients(ClientsConfig{})
	require.Equal(t, fault.Config, fault.KindOf(err))
}

// TestRenewedCertificate: the new one is in use with the next message, connections made with the old one are closed, those in
// use as soon as they are done; a broken one changes nothing.
func TestRenewedCertificate(t *testing.T) {
	t.Parallel()
	for _, proto := range protocols {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			m, dir := newMirror(t, proto), t.TempDir()
			m.put(t, dir, "100", "old")
			c := newTestClients(t, ClientsConfig{Config: m.config(), Own: inDirectory(dir)})
			send := sender(t, c)
			state := func() CertificateState { return c.Certificates()[0] }
			require.Equal(t, "old", send("100"))
			require.Equal(t, 1, m.connections())
			before := state()

			held := make(chan string)
			go func() {
				a, err := c.Send(context.WithoutCancel(t.Context()), "100", []byte("hold"))
				if err != nil {
					held <- err.Error()
				} else {
					held <- string(a.Body)
				}
			}()
			eventually(t, func() bool { return c.own["100"].client.users() == 1 })
			m.put(t, dir, "100", "new")
			require.Equal(t, "new", send("100"))
			m.hold <- struct{}{}
			require.Equal(t, "old", <-held, "what is under way is not disturbed")
			require.Equal(t, "new", send("100"))
			eventually(t, func() bool { return m.connections() == 1 })
			require.Equal(t, 1, state().Reloads)
			require.NotEqual(t, before.Fingerprint, state().Fingerprint)
			good := state()

			write(t, filepath.Join(dir, "100.crt"), []byte("half a fi"))
			for range 3 {
				require.Equal(t, "new", send("100"))
				c.Refresh(t.Context())
			}
			require.ErrorContains(t, state().Problem, "PEM")
			require.NotEmpty(t, state().ProblemID)
			require.Equal(t, 1, state().Failures, "counted once")
			require.Equal(t, good.Fingerprint, state().Fingerprint)
			require.Equal(t, 1, m.connections(), "nothing was closed")

			m.put(t, dir, "100", "newer")
			c.Refresh(t.Context())
			require.NoError(t, state().Problem)
			require.Empty(t, state().ProblemID)
			eventually(t, func() bool { return m.connections() == 0 })
			require.Equal(t, "newer", send("100"))
			require.Equal(t, 2, state().Reloads)
		})
	}
}

func (c *Client) users() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.line.users
}

func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, time.Minute, 5*time.Millisecond)
}

func TestRefreshSeesWhatTimesDoNotTell(t *testing.T) {
	t.Parallel()
	m := newMirror(t, "HTTP/1.1")
	var pair atomic.Pointer[Material]
	var fail atomic.Pointer[fault.Error]
	issue := func(name string) {
		cert, key := m.auth.issue(t, name)
		pair.Store(&Material{Certificate: cert, Key: key})
	}
	issue("first")
	source := sourceFunc(func() (Material, error) {
		if err := fail.Load(); err != nil {
			return Material{}, err
		}
		return *pair.Load(), nil
	})
	c := newTestClients(t, ClientsConfig{Config: m.config(), Own: func(string) Source { return source }, Default: source})
	send := sender(t, c)
	require.Equal(t, "first", send("100"))
	issue("second")
	require.Equal(t, "first", send("100"), "not looked at for each message")
	c.Refresh(t.Context())
	require.Equal(t, "second", send("100"))

	fail.Store(&fault.Error{Kind: fault.Unavailable, Safe: "Vault does not answer"})
	c.Refresh(t.Context())
	require.Equal(t, "second", send("100"), "the last good certificate stays in use")
	require.ErrorContains(t, c.Certificates()[1].Problem, "Vault does not answer")
	_, err := c.Send(t.Context(), "200", []byte("{}"))
	requireFault(t, err, fault.Unavailable, DeliveryNotSent)
	require.ErrorContains(t, err, "Vault does not answer")
	require.Len(t, c.Certificates(), 2, "nothing is known of the third")

	fail.Store(nil)
	require.Equal(t, "second", send("200"), "looked for again, without a refresh")
	fail.Store(&fault.Error{Kind: fault.NotFound, Safe: "no secret"})
	c.Refresh(t.Context())
	require.Equal(t, "second", send("200"), "a certificate that is gone stays in use: the default one is another identity")
	require.Equal(t, 2, c.Certificates()[1].Failures)
	require.Equal(t, 1, c.Certificates()[2].Failures)
}

type sourceFunc func() (Material, error)

func (f sourceFunc) Read(context.Context) (Material, error) { return f() }
func (f sourceFunc) String() string                         { return "test" }

// TestRootsOfTheSource: authorities that come with a certificate replace those of the settings.
func TestRootsOfTheSource(t *testing.T) {
	t.Parallel()
	m := newMirror(t, "HTTP/1.1")
	cert, key := m.auth.issue(t, "hospital")
	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.auth.cert.Raw})
	kv := kvStore{
		"certs/100": {"certificate": string(cert), "key": string(key), "ca": string(roots)},
		"certs/200": {"certificate": string(cert), "key": string(key)},
	}
	c := newTestClients(t, ClientsConfig{Config: Config{BaseURL: m.url}, Own: func(l string) Source { return InVault(kv, "certs/"+l) }})
	require.Equal(t, "hospital", sender(t, c)("100"))
	_, err := c.Send(t.Context(), "200", []byte("{}"))
	requireFault(t, err, fault.Certificate, DeliveryNotSent)
	require.True(t, strings.HasPrefix(c.Certificates()[0].Source, "Vault certs/"))
}
