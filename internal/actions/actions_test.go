package actions_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// channels has one for each stakeholder.
type channels struct{}

func (channels) Channels(who []cards.Stakeholder) []store.Channel {
	var out []store.Channel
	for _, s := range who {
		out = append(out, store.Channel{Name: string(s), Stakeholders: []cards.Stakeholder{s}})
	}
	return out
}

// pager pages for SRE.
type pager struct{}

func (pager) Trigger(a store.Alert, to cards.Stakeholder, p cards.Priority, _ string) (store.Page, bool) {
	return store.Page{Action: "trigger", DedupKey: "test:" + a.ID.String(), Routing: "sre", Payload: map[string]string{"severity": string(p)}}, to == cards.SRE
}

type bench struct {
	*actions.Core
	t *testing.T
}

func newBench(t *testing.T) *bench {
	t.Helper()
	s := store.New(testenv.Pool(t), store.Options{Router: channels{}})
	return &bench{&actions.Core{Store: s, Queue: broker.New(testenv.Redis(t)), Pager: pager{}, Log: testenv.Logger(t)}, t}
}

// claim makes one whose submission died, and returns the notifications of its dead letter.
func (b *bench) claim(number string) (store.Claim, store.DeadLetter, []store.Notification) {
	b.t.Helper()
	c, _, err := b.Store.CreateClaim(b.t.Context(), store.NewClaim{
		License: "PR-1", Identifier: store.Identifier{System: "s", Value: number}, Payer: "INS", Claimed: decimal.New(100, -2),
		HeaderID: "h", BundleID: "b", SourceHash: "x", Event: "claim-request", Body: []byte("{}"),
	})
	require.NoError(b.t, err)
	return b.die(c, 1)
}

// die lets the task of a claim die once more.
func (b *bench) die(c store.Claim, episode int) (store.Claim, store.DeadLetter, []store.Notification) {
	b.t.Helper()
	task := tasks.NewSubmit(c.ID, episode)
	id, created, _, err := b.Store.RecordDeadLetter(b.t.Context(), store.DeadLetter{
		Queue: task.Queue, TaskType: tasks.TypeSubmit, TaskID: task.ID, ClaimID: &c.ID, Reference: c.Identifier.Value, ErrorKind: "network", ErrorText: "refused", LastFailedAt: time.Now(), FirstFailedAt: time.Now(),
	}, func(l store.DeadLetter) []store.Event {
		return []store.Event{{
			Event: cards.Event{Type: cards.TaskDLQEvent, Details: cards.DeadLetter{ID: l.ID.String(), ClaimID: c.ID.String(), ClaimRef: l.Reference, TaskType: l.TaskType}},
			Key:   "dead/" + l.ID.String(), Alert: "dead/claim/" + c.ID.String(), ClaimID: &c.ID, DeadLetterID: &l.ID,
		}}
	})
	require.NoError(b.t, err)
	require.True(b.t, created)
	l, err := b.Store.DeadLetter(b.t.Context(), id)
	require.NoError(b.t, err)
	var rows []store.Notification
	for _, n := range b.rows(c) {
		if n.DeadLetterID != nil && *n.DeadLetterID == id {
			rows = append(rows, n)
		}
	}
	require.NotEmpty(b.t, rows)
	return c, l, rows
}

// rows are all notifications of a claim, oldest first.
func (b *bench) rows(c store.Claim) []store.Notification {
	b.t.Helper()
	rows, err := b.Store.Notifications(b.t.Context(), &c.ID, 1000)
	require.NoError(b.t, err)
	slices.Reverse(rows)
	return rows
}

func (b *bench) do(cmd actions.Command) actions.Result {
	b.t.Helper()
	if cmd.Actor.Name == "" {
		cmd.Actor = actions.Actor{ID: "local:amal", Name: "amal"}
	}
	if cmd.Source == "" {
		cmd.Source = actions.FromLink
	}
	r, err := b.Do(b.t.Context(), cmd)
	require.NoError(b.t, err)
	return r
}

