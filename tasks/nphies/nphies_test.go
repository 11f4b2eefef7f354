package nphies_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/nphiessim"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/synth"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/nphiesclient"
	"github.com/claimlinc/nphiesq/tasks"
	"github.com/claimlinc/nphiesq/tasks/nphies"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const license = "DEMO-PR-0001"

// oneChannel sends everything to one channel, so that each event is one row.
type oneChannel struct{}

func (oneChannel) Channels(who []cards.Stakeholder) []store.Channel {
	return []store.Channel{{Name: "ALL", Stakeholders: who, Redacted: "https://teams.example/…#1"}}
}

// queue remembers wishes.
type queue struct {
	mu       sync.Mutex
	polls    int
	notified int
}

func (q *queue) Enqueue(_ context.Context, t tasks.Task, _ ...asynq.Option) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.Type() == tasks.TypePoll {
		q.polls++
	}
	return false, nil
}

func (q *queue) Notify(context.Context, ...string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.notified++
	return nil
}

type bench struct {
	*nphies.Handlers
	t     *testing.T
	sim   *nphiessim.Sim
	store *store.Store
	pool  *pgxpool.Pool
	queue *queue
	n     int
	// skip is how far the clock runs ahead.
	skip atomic.Int64
	// intercept answers in place of NPHIES when it returns true.
	intercept func(w http.ResponseWriter, r *http.Request) bool
}

func (b *bench) now() time.Time { return time.Now().Add(time.Duration(b.skip.Load())) }

func (b *bench) pass(d time.Duration) { b.skip.Add(int64(d)) }

