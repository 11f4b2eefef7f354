package teams_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/tasks/teams"
)

// endpoint answers by path as the conformance list of the protocol says, and remembers the ids it saw.
type endpoint struct {
	*httptest.Server
	release chan struct{}
	mu      sync.Mutex
	seen    map[string][]string // by path, the webhook-ids
}

func newEndpoint(t *testing.T) *endpoint {
	t.Helper()
	e := &endpoint{release: make(chan struct{}), seen: map[string][]string{}}
	e.Server = httptest.NewServer(e)
	t.Cleanup(func() { close(e.release); e.Close() })
	return e
}

func (e *endpoint) posts(path string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen[path]
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	e.mu.Lock()
	e.seen[r.URL.Path] = append(e.seen[r.URL.Path], r.Header.Get("webhook-id"))
	nth := len(e.seen[r.URL.Path])
	e.mu.Unlock()
	answer := func(status int, text string) { w.WriteHeader(status); _, _ = io.WriteString(w, text) }
	later := func(after string) {
		if nth > 1 {
			answer(http.StatusAccepted, "")
			return
		}
		w.Header().Set("Retry-After", after)
		answer(http.StatusTooManyRequests, "")
	}
	switch r.URL.Path {
	case "/ok":
		answer(http.StatusAccepted, "")
	case "/ok200":
		answer(http.StatusOK, `{"messageId":"1"}`)
	case "/429":
		later(r.URL.Query().Get("after"))
	case "/429-date":
		later(time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat))
	case "/500-then-202":
		if n, _ := strconv.Atoi(r.URL.Query().Get("n")); nth <= n {
			answer(http.StatusInternalServerError, "")
			return
		}
		answer(http.StatusAccepted, "")
	case "/401", "/404":
		status, _ := strconv.Atoi(r.URL.Path[1:])
		answer(status, `{"error":{"code":"DirectApiAuthorizationRequired","message":"sig=TopSecret"}}`)
	case "/413-unless-small":
		if strings.Contains(string(body), "FactSet") {
			answer(http.StatusRequestEntityTooLarge, "")
			return
		}
		answer(http.StatusAccepted, "")
	case "/slow":
		if nth > 1 {
			answer(http.StatusAccepted, "")
			return
		}
		select {
		case <-e.release:
		case <-r.Context().Done():
		}
	case "/reset":
		if nth > 1 {
			answer(http.StatusAccepted, "")
			return
		}
		panic(http.ErrAbortHandler)
	case "/redirect":
		http.Redirect(w, r, "/ok", http.StatusTemporaryRedirect)
	case "/huge-error-body":
		answer(http.StatusBadRequest, strings.Repeat("x", 10<<20))
	}
}

// TestConformance sends one card to each path of the list, through the drain and the real poster, until its row is at rest.
func TestConformance(t *testing.T) {
	for path, want := range map[string]struct {
		posts   int
		sent    bool
		retries int
		status  int           // of the row
		waited  time.Duration // at least, by the drain's clock
		text    string
	}{
		"/ok":                {posts: 1, sent: true, status: 202},
		"/ok200":             {posts: 1, sent: true, status: 200},
		"/429?after=2":       {posts: 2, sent: true, status: 202, waited: 2 * time.Second},
		"/429?after=0":       {posts: 2, sent: true, status: 202, waited: time.Second},
		"/429?after=999999":  {posts: 2, sent: true, status: 202, waited: time.Hour},
		"/429-date":          {posts: 2, sent: true, status: 202, waited: 80 * time.Second},
		"/500-then-202?n=2":  {posts: 3, sent: true, retries: 2, status: 202},
		"/500-then-202?n=99": {posts: 3, retries: 3, status: 500, text: "Teams answered HTTP 500"},
		"/401":               {posts: 3, retries: 3, status: 401, waited: 2 * time.Minute, text: "Teams answered HTTP 401 DirectApiAuthorizationRequired: sig=[redacted]"},
		"/404":               {posts: 3, retries: 3, status: 404, waited: 2 * time.Minute, text: "Teams answered HTTP 404 DirectApiAuthorizationRequired: sig=[redacted]"},
		"/413-unless-small":  {posts: 2, sent: true, status: 202},
		"/slow":              {posts: 2, sent: true, retries: 1, status: 202},
		"/reset":             {posts: 2, sent: true, retries: 1, status: 202},
		"/redirect":          {posts: 1, retries: 1, status: 307, text: "Teams answered HTTP 307"},
		"/huge-error-body":   {posts: 1, retries: 1, status: 400, text: "Teams answered HTTP 400"},
	} {
		t.Run(path[1:], func(t *testing.T) {
			e := newEndpoint(t)
			b := newBench(t, teams.Options{Concurrency: 1})
			query := "?sig=TopSecret"
			if strings.Contains(path, "?") {
				query = "&sig=TopSecret"
			}
			b.hooks(t, map[cards.Stakeholder]string{cards.SRE: e.URL + path + query})
			wire := notify.NewPoster(notify.Options{AllowInsecure: true, Timeout: 200 * time.Millisecond})
			t.Cleanup(wire.Close)
			b.teams.answer = func(p notify.Post) notify.Result { return wire.Post(t.Context(), p) }
			id := b.record.add(t, cards.High)
			began := b.clock.now()
			b.until(t, func() bool { n := b.record.get(id); return n.SentAt != nil || n.DeadAt != nil })

			n := b.record.get(id)
			require.Equal(t, want.sent, n.SentAt != nil)
			require.Equal(t, want.retries, n.RetryCount)
			require.Equal(t, want.status, *n.StatusCode)
			require.GreaterOrEqual(t, b.clock.now().Sub(began), want.waited)
			p, _, _ := strings.Cut(path, "?")
			ids := e.posts(p)
			require.Len(t, ids, want.posts)
			for _, seen := range ids {
				require.Equal(t, "msg_"+id.String(), seen, "each attempt has the same id")
			}
			require.Equal(t, p == "/ok", len(e.posts("/ok")) > 0, "redirects are not followed")
			if f := b.record.failures[id]; want.text != "" {
				require.Equal(t, want.text, f[len(f)-1].Text)
			}
			require.NotContains(t, fmt.Sprintf("%+v", b.record.failures[id]), "TopSecret")
		})
	}
}