func (b *bench) alert(n store.Notification) store.Alert {
	b.t.Helper()
	a, err := b.Store.AlertOf(b.t.Context(), n.ID)
	require.NoError(b.t, err)
	return a
}

func (b *bench) trail() []store.Action {
	b.t.Helper()
	_, err := b.Store.VerifyActions(b.t.Context())
	require.NoError(b.t, err)
	list, err := b.Store.Actions(b.t.Context(), "", 0)
	require.NoError(b.t, err)
	return list
}

// TestTheTable is section 5 of the protocol, by doing it.
func TestTheTable(t *testing.T) {
	b := newBench(t)
	way := map[store.AlertState][]actions.Verb{
		store.AlertOpen: {}, store.AlertAcknowledged: {actions.Acknowledge}, store.AlertEscalated: {actions.Escalate}, store.AlertRetrying: {actions.Retry},
		store.AlertDiscarded: {actions.Discard}, store.AlertResolved: {actions.Resolve},
	}
	want := map[store.AlertState]string{ // acknowledge, escalate, retry, discard, resolve
		store.AlertOpen:         "applied acknowledged, applied escalated, applied retrying, applied discarded, applied resolved",
		store.AlertAcknowledged: "already acknowledged, applied escalated, applied retrying, applied discarded, applied resolved",
		store.AlertEscalated:    "applied acknowledged, already escalated, applied retrying, applied discarded, applied resolved",
		store.AlertRetrying:     "applied retrying, applied escalated, already retrying, refused retrying, applied resolved",
		store.AlertDiscarded:    "refused discarded, refused discarded, refused discarded, already discarded, already discarded",
		store.AlertResolved:     "refused resolved, refused resolved, refused resolved, refused resolved, already resolved",
	}
	n := 0
	for _, state := range store.AlertStates() {
		got := ""
		for i, verb := range []actions.Verb{actions.Acknowledge, actions.Escalate, actions.Retry, actions.Discard, actions.Resolve} {
			n++
			_, _, rows := b.claim("CLM-" + string(state) + "-" + string(verb))
			for _, v := range way[state] {
				require.Equal(t, actions.Applied, b.do(actions.Command{Notification: rows[0].ID, Verb: v, Reason: "to get there"}).Outcome)
			}
			require.Equal(t, state, b.alert(rows[0]).State)
			r := b.do(actions.Command{Notification: rows[1].ID, Verb: verb, Reason: "because"})
			require.Equal(t, state, r.Before)
			after := b.alert(rows[0])
			require.Equal(t, r.State, after.State, "what is answered is what is on record")
			if i > 0 {
				got += ", "
			}
			got += string(r.Outcome) + " " + string(after.State)
			require.Equal(t, map[actions.Outcome]int{actions.Applied: 200, actions.Already: 200, actions.Refused: 409}[r.Outcome], r.Code.Status())
			require.NotEmpty(t, r.Message)
		}
		require.Equal(t, want[state], got, state)
	}
	require.Equal(t, 30, n)
}