// answer makes NPHIES answer the next n messages with a bare OperationOutcome of this code.
func (b *bench) answer(code string, n int) {
	var left atomic.Int64
	left.Store(int64(n))
	b.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
		if left.Add(-1) < 0 {
			return false
		}
		w.Header().Set("Content-Type", "application/fhir+json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"business-rule","details":{"coding":[
			{"system":"http://nphies.sa/terminology/CodeSystem/adjudication-error","code":%q}]}}]}`, code)
		return true
	}
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, queue: &queue{}}
	sim := nphiessim.New(nphiessim.Options{Now: b.now})
	b.sim = sim
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b.intercept == nil || !b.intercept(w, r) {
			sim.NPHIES().ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { sim.Close(); srv.Close() })
	client, err := nphiesclient.New(nphiesclient.Config{BaseURL: srv.URL, Timeout: 2 * time.Second})
	require.NoError(t, err)
	b.pool = testenv.Pool(t)
	b.store = store.New(b.pool, store.Options{Router: oneChannel{}, Environment: "test", Now: b.now})
	b.Handlers = nphies.New(b.store, nphiesclient.OneClient(client), b.queue, testenv.Logger(t), nphies.Options{
		PollInterval: time.Hour, PollCount: 10, RecheckAfter: 24 * time.Hour, OfflineRetry: time.Minute, BreakAfter: 5, IdentifierBase: "http://nphiesq.example", Endpoint: "nphies.example",
		Now: b.now,
	})
	return b
}

// claim keeps a synthetic claim whose number asks the simulator for a behaviour.
func (b *bench) claim(behaviour string) uuid.UUID {
	b.t.Helper()
	doc := synth.Claim(7, b.n, synth.Options{Behaviours: map[string]int{behaviour: 1}, Kinds: []string{"professional", "pharmacy"}})
	b.n++
	req, err := nphiesclient.BuildClaim(&doc, nphiesclient.BuildOptions{})
	require.NoError(b.t, err)
	c, created, err := b.store.CreateClaim(b.t.Context(), store.NewClaim{
		License: req.License, Identifier: store.Identifier(req.Identifier), Payer: req.Payer, PayerName: req.PayerName, Type: req.ClaimType, SubType: req.ClaimSubType,
		Items: req.Items, Claimed: req.Total.Decimal(), HeaderID: req.HeaderID, BundleID: req.BundleID, SourceHash: "x", Event: req.Event, Body: req.Body,
	})
	require.NoError(b.t, err)
	require.True(b.t, created)
	return c.ID
}

func (b *bench) submit(id uuid.UUID) error {
	return b.Submit(b.t.Context(), tasks.NewSubmit(id, 1).Task)
}

func (b *bench) poll() error {
	return b.Poll(b.t.Context(), tasks.NewPoll(license, time.Now()).Task)
}

func (b *bench) get(id uuid.UUID) store.Claim {
	b.t.Helper()
	c, err := b.store.Claim(b.t.Context(), id)
	require.NoError(b.t, err)
	return c
}

// events lists the types of a claim's notifications, oldest first.
func (b *bench) events(id *uuid.UUID) []string {
	b.t.Helper()
	rows, err := b.store.Notifications(b.t.Context(), id, 100)
	require.NoError(b.t, err)
	var out []string
	for _, r := range slices.Backward(rows) {
		out = append(out, r.EventType)
	}
	return out
}

func (b *bench) simClaim(c store.Claim) nphiessim.Claim {
	b.t.Helper()
	got, ok := b.sim.Claim(nphiessim.Identifier(c.Identifier))
	require.True(b.t, ok)
	return got
}

func TestSubmitReachesEveryOutcome(t *testing.T) {
	for _, tt := range []struct {
		behaviour string
		at, after store.State // right after the submission, and after the mailbox was emptied
		events    []string
	}{
		{"APPROVE", store.Approved, store.Approved, []string{"nphies.claim.submitted", "nphies.claim.approved"}},
		{"PARTIAL", store.Partial, store.Partial, []string{"nphies.claim.submitted", "nphies.claim.approved"}},
		{"REJECT", store.Rejected, store.Rejected, []string{"nphies.claim.submitted", "nphies.claim.rejected"}},
		{"ERROR", store.Failed, store.Failed, []string{"nphies.claim.rejected"}},
		{"PEND", store.Pending, store.Approved, []string{"nphies.claim.submitted", "nphies.claim.approved"}},
		{"PEND-PARTIAL", store.Pending, store.Partial, []string{"nphies.claim.submitted", "nphies.claim.approved"}},
		{"PEND-REJECT", store.Pending, store.Rejected, []string{"nphies.claim.submitted", "nphies.claim.rejected"}},
		{"QUEUED", store.Pending, store.Approved, []string{"nphies.claim.submitted", "nphies.claim.approved"}},
		{"LARGE", store.Pending, store.Failed, []string{"nphies.claim.submitted", "nphies.claim.rejected"}},
		{"NEVER", store.Pending, store.Pending, []string{"nphies.claim.submitted"}},
		{"REISSUE", store.Approved, store.Partial, []string{"nphies.claim.submitted", "nphies.claim.approved", "nphies.claim.approved"}},
	} {
		t.Run(tt.behaviour, func(t *testing.T) {
			b := newBench(t)
			id := b.claim(tt.behaviour)
			require.NoError(t, b.submit(id))
			require.Equal(t, tt.at, b.get(id).State)
			require.NoError(t, b.poll())
			require.NoError(t, b.submit(id), "the task again")
			require.NoError(t, b.poll(), "and the poll again")
			c := b.get(id)
			require.Equal(t, tt.after, c.State)
			require.Equal(t, tt.events, b.events(&id))

			sim := b.simClaim(c)
			require.Equal(t, 1, sim.DistinctBodies)
			switch c.State {
			case store.Approved, store.Partial, store.Rejected:
				require.Equal(t, sim.Amounts.Paid.StringFixed(2), c.Approved.Decimal.StringFixed(2), "the payer's number, not ours")
				require.Equal(t, sim.Amounts.PatientShare.StringFixed(2), c.PatientShare.Decimal.StringFixed(2))
				require.Equal(t, sim.Amounts.Submitted.StringFixed(2), c.Claimed.StringFixed(2))
				require.NotNil(t, c.AdjudicatedAt)
			case store.Failed:
				require.NotEmpty(t, c.ErrorCode)
			case store.Pending:
				require.NotNil(t, c.NextPollAt)
			default:
				t.Fatalf("no outcome: %s", c.State)
			}
		})
	}
}

func TestTroubleOnTheWayIsTriedAgainWithTheSameBytes(t *testing.T) {
	for behaviour, tt := range map[string]struct {
		failures int
		kind     fault.Kind
		received int // how often the simulator processed it
	}{
		"HTTP503":    {1, fault.Network, 1},
		"HTML200":    {1, fault.Network, 1},
		"HANG":       {1, fault.Network, 1},
		"CUT-BEFORE": {1, fault.Network, 1},
		"CUT-AFTER":  {1, fault.Network, 2},
		"TRUNCATE":   {1, fault.Network, 2},
		"TIMEOUT":    {1, fault.Network, 2},
	} {
		t.Run(behaviour, func(t *testing.T) {
			b := newBench(t)
			id := b.claim(behaviour)
			for range tt.failures {
				err := b.submit(id)
				require.Equal(t, tt.kind, fault.KindOf(err), "%v", err)
				require.False(t, fault.Of(err).Permanent)
				c := b.get(id)
				require.Equal(t, store.Submitting, c.State)
				require.Equal(t, string(tt.kind), c.ErrorKind)
			}
			require.NoError(t, b.submit(id))
			c := b.get(id)
			require.Equal(t, store.Approved, c.State)
			require.Empty(t, c.ErrorKind)
			sim := b.simClaim(c)
			require.Equal(t, 1, sim.DistinctBodies)
			require.Equal(t, 1, b.sim.Stats().Billed)
			require.Equal(t, tt.received, sim.Received)
			require.Equal(t, []string{"nphies.claim.submitted", "nphies.claim.approved"}, b.events(&id), "an error that a retry cures costs no card")
		})
	}
}

func TestClaimThatIsGoneIsPermanent(t *testing.T) {
	b := newBench(t)
	err := b.submit(uuid.New())
	require.True(t, fault.Is(err, fault.NotFound))
	require.True(t, fault.Of(err).Permanent)
	err = b.Submit(t.Context(), asynq.NewTask(tasks.TypeSubmit, []byte("{")))
	require.True(t, fault.Of(err).Permanent)
}

func TestPollEmptiesTheMailbox(t *testing.T) {
	b := newBench(t)
	var ids []uuid.UUID
	for range 25 { // three batches of ten
		id := b.claim("PEND")
		require.NoError(t, b.submit(id))
		ids = append(ids, id)
	}
	require.NoError(t, b.poll())
	for _, id := range ids {
		require.Equal(t, store.Approved, b.get(id).State)
	}
	require.Zero(t, b.sim.Stats().Waiting)
	states, err := b.store.PollStates(t.Context())
	require.NoError(t, err)
	require.NotNil(t, states[0].LastSuccessAt)
	require.True(t, states[0].NextPollAt.After(time.Now().Add(30*time.Minute)))
}

func TestPollTellsThatMoreWaits(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.submit(b.claim("PEND")))
	require.NoError(t, b.submit(b.claim("APPROVE"))) // its answer carries the tag queued-messages
	require.Positive(t, b.queue.polls)
}

func TestWhatMatchesNothingIsKept(t *testing.T) {
	b := newBench(t)
	id := b.claim("APPROVE")
	require.NoError(t, b.submit(id))
	for _, kind := range nphiessim.PushKinds() {
		require.NoError(t, b.sim.Push(license, kind))
	}
	pend := b.claim("PEND")
	require.NoError(t, b.submit(pend))
	// A claim of somebody else's system under the same licence.
	_, err := b.pool.Exec(t.Context(), `UPDATE claims SET identifier_value = identifier_value || '-other' WHERE id = $1`, pend)
	require.NoError(t, err)
	require.NoError(t, b.poll())
	list, err := b.store.Inbox(t.Context(), store.InboxFilter{Unmatched: true})
	require.NoError(t, err)
	var events []string
	for _, m := range list {
		events = append(events, m.Event)
		body, err := b.store.MessageBody(t.Context(), m.MessageID)
		require.NoError(t, err)
		require.True(t, json.Valid(body))
	}
	require.Contains(t, events, "claim-response")
	require.Contains(t, events, "simulated-event")
	require.NotContains(t, events, "payment-reconciliation", "money is ours whatever it is for")
	payments, err := b.store.Payments(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, payments, 1)
	require.True(t, payments[0].Balanced)
	require.Contains(t, b.events(nil), "nphies.api.error", "people are told of what matches nothing")
	require.Equal(t, store.Approved, b.get(id).State)
	require.Equal(t, store.Pending, b.get(pend).State)
}

func TestPollAnswerCutInTransit(t *testing.T) {
	b := newBench(t)
	id := b.claim("PEND")
	require.NoError(t, b.submit(id))

	// Cut before anything was processed: the identical request brings everything.
	b.sim.SetFaults(nphiessim.Fault{Match: "poll-request", Kind: nphiessim.FaultCutBefore, Count: 1})
	require.True(t, fault.Is(b.poll(), fault.Network))
	require.NoError(t, b.poll())
	require.Equal(t, store.Approved, b.get(id).State)

	// Cut after it left the mailbox: twice asked, the content is gone; the claim itself asks for its answer.
	id = b.claim("PEND")
	require.NoError(t, b.submit(id))
	b.sim.SetFaults(nphiessim.Fault{Match: "poll-request", Kind: nphiessim.FaultCutAfter, Count: 2})
	require.True(t, fault.Is(b.poll(), fault.Network))
	require.True(t, fault.Is(b.poll(), fault.Network))
	require.NoError(t, b.poll())
	require.Equal(t, store.Pending, b.get(id).State)
	due, err := b.store.OverdueClaims(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []store.Overdue{{Wish: store.Wish{ID: id, Episode: 1, Kind: store.UseClaim}, License: license, Step: store.StepBytes}}, due)
	require.NoError(t, b.submit(id))
	require.Equal(t, store.Approved, b.get(id).State)
	require.Equal(t, 1, b.simClaim(b.get(id)).DistinctBodies)
}

// TestPollSentAgainMayHaveLostMore: the answer to a poll that is sent again holds what came since; what the lost one took with it
// is gone all the same.
func TestPollSentAgainMayHaveLostMore(t *testing.T) {
	b := newBench(t)
	lost := b.claim("PEND")
	require.NoError(t, b.submit(lost))
	b.sim.SetFaults(nphiessim.Fault{Match: "poll-request", Kind: nphiessim.FaultCutAfter, Count: 1})
	require.True(t, fault.Is(b.poll(), fault.Network))
	later := b.claim("PEND")
	require.NoError(t, b.submit(later))
	require.NoError(t, b.poll())
	require.Equal(t, store.Approved, b.get(later).State, "the second answer was not empty")
	due, err := b.store.OverdueClaims(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []store.Overdue{{Wish: store.Wish{ID: lost, Episode: 1, Kind: store.UseClaim}, License: license, Step: store.StepBytes}}, due)
	require.NoError(t, b.submit(lost))
	require.Equal(t, store.Approved, b.get(lost).State)

	// One that is with NPHIES at that moment: its answer was in the lost one, before we heard that it is taken in.
	crossing := b.claim("PEND")
	var polls []error
	b.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		b.intercept = nil
		b.sim.NPHIES().ServeHTTP(httptest.NewRecorder(), r) // taken in, and its answer waits
		b.sim.SetFaults(nphiessim.Fault{Match: "poll-request", Kind: nphiessim.FaultCutAfter, Count: 1})
		polls = []error{b.poll(), b.poll()}
		w.WriteHeader(http.StatusBadGateway)
		return true
	}
	require.Error(t, b.submit(crossing))
	require.Len(t, polls, 2)
	require.True(t, fault.Is(polls[0], fault.Network))
	require.NoError(t, polls[1])
	require.Equal(t, store.Submitting, b.get(crossing).State)
	require.True(t, b.get(crossing).AskAgain)
	b.answer("BV-00542", 1)
	require.NoError(t, b.submit(crossing))
	require.Equal(t, store.Pending, b.get(crossing).State)
	due, err = b.store.OverdueClaims(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, crossing, due[0].ID, "it asks at once")
	require.NoError(t, b.submit(crossing))
	require.Equal(t, store.Approved, b.get(crossing).State)

	// One that has its answer: a reissued one may have been lost.
	reissued := b.claim("REISSUE")
	require.NoError(t, b.submit(reissued))
	require.Equal(t, store.Approved, b.get(reissued).State)
	b.sim.SetFaults(nphiessim.Fault{Match: "poll-request", Kind: nphiessim.FaultCutAfter, Count: 1})
	require.Error(t, b.poll())
	require.NoError(t, b.poll())
	require.Equal(t, store.Approved, b.get(reissued).State)
	asks, err := b.store.ReissuesToAskFor(t.Context(), 10)
	require.NoError(t, err)
	require.Contains(t, asks, store.Wish{ID: reissued, Episode: 2, Kind: store.UseClaim})
	for _, w := range asks {
		require.NoError(t, b.submit(w.ID))
		require.False(t, b.get(w.ID).AskAgain)
	}
	require.Equal(t, store.Partial, b.get(reissued).State)

	// Once in ten minutes at most.
	slow := b.claim("NEVER")
	require.NoError(t, b.submit(slow))
	lose := func() {
		b.sim.SetFaults(nphiessim.Fault{Match: "poll-request", Kind: nphiessim.FaultCutAfter, Count: 1})
		require.Error(t, b.poll())
		require.NoError(t, b.poll())
	}
	lose()
	require.NoError(t, b.store.OverdueStep(t.Context(), store.StepBytes, store.StepPoll, b.now().Add(time.Hour), slow))
	lose()
	due, err = b.store.OverdueClaims(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, due)
	b.pass(11 * time.Minute)
	due, err = b.store.OverdueClaims(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, due, 1)
}

func TestPollAnswerIsKeptBeforeItIsRead(t *testing.T) {
	b := newBench(t)
	id := b.claim("PEND")
	require.NoError(t, b.submit(id))
	// The fan-out dies on its first row: what NPHIES delivered is on file all the same.
	_, err := b.pool.Exec(t.Context(), `ALTER TABLE claim_responses RENAME TO gone`)
	require.NoError(t, err)
	require.Error(t, b.poll())
	require.Equal(t, store.Pending, b.get(id).State)
	require.Zero(t, b.sim.Stats().Waiting, "it has left the mailbox")
	_, err = b.pool.Exec(t.Context(), `ALTER TABLE gone RENAME TO claim_responses`)
	require.NoError(t, err)
	require.NoError(t, b.poll())
	require.Equal(t, store.Approved, b.get(id).State)
}

func TestUnreadablePollAnswersAreKept(t *testing.T) {
	for _, kind := range []nphiessim.FaultKind{nphiessim.FaultHTML200, nphiessim.Fault503, nphiessim.Fault500} {
		b := newBench(t)
		b.claim("APPROVE")
		b.sim.SetFaults(nphiessim.Fault{Match: "poll-request", Kind: kind, Count: 1})
		require.Error(t, b.poll())
		var n int
		require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM messages WHERE direction = 'in' AND reply_to IS NOT NULL AND length(body) > 0`).Scan(&n))
		require.Equal(t, 1, n, "%s: stored before anybody could read it", kind)
		require.NoError(t, b.poll())
	}
}

