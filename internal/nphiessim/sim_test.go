package nphiessim

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// testNow is after everything in testdata happened, and on the day of the eligibility request.
var testNow = time.Date(2026, 2, 10, 20, 0, 0, 0, riyadh)

// clock is a clock that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// bench is a simulator behind real servers.
type bench struct {
	*Sim
	clock *clock
	url   string
	teams string
}

func newBench(t *testing.T, o Options) *bench {
	t.Helper()
	c := &clock{t: testNow}
	if o.Now == nil {
		o.Now = c.now
	}
	s := New(o)
	nphies, teams := httptest.NewServer(s.NPHIES()), httptest.NewServer(s.Teams())
	t.Cleanup(nphies.Close)
	t.Cleanup(teams.Close)
	t.Cleanup(s.Close)
	return &bench{Sim: s, clock: c, url: nphies.URL + "/any/base" + operation, teams: teams.URL}
}

func post(t *testing.T, url string, body []byte) (int, []byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/fhir+json")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, raw, err
}

// send posts a message and parses the answer.
func (b *bench) send(t *testing.T, body []byte) (int, node) {
	t.Helper()
	status, raw, err := post(t, b.url, body)
	require.NoError(t, err)
	v, err := parseJSON(raw)
	require.NoError(t, err, string(raw))
	b.judgeAnswers(t, body, v, func(_ *rule, held bool) { require.True(t, held) })
	return status, rooted(v, "Bundle")
}

func readTestdata(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join("testdata", name+".json"))
}

func example(t *testing.T, name string) map[string]any {
	t.Helper()
	raw, err := readTestdata(name)
	require.NoError(t, err)
	v, err := parseJSON(raw)
	require.NoError(t, err)
	return v.(map[string]any)
}

func raw(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}

// main is the main resource of an answer.
func mainOf(answer node) node { return answer.get("entry").at(1).get("resource") }

func headerOf(answer node) node { return answer.get("entry").at(0).get("resource") }

func tagsOf(answer node) []string {
	var out []string
	for _, tag := range headerOf(answer).get("meta.tag").list() {
		out = append(out, tag.get("code").str())
	}
	return out
}

var serial struct {
	sync.Mutex
	n int
}

// fresh gives an example new ids and the business identifier.
func fresh(t *testing.T, name, identifier string) []byte {
	t.Helper()
	serial.Lock()
	serial.n++
	n := strconv.Itoa(serial.n)
	serial.Unlock()
	tail := strings.Repeat("0", 12-len(n)) + n
	m := example(t, name)
	old := rooted(m, "")
	header := old.get("entry").at(0).get("resource.id").str()
	text := string(raw(t, m))
	text = strings.ReplaceAll(text, header, "aaaaaaaa-0000-4000-8000-"+tail)
	text = strings.ReplaceAll(text, old.get("id").str(), "bbbbbbbb-0000-4000-8000-"+tail)
	if id := old.get("entry").at(1).get("resource").identifier().Value; identifier != "" {
		text = strings.ReplaceAll(text, id, identifier)
	}
	return []byte(strings.ReplaceAll(text, "2026-02-12T15:00", "2026-02-10T12:00"))
}

func claimMessage(t *testing.T, identifier string) []byte {
	t.Helper()
	return fresh(t, "claim-request-professional", identifier)
}

func pollMessage(t *testing.T) []byte {
	t.Helper()
	return fresh(t, "poll-request", "POLL-"+strconv.Itoa(int(time.Now().UnixNano())))
}

func TestExamplesPass(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	for _, name := range []string{"claim-request-professional", "claim-request-pharmacy", "eligibility-request"} {
		_, a := b.send(t, raw(t, example(t, name)))
		require.Equal(t, "complete", mainOf(a).get("outcome").str(), "%s: %s", name, raw(t, mainOf(a).v))
	}
	b.clock.add(48 * time.Hour)
	for _, name := range []string{"poll-request", "status-check-request"} {
		_, a := b.send(t, raw(t, example(t, name)))
		require.Equal(t, "completed", mainOf(a).get("status").str(), "%s: %s", name, raw(t, mainOf(a).v))
	}
	_, a := b.send(t, raw(t, example(t, "cancel-request")))
	require.Equal(t, "rejected", mainOf(a).get("statusReason").code(""))
}