// TestAHundredPressesApplyOnce on different cards of one alert.
func TestAHundredPressesApplyOnce(t *testing.T) {
	for _, verb := range []actions.Verb{actions.Acknowledge, actions.Escalate, actions.Retry, actions.Discard, actions.Resolve} {
		t.Run(string(verb), func(t *testing.T) {
			b := newBench(t)
			c, l, rows := b.claim("CLM-1")
			var applied, already, other atomic.Int32
			var all sync.WaitGroup
			for i := range 100 {
				all.Go(func() {
					r, err := b.Do(context.WithoutCancel(t.Context()), actions.Command{
						Notification: rows[i%len(rows)].ID, Verb: verb, Reason: "x", Actor: actions.Actor{ID: "p", Name: "person"}, Source: actions.FromLink,
					})
					switch {
					case err != nil:
						t.Error(err)
					case r.Outcome == actions.Applied:
						applied.Add(1)
					case r.Outcome == actions.Already:
						already.Add(1)
					default:
						other.Add(1)
					}
				})
			}
			all.Wait()
			require.Equal(t, []int32{1, 99, 0}, []int32{applied.Load(), already.Load(), other.Load()})
			count := 0
			for _, a := range b.trail() {
				if a.TargetKind == "alert" {
					count++
				}
			}
			require.Equal(t, 100, count, "each press is on record")
			claim, err := b.Store.Claim(t.Context(), c.ID)
			require.NoError(t, err)
			letter, err := b.Store.DeadLetter(t.Context(), l.ID)
			require.NoError(t, err)
			switch verb {
			case actions.Retry:
				require.Equal(t, []any{2, store.LetterRetrying}, []any{claim.Episode, letter.State}, "one new budget")
				state, err := b.Queue.TaskState(tasks.QueueSubmit, tasks.NewSubmit(c.ID, 2).ID)
				require.NoError(t, err)
				require.Equal(t, "pending", state)
			case actions.Discard:
				require.Equal(t, []any{store.Failed, store.LetterDiscarded}, []any{claim.State, letter.State})
			default:
				require.Equal(t, []any{1, store.LetterOpen}, []any{claim.Episode, letter.State})
			}
		})
	}
}

// TestAHundredPressOnAConditionApplyOnce: nothing but the alert itself is there to be locked.
func TestAHundredPressOnAConditionApplyOnce(t *testing.T) {
	b := newBench(t)
	_, err := b.Store.Raise(t.Context(), store.Condition{Type: cards.RedisNodeDownEvent, Identity: "r", Details: cards.Redis{Instance: "r", State: "down"}})
	require.NoError(t, err)
	list, err := b.Store.ListNotifications(t.Context(), store.NotificationFilter{EventType: string(cards.RedisNodeDownEvent)})
	require.NoError(t, err)
	require.Len(t, list, 3)
	for _, verb := range []actions.Verb{actions.Acknowledge, actions.Escalate, actions.Resolve} {
		var applied atomic.Int32
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				r, err := b.Do(context.WithoutCancel(t.Context()), actions.Command{Notification: list[i%3].ID, Verb: verb, Actor: actions.Actor{ID: fmt.Sprint("p", i)}, Source: actions.FromLink})
				if err != nil {
					t.Error(err)
				}
				if r.Outcome == actions.Applied {
					applied.Add(1)
				} else if r.Outcome != actions.Already {
					t.Errorf("%s: %s", verb, r.Message)
				}
			})
		}
		all.Wait()
		require.EqualValues(t, 1, applied.Load(), verb)
	}
}

// TestWhoWasFirst is named, not who did something else before.
func TestWhoWasFirst(t *testing.T) {
	b := newBench(t)
	_, _, rows := b.claim("CLM-1")
	as := func(who string, v actions.Verb) actions.Result {
		return b.do(actions.Command{Notification: rows[0].ID, Verb: v, Reason: "x", Actor: actions.Actor{ID: who, Name: who}})
	}
	as("ann", actions.Acknowledge)
	as("bob", actions.Escalate)
	require.Equal(t, "bob", as("cyd", actions.Escalate).Actor)
	as("dan", actions.Retry)
	r := as("eve", actions.Retry)
	require.Equal(t, "dan", r.Actor)
	require.Contains(t, r.Message, "dan")
	as("hal", actions.Resolve)
	require.Equal(t, "hal", as("ida", actions.Resolve).Actor)
}

// TestACommandThatComesTwice is answered as before, and another one under its key is refused.
func TestACommandThatComesTwice(t *testing.T) {
	b := newBench(t)
	_, _, rows := b.claim("CLM-1")
	cmd := actions.Command{Key: "link:1", Notification: rows[0].ID, Verb: actions.Acknowledge}
	first := b.do(cmd)
	require.Equal(t, actions.Applied, first.Outcome)
	b.do(actions.Command{Notification: rows[0].ID, Verb: actions.Resolve})
	again := b.do(cmd)
	require.Equal(t, []any{true, first.CommandID, actions.Applied, store.AlertAcknowledged}, []any{again.Repeated, again.CommandID, again.Outcome, again.State}, "as it was then")
	require.Equal(t, store.AlertResolved, b.alert(rows[0]).State)
	n, err := b.Store.DeleteOldCommands(t.Context(), time.Now().Add(-time.Hour), 10)
	require.NoError(t, err)
	require.Zero(t, n, "not yet")
	cmd.Verb = actions.Escalate
	other := b.do(cmd)
	require.Equal(t, []any{actions.Refused, actions.CodeReused, 409}, []any{other.Outcome, other.Code, other.Code.Status()})
	n, err = b.Store.DeleteOldCommands(t.Context(), time.Now().Add(time.Hour), 10)
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
}

