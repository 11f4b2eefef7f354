package notify

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRetiredConnectorsOverTheWire: /legacy-ok and /legacy-429 of the conformance list. Such an address is not taken from the settings; its
// answers are understood all the same.
func TestRetiredConnectorsOverTheWire(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/legacy-ok", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "1") })
	mux.HandleFunc("/legacy-429", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3")
		_, _ = io.WriteString(w, "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId tcid=0")
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	p := poster(t, Options{})
	post := func(path string) Result {
		u := WebhookURL{reveal: func() string { return s.URL + path }, host: "org.webhook.office.com"}
		return p.Post(t.Context(), Post{URL: u, WebhookID: "x", Body: []byte("{}")})
	}
	require.Equal(t, Result{Class: Accepted, Status: 200}, post("/legacy-ok"))
	r := post("/legacy-429")
	require.Equal(t, Temporary, r.Class)
	require.True(t, r.Throttled)
	require.Equal(t, 3*time.Second, r.RetryAfter)
	require.Equal(t, "HTTP 429", r.Code)
}

// FuzzRetryAfter: whatever the header holds, the pause is between a second and an hour, or none.
func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "2", "-1", "+5", "1.5", " 7 ", "99999999999999999999", "0x10", "Wed, 21 Oct 2026 07:28:00 GMT", "Wednesday, 21-Oct-26 07:28:00 GMT", "Wed Oct 21 07:28:00 2026", "\x00"} {
		f.Add(s, int64(1767225600))
	}
	f.Fuzz(func(t *testing.T, value string, now int64) {
		d := retryAfter(Temporary, http.Header{"Retry-After": {value}}, time.Unix(now%(1<<33), 0))
		if d != 0 {
			require.GreaterOrEqual(t, d, time.Second)
			require.LessOrEqual(t, d, time.Hour)
		}
		if n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32); err == nil && !strings.HasPrefix(strings.TrimSpace(value), "+") {
			require.Equal(t, min(max(time.Duration(n)*time.Second, time.Second), time.Hour), d, "seconds are taken at their word")
		}
		require.Zero(t, retryAfter(Config, http.Header{"Retry-After": {value}}, time.Unix(0, 0)))
	})
}
