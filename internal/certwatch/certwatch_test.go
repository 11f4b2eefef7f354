package certwatch_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/certwatch"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/nphiesclient"
)

func TestMain(m *testing.M) { testenv.Main(m) }

type oneChannel struct{}

func (oneChannel) Channels(who []cards.Stakeholder) []store.Channel {
	return []store.Channel{{Name: "ALL", Stakeholders: who, Redacted: "https://teams.example/…#1"}}
}

// certificates are what a test says they are.
type certificates struct {
	states    []nphiesclient.CertificateState
	refreshed chan struct{}
}

func (c *certificates) Refresh(context.Context) {
	select {
	case c.refreshed <- struct{}{}:
	default:
	}
}

func (c *certificates) Certificates() []nphiesclient.CertificateState { return c.states }

type notified struct{}

func (notified) Notify(context.Context, ...string) error { return nil }

func TestEachThresholdIsToldOnce(t *testing.T) {
	s := store.New(testenv.Pool(t), store.Options{Router: oneChannel{}, Environment: "test"})
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := start
	c := &certificates{states: []nphiesclient.CertificateState{{
		License: "PR-1", Source: "/etc/nphies/PR-1.p12", Fingerprint: "aa", CommonName: "PR-1", Serial: "0123456789abcdef", NotAfter: start.AddDate(0, 0, 60),
	}}}
	watch := func() *certwatch.Watch {
		return &certwatch.Watch{Certificates: c, Store: s, Notify: notified{}, Log: testenv.Logger(t), Now: func() time.Time { return now }}
	}
	told := func() (types, priorities []string) {
		rows, err := s.Notifications(t.Context(), nil, 100)
		require.NoError(t, err)
		for _, r := range rows {
			types, priorities = append(types, r.EventType), append(priorities, r.Priority)
		}
		return types, priorities
	}
	want := 0
	for day := range 64 {
		now = start.AddDate(0, 0, day)
		var both sync.WaitGroup // two workers at once
		for range 2 {
			both.Go(func() { require.NoError(t, watch().Tell(t.Context())) })
		}
		both.Wait()
		switch 60 - day {
		case 30, 14, 7, 3, 1, 0:
			want++
		}
		types, _ := told()
		require.Len(t, types, want, "%d days left", 60-day)
	}
	_, priorities := told()
	require.Equal(t, []string{"CRITICAL", "CRITICAL", "HIGH", "HIGH", "MEDIUM", "MEDIUM"}, priorities)

	// One that came into use while the worker ran is told, once.
	c.states[0].Reloads = 1
	for range 2 {
		require.NoError(t, watch().Tell(t.Context()))
	}
	rotated, _ := told()
	require.Equal(t, "vault.secret.rotation.complete", rotated[0])
	require.Len(t, rotated, want+1)
	c.states[0].Reloads, want = 0, want+1

	// A renewed certificate starts anew.
	c.states[0].Fingerprint, c.states[0].NotAfter = "bb", now.AddDate(0, 0, 10)
	require.NoError(t, watch().Tell(t.Context()))
	types, _ := told()
	require.Len(t, types, want+1)

	// What cannot be used is told once; a Vault that is away is another story.
	c.states[0].Problem, c.states[0].ProblemID = &fault.Error{Kind: fault.Config, Safe: "wrong passphrase"}, "p1"
	for range 2 {
		require.NoError(t, watch().Tell(t.Context()))
	}
	types, _ = told()
	require.Len(t, types, want+2)
	require.Equal(t, "nphies.api.error", types[0])
	c.states[0].Problem, c.states[0].ProblemID = &fault.Error{Kind: fault.Unavailable, Safe: "Vault does not answer"}, "p2"
	require.NoError(t, watch().Tell(t.Context()))
	types, _ = told()
	require.Len(t, types, want+2)
}

func TestRunLooksUntilItsEnd(t *testing.T) {
	c := &certificates{refreshed: make(chan struct{}, 1)}
	w := &certwatch.Watch{Certificates: c, Notify: notified{}, Log: testenv.Logger(t), Interval: time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { w.Run(ctx); close(done) }()
	for range 3 {
		<-c.refreshed
	}
	cancel()
	<-done
}

func TestMetrics(t *testing.T) {
	c := &certificates{states: []nphiesclient.CertificateState{{License: "PR-1", Fingerprint: "aa", NotAfter: time.Unix(1800000000, 0), Reloads: 2, Failures: 1}, {License: "default", Failures: 3}}}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(certwatch.Collector(c))
	problems, err := testutil.GatherAndLint(r)
	require.NoError(t, err)
	require.Empty(t, problems)
	n, err := testutil.GatherAndCount(r, "nphies_client_certificate_not_after_timestamp_seconds")
	require.NoError(t, err)
	require.Equal(t, 1, n, "none is loaded for the other")
	n, err = testutil.GatherAndCount(r, "nphies_client_certificate_failures_total")
	require.NoError(t, err)
	require.Equal(t, 2, n)
}