func TestWhatIsRefused(t *testing.T) {
	b := newBench(t)
	_, _, rows := b.claim("CLM-1")
	_, err := b.Store.Tell(t.Context(), store.Event{Event: cards.Event{Type: cards.ClaimRejectedEvent, Details: cards.ClaimRejected{ClaimRef: "R"}}, Key: "rejected"})
	require.NoError(t, err)
	list, err := b.Store.ListNotifications(t.Context(), store.NotificationFilter{EventType: string(cards.ClaimRejectedEvent)})
	require.NoError(t, err)
	for name, x := range map[string]struct {
		cmd    actions.Command
		code   actions.Code
		status int
	}{
		"no reason":        {actions.Command{Notification: rows[0].ID, Verb: actions.Discard, Reason: " \u202e\x00 "}, actions.CodeNoReason, 422},
		"unknown alert":    {actions.Command{Notification: uuid.New(), Verb: actions.Acknowledge}, actions.CodeUnknownAlert, 404},
		"unknown verb":     {actions.Command{Notification: rows[0].ID, Verb: "drop table"}, actions.CodeUnknownVerb, 400},
		"a rejected claim": {actions.Command{Notification: list[0].ID, Verb: actions.Retry, Reason: "x"}, actions.CodeNotRetryable, 409},
		"nothing to poll":  {actions.Command{Notification: list[0].ID, Verb: actions.Poll}, actions.CodeNothingToPoll, 409},
	} {
		before := len(b.trail())
		r := b.do(x.cmd)
		require.Equal(t, []any{actions.Refused, x.code, x.status}, []any{r.Outcome, r.Code, r.Code.Status()}, name)
		trail := b.trail()
		require.Len(t, trail, before+1, "what is refused is on record, too")
		require.Equal(t, "refused", trail[0].Outcome)
		require.NotContains(t, trail[0].Verb, "table")
	}
	r, err := b.Forbid(t.Context(), actions.Command{Notification: rows[0].ID, Verb: actions.Retry, Actor: actions.Actor{ID: "v", Name: "viewer"}, Source: actions.FromLink})
	require.NoError(t, err)
	require.Equal(t, 403, r.Code.Status())
	require.Equal(t, store.AlertOpen, b.alert(rows[0]).State)
}

