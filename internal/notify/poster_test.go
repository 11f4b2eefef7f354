package notify

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/signing"
)

var noon = time.Unix(1767225600, 0).UTC()

const (
	oldKey = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	newKey = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
)

func keys(tb testing.TB, s string) []signing.Key {
	tb.Helper()
	k, err := signing.ParseKeys(s)
	require.NoError(tb, err)
	return k
}

// teams answers by path as Teams and its retired connectors do.
func teams(tb testing.TB) *httptest.Server {
	tb.Helper()
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = io.WriteString(w, body) }
	}
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.Handle("/ok", answer(202, ""))
	mux.Handle("/ok200", answer(200, `{"messageId":"1"}`))
	mux.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) {
		var code int
		_, _ = fmt.Sscan(r.URL.Query().Get("code"), &code)
		w.Header().Set("Location", "/ok")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, `{"error":{"code":"TriggerInputSchemaMismatch","message":"bad: sig=TopSecret Bearer abcdefgh\u0000\u202e"}}`)
	})
	mux.HandleFunc("/429", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", r.URL.Query().Get("after"))
		w.WriteHeader(429)
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/reset", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.Handle("/huge-error-body", answer(400, strings.Repeat("x", 10<<20)))
	mux.Handle("/redirect", http.RedirectHandler("/ok", http.StatusTemporaryRedirect))
	s := httptest.NewServer(mux)
	tb.Cleanup(func() { close(release); s.Close() })
	return s
}

func address(tb testing.TB, raw string) WebhookURL {
	tb.Helper()
	w, err := ParseWebhookURL(raw, true)
	require.NoError(tb, err)
	return w
}

func poster(tb testing.TB, o Options) *Poster {
	tb.Helper()
	o.AllowInsecure = true
	p := NewPoster(o)
	tb.Cleanup(p.Close)
	return p
}

func TestPostSendsWhatIsPromised(t *testing.T) {
	var got *http.Request
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(202)
	}))
	t.Cleanup(s.Close)
	p := poster(t, Options{Keys: keys(t, newKey+" "+oldKey), UserAgent: "nphiesq/1", Now: func() time.Time { return noon }})
	card := []byte(`{"type":"message","attachments":[]}`)
	r := p.Post(t.Context(), Post{
		URL: address(t, s.URL+"/a%2Fb?sp=%2Ftriggers%2Fmanual&b=1&sig=a%2Bb+c"), WebhookID: "msg_1",
		CorrelationID: "cor\r\nX-Evil: 1", Priority: cards.High, Body: card,
	})
	require.Equal(t, Result{Class: Accepted, Status: 202}, r)
	require.Equal(t, "/a%2Fb?sp=%2Ftriggers%2Fmanual&b=1&sig=a%2Bb+c", got.RequestURI, "byte for byte")
	require.Equal(t, http.MethodPost, got.Method)
	require.Equal(t, "application/json; charset=utf-8", got.Header.Get("Content-Type"))
	require.Equal(t, "nphiesq/1", got.Header.Get("User-Agent"))
	require.Equal(t, "corX-Evil: 1", got.Header.Get("X-Correlation-Id"))
	require.Equal(t, "HIGH", got.Header.Get("X-Priority"))
	require.Equal(t, card, body)
	id, err := signing.Verify(keys(t, oldKey), got.Header, body, noon)
	require.NoError(t, err)
	require.Equal(t, "msg_1", id)
}

