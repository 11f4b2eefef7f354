package nphiesclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// newTestClient is a client that tries a connection three times without waiting.
func newTestClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	require.NoError(t, err)
	c.newBackOff = func() backoff.BackOff { return backoff.WithMaxRetries(&backoff.ZeroBackOff{}, 2) }
	return c
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func requireFault(t *testing.T, err error, kind fault.Kind, delivery Delivery) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, kind, fault.KindOf(err), "%v: %v", err, errors.Unwrap(err))
	require.Equal(t, delivery, DeliveryOf(err), "%v: %v", err, errors.Unwrap(err))
	require.NotContains(t, err.Error(), "127.0.0.1", "addresses are for logs only")
}

func TestSendExactBytes(t *testing.T) {
	t.Parallel()
	body := []byte("{\"a\" :\t1.50,\r\n \"<&>\":\"\u00e9\u0627\"}")
	answer := []byte("\xef\xbb\xbf{ \"resourceType\" : \"OperationOutcome\" }\n")
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(got, body) || r.Method != http.MethodPost || r.URL.Path != "/fhir/$process-message" ||
			r.Header.Get("Content-Type") != "application/fhir+json" || r.Header.Get("Accept") != "application/fhir+json" ||
			r.Header.Get("User-Agent") != "nphiesq" || r.Header.Get("Accept-Encoding") != "" || r.ContentLength != int64(len(body)) {
			t.Errorf("%s %s %v %q", r.Method, r.URL, r.Header, got)
		}
		w.Header().Set("Content-Type", "application/fhir+json; charset=utf-8")
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write(answer)
	})
	for _, base := range []string{s.URL + "/fhir", s.URL + "/fhir/", s.URL + "/fhir/$process-message"} {
		a, err := newTestClient(t, Config{BaseURL: base}).Send(t.Context(), body)
		require.NoError(t, err)
		require.Equal(t, http.StatusTeapot, a.Status)
		require.Equal(t, "application/fhir+json", a.ContentType)
		require.Equal(t, answer, a.Body)
		require.Positive(t, a.Duration)
	}
}

func TestNewRefusesBadAddresses(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"", "hsb.nphies.sa", "ftp://x", "https://", "https://x?y=1", "https://x#y", "https://user:password@x", "://"} {
		_, err := New(Config{BaseURL: u})
		require.Equal(t, fault.Config, fault.KindOf(err), u)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var other atomic.Int32
	target := serve(t, func(http.ResponseWriter, *http.Request) { other.Add(1) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{target.URL, "/elsewhere", "::no address", ""} {
			var calls atomic.Int32
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				w.Header().Set("Location", location)
				w.WriteHeader(status)
			})
			a, err := newTestClient(t, Config{BaseURL: s.URL}).Send(t.Context(), []byte("{}"))
			require.NoError(t, err, "%d to %q", status, location)
			require.Equal(t, status, a.Status)
			_, err = ParseHTTP(a)
			requireFault(t, err, fault.Network, DeliveryAnswered)
			require.Equal(t, httpCode(status), fault.Of(err).Code)
			require.EqualValues(t, 1, calls.Load())
		}
	}
	require.Zero(t, other.Load())
}

func TestSizeLimits(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		_, _ = w.Write(bytes.Repeat([]byte("x"), 101))
	})
	c := newTestClient(t, Config{BaseURL: s.URL, MaxBytes: 100, MaxAnswerBytes: 100})
	_, err := c.Send(t.Context(), make([]byte, 101))
	requireFault(t, err, fault.Invalid, DeliveryNotSent)
	require.Equal(t, "BV-00076", fault.Of(err).Code)
	require.True(t, fault.Of(err).Permanent)
	require.Zero(t, calls.Load())

	a, err := c.Send(t.Context(), make([]byte, 100))
	requireFault(t, err, fault.Network, DeliveryAnswered)
	require.Len(t, a.Body, 100, "what came is kept")
}

func TestTimeoutAfterSending(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-done
	})
	defer close(done)
	_, err := newTestClient(t, Config{BaseURL: s.URL, Timeout: 50 * time.Millisecond}).Send(t.Context(), []byte("{}"))
	requireFault(t, err, fault.Network, DeliveryUnknown)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestStoppedByTheCaller(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	})
	_, err := newTestClient(t, Config{BaseURL: s.URL}).Send(ctx, []byte("{}"))
	requireFault(t, err, fault.Network, DeliveryUnknown)
	require.ErrorIs(t, err, context.Canceled)

	_, err = newTestClient(t, Config{BaseURL: s.URL}).Send(ctx, []byte("{}"))
	requireFault(t, err, fault.Network, DeliveryNotSent)
}