// TestWhatGoesOnRecord: who, how they were known, and what came of it; in the notification, too, and nothing that is secret.
func TestWhatGoesOnRecord(t *testing.T) {
	b := newBench(t)
	c, _, rows := b.claim("CLM-1")
	r := b.do(actions.Command{
		Notification: rows[0].ID, Verb: actions.Acknowledge, Actor: actions.Actor{ID: "oid-1", Name: "noura@example.com", Tenant: "t-1"}, Source: actions.FromLink,
		AuthMethod: "oidc", KeyID: "k1", RequestID: "req-1", Address: "192.0.2.1", UserAgent: "Mozilla\r\nX", Reason: "on it",
	})
	trail := b.trail()
	require.Equal(t, store.AlertID("dead/claim/"+c.ID.String()).String(), trail[0].Target)
	require.Equal(t, []string{"noura@example.com", "link", "acknowledge", "alert", "on it", "applied"},
		[]string{trail[0].Actor, trail[0].Source, trail[0].Verb, trail[0].TargetKind, trail[0].Reason, trail[0].Outcome})
	require.Equal(t, map[string]string{
		"code": "applied", "actor_type": "person", "actor_id": "oid-1", "tenant": "t-1", "auth_method": "oidc", "key_id": "k1", "request_id": "req-1", "ip": "192.0.2.1",
		"user_agent": "Mozilla X", "event_type": "task.dlq", "state_before": "open", "state_after": "acknowledged", "notification": rows[0].ID.String(),
	}, trail[0].Detail)
	require.Equal(t, r.CommandID, trail[0].CommandID)

	second := b.do(actions.Command{Notification: rows[1].ID, Verb: actions.Acknowledge, Actor: actions.Actor{ID: "oid-2", Name: "salem"}})
	require.Equal(t, []any{actions.Already, "noura@example.com"}, []any{second.Outcome, second.Actor})
	require.Contains(t, second.Message, "noura@example.com")

	// The card that went through a webhook cannot be changed: another one follows, which asks for nothing.
	all := b.rows(c)
	require.Len(t, all, 2*len(rows))
	for _, n := range all[len(rows):] {
		require.Equal(t, []string{"INFO", "notice"}, []string{n.Priority, string(n.State)})
		require.Contains(t, n.Summary, "ACKNOWLEDGED")
		require.Contains(t, string(n.Card), "on it")
	}
}

// TestEscalation: the next group, more urgently, and PagerDuty; then everything that follows goes there, too.
func TestEscalation(t *testing.T) {
	b := newBench(t)
	c, _, rows := b.claim("CLM-1")
	told := len(rows)
	require.Equal(t, []cards.Stakeholder{cards.RuntimeEng, cards.SRE, cards.NPHIESIntegration}, sorted(b.alert(rows[0]).Told, cards.RuntimeEng, cards.SRE, cards.NPHIESIntegration))
	b.Chain = []cards.Stakeholder{cards.SRE, cards.CloudOps, cards.PMO}
	b.do(actions.Command{Notification: rows[0].ID, Verb: actions.Escalate, Reason: "nobody answers"})
	all := b.rows(c)
	next := all[slices.IndexFunc(all, func(n store.Notification) bool { return n.Channel == string(cards.CloudOps) })]
	require.Equal(t, []string{"CRITICAL", "escalated"}, []string{next.Priority, string(next.State)})
	require.Contains(t, string(next.Card), "nobody answers")
	require.Len(t, all, 2*told+1)
	a := b.alert(next)
	require.Equal(t, rows[0].ID, all[0].ID)
	require.Equal(t, b.alert(rows[0]).ID, a.ID, "the same alert")
	require.Empty(t, a.Paged, "the chain's group has no integration")
	require.Empty(t, a.AcknowledgedBy, "who passes it on has not taken it on")
	require.Equal(t, actions.Already, b.do(actions.Command{Notification: next.ID, Verb: actions.Escalate}).Outcome)
	require.Equal(t, actions.Applied, b.do(actions.Command{Notification: next.ID, Verb: actions.Acknowledge}).Outcome)
	require.Equal(t, "amal", b.alert(rows[0]).AcknowledgedBy)
}

func sorted(got []cards.Stakeholder, want ...cards.Stakeholder) []cards.Stakeholder {
	var out []cards.Stakeholder
	for _, w := range want {
		if slices.Contains(got, w) {
			out = append(out, w)
		}
	}
	if len(out) != len(got) {
		return got
	}
	return out
}