func TestAnswerThatCannotBeRecordedDoesNotBlockTheMailbox(t *testing.T) {
	b := newBench(t)
	bad, good := b.claim("PEND"), b.claim("PEND")
	require.NoError(t, b.submit(bad))
	require.NoError(t, b.submit(good))
	// The record refuses the first claim's outcome, as it would an amount out of range.
	_, err := b.pool.Exec(t.Context(), `ALTER TABLE claims ADD CONSTRAINT refused CHECK (id <> '`+bad.String()+`' OR state <> 'approved')`)
	require.NoError(t, err)
	require.NoError(t, b.poll())
	require.Equal(t, store.Approved, b.get(good).State)
	require.Equal(t, store.Pending, b.get(bad).State)
	list, err := b.store.Inbox(t.Context(), store.InboxFilter{Unmatched: true})
	require.NoError(t, err)
	require.Len(t, list, 1, "its bytes are kept for a person")
}

func TestOnlyOnePollAtATime(t *testing.T) {
	b := newBench(t)
	b.claim("APPROVE")
	_, unlock, ok, err := b.store.Hold(t.Context(), store.LeasePoll, license)
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, b.poll())
	require.Zero(t, b.sim.Stats().Requests, "another worker polls")
	unlock()
	require.NoError(t, b.poll())
	require.Equal(t, 1, b.sim.Stats().Requests)
}