func TestConnectionRefused(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := "http://" + l.Addr().String()
	require.NoError(t, l.Close())
	_, err = newTestClient(t, Config{BaseURL: address}).Send(t.Context(), []byte("{}"))
	requireFault(t, err, fault.Network, DeliveryNotSent)
}

// TestConnectionRetries: only a connection that could not be made is tried again.
func TestConnectionRetries(t *testing.T) {
	t.Parallel()
	var tries atomic.Int32
	fails := roundTripper(func(r *http.Request) (*http.Response, error) {
		if tries.Add(1) < 3 {
			return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
		}
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("ok")), Request: r}, nil
	})
	a, err := newTestClient(t, Config{BaseURL: "http://x.example", Transport: fails}).Send(t.Context(), []byte("{}"))
	require.NoError(t, err)
	require.Equal(t, "ok", string(a.Body))
	require.EqualValues(t, 3, tries.Load())

	tries.Store(0)
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		tries.Add(1)
		hijack(t, w, "")
	})
	_, err = newTestClient(t, Config{BaseURL: s.URL}).Send(t.Context(), []byte("{}"))
	requireFault(t, err, fault.Network, DeliveryUnknown)
	require.EqualValues(t, 1, tries.Load(), "what may have been processed is not sent again by the client")
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// hijack answers with raw text and closes the connection.
func hijack(t *testing.T, w http.ResponseWriter, raw string) {
	t.Helper()
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.WriteString(conn, raw)
	_ = conn.Close()
}

func TestAnswerCutInTransit(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		hijack(t, w, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: application/fhir+json\r\n\r\n{\"resourceType\":\"Bun")
	})
	a, err := newTestClient(t, Config{BaseURL: s.URL}).Send(t.Context(), []byte("{}"))
	requireFault(t, err, fault.Network, DeliveryUnknown)
	require.Len(t, a.Body, 20, "what came is kept")
}

func TestBackOffIsBounded(t *testing.T) {
	t.Parallel()
	c, err := New(Config{BaseURL: "http://x.example"})
	require.NoError(t, err)
	b, ok := c.newBackOff().(*backoff.ExponentialBackOff)
	require.True(t, ok)
	require.LessOrEqual(t, b.MaxElapsedTime, 3*time.Second)
	require.Equal(t, 65*time.Second, c.timeout)
	require.EqualValues(t, 10<<20, c.maxBytes)
}

func TestParseHTTP(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status    int
		body      string
		kind      fault.Kind
		challenge string
	}{
		{503, "<html>Service Unavailable</html>", fault.Network, ""},
		{502, "", fault.Network, ""},
		{200, "", fault.Network, ""},
		{200, "OK", fault.Network, ""},
		{404, `{"servlet":"x","message":"Not Found","status":"404"}`, fault.Network, ""},
		{401, "<html>", fault.JWT, `Bearer error="invalid_token"`},
		{407, "", fault.JWT, ""},
		{400, "<h1>400 Bad Request</h1>No required SSL certificate was sent", fault.Certificate, ""},
		{495, "", fault.Certificate, ""},
		{400, "<h1>400 Bad Request</h1>", fault.Network, ""},
		{500, outcome("error", "processing", ""), fault.Network, ""},
		{503, outcome("fatal", "exception", ""), fault.Network, ""},
		{429, outcome("error", "throttled", ""), fault.Network, ""},
		{502, outcome("error", "processing", `{"system":"http://terminology.hl7.org/CodeSystem/operation-outcome","code":"MSG_ERROR_PARSING"}`), fault.Network, ""},
		{502, outcome("error", "processing", `{"system":"http://gateway.example","code":"502"}`), fault.Network, ""},
		{503, outcome("information", "informational", ""), fault.Network, ""},
	} {
		_, err := ParseHTTP(&RawAnswer{Status: c.status, Body: []byte(c.body), Challenge: c.challenge, RetryAfter: 7 * time.Second})
		requireFault(t, err, c.kind, DeliveryAnswered)
		require.Equal(t, httpCode(c.status), fault.Of(err).Code)
		require.Equal(t, 7*time.Second, fault.Of(err).RetryIn)
	}
	for _, status := range []int{200, 300, 400, 429, 500} {
		a, err := ParseHTTP(&RawAnswer{Status: status, Body: []byte(`{"resourceType":"OperationOutcome","issue":[{"code":"structure",
			"details":{"coding":[{"system":"http://nphies.sa/terminology/CodeSystem/adjudication-error","code":"GE-00013"}]}}]}`)})
		require.NoError(t, err)
		require.Equal(t, "GE-00013", a.Errors[0].Code)
	}
	for body, want := range map[string]Retry{
		outcome("error", "transient", ""):                                               RetrySame,
		outcome("error", "business-rule", ""):                                           RetryFix,
		outcome("error", "timeout", `{"system":"http://gateway.example","code":"E-1"}`): RetrySame,
		outcome("error", "exception", `{"system":"http://nphies.sa/terminology/CodeSystem/adjudication-error","code":"BV-00251"}`): RetryFix,
		outcome("error", "exception", `{"code":"BV-00251"}`):                                                                       RetryFix,
	} {
		a, err := ParseHTTP(&RawAnswer{Status: 400, Body: []byte(body)})
		require.NoError(t, err)
		require.Equal(t, want, Classify(a.Errors).Retry, body)
	}
}