// TestWhatPagerDutyIsToldInOrder of an alert that is escalated, acknowledged and answered.
func TestWhatPagerDutyIsToldInOrder(t *testing.T) {
	pool := testenv.Pool(t)
	s := store.New(pool, store.Options{Router: channels{}})
	b := &bench{&actions.Core{Store: s, Queue: broker.New(testenv.Redis(t)), Pager: pager{}}, t}
	_, err := s.Raise(t.Context(), store.Condition{Type: cards.QueueBacklogEvent, Identity: "q", Priority: cards.High, Details: cards.Backlog{Queue: "q"}})
	require.NoError(t, err)
	list, err := s.ListNotifications(t.Context(), store.NotificationFilter{EventType: string(cards.QueueBacklogEvent)})
	require.NoError(t, err)
	b.do(actions.Command{Notification: list[0].ID, Verb: actions.Acknowledge})
	events := func() (out []string) {
		rows, err := pool.Query(t.Context(), `SELECT action || ' ' || routing || ' ' || (dedup_key = $1)::text FROM pagerduty_events ORDER BY seq`, "test:"+b.alert(list[0]).ID.String())
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			var x string
			require.NoError(t, rows.Scan(&x))
			out = append(out, x)
		}
		return out
	}
	require.Empty(t, events(), "PagerDuty knows nothing of it")
	b.Chain = []cards.Stakeholder{cards.SRE}
	b.do(actions.Command{Notification: list[0].ID, Verb: actions.Escalate})
	require.Contains(t, b.alert(list[0]).Paged, "sre")
	b.do(actions.Command{Notification: list[0].ID, Verb: actions.Acknowledge})
	_, err = s.Clear(t.Context(), cards.QueueBacklogEvent, "q")
	require.NoError(t, err)
	require.Equal(t, []string{"trigger sre true", "acknowledge sre true", "resolve sre true"}, events())
	a := b.alert(list[0])
	require.Equal(t, []any{store.AlertResolved, 0}, []any{a.State, len(a.Paged)})
}

// TestWhatARetryLeadsTo: it fails again and the alert is open again, with the new letter behind it; an answer ends it, without anybody.
func TestWhatARetryLeadsTo(t *testing.T) {
	b := newBench(t)
	c, first, rows := b.claim("CLM-1")
	b.do(actions.Command{Notification: rows[0].ID, Verb: actions.Retry, Reason: "again"})
	_, second, _ := b.die(c, 2)
	a := b.alert(rows[0])
	require.Equal(t, []any{store.AlertOpen, second.ID}, []any{a.State, *a.LetterID})
	require.NotEqual(t, first.ID, second.ID)
	r := b.do(actions.Command{Notification: rows[0].ID, Verb: actions.Retry, Reason: "and again, from the first card"})
	require.Equal(t, actions.Applied, r.Outcome)
	l, err := b.Store.DeadLetter(t.Context(), second.ID)
	require.NoError(t, err)
	require.Equal(t, store.LetterRetrying, l.State)

	// Decided elsewhere, the alert follows.
	_, third, _ := b.die(c, 3)
	_, err = b.Discard(t.Context(), store.Decision{ID: third.ID, Actor: "salem", Source: "cli", Reason: "no use"})
	require.NoError(t, err)
	require.Equal(t, []any{store.AlertDiscarded, "salem"}, []any{b.alert(rows[0]).State, b.alert(rows[0]).AcknowledgedBy})
	r = b.do(actions.Command{Notification: rows[0].ID, Verb: actions.Retry, Reason: "x"})
	require.Equal(t, actions.Refused, r.Outcome)
}

// TestPollNow asks the licence of a claim's alert.
func TestPollNow(t *testing.T) {
	b := newBench(t)
	_, _, rows := b.claim("CLM-1")
	require.Contains(t, actions.Offered(b.alert(rows[0])), actions.Poll)
	r := b.do(actions.Command{Notification: rows[0].ID, Verb: actions.Poll})
	require.Equal(t, []any{actions.Applied, store.AlertOpen}, []any{r.Outcome, r.State})
	info, err := b.Queue.Inspector().GetQueueInfo(tasks.QueuePoll)
	require.NoError(t, err)
	require.Equal(t, 1, info.Pending)
}

// TestRedisIsAway: the decision is on record and applied; the work follows by itself.
func TestRedisIsAway(t *testing.T) {
	b := newBench(t)
	_, l, rows := b.claim("CLM-1")
	rc := testenv.Redis(t)
	b.Queue = broker.New(rc)
	require.NoError(t, rc.Close())
	r := b.do(actions.Command{Notification: rows[0].ID, Verb: actions.Retry, Reason: "x"})
	require.Equal(t, []any{actions.Applied, true}, []any{r.Outcome, r.Later})
	letter, err := b.Store.DeadLetter(t.Context(), l.ID)
	require.NoError(t, err)
	require.Equal(t, store.LetterRetrying, letter.State)
}

