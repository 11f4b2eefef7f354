package nphiessim

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	pagerKey  = "0123456789abcdef0123456789abcdef"
	pagerKey2 = "fedcba9876543210fedcba9876543210"
)

func postPage(s *Sim, body string) (int, string) {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/v2/enqueue", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.Teams().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func pagerEvent(action, key, dedup string) string {
	if action != "trigger" {
		return `{"routing_key":"` + key + `","event_action":"` + action + `","dedup_key":"` + dedup + `"}`
	}
	return `{"routing_key":"` + key + `","event_action":"trigger","dedup_key":"` + dedup + `","payload":{"summary":"s","source":"x","severity":"error"}}`
}

func TestPagerDutyStandInIsStrict(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"'routing_key' must":          pagerEvent("trigger", "short", "a"),
		"'event_action' must":         pagerEvent("ring", pagerKey, "a"),
		"'dedup_key' must":            pagerEvent("resolve", pagerKey, ""),
		"'payload' is missing":        `{"routing_key":"` + pagerKey + `","event_action":"trigger","dedup_key":"a"}`,
		"'payload' belongs":           `{"routing_key":"` + pagerKey + `","event_action":"resolve","dedup_key":"a","payload":{"summary":"s","source":"x","severity":"error"}}`,
		"'payload.severity' must":     strings.Replace(pagerEvent("trigger", pagerKey, "a"), "error", "HIGH", 1),
		"'payload.source' is":         strings.Replace(pagerEvent("trigger", pagerKey, "a"), `"x"`, `""`, 1),
		"'payload.summary' must":      strings.Replace(pagerEvent("trigger", pagerKey, "a"), `"s"`, `"`+strings.Repeat("é", 1025)+`"`, 1),
		`unknown field "patient"`:     strings.Replace(pagerEvent("trigger", pagerKey, "a"), `"source"`, `"patient":"x","source"`, 1),
		"not an event":                `[]`,
		"'payload.timestamp' must":    strings.Replace(pagerEvent("trigger", pagerKey, "a"), `"source"`, `"timestamp":"yesterday","source"`, 1),
		"'links' must have addresses": strings.Replace(pagerEvent("trigger", pagerKey, "a"), `"payload"`, `"links":[{"href":"javascript:x","text":"x"}],"payload"`, 1),
	} {
		s := New(Options{})
		status, answer := postPage(s, body)
		require.Equal(t, http.StatusBadRequest, status, name)
		require.Contains(t, strings.ReplaceAll(answer, `\"`, `"`), name)
		require.NotEmpty(t, s.PagerEvents()[0].Problems)
		require.Empty(t, s.PagerIncidents())
	}
	s := New(Options{})
	status, _ := postPage(s, pagerEvent("resolve", pagerKey, strings.Repeat("x", maxPagerBytes)))
	require.Equal(t, http.StatusRequestEntityTooLarge, status)
}

func TestPagerDutyStandInKeepsOrder(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	send := func(action, key string) PagerEvent {
		t.Helper()
		status, _ := postPage(s, pagerEvent(action, key, "a"))
		require.Equal(t, http.StatusAccepted, status)
		all := s.PagerEvents()
		return all[len(all)-1]
	}
	require.Contains(t, send("acknowledge", pagerKey).Problems[0], "out of order")
	require.Empty(t, send("trigger", pagerKey).Problems)
	require.True(t, send("trigger", pagerKey).Repeat)
	require.Contains(t, send("acknowledge", pagerKey2).Problems[0], "wrong routing key")
	require.Empty(t, send("acknowledge", pagerKey).Problems)
	require.Empty(t, send("resolve", pagerKey).Problems)
	require.True(t, send("resolve", pagerKey).Repeat)
	require.Contains(t, send("acknowledge", pagerKey).Problems[0], "out of order")
	require.Len(t, s.PagerIncidents(), 1)
	require.Equal(t, "resolved", s.PagerIncidents()[0].State)

	s.AddFault(Fault{Match: "pagerduty", Kind: Fault429, Count: 1})
	status, _ := postPage(s, pagerEvent("trigger", pagerKey, "b"))
	require.Equal(t, http.StatusTooManyRequests, status)

	_, _, shown := get(t, s.Teams(), "/")
	require.Contains(t, shown, "PagerDuty")
	require.NotContains(t, shown, pagerKey)
	_, _, shown = get(t, s.Teams(), "/pagerduty.json")
	require.Contains(t, shown, "resolved")
	require.NotContains(t, shown, pagerKey)
}
