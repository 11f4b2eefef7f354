package pagerduty_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/pagerduty"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const (
	key   config.Secret = "R0123456789abcdefghijABCDEFGHIJ0"
	other config.Secret = "S0123456789abcdefghijABCDEFGHIJ0"
)

func client(t *testing.T, url string, timeout time.Duration) *pagerduty.Client {
	t.Helper()
	c, err := pagerduty.NewClient(pagerduty.Options{BaseURL: url, Timeout: timeout, Now: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func resolve() pagerduty.Event { return pagerduty.Event{Action: "resolve", DedupKey: "test:a"} }

func trigger(t *testing.T, p pagerduty.Payload) pagerduty.Event {
	t.Helper()
	raw, err := json.Marshal(p)
	require.NoError(t, err)
	return pagerduty.Event{Action: "trigger", DedupKey: "test:a", Payload: raw}
}

func TestClassification(t *testing.T) {
	for name, tt := range map[string]struct {
		status     int
		retryAfter string
		body       string
		class      pagerduty.Class
		after      time.Duration
		safe       string
	}{
		"accepted":           {202, "", `{"status":"success","message":"Event processed","dedup_key":"a"}`, pagerduty.Accepted, 0, ""},
		"accepted, no body":  {202, "", ``, pagerduty.Accepted, 0, ""},
		"invalid":            {400, "", `{"status":"invalid event","message":"Event object is invalid","errors":["'payload.severity' is invalid"]}`, pagerduty.Invalid, 0, "HTTP 400: Event object is invalid; 'payload.severity' is invalid"},
		"it quotes the key":  {400, "", `{"message":"Invalid routing key","errors":["` + key.Reveal() + ` is unknown"]}`, pagerduty.Invalid, 0, "<secret>"},
		"invalid, HTML":      {400, "", `<html>`, pagerduty.Invalid, 0, "HTTP 400"},
		"too large":          {413, "", ``, pagerduty.Invalid, 0, "HTTP 413"},
		"too many":           {429, "", ``, pagerduty.Throttled, 0, "HTTP 429"},
		"too many, seconds":  {429, "120", ``, pagerduty.Throttled, 2 * time.Minute, "HTTP 429"},
		"too many, a date":   {429, "Thu, 01 Jan 2026 00:03:00 GMT", ``, pagerduty.Throttled, 3 * time.Minute, "HTTP 429"},
		"too many, an age":   {429, "99999999999999999999999", ``, pagerduty.Throttled, time.Hour, "HTTP 429"},
		"too many, nonsense": {429, "soon", ``, pagerduty.Throttled, 0, "HTTP 429"},
		"broken":             {500, "", ``, pagerduty.Temporary, 0, "HTTP 500"},
		"away":               {503, "7", ``, pagerduty.Temporary, 7 * time.Second, "HTTP 503"},
		"slow":               {408, "", ``, pagerduty.Temporary, 0, "HTTP 408"},
		"another server":     {200, "", `{}`, pagerduty.Misdirected, 0, "HTTP 200"},
		"not found":          {404, "", ``, pagerduty.Misdirected, 0, "HTTP 404"},
		"a login":            {401, "", ``, pagerduty.Misdirected, 0, "HTTP 401"},
		"a redirect":         {307, "", ``, pagerduty.Misdirected, 0, "HTTP 307"},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				if tt.retryAfter != "" {
					w.Header().Set("Retry-After", tt.retryAfter)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer srv.Close()
			r := client(t, srv.URL, 0).Send(t.Context(), key, resolve())
			require.Equal(t, tt.class, r.Class)
			require.Equal(t, tt.status, r.Status)
			require.Equal(t, tt.after, r.RetryAfter)
			require.Contains(t, r.Safe, tt.safe)
			require.NotContains(t, r.Safe, key.Reveal()[:16])
			require.EqualValues(t, 1, requests.Load(), "no redirect is followed, nothing is repeated")
		})
	}
}

func TestWithoutAnswer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not notice that the client has gone
		<-r.Context().Done()
	}))
	r := client(t, srv.URL, 50*time.Millisecond).Send(t.Context(), key, resolve())
	require.Equal(t, pagerduty.Result{Class: pagerduty.Temporary, Safe: "PagerDuty did not answer in time"}, r)
	srv.Close()
	require.Equal(t, pagerduty.Result{Class: pagerduty.Temporary, Safe: "PagerDuty refused the connection"}, client(t, srv.URL, 0).Send(t.Context(), key, resolve()))

	cut := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer cut.Close()
	require.Equal(t, pagerduty.Temporary, client(t, cut.URL, 0).Send(t.Context(), key, resolve()).Class)

	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	require.Equal(t, pagerduty.Result{Class: pagerduty.Misdirected, Safe: "the TLS certificate of PagerDuty is not trusted"}, client(t, secure.URL, 0).Send(t.Context(), key, resolve()))

	for _, bad := range []string{"http://events.example", "ftp://x", "https://u:p@x", "::"} {
		_, err := pagerduty.NewClient(pagerduty.Options{BaseURL: bad})
		require.ErrorContains(t, err, "want https://host")
	}
}