func TestOffered(t *testing.T) {
	letter := uuid.New()
	for _, x := range []struct {
		alert store.Alert
		want  []actions.Verb
	}{
		{store.Alert{State: store.AlertOpen}, []actions.Verb{actions.Acknowledge, actions.Escalate, actions.Resolve}},
		{store.Alert{State: store.AlertOpen, LetterID: &letter, License: "PR"}, []actions.Verb{actions.Acknowledge, actions.Escalate, actions.Retry, actions.Poll, actions.Resolve, actions.Discard}},
		{store.Alert{State: store.AlertAcknowledged, LetterID: &letter}, []actions.Verb{actions.Escalate, actions.Retry, actions.Resolve, actions.Discard}},
		{store.Alert{State: store.AlertResolved, LetterID: &letter, License: "PR"}, nil},
	} {
		require.Equal(t, x.want, actions.Offered(x.alert))
	}
}

// TestVersionsOnlyGrow: a new notification of an alert does not begin again at 0, else what follows the second decision would bear the key
// of what followed the first, and not be told.
func TestVersionsOnlyGrow(t *testing.T) {
	b := newBench(t)
	c, _, rows := b.claim("CLM-1")
	told := func() (n int) {
		for _, r := range b.rows(c) {
			if r.State == store.AlertNotice {
				n++
			}
		}
		return n
	}
	before, notices := 0, 0
	for i := range 3 {
		require.Equal(t, actions.Applied, b.do(actions.Command{Notification: rows[0].ID, Verb: actions.Acknowledge}).Outcome, i)
		require.Greater(t, told(), notices, "the acknowledgement is told: %d", i)
		require.Equal(t, actions.Applied, b.do(actions.Command{Notification: rows[0].ID, Verb: actions.Retry, Reason: "again"}).Outcome, i)
		a := b.alert(rows[0])
		require.Greater(t, a.Version, before)
		before, notices = a.Version, told()
		_, _, rows = b.die(c, i+2)
		require.Equal(t, store.AlertOpen, b.alert(rows[0]).State)
		require.GreaterOrEqual(t, b.alert(rows[0]).Version, before)
	}
}

// TestWhoseCardsTheBotChangesAreNotToldAgain: the others are.
func TestWhoseCardsTheBotChangesAreNotToldAgain(t *testing.T) {
	b := newBench(t)
	c, _, rows := b.claim("CLM-1")
	require.NoError(t, b.Store.MarkSent(t.Context(), store.Sent{ID: rows[0].ID, StatusCode: 201, At: time.Now(), Activity: "1:1", Conversation: "19:x@thread.tacv2"}))
	require.Equal(t, actions.Applied, b.do(actions.Command{Notification: rows[1].ID, Verb: actions.Acknowledge}).Outcome)
	shown, told := rows[0].Stakeholders, 0
	for _, r := range b.rows(c) {
		if r.State == store.AlertNotice {
			told++
			require.NotEqual(t, shown, r.Stakeholders)
		}
	}
	require.Equal(t, len(rows)-1, told)
	due, err := b.Store.DueUpdates(t.Context(), rows[0].Channel, 10)
	require.NoError(t, err)
	require.Len(t, due, 1)
	require.Equal(t, "19:x@thread.tacv2", *due[0].Conversation)
	_, ok, err := b.Store.NextUpdate(t.Context(), rows[0].Channel)
	require.NoError(t, err)
	require.True(t, ok)
	channels, err := b.Store.UpdateChannels(t.Context(), time.Now())
	require.NoError(t, err)
	require.Equal(t, []string{rows[0].Channel}, channels)
	require.NoError(t, b.Store.MarkUpdated(t.Context(), store.Updated{ID: rows[0].ID, Failed: true, NextAttemptAt: time.Now().Add(time.Hour)}))
	due, err = b.Store.DueUpdates(t.Context(), rows[0].Channel, 10)
	require.NoError(t, err)
	require.Empty(t, due, "later")
	require.NoError(t, b.Store.MarkUpdated(t.Context(), store.Updated{ID: rows[0].ID, Version: 1}))
	_, ok, err = b.Store.NextUpdate(t.Context(), rows[0].Channel)
	require.NoError(t, err)
	require.False(t, ok)
}