func TestAnswers(t *testing.T) {
	s := teams(t)
	p := poster(t, Options{Now: func() time.Time { return noon }})
	for path, want := range map[string]Result{
		"/ok":                                {Class: Accepted, Status: 202},
		"/ok200":                             {Class: Accepted, Status: 200},
		"/429?after=2":                       {Class: Temporary, Status: 429, Throttled: true, RetryAfter: 2 * time.Second},
		"/429?after=0":                       {Class: Temporary, Status: 429, Throttled: true, RetryAfter: time.Second},
		"/429?after=99999":                   {Class: Temporary, Status: 429, Throttled: true, RetryAfter: time.Hour},
		"/429?after=99999999999999999999999": {Class: Temporary, Status: 429, Throttled: true, RetryAfter: time.Hour},
		"/429?after=-5":                      {Class: Temporary, Status: 429, Throttled: true},
		"/429?after=" + strings.ReplaceAll(noon.Add(90*time.Second).Format(http.TimeFormat), " ", "%20"): {Class: Temporary, Status: 429, Throttled: true, RetryAfter: 90 * time.Second},
		"/429?after=" + strings.ReplaceAll(noon.Add(-time.Hour).Format(http.TimeFormat), " ", "%20"):     {Class: Temporary, Status: 429, Throttled: true, RetryAfter: time.Second},
		"/429":             {Class: Temporary, Status: 429, Throttled: true},
		"/redirect":        {Class: Permanent, Status: 307},
		"/huge-error-body": {Class: Permanent, Status: 400},
		"/reset":           {Class: Ambiguous},
	} {
		r := p.Post(t.Context(), Post{URL: address(t, s.URL+path), WebhookID: "x", Body: []byte("{}")})
		if want.Class != Accepted {
			require.NotEmpty(t, r.Safe, path)
		}
		r.Safe = ""
		require.Equal(t, want, r, path)
	}
	for status, class := range map[int]Class{
		201: Accepted, 204: Accepted, 302: Permanent, 400: Permanent, 401: Config, 403: Config, 404: Config, 405: Permanent, 408: Temporary,
		410: Config, 412: Permanent, 413: Permanent, 425: Temporary, 429: Temporary, 500: Temporary, 501: Temporary, 502: Temporary,
		503: Temporary, 504: Temporary,
	} {
		r := p.Post(t.Context(), Post{URL: address(t, s.URL+fmt.Sprintf("/status?code=%d", status)), WebhookID: "x", Body: []byte("{}")})
		require.Equal(t, class, r.Class, status)
		require.Equal(t, status, r.Status)
		if class == Accepted {
			continue
		}
		require.Equal(t, "TriggerInputSchemaMismatch", r.Code)
		require.LessOrEqual(t, len([]rune(r.Safe)), 200)
		require.Equal(t, fmt.Sprintf("Teams answered HTTP %d TriggerInputSchemaMismatch: bad: sig=[redacted] Bearer [redacted]", status), r.Safe)
	}
}

func TestConnectorAnswers(t *testing.T) {
	const host = "org.webhook.office.com"
	for body, want := range map[string]Class{
		"1":  Accepted,
		"ok": Permanent,
		"":   Permanent,
		"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId x": Temporary,
		"returned HTTP error 412": Temporary,
		"returned HTTP error 503": Temporary,
		"returned HTTP error 413": Permanent,
		"returned HTTP error 200": Permanent,
		"returned HTTP error 403": Config,
	} {
		r := Classify(host, 200, http.Header{}, []byte(body), noon)
		require.Equal(t, want, r.Class, body)
	}
	require.Equal(t, Config, Classify(host, 403, http.Header{}, nil, noon).Class)
}

func TestNoAnswer(t *testing.T) {
	s := teams(t)
	p := poster(t, Options{Timeout: 50 * time.Millisecond})
	r := p.Post(t.Context(), Post{URL: address(t, s.URL+"/slow"), WebhookID: "x", Body: []byte("{}")})
	require.Equal(t, Result{Class: Ambiguous, Safe: "Teams did not answer in time"}, r)

	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	r = p.Post(t.Context(), Post{URL: address(t, closed.URL), WebhookID: "x", Body: []byte("{}")})
	require.Equal(t, Result{Class: Temporary, Safe: "Teams refused the connection"}, r, "nothing was sent, so nothing is ambiguous")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r = p.Post(ctx, Post{URL: address(t, s.URL+"/ok"), WebhookID: "x", Body: []byte("{}")})
	require.NotEqual(t, Accepted, r.Class)

	r = p.Post(t.Context(), Post{WebhookID: "x"})
	require.Equal(t, Config, r.Class)
	r = p.Post(t.Context(), Post{URL: address(t, s.URL+"/ok"), WebhookID: "a.b"})
	require.Equal(t, Permanent, r.Class)
}

func TestUntrustedCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) }))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	r := poster(t, Options{}).Post(t.Context(), Post{URL: address(t, s.URL), WebhookID: "x"})
	require.Equal(t, Result{Class: Config, Safe: "the TLS certificate of Teams is not trusted"}, r)

	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	r = poster(t, Options{RootCAs: pool}).Post(t.Context(), Post{URL: address(t, s.URL), WebhookID: "x"})
	require.Equal(t, Accepted, r.Class)
}

func TestGuard(t *testing.T) {
	for _, a := range []string{
		"127.0.0.1:443", "10.1.2.3:443", "172.16.0.1:443", "192.168.1.1:443", "169.254.169.254:80", "0.0.0.0:443", "100.64.1.1:443",
		"224.0.0.1:443", "198.18.0.1:443", "192.0.0.1:443", "240.0.0.1:443", "0.1.2.3:443", "[64:ff9b::a00:1]:443", "[2002:a00:1::]:443", "255.255.255.255:443", "[::1]:443", "[::]:443", "[fe80::1%eth0]:443", "[fd00::1]:443", "[::ffff:10.0.0.1]:443", "[ff02::1]:443", "x",
	} {
		require.ErrorIs(t, guard(false)("tcp", a, nil), errForbiddenAddress, a)
	}
	require.ErrorIs(t, guard(true)("tcp", "10.1.2.3:443", nil), errForbiddenAddress)
	for _, a := range []string{"20.50.1.1:443", "[2603:1000::1]:443"} {
		require.NoError(t, guard(false)("tcp", a, nil))
	}
	require.NoError(t, guard(true)("tcp", "127.0.0.1:1", nil))

	// The guard stands in the way of real connections, whatever the address' name was.
	s := teams(t)
	p := NewPoster(Options{})
	t.Cleanup(p.Close)
	r := p.Post(t.Context(), Post{URL: address(t, s.URL+"/ok"), WebhookID: "x"})
	require.Equal(t, Result{Class: Config, Safe: "the name of Teams leads to an address that is not public"}, r)
}

// TestNoAddressLeaks posts to every kind of failure and looks for the address' secret in everything that comes back.
func TestNoAddressLeaks(t *testing.T) {
	s := teams(t)
	p := poster(t, Options{Timeout: 100 * time.Millisecond})
	for _, u := range []string{
		s.URL + "/ok?", s.URL + "/status?code=400&", s.URL + "/status?code=503&", s.URL + "/slow?", s.URL + "/reset?", s.URL + "/redirect?",
		"http://127.0.0.1:1/?", "http://localhost:1/?", "https://127.0.0.1:1/?",
	} {
		r := p.Post(t.Context(), Post{URL: address(t, u+"sig=VerySecret"), WebhookID: "x", Body: []byte("{}")})
		out, err := json.Marshal(r)
		require.NoError(t, err)
		require.NotContains(t, fmt.Sprintf("%+v", r)+string(out), "VerySecret", u)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	var current, most atomic.Int32
	gate := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := current.Add(1)
		peak(&most, n)
		if n == 3 {
			close(gate)
		}
		<-gate
		current.Add(-1)
		w.WriteHeader(202)
	}))
	t.Cleanup(s.Close)
	p := poster(t, Options{PerHost: 3})
	u := address(t, s.URL)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { p.Post(context.Background(), Post{URL: u, WebhookID: "x"}) })
	}
	wg.Wait()
	require.Equal(t, int32(3), most.Load())
}

func FuzzClassify(f *testing.F) {
	f.Add("h", 200, "1", "2")
	f.Add("x.webhook.office.com", 200, "returned HTTP error 429", "Wed, 21 Oct 2026 07:28:00 GMT")
	f.Fuzz(func(t *testing.T, host string, status int, body, after string) {
		r := Classify(host, status, http.Header{"Retry-After": {after}}, []byte(body), noon)
		require.LessOrEqual(t, len([]rune(r.Safe)), 220)
		require.GreaterOrEqual(t, r.RetryAfter, time.Duration(0))
		require.LessOrEqual(t, r.RetryAfter, time.Hour)
		require.NotContains(t, r.Safe, "\x00")
	})
}

// peak raises most to n.
func peak(most *atomic.Int32, n int32) {
	for {
		m := most.Load()
		if n <= m || most.CompareAndSwap(m, n) {
			return
		}
	}
}
