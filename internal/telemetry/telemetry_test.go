package telemetry_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/metric"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/telemetry"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
)

func verified(t *testing.T, r *prometheus.Registry) {
	t.Helper()
	families, err := r.Gather()
	require.NoError(t, err)
	require.NotEmpty(t, families)
	require.Empty(t, metric.Verify(families))
}

func TestPayerGroups(t *testing.T) {
	groups, err := telemetry.ParsePayerGroups(" 1001=tpa_a, 1002=tpa_a\n1003=public ")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"1001": "tpa_a", "1002": "tpa_a", "1003": "public"}, groups)
	for bad, says := range map[string]string{
		"1001": "not a pair", "=a": "not a pair", "1001=": "not a pair", "1001=Upper": "not a pair", "1001=other": "taken", "1001=none": "taken", "1=a 1=b": "two groups",
		strings.Join(manyGroups(), " "): "31 groups",
	} {
		_, err := telemetry.ParsePayerGroups(bad)
		require.ErrorContains(t, err, says, bad)
	}
}

func manyGroups() (out []string) {
	for i := range 31 {
		out = append(out, strings.Repeat("1", i+1)+"=g"+strings.Repeat("x", i))
	}
	return out
}

func TestExchangesByOutcomeAndPayer(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	m := telemetry.NewTasks(r, map[string]string{"1001": "tpa_a"})
	m.Exchange("claim-request", "1001", nil, time.Second)
	m.Exchange("claim-request", "9999", &fault.Error{Kind: fault.Network}, 61*time.Second)
	m.Exchange("poll-request", "", errors.New("anything"), time.Second)
	m.Exchange("eligibility-request", "1001", &fault.Error{Kind: fault.Invalid}, time.Second)
	m.Attempt("no:such", "ok", time.Second)
	for _, k := range fault.Kinds() {
		m.Exchange("status-check", "1001", &fault.Error{Kind: k}, time.Second)
		m.Attempt("nphies:submit", string(k), time.Second)
	}
	verified(t, r)
	families, err := r.Gather()
	require.NoError(t, err)
	got := map[string]uint64{}
	attempts := map[string]float64{}
	for _, f := range families {
		for _, x := range f.GetMetric() {
			var labels []string
			for _, l := range x.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			switch f.GetName() {
			case "nphies_request_duration_seconds":
				got[strings.Join(labels, " ")] = x.GetHistogram().GetSampleCount()
			case "nphiesq_task_attempts_total":
				if n := x.GetCounter().GetValue(); n > 0 {
					attempts[strings.Join(labels, " ")] = n
				}
			}
		}
	}
	want := map[string]float64{"ok other": 1}
	for _, k := range fault.Kinds() {
		want[string(k)+" nphies:submit"] = 1
	}
	require.Equal(t, want, attempts)
	// error_type, event, outcome, payer_group
	for _, want := range []string{
		"none claim-request ok tpa_a", "network claim-request error other", "our_servers poll-request error none", "api eligibility-request error tpa_a",
	} {
		require.EqualValues(t, 1, got[want], "%s in %v", want, got)
	}
}

// TestAHungServerIsDown: a server that never answers must not hold the scrape up.
func TestAHungServerIsDown(t *testing.T) {
	never := make(chan struct{})
	defer close(never)
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(telemetry.NewDependencies(map[string]func(context.Context) error{
		"postgresql": func(context.Context) error { return nil },
		"redis":      func(context.Context) error { <-never; return nil },
		"vault":      func(context.Context) error { return errors.New("sealed") },
	}))
	verified(t, r)
	require.NoError(t, testutil.GatherAndCompare(r, strings.NewReader(`
# HELP nphiesq_dependency_up 1 while the server answers, asked at each scrape; vault, only where it is used, while it is unsealed, too.
# TYPE nphiesq_dependency_up gauge
nphiesq_dependency_up{dependency="postgresql"} 1
nphiesq_dependency_up{dependency="redis"} 0
nphiesq_dependency_up{dependency="vault"} 0
`)))
}

// hanging is a Redis that does not answer until it is let.
type hanging struct {
	let   chan struct{}
	asked atomic.Int32
}

func (h *hanging) GetQueueInfo(queue string) (*asynq.QueueInfo, error) {
	h.asked.Add(1)
	<-h.let
	return &asynq.QueueInfo{Queue: queue, Pending: 3}, nil
}

// TestAHungRedisDoesNotHoldUpTheScrape: no figures, but in time; and they are back with it.
func TestAHungRedisDoesNotHoldUpTheScrape(t *testing.T) {
	h := &hanging{let: make(chan struct{})}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(telemetry.NewQueues(h))
	for range 2 {
		families, err := r.Gather()
		require.NoError(t, err)
		require.Empty(t, families)
	}
	require.EqualValues(t, 1, h.asked.Load(), "while one question waits no other is put")
	close(h.let)
	verified(t, r)
	n, err := testutil.GatherAndCount(r, "asynq_queue_size")
	require.NoError(t, err)
	require.Equal(t, len(tasks.Queues()), n)
}

type figures struct {
	f              store.Figures
	audit          store.AuditCheck
	err            error
	asked, counted int
}

func (f *figures) Figures(context.Context) (store.Figures, error) { f.asked++; return f.f, f.err }