// TestDecisionsMeetAnswersAndDeliveries: people press, answers of the payer arrive and cards are marked as sent, all for the same alerts and
// at once. Nobody waits for another for ever, nobody is told that the record refuses, and what ends a claim ends its alert.
func TestDecisionsMeetAnswersAndDeliveries(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	for n := range 15 {
		c, _, rows := b.claim(fmt.Sprint("CLM-", n))
		_, err := b.Store.Tell(ctx, store.Event{Event: cards.Event{Type: cards.APIErrorEvent, Details: cards.APIError{ErrorType: cards.ErrorNetwork, ClaimID: c.ID.String()}}, Key: "api/" + c.ID.String(), ClaimID: &c.ID})
		require.NoError(t, err)
		api, err := b.Store.ListNotifications(ctx, store.NotificationFilter{EventType: string(cards.APIErrorEvent), Claim: &c.ID})
		require.NoError(t, err)
		var all sync.WaitGroup
		for i := range 6 { // an alert about the claim without a dead letter
			all.Go(func() {
				verb := []actions.Verb{actions.Acknowledge, actions.Escalate, actions.Poll}[i%3]
				if _, err := b.Do(ctx, actions.Command{Notification: api[i%len(api)].ID, Verb: verb, Actor: actions.Actor{ID: "p"}, Source: actions.FromLink}); err != nil {
					t.Errorf("%s: %v", verb, err)
				}
			})
		}
		for i := range 12 {
			all.Go(func() {
				verb := []actions.Verb{actions.Acknowledge, actions.Retry, actions.Escalate, actions.Discard}[i%4]
				if _, err := b.Do(ctx, actions.Command{Notification: rows[i%len(rows)].ID, Verb: verb, Reason: "x", Actor: actions.Actor{ID: "p"}, Source: actions.FromLink}); err != nil {
					t.Errorf("%s: %v", verb, err)
				}
			})
		}
		all.Go(func() {
			status := 200
			id, err := b.Store.SaveMessage(ctx, store.Message{Direction: store.In, Event: "claim-response", License: c.License, ClaimID: &c.ID, HTTPStatus: &status, Body: []byte(`{}`)})
			if err == nil {
				_, err = b.Store.RecordAnswer(ctx, store.Answer{
					ClaimID: c.ID, MessageID: id, Fingerprint: "f", Outcome: "complete", Adjudication: "approved", State: store.Approved, Detail: []byte(`{}`),
				}, func(store.Applied) []store.Event {
					return []store.Event{{Event: cards.Event{Type: cards.ClaimApprovedEvent, Details: cards.ClaimApproved{ClaimRef: c.Identifier.Value}}, Key: c.ID.String() + "/approved", ClaimID: &c.ID}}
				})
			}
			if err != nil {
				t.Errorf("answer: %v", err)
			}
		})
		all.Go(func() {
			var sent []store.Sent
			for _, r := range slices.Backward(rows) { // the other way round
				sent = append(sent, store.Sent{ID: r.ID, StatusCode: 202, At: time.Now(), WebhookURL: "https://h/…#1"})
			}
			for range 3 {
				if err := b.Store.MarkSent(ctx, sent...); err == nil {
					return
				}
			}
			t.Error("never marked as sent")
		})
		all.Wait()
		claim, err := b.Store.Claim(ctx, c.ID)
		require.NoError(t, err)
		require.Equal(t, store.Approved, claim.State, "the answer counts, whatever was decided")
		require.True(t, b.alert(rows[0]).State.Over(), b.alert(rows[0]).State)
	}
}
