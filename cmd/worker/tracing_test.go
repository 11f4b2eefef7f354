package main_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/claimlinc/nphiesq/internal/testenv"
)

// collected are the spans that came to a receiver.
type collected struct {
	mu    sync.Mutex
	raw   strings.Builder
	spans []*otlp.Span
}

func collect(t *testing.T) (*collected, string) {
	t.Helper()
	c := &collected{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var in collector.ExportTraceServiceRequest
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &in) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.raw.Write(body)
		for _, rs := range in.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				c.spans = append(c.spans, ss.GetSpans()...)
			}
		}
	}))
	t.Cleanup(srv.Close)
	return c, srv.URL
}

func attributeOf(s *otlp.Span, key string) string {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == key {
			if v := a.GetValue(); v.GetStringValue() != "" {
				return v.GetStringValue()
			}
			return fmt.Sprint(a.GetValue().GetIntValue())
		}
	}
	return ""
}

// from returns what follows from a span: its children, what is linked to it, and what follows from those.
func (c *collected) from(start *otlp.Span) (out []*otlp.Span) {
	id := func(trace, span []byte) string { return hex.EncodeToString(trace) + "/" + hex.EncodeToString(span) }
	next := map[string][]*otlp.Span{}
	for _, s := range c.spans {
		if len(s.GetParentSpanId()) > 0 {
			from := id(s.GetTraceId(), s.GetParentSpanId())
			next[from] = append(next[from], s)
		}
		for _, l := range s.GetLinks() {
			from := id(l.GetTraceId(), l.GetSpanId())
			next[from] = append(next[from], s)
		}
	}
	seen := map[string]bool{}
	todo := []*otlp.Span{start}
	for len(todo) > 0 {
		s := todo[0]
		todo = todo[1:]
		if k := id(s.GetTraceId(), s.GetSpanId()); !seen[k] {
			seen[k] = true
			out, todo = append(out, s), append(todo, next[k]...)
		}
	}
	return out
}

// TestTheWayOfAClaimAsTraces follows claims from enqueue to the posts of their cards, by parents and links alone: one that is answered
// at once, and one whose answer a poll brings.
func TestTheWayOfAClaimAsTraces(t *testing.T) {
	s := newSite(t)
	got, address := collect(t)
	s.env["OTEL_EXPORTER_OTLP_ENDPOINT"], s.env["LOG_LEVEL"] = address, "debug"
	w := s.worker()
	atOnce, byPoll := "../../examples/claims/01-professional-approved.json", "../../examples/claims/09-professional-queued.json"
	s.enqueue("submit", atOnce, byPoll)
	testenv.Eventually(t, func() bool { return s.count(`SELECT count(*) FROM claims WHERE state = 'approved'`) == 2 }, "both are approved")
	s.cardsArrivedOnce()
	w.stop(t)

	got.mu.Lock()
	defer got.mu.Unlock()
	ways, polled := 0, 0
	for _, root := range got.spans {
		if root.GetName() != "take in claim-request" {
			continue
		}
		ways++
		claim := attributeOf(root, "nphiesq.claim_id")
		require.NotEmpty(t, claim)
		names, told := map[string]int{}, map[string]string{}
		for _, x := range got.from(root) {
			names[x.GetName()]++
			if x.GetName() == "post card" {
				told[attributeOf(x, "nphiesq.event_type")] = attributeOf(x, "http.response.status_code")
			}
		}
		// The drain of a channel may be one that another claim wished for; its posts are linked to where each notification was written.
		for _, want := range []string{"publish nphies-submit", "process nphies-submit", "send claim-request", "publish teams", "post card"} {
			require.Positive(t, names[want], "%s follows from taking claim %s in: %v", want, claim, names)
		}
		require.Equal(t, "202", told["nphies.claim.approved"], told)
		if s.count(`SELECT count(*) FROM claims WHERE identifier_value LIKE '%QUEUED' AND id::text = '`+claim+`'`) == 1 {
			direct := false
			for _, x := range got.spans {
				for _, l := range x.GetLinks() {
					direct = direct || x.GetName() == "deliver message" && bytes.Equal(l.GetTraceId(), root.GetTraceId())
				}
			}
			require.True(t, direct, "the answer that a poll brought is linked to the claim's trace: %v", names)
			polled++
		}
	}
	require.Equal(t, []int{2, 1}, []int{ways, polled})

	// Nobody's data, and no secret, is in what was sent.
	for _, secret := range []string{"s3cr3tsig", "Demo Patient", "2000000000", "1000000000", signingKey} {
		require.NotContains(t, got.raw.String(), secret)
	}
	// The log leads to the traces, and from one line about a claim to all others.
	traces := map[string]bool{}
	for _, x := range got.spans {
		traces[hex.EncodeToString(x.GetTraceId())] = true
	}
	done := 0
	for line := range strings.Lines(w.log.String()) {
		var l map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &l), line)
		if l["msg"] == "task done" && l["task_type"] == "nphies:submit" {
			done++
			require.True(t, traces[fmt.Sprint(l["trace_id"])], line)
			require.Equal(t, 1, s.count(fmt.Sprintf(`SELECT count(*) FROM claims WHERE id::text = '%v'`, l["correlation_id"])), line)
		}
	}
	require.GreaterOrEqual(t, done, 2)
}