func TestPollTrouble(t *testing.T) {
	b := newBench(t)
	b.claim("APPROVE")
	b.sim.SetFaults(nphiessim.Fault{Match: "poll-request", Kind: nphiessim.Fault503, Count: 1})
	err := b.poll()
	require.True(t, fault.Is(err, fault.Network))
	states, err := b.store.PollStates(t.Context())
	require.NoError(t, err)
	require.Equal(t, "network", states[0].ErrorKind)
	require.NoError(t, b.poll())
	states, err = b.store.PollStates(t.Context())
	require.NoError(t, err)
	require.Empty(t, states[0].ErrorKind)
}

func TestEligibility(t *testing.T) {
	for i, tt := range []struct {
		behaviour string
		state     store.CheckState
		site      string
		failures  int
		events    []string
	}{
		{"ELIGIBLE", store.CheckEligible, "eligible", 0, nil},
		{"NOT-COVERED", store.CheckNotEligible, "not-covered", 0, []string{"nphies.eligibility.denied"}},
		{"NOT-DIRECT", store.CheckNotEligible, "not-direct billing", 0, []string{"nphies.eligibility.denied"}},
		{"ERROR", store.CheckFailed, "", 0, []string{"nphies.api.error"}},
		{"HTTP503", store.CheckEligible, "eligible", 1, nil},
		{"CUT-AFTER", store.CheckEligible, "eligible", 1, nil},
	} {
		t.Run(tt.behaviour, func(t *testing.T) {
			b := newBench(t)
			id := b.check(fmt.Sprintf("ELG-%d-SIM-%s", i, tt.behaviour))
			task := tasks.NewEligibility(id, 1).Task
			for range tt.failures {
				require.True(t, fault.Is(b.Eligibility(t.Context(), task), fault.Network))
			}
			require.NoError(t, b.Eligibility(t.Context(), task))
			require.NoError(t, b.Eligibility(t.Context(), task), "the task again")
			c, err := b.store.Check(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, tt.state, c.State)
			require.Equal(t, tt.site, c.SiteEligibility)
			require.Equal(t, tt.events, b.events(nil))
			if tt.state == store.CheckEligible {
				require.NotEmpty(t, c.Response.Value, "a claim quotes it later")
			}
		})
	}
	require.True(t, fault.Of(newBench(t).Eligibility(t.Context(), tasks.NewEligibility(uuid.New(), 1).Task)).Permanent)
}

// check keeps an eligibility check whose number asks the simulator for a behaviour.
func (b *bench) check(number string) uuid.UUID {
	b.t.Helper()
	req, err := nphiesclient.BuildEligibility(eligibility(number), nphiesclient.BuildOptions{})
	require.NoError(b.t, err)
	c, _, err := b.store.CreateCheck(b.t.Context(), store.NewCheck{
		License: req.License, Identifier: store.Identifier(req.Identifier), Payer: req.Payer, HeaderID: req.HeaderID, BundleID: req.BundleID, SourceHash: "x", Body: req.Body,
	})
	require.NoError(b.t, err)
	return c.ID
}

func eligibility(number string) *nphiesclient.EligibilityDocument {
	claim := synth.Claim(1, 0, synth.Options{})
	return &nphiesclient.EligibilityDocument{
		Document: nphiesclient.DocumentEligibility, RequestNumber: number, Provider: claim.Provider, Payer: claim.Payer, Patient: claim.Patient, Coverage: claim.Coverage,
	}
}