func (f *figures) Outcomes(context.Context) ([]store.ClaimFigure, error) {
	f.counted++
	return []store.ClaimFigure{{Use: "preauthorization", State: store.Approved, Count: 5}}, f.err
}

func (f *figures) LastAuditCheck(context.Context) (store.AuditCheck, error) { return f.audit, nil }

func TestTheRecordIsReadOnceInAWhile(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ago := func(s int) *time.Time { x := now.Add(-time.Duration(s) * time.Second); return &x }
	f := &figures{
		f: store.Figures{
			At: now, Open: []store.ClaimFigure{{Use: "claim", State: store.Pending, Count: 3}}, OldestPending: map[string]time.Time{"claim": *ago(70)},
			Waiting: map[string]time.Time{"teams": *ago(5)}, Letters: map[string]int{"nphies-submit": 2}, OldestLetter: *ago(9),
			Paused: []store.PauseFigure{{License: "L1", Whole: true, Payers: 1}}, Alive: 2, Lost: 1,
			WrittenLetters: map[string]int{"teams": 6}, GivenUp: map[string]int{"SRE": 2, "GONE": 1}, GivenUpPages: 3,
			Mailboxes: []store.MailboxFigure{
				{PollState: store.PollState{License: "L1", LastSuccessAt: ago(600), FirstFailedAt: ago(300), NextPollAt: *ago(20), MoreWaiting: true}, Unprocessed: 1},
				{PollState: store.PollState{License: "L2", NextPollAt: *ago(-20)}},
			},
			Unmatched:      4,
			Outbox:         []store.OutboxFigure{{Channel: "SRE", Waiting: 5, GaveUp: 1, Oldest: ago(30)}, {Channel: "GONE", Waiting: 1, Oldest: ago(40)}, {Channel: "AWAY", Waiting: 1, Oldest: ago(50)}},
			Unacknowledged: []store.UnacknowledgedFigure{{Priority: "CRITICAL", Alerts: 1, Oldest: ago(400)}},
		},
		audit: store.AuditCheck{At: now, Valid: false, Rows: 7},
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(telemetry.NewRecord(f, testenv.Discard(), time.Hour))
	verified(t, r)
	families, err := r.Gather()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, x := range families {
		for _, m := range x.GetMetric() {
			name := x.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"nphiesq_claims pending claim": 3, "nphiesq_claims approved preauthorization": 5, "nphiesq_claims error claim": 0, "nphiesq_claims_oldest_pending_age_seconds claim": 70,
		"nphiesq_claims_oldest_pending_age_seconds preauthorization": 0, "nphiesq_work_oldest_waiting_age_seconds teams": 5, "nphiesq_work_oldest_waiting_age_seconds nphies-poll": 0,
		"nphiesq_dead_letters nphies-submit": 2, "nphiesq_dead_letters teams": 0, "nphiesq_dead_letters_oldest_age_seconds": 9, "nphiesq_pauses L1 license": 1,
		"nphiesq_pauses L1 payer": 1, "nphiesq_pauses L2 license": 0, "nphiesq_workers alive": 2, "nphiesq_workers lost": 1, "nphies_poll_last_success_timestamp_seconds L1": float64(ago(600).Unix()),
		"nphies_poll_failing_seconds L1": 300, "nphies_poll_failing_seconds L2": 0, "nphies_poll_due_seconds L1": 20, "nphies_poll_due_seconds L2": 0, "nphies_mailbox_more_waiting L1": 1,
		"nphies_mailbox_unprocessed L1": 1, "nphies_mailbox_unmatched": 4, "teams_outbox_waiting SRE": 5, "teams_outbox_given_up SRE": 1, "teams_outbox_oldest_age_seconds SRE": 30,
		"teams_outbox_waiting other": 2, "teams_outbox_oldest_age_seconds other": 50, "teams_outbox_waiting PMO": 0, "teams_notifications_unacknowledged CRITICAL": 1,
		"teams_notifications_unacknowledged_oldest_age_seconds CRITICAL": 400, "teams_notifications_unacknowledged HIGH": 0, "audit_chain_valid": 0, "audit_chain_rows": 7,
		"nphiesq_dead_letters_last_hour teams": 6, "nphiesq_dead_letters_last_hour nphies-submit": 0, "teams_outbox_given_up_last_hour SRE": 2, "teams_outbox_given_up_last_hour other": 1,
		"teams_outbox_given_up_last_hour PMO": 0, "pagerduty_events_given_up_last_hour": 3,
		"nphiesq_record_read_timestamp_seconds": float64(now.Unix()),
	} {
		v, ok := got[name]
		require.True(t, ok, name)
		require.InDelta(t, want, v, 0, name)
	}
	require.NotContains(t, got, "nphies_poll_last_success_timestamp_seconds L2", "never is not the year 1970")
	require.Equal(t, []int{1, 1}, []int{f.asked, f.counted})

	// PostgreSQL is away: no values rather than old ones.
	away := &figures{err: &fault.Error{Kind: fault.Unavailable}}
	r = prometheus.NewPedanticRegistry()
	r.MustRegister(telemetry.NewRecord(away, testenv.Discard(), time.Hour))
	families, err = r.Gather()
	require.NoError(t, err)
	require.Empty(t, families)
	_, err = r.Gather()
	require.NoError(t, err)
	require.Equal(t, 1, away.asked, "a database that hangs does not hold up each scrape")
}