// outcome is a bare OperationOutcome of one issue, coding in its details where given.
func outcome(severity, code, coding string) string {
	return fmt.Sprintf(`{"resourceType":"OperationOutcome","issue":[{"severity":%q,"code":%q,"diagnostics":"boom","details":{"coding":[%s]}}]}`, severity, code, coding)
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 2, 10, 12, 0, 0, 0, time.UTC)
	require.Equal(t, 120*time.Second, retryAfter("120", now))
	require.Equal(t, time.Minute, retryAfter(now.Add(time.Minute).Format(http.TimeFormat), now))
	require.Zero(t, retryAfter(now.Add(-time.Minute).Format(http.TimeFormat), now))
	require.Zero(t, retryAfter("soon", now))
	require.Zero(t, retryAfter("-5", now))
}

func (a *authority) server(t *testing.T, maxVersion uint16, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	cert, err := LoadPEM(a.issue(t, "server"))
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = nil
	s.TLS = &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool, MaxVersion: maxVersion,
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	var calls atomic.Int32
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := a.server(t, version, func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
		})
		own, err := LoadPEM(a.issue(t, "hospital"))
		require.NoError(t, err)
		require.NotNil(t, own.Leaf)
		client := func(get func(context.Context) (*Identity, error), roots *x509.CertPool) *Client {
			return newTestClient(t, Config{BaseURL: s.URL, TLS: &tls.Config{RootCAs: roots}, Identity: get})
		}
		show := func(c tls.Certificate) func(context.Context) (*Identity, error) {
			id := &Identity{Certificate: c}
			return func(context.Context) (*Identity, error) { return id, nil }
		}
		ok := show(own)

		answer, err := client(ok, a.pool).Send(t.Context(), []byte("{}"))
		require.NoError(t, err)
		require.Equal(t, "hospital", string(answer.Body))

		before := calls.Load()
		_, err = client(nil, a.pool).Send(t.Context(), []byte("{}"))
		requireFault(t, err, fault.Certificate, DeliveryNotSent)

		foreign, err := LoadPEM(newAuthority(t).issue(t, "stranger"))
		require.NoError(t, err)
		_, err = client(show(foreign), a.pool).Send(t.Context(), []byte("{}"))
		requireFault(t, err, fault.Certificate, DeliveryNotSent)

		_, err = client(ok, newAuthority(t).pool).Send(t.Context(), []byte("{}"))
		requireFault(t, err, fault.Certificate, DeliveryNotSent)

		_, err = client(func(context.Context) (*Identity, error) { return nil, errors.New("the cause is for logs") }, a.pool).Send(t.Context(), []byte("{}"))
		requireFault(t, err, fault.Certificate, DeliveryNotSent)
		require.Equal(t, before, calls.Load())
	}
}

func TestPlainServerBehindHTTPS(t *testing.T) {
	t.Parallel()
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	_, err := newTestClient(t, Config{BaseURL: strings.Replace(s.URL, "http:", "https:", 1)}).Send(t.Context(), []byte("{}"))
	requireFault(t, err, fault.Certificate, DeliveryNotSent)
}