func TestLimits(t *testing.T) {
	bodies := make(chan []byte, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil && r.URL.Path == "/v2/enqueue" && r.Method == http.MethodPost && r.Header.Get("Content-Type") == "application/json" {
			bodies <- body
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	defer srv.Close()
	c := client(t, srv.URL, 0)
	send := func(e pagerduty.Event) map[string]any {
		t.Helper()
		require.Equal(t, pagerduty.Accepted, c.Send(t.Context(), key, e).Class)
		body := <-bodies
		require.LessOrEqual(t, len(body), 512_000)
		var m map[string]any
		require.NoError(t, json.Unmarshal(body, &m))
		return m
	}
	require.Equal(t, map[string]any{"routing_key": key.Reveal(), "event_action": "resolve", "dedup_key": "test:a"}, send(resolve()))

	p := pagerduty.Payload{Client: "nphiesq", Payload: pagerduty.Details{Summary: strings.Repeat("é", 3000), Source: "x", Severity: "error", Custom: map[string]string{"a": "b"}}}
	got := send(trigger(t, p))["payload"].(map[string]any)
	require.Equal(t, 1024, utf8.RuneCountInString(got["summary"].(string)), "cut at a rune")
	require.Equal(t, map[string]any{"a": "b"}, got["custom_details"])

	p.Payload.Custom = strings.Repeat("x", 600_000)
	m := send(trigger(t, p))
	require.NotContains(t, m["payload"], "custom_details", "what is too large goes first")
	require.Equal(t, "nphiesq", m["client"])

	for name, e := range map[string]pagerduty.Event{
		"dedup_key":       {Action: "resolve", DedupKey: strings.Repeat("x", 256)},
		"1 to 255":        {Action: "resolve"},
		"action":          {Action: "ring", DedupKey: "a"},
		"not one of":      {Action: "trigger", DedupKey: "a", Payload: []byte(`[]`)},
		"are needed":      {Action: "trigger", DedupKey: "a", Payload: []byte(`{}`)},
		"without details": trigger(t, pagerduty.Payload{Client: strings.Repeat("x", 600_000), Payload: p.Payload}),
	} {
		r := c.Send(t.Context(), key, e)
		require.Equal(t, pagerduty.Invalid, r.Class)
		require.Contains(t, r.Safe, name)
	}
}

// TestTheKeyNeverShows: whatever fails, nothing that is printed, logged or kept holds the key.
func TestTheKeyNeverShows(t *testing.T) {
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		quoted, err := json.Marshal(string(body))
		if err != nil {
			return
		}
		_, _ = fmt.Fprintf(w, `{"message":%s,"errors":[%s]}`, quoted, quoted)
	}))
	defer echo.Close()
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	keys := pagerduty.Keys{"sre": key}
	c := client(t, echo.URL, 0)
	results := []pagerduty.Result{
		c.Send(t.Context(), key, resolve()), client(t, "http://127.0.0.1:1", 0).Send(t.Context(), key, resolve()), client(t, "https://127.0.0.1:1", 0).Send(t.Context(), key, resolve()),
		c.Send(t.Context(), key, pagerduty.Event{Action: "trigger", DedupKey: "a", Payload: []byte(`{"payload":"x"}`)}),
	}
	logger.InfoContext(t.Context(), "x", slog.Any("results", results), slog.Any("keys", keys), slog.Any("client", c))
	text := fmt.Sprintf("%v %+v %#v %v %+v %#v %+v", results, results, results, keys, keys, keys, c) + log.String()
	require.NotContains(t, text, key.Reveal())
	require.NotContains(t, text, key.Reveal()[:16])
	require.Contains(t, text, "<secret>")
}
