package signing

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// gate is a receiver with what it let through and what it refused.
type gate struct {
	*Receiver
	mu       sync.Mutex
	passed   []Request
	refusals []string
}

func newGate(t *testing.T, rc redis.UniversalClient) *gate {
	t.Helper()
	g := &gate{}
	g.Receiver = &Receiver{
		Route: "actions", Keys: keys(t, vectorKey2+" "+vectorKey1), Replays: NewReplays(rc), Now: func() time.Time { return time.Unix(vectorTime, 0) },
		Refused: func(reason string) { g.mu.Lock(); defer g.mu.Unlock(); g.refusals = append(g.refusals, reason) },
	}
	return g
}

// post sends a request through Handler and returns the answer.
func (g *gate) post(t *testing.T, h http.Header, body io.Reader) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", body)
	r.Header = h
	w := httptest.NewRecorder()
	g.Handler(func(w http.ResponseWriter, _ *http.Request, signed Request) {
		g.mu.Lock()
		g.passed = append(g.passed, signed)
		g.mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
	}).ServeHTTP(w, r)
	return w
}

// sign is a header for a body under an id.
func sign(t *testing.T, id string, body []byte) http.Header {
	t.Helper()
	h := http.Header{}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, strconv.Itoa(vectorTime))
	h.Set(HeaderSignature, Sign(keys(t, vectorKey1), id, time.Unix(vectorTime, 0), body))
	return h
}

func TestReceiver(t *testing.T) {
	rc := testenv.Redis(t)
	g := newGate(t, rc)
	require.Equal(t, 202, g.post(t, signed(vectorSig1), strings.NewReader(vectorBody)).Code)
	require.Equal(t, Request{ID: vectorID, Key: keys(t, vectorKey1)[0].ID(), Body: []byte(vectorBody)}, g.passed[0])
	ttl, err := rc.TTL(t.Context(), "replay:actions:"+vectorID).Result()
	require.NoError(t, err)
	require.InDelta(t, 86400, ttl.Seconds(), 60)

	require.Equal(t, 202, g.post(t, signed(vectorSig2), strings.NewReader(vectorBody)).Code)
	require.True(t, g.passed[1].Repeated, "the same body again: the caller gives the same answer")

	other := []byte(vectorBody + " ")
	require.Equal(t, http.StatusConflict, g.post(t, sign(t, vectorID, other), bytes.NewReader(other)).Code)

	elsewhere := newGate(t, rc)
	elsewhere.Route = "other"
	require.Equal(t, 202, elsewhere.post(t, sign(t, vectorID, other), bytes.NewReader(other)).Code)
	require.False(t, elsewhere.passed[0].Repeated, "each route has ids of its own")

	forged := signed(strings.Replace(vectorSig1, "H", "h", 1))
	forged.Set(HeaderID, "forged")
	answers := map[string]bool{}
	for _, h := range []http.Header{forged, signed(""), {}, sign(t, "x", []byte("other body"))} {
		w := g.post(t, h, strings.NewReader(vectorBody))
		require.Equal(t, http.StatusUnauthorized, w.Code)
		answers[w.Body.String()] = true
	}
	require.Len(t, answers, 1, "the answer does not tell the reason")
	n, err := rc.Exists(t.Context(), "replay:actions:forged", "replay:actions:x").Result()
	require.NoError(t, err)
	require.Zero(t, n, "a forged request uses up no id")

	big := bytes.Repeat([]byte("x"), MaxBody+1)
	require.Equal(t, http.StatusRequestEntityTooLarge, g.post(t, sign(t, "big", big), bytes.NewReader(big)).Code, "signed or not")
	require.Equal(t, 202, g.post(t, sign(t, "big", big[1:]), bytes.NewReader(big[1:])).Code)
	broken := io.MultiReader(strings.NewReader("x"), reader{})
	require.Equal(t, http.StatusBadRequest, g.post(t, sign(t, "b", nil), broken).Code)
	require.Equal(t, []string{"reused_id", "signature", "signature", "signature", "signature", "too_large", "body"}, g.refusals)
}

type reader struct{}

func (reader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestReceiverWithoutRedisTakesNothing(t *testing.T) {
	rc := testenv.Redis(t)
	g := newGate(t, rc)
	require.NoError(t, rc.Close())
	w := g.post(t, signed(vectorSig1), strings.NewReader(vectorBody))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.NotEmpty(t, w.Header().Get("Retry-After"))
	require.Equal(t, http.StatusUnauthorized, g.post(t, signed(vectorSig1), strings.NewReader("other")).Code, "the signature is looked at first")
	g.Replays = nil
	require.Equal(t, http.StatusServiceUnavailable, g.post(t, signed(vectorSig1), strings.NewReader(vectorBody)).Code)
	require.Empty(t, g.passed)
	require.Equal(t, http.StatusOK, Status(nil))
	require.Empty(t, Reason(nil))
}

// TestOneOfManyIsFirst: the same request a hundred times at once, and another body under its id among them.
func TestOneOfManyIsFirst(t *testing.T) {
	g := newGate(t, testenv.Redis(t))
	var accepted, conflicts atomic.Int32
	var wg sync.WaitGroup
	first, second := []byte("first"), []byte("second")
	for i := range 100 {
		body := first
		if i%2 == 1 {
			body = second
		}
		h := sign(t, "once", body)
		wg.Go(func() {
			switch g.post(t, h, bytes.NewReader(body)).Code {
			case 202:
				accepted.Add(1)
			case http.StatusConflict:
				conflicts.Add(1)
			}
		})
	}
	wg.Wait()
	require.Equal(t, int32(50), accepted.Load())
	require.Equal(t, int32(50), conflicts.Load())
	fresh := 0
	for _, r := range g.passed {
		if !r.Repeated {
			fresh++
		}
	}
	require.Equal(t, 1, fresh)
}

// forgetful remembers nothing for long.
type forgetful struct{ redis.UniversalClient }

func (forgetful) Get(ctx context.Context, _ string) *redis.StringCmd {
	c := redis.NewStringCmd(ctx)
	c.SetErr(redis.Nil)
	return c
}

func TestAnIdThatEndsMeanwhile(t *testing.T) {
	rc := testenv.Redis(t)
	_, err := NewReplays(rc).Remember(t.Context(), "r", "id", "sum")
	require.NoError(t, err)
	_, err = NewReplays(forgetful{rc}).Remember(t.Context(), "r", "id", "sum")
	require.Error(t, err, "refused rather than taken twice")
}
