package store_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// twoChannels sends SRE to its own webhook and everybody else to a shared one.
type twoChannels struct{}

func (twoChannels) Channels(who []cards.Stakeholder) []store.Channel {
	var sre, rest []cards.Stakeholder
	for _, s := range who {
		if s == cards.SRE {
			sre = append(sre, s)
		} else {
			rest = append(rest, s)
		}
	}
	var out []store.Channel
	if sre != nil {
		out = append(out, store.Channel{Name: "SRE", Stakeholders: sre, Redacted: "https://sre.example/…#1"})
	}
	if rest != nil {
		out = append(out, store.Channel{Name: "SHARED", Stakeholders: rest, Redacted: "https://shared.example/…#2"})
	}
	return out
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *clock) add(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

func open(t *testing.T) (*store.Store, *pgxpool.Pool, *clock) {
	t.Helper()
	pool := testenv.Pool(t)
	c := &clock{now: time.Now().Truncate(time.Millisecond)}
	return store.New(pool, store.Options{Router: twoChannels{}, Environment: "test", Now: c.Now}), pool, c
}

var claimNo atomic.Int64

func newClaim() store.NewClaim {
	return store.NewClaim{
		License: "PR-1", Identifier: store.Identifier{System: "http://p.example/claim", Value: fmt.Sprintf("CLM-%d", claimNo.Add(1))}, Payer: "INS-1", PayerName: "Demo",
		Type: "professional", SubType: "op", Items: 2, Claimed: decimal.RequireFromString("333.50"), HeaderID: uuid.NewString(), BundleID: uuid.NewString(),
		SourceHash: "s1", Event: "claim-request", Body: []byte(`{"resourceType":"Bundle"}`),
	}
}

func mustClaim(t *testing.T, s *store.Store) store.Claim {
	t.Helper()
	c, created, err := s.CreateClaim(t.Context(), newClaim())
	require.NoError(t, err)
	require.True(t, created)
	return c
}

func incoming(t *testing.T, s *store.Store, c store.Claim) uuid.UUID {
	t.Helper()
	id, err := s.SaveMessage(t.Context(), store.Message{Direction: store.In, Event: "claim-response", License: c.License, ClaimID: &c.ID, Body: []byte("{}")})
	require.NoError(t, err)
	return id
}

func submittedEvent(a store.Applied) []store.Event {
	return []store.Event{{
		Event: cards.Event{Type: cards.ClaimSubmittedEvent, Details: cards.ClaimSubmitted{ClaimID: a.Claim.ID.String(), ClaimRef: a.Claim.Identifier.Value, Payer: a.Claim.Payer, Amount: "333.50", Items: 2}},
		Key:   "claim/" + a.Claim.ID.String() + "/submitted", ClaimID: &a.Claim.ID,
	}}
}

func TestSameClaimIsKeptOnce(t *testing.T) {
	s, pool, _ := open(t)
	ctx := t.Context()
	n := newClaim()
	var wg sync.WaitGroup
	made := make(chan bool, 20)
	for range 20 {
		wg.Go(func() {
			other := n
			other.Body = []byte("other bytes")
			_, created, err := s.CreateClaim(ctx, other)
			if err == nil {
				made <- created
			}
		})
	}
	wg.Wait()
	close(made)
	count := 0
	total := 0
	for c := range made {
		total++
		if c {
			count++
		}
	}
	require.Equal(t, 20, total)
	require.Equal(t, 1, count)
	var messages int
	require.NoError(t, pool.QueryRow(ctx, `SELECT count(*) FROM messages`).Scan(&messages))
	require.Equal(t, 1, messages)

	c, err := s.ClaimByIdentifier(ctx, n.License, n.Identifier)
	require.NoError(t, err)
	require.Equal(t, store.Received, c.State)
	require.Equal(t, "333.50", c.Claimed.StringFixed(2))
	same, err := s.Claim(ctx, c.ID)
	require.NoError(t, err)
	require.Equal(t, c, same)
	_, err = s.Claim(ctx, uuid.New())
	require.True(t, store.IsNotFound(err))

	// The same number under another licence is another claim.
	n.License = "PR-2"
	_, created, err := s.CreateClaim(ctx, n)
	require.NoError(t, err)
	require.True(t, created)
}

func TestLifeOfAClaim(t *testing.T) {
	s, _, clk := open(t)
	ctx := t.Context()
	c := mustClaim(t, s)

	got, request, body, send, err := s.BeginSubmit(ctx, c.ID)
	require.NoError(t, err)
	require.True(t, send)
	require.NotEqual(t, uuid.Nil, request)
	require.JSONEq(t, `{"resourceType":"Bundle"}`, string(body))
	require.Equal(t, store.Submitting, got.State)
	require.Equal(t, 1, got.Attempts)

	channels, err := s.SubmitFailed(ctx, c.ID, store.Trouble{Kind: "network", Code: "HTTP 503", Text: "away"}, store.Event{
		Event: cards.Event{Type: cards.APIErrorEvent, Details: cards.APIError{Operation: cards.OperationSubmission, ErrorType: cards.ErrorNetwork, ClaimID: c.ID.String()}},
		Key:   "k1", ClaimID: &c.ID,
	})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"SRE", "SHARED"}, channels)
	got, err = s.Claim(ctx, c.ID)
	require.NoError(t, err)
	require.Equal(t, "HTTP 503", got.ErrorCode)
	require.NotNil(t, got.FirstFailedAt)

	// Queued, then partly approved, then reissued; each delivered twice.
	ans := func(fp string, st store.State, approved string) store.Answer {
		a := store.Answer{ClaimID: c.ID, MessageID: incoming(t, s, c), Fingerprint: fp, Outcome: "complete", State: st, RecheckAt: clk.Now().Add(time.Hour)}
		if approved != "" {
			a.Approved = decimal.NewNullDecimal(decimal.RequireFromString(approved))
		}
		return a
	}
	apply := func(a store.Answer) store.Applied {
		t.Helper()
		out, err := s.RecordAnswer(ctx, a, submittedEvent)
		require.NoError(t, err)
		return out
	}
	out := apply(ans("q", store.Pending, ""))
	require.True(t, out.New)
	require.True(t, out.Current)
	require.Equal(t, store.Submitting, out.Before)
	require.Equal(t, []string{"SHARED"}, out.Channels)
	require.Empty(t, out.Claim.ErrorCode, "an answer ends the trouble")
	require.NotNil(t, out.Claim.NextPollAt)
	require.NotNil(t, out.Claim.SubmittedAt)

	out = apply(ans("q", store.Pending, ""))
	require.False(t, out.New)
	require.False(t, out.Current)
	require.Empty(t, out.Channels)

	out = apply(ans("p1", store.Partial, "230.00"))
	require.Equal(t, 2, out.Version)
	require.Equal(t, store.Partial, out.Claim.State)
	require.Equal(t, "230.00", out.Claim.Approved.Decimal.StringFixed(2))
	require.Nil(t, out.Claim.NextPollAt)
	require.NotNil(t, out.Claim.AdjudicatedAt)

	out = apply(ans("late receipt", store.Pending, ""))
	require.True(t, out.New)
	require.False(t, out.Current, "a receipt that comes late does not undo an adjudication")
	require.False(t, apply(ans("late error", store.Failed, "")).Current)

	out = apply(ans("p2", store.Rejected, "0"))
	require.True(t, out.Current, "a reissue wins")
	require.Equal(t, store.Rejected, out.Claim.State)
	require.False(t, apply(ans("p1", store.Partial, "230.00")).Current, "an old version delivered again changes nothing")
	got, err = s.Claim(ctx, c.ID)
	require.NoError(t, err)
	require.Equal(t, store.Rejected, got.State)

	versions, err := s.ClaimVersions(ctx, c.ID)
	require.NoError(t, err)
	require.Len(t, versions, 5)
	require.Equal(t, 5, versions[4].Version)
	messages, err := s.ClaimMessages(ctx, c.ID)
	require.NoError(t, err)
	require.Len(t, messages, 8)
	require.Equal(t, store.Out, messages[0].Direction)
	raw, err := s.MessageBody(ctx, messages[0].ID)
	require.NoError(t, err)
	require.JSONEq(t, `{"resourceType":"Bundle"}`, string(raw))

	_, _, _, send, err = s.BeginSubmit(ctx, c.ID)
	require.NoError(t, err)
	require.False(t, send, "an answered claim is not sent again")
	channels, err = s.SubmitFailed(ctx, c.ID, store.Trouble{Kind: "network"}, store.Event{
		Event: cards.Event{Type: cards.APIErrorEvent, Details: cards.APIError{}}, Key: "k2",
	})
	require.NoError(t, err)
	require.Empty(t, channels, "a failure that an answer overtook is not told")

	notes, err := s.Notifications(ctx, &c.ID, 10)
	require.NoError(t, err)
	require.Len(t, notes, 3, "two channels for the failure, one for the claim's submission, told once")

	counts, err := s.ClaimCounts(ctx)
	require.NoError(t, err)
	require.Len(t, counts, len(store.States()))
	list, err := s.Claims(ctx, store.ClaimFilter{States: []store.State{store.Rejected}, Values: []string{c.Identifier.Value}, Limit: 3})
	require.NoError(t, err)
	require.Len(t, list, 1)
}

// TestAnswerThatReturns: a payer may go back to an earlier decision, and says so by the time it made it. Whatever else is delivered
// again changes nothing.
func TestAnswerThatReturns(t *testing.T) {
	s, _, _ := open(t)
	type answer struct {
		fp   string
		st   store.State
		made int // day of the payer's answer, 0 if it does not say
		why  string
	}
	partial := func(day int) answer { return answer{"partial 80", store.Partial, day, ""} }
	approved := func(day int) answer { return answer{"approved 100", store.Approved, day, ""} }
	reissued := func(day int) answer { return answer{"approved 100", store.Approved, day, "correction"} }
	receipt := func(day int) answer { return answer{"queued", store.Pending, day, ""} }
	refused := func(day int) answer { return answer{"error", store.Failed, day, ""} }
	for name, tt := range map[string]struct {
		answers  []answer
		state    store.State
		versions int
	}{
		"returns to an earlier value":             {[]answer{partial(1), approved(2), partial(3)}, store.Partial, 3},
		"and back again":                          {[]answer{partial(1), approved(2), partial(3), approved(4)}, store.Approved, 4},
		"returned, then delivered again":          {[]answer{partial(1), approved(2), partial(3), partial(3), partial(4)}, store.Partial, 3},
		"the latest again, made anew":             {[]answer{partial(1), approved(2), approved(3)}, store.Approved, 2},
		"an older one again":                      {[]answer{partial(1), approved(2), partial(1)}, store.Approved, 2},
		"an older one again, after it returned":   {[]answer{partial(1), approved(2), partial(3), approved(2)}, store.Partial, 3},
		"all of a lost poll once more":            {[]answer{receipt(1), partial(2), approved(3), receipt(1), partial(2), approved(3)}, store.Approved, 3},
		"the latest in real time, then the rest":  {[]answer{approved(2), partial(1), approved(2)}, store.Approved, 2},
		"the first one is overtaken":              {[]answer{approved(2), partial(1)}, store.Approved, 2},
		"overtaken within the same second":        {[]answer{reissued(1), partial(1)}, store.Approved, 2},
		"overtaken, and goes back to it later":    {[]answer{approved(2), partial(1), partial(3)}, store.Partial, 3},
		"overtaken, and reissued once more":       {[]answer{reissued(2), partial(1), {"partial 70", store.Partial, 3, "audit"}}, store.Partial, 3},
		"overtaken, without times":                {[]answer{reissued(0), partial(0)}, store.Approved, 2},
		"without times":                           {[]answer{partial(0), approved(0), partial(0)}, store.Approved, 2},
		"on the same day":                         {[]answer{partial(1), approved(1), partial(1)}, store.Approved, 2},
		"a receipt never returns":                 {[]answer{receipt(1), approved(2), receipt(3)}, store.Approved, 2},
		"a receipt in between counts for nothing": {[]answer{approved(2), receipt(1), approved(2)}, store.Approved, 2},
		"nor does an error":                       {[]answer{approved(2), refused(1), approved(2)}, store.Approved, 2},
	} {
		t.Run(name, func(t *testing.T) {
			c := mustClaim(t, s)
			contents, returned := map[string]bool{}, 0
			for _, a := range tt.answers {
				contents[a.fp] = true
				var made time.Time
				if a.made > 0 {
					made = time.Date(2026, 3, a.made, 0, 0, 0, 0, time.UTC)
				}
				out, err := s.RecordAnswer(t.Context(), store.Answer{
					ClaimID: c.ID, MessageID: incoming(t, s, c), Fingerprint: a.fp, Outcome: "complete", State: a.st, AnsweredAt: made, Reissue: a.why,
				}, nil)
				require.NoError(t, err)
				if out.Returned {
					require.True(t, out.New && out.Current, a)
					returned++
				}
			}
			got, err := s.Claim(t.Context(), c.ID)
			require.NoError(t, err)
			require.Equal(t, tt.state, got.State)
			versions, err := s.ClaimVersions(t.Context(), c.ID)
			require.NoError(t, err)
			require.Len(t, versions, tt.versions)
			require.Equal(t, tt.versions-len(contents), returned)
		})
	}
}

func TestFirstReadAsTryAgainThenFinal(t *testing.T) {
	s, _, _ := open(t)
	c := mustClaim(t, s)
	record := func(fp string, st store.State) store.Applied {
		t.Helper()
		out, err := s.RecordAnswer(t.Context(), store.Answer{ClaimID: c.ID, MessageID: incoming(t, s, c), Fingerprint: fp, Outcome: "error", State: st}, nil)
		require.NoError(t, err)
		return out
	}
	record("f", store.Pending)
	require.Equal(t, store.Failed, record("f", store.Failed).Claim.State, "the same answer, now final")
	require.False(t, record("receipt", store.Pending).Current, "a receipt that comes late does not reopen it")
	require.Equal(t, store.Approved, record("g", store.Approved).Claim.State)
}

func TestOutcomeAndItsCardsAreOneTransaction(t *testing.T) {
	s, _, _ := open(t)
	ctx := t.Context()
	c := mustClaim(t, s)
	_, err := s.RecordAnswer(ctx, store.Answer{ClaimID: c.ID, MessageID: incoming(t, s, c), Fingerprint: "f", Outcome: "complete", State: store.Approved},
		func(store.Applied) []store.Event {
			return []store.Event{{Event: cards.Event{Type: "no.such.event"}, Key: "k"}}
		})
	require.Error(t, err)
	got, err := s.Claim(ctx, c.ID)
	require.NoError(t, err)
	require.Equal(t, store.Received, got.State)
	v, err := s.ClaimVersions(ctx, c.ID)
	require.NoError(t, err)
	require.Empty(t, v)
}

func TestWishesOfClaims(t *testing.T) {
	s, _, clk := open(t)
	ctx := t.Context()
	c := mustClaim(t, s)
	soon := time.Now().Add(time.Minute)
	w, err := s.ClaimsToSubmit(ctx, soon, uuid.Nil, 10)
	require.NoError(t, err)
	require.Equal(t, []store.Wish{{ID: c.ID, Episode: 1, Kind: store.UseClaim}}, w)
	w, err = s.ClaimsToSubmit(ctx, time.Now().Add(-time.Minute), uuid.Nil, 10)
	require.NoError(t, err)
	require.Empty(t, w, "what was just touched is somebody's work")

	n, err := s.RenewClaim(ctx, c.ID, 1)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	n, err = s.RenewClaim(ctx, c.ID, 1)
	require.NoError(t, err)
	require.Zero(t, n, "somebody renewed it before")

	_, err = s.RecordAnswer(ctx, store.Answer{ClaimID: c.ID, MessageID: incoming(t, s, c), Fingerprint: "q", Outcome: "queued", State: store.Pending, RecheckAt: clk.Now().Add(time.Hour)}, nil)
	require.NoError(t, err)
	overdue := func() []store.Overdue {
		list, err := s.OverdueClaims(ctx, 10)
		require.NoError(t, err)
		return list
	}
	require.Empty(t, overdue())
	clk.add(2 * time.Hour)
	for step := range 3 { // poll, status-check, bytes, and from the beginning
		require.Equal(t, []store.Overdue{{Wish: store.Wish{ID: c.ID, Episode: 2, Kind: store.UseClaim}, License: c.License, Step: step}}, overdue())
		require.NoError(t, s.OverdueStep(ctx, step, (step+1)%3, clk.Now().Add(time.Minute), c.ID))
		require.NoError(t, s.OverdueStep(ctx, step, (step+2)%3, clk.Now().Add(time.Hour), c.ID), "it has moved on: nothing changes")
		require.Empty(t, overdue())
		clk.add(time.Minute)
	}
	require.Equal(t, store.StepPoll, overdue()[0].Step)

	_, _, _, err = s.RecordDeadLetter(ctx, letter("t1", &c.ID, clk.Now()), nil)
	require.NoError(t, err)
	c2 := mustClaim(t, s)
	_, _, _, err = s.RecordDeadLetter(ctx, letter("t2", &c2.ID, clk.Now()), nil)
	require.NoError(t, err)
	w, err = s.ClaimsToSubmit(ctx, soon, uuid.Nil, 10)
	require.NoError(t, err)
	require.Empty(t, w, "a claim with an open dead letter waits for a person")
}

func TestEligibilityChecks(t *testing.T) {
	s, _, _ := open(t)
	ctx := t.Context()
	n := store.NewCheck{License: "PR-1", Identifier: store.Identifier{System: "s", Value: "E-1"}, Payer: "INS", HeaderID: "h", BundleID: "b", SourceHash: "x", Body: []byte("{}")}
	c, created, err := s.CreateCheck(ctx, n)
	require.NoError(t, err)
	require.True(t, created)
	_, created, err = s.CreateCheck(ctx, n)
	require.NoError(t, err)
	require.False(t, created)

	w, err := s.ChecksToSend(ctx, time.Now().Add(time.Minute), uuid.Nil, 5)
	require.NoError(t, err)
	require.Equal(t, []store.Wish{{ID: c.ID, Episode: 1}}, w)
	ep, err := s.RenewCheck(ctx, c.ID, 1)
	require.NoError(t, err)
	require.Equal(t, 2, ep)
	ep, err = s.RenewCheck(ctx, c.ID, 1)
	require.NoError(t, err)
	require.Zero(t, ep)

	got, _, body, send, err := s.BeginCheck(ctx, c.ID)
	require.NoError(t, err)
	require.True(t, send)
	require.Equal(t, "{}", string(body))
	require.Equal(t, store.CheckSubmitting, got.State)
	_, err = s.CheckFailedAttempt(ctx, c.ID, store.Trouble{Kind: "network", Text: "away"})
	require.NoError(t, err)

	ev := store.Event{Event: cards.Event{Type: cards.EligibilityDeniedEvent, Details: cards.EligibilityDenied{SiteEligibility: "not-active"}}, Key: "e"}
	first, channels, err := s.RecordCheck(ctx, store.CheckAnswer{ID: c.ID, State: store.CheckNotEligible, SiteEligibility: "not-active"}, ev)
	require.NoError(t, err)
	require.True(t, first)
	require.Equal(t, []string{"SHARED"}, channels)
	first, channels, err = s.RecordCheck(ctx, store.CheckAnswer{ID: c.ID, State: store.CheckEligible}, ev)
	require.NoError(t, err)
	require.False(t, first)
	require.Empty(t, channels)
	got, err = s.Check(ctx, c.ID)
	require.NoError(t, err)
	require.Equal(t, store.CheckNotEligible, got.State)
	require.Equal(t, "not-active", got.SiteEligibility)
	list, err := s.Checks(ctx, []string{"E-1"}, 1)
	require.NoError(t, err)
	require.Len(t, list, 1)
	_, _, _, send, err = s.BeginCheck(ctx, c.ID)
	require.NoError(t, err)
	require.False(t, send)
	_, err = s.CheckFailedAttempt(ctx, c.ID, store.Trouble{Kind: "network"})
	require.NoError(t, err)
	got, err = s.Check(ctx, c.ID)
	require.NoError(t, err)
	require.Empty(t, got.ErrorKind)
}

func TestPoll(t *testing.T) {
	s, pool, clk := open(t)
	ctx := t.Context()
	c := mustClaim(t, s) // makes its licence known
	states, err := s.PollStates(ctx)
	require.NoError(t, err)
	require.Len(t, states, 1)
	require.NoError(t, s.EnsureLicense(ctx, c.License))
	due, err := s.DuePolls(ctx, time.Now().Add(time.Second))
	require.NoError(t, err)
	require.Len(t, due, 1)

	_, body, _, err := s.PollInFlight(ctx, c.License)
	require.NoError(t, err)
	require.Nil(t, body)
	id, err := s.BeginPoll(ctx, c.License, uuid.Nil, store.Message{Event: "poll-request", Body: []byte("poll")})
	require.NoError(t, err)
	_, err = s.BeginPoll(ctx, c.License, id, store.Message{})
	require.NoError(t, err)
	inFlight, body, sends, err := s.PollInFlight(ctx, c.License)
	require.NoError(t, err)
	require.Equal(t, id, inFlight)
	require.Equal(t, "poll", string(body))
	require.Equal(t, 2, sends)

	answer, err := s.KeepPollAnswer(ctx, c.License, store.Message{Event: "poll-response", ReplyTo: &id, Body: []byte("answer")}, false)
	require.NoError(t, err)
	_, body, _, err = s.PollInFlight(ctx, c.License)
	require.NoError(t, err)
	require.Nil(t, body)
	open, err := s.UnprocessedPolls(ctx, c.License)
	require.NoError(t, err)
	require.Equal(t, []store.PollAnswer{{MessageID: answer, Body: []byte("answer")}}, open)

	pos := func(i int) *int { return &i }
	nested := store.Message{Event: "claim-response", License: c.License, ClaimID: &c.ID, ParentID: &answer, Position: pos(0), Body: []byte("n0")}
	for i := range 2 {
		out, err := s.RecordNested(ctx, store.Nested{Message: nested, Answer: &store.Answer{ClaimID: c.ID, Fingerprint: "f", Outcome: "complete", State: store.Approved}}, submittedEvent)
		require.NoError(t, err)
		require.Equal(t, i == 0, out.New, "distributing an answer again changes nothing")
	}
	_, err = s.RecordNested(ctx, store.Nested{Message: store.Message{Event: "future-event", License: c.License, ParentID: &answer, Position: pos(1), Body: []byte("n1")}}, nil)
	require.NoError(t, err)
	unmatched, err := s.Inbox(ctx, store.InboxFilter{Unmatched: true})
	require.NoError(t, err)
	require.Len(t, unmatched, 1)
	require.Equal(t, "future-event", unmatched[0].Event)
	all, err := s.Inbox(ctx, store.InboxFilter{License: c.License, Limit: 5})
	require.NoError(t, err)
	require.Len(t, all, 2)

	require.NoError(t, s.PollProcessed(ctx, answer))
	open, err = s.UnprocessedPolls(ctx, c.License)
	require.NoError(t, err)
	require.Empty(t, open)

	next := clk.Now().Add(time.Hour)
	require.NoError(t, s.PollDone(ctx, c.License, next, false))
	due, err = s.DuePolls(ctx, clk.Now())
	require.NoError(t, err)
	require.Empty(t, due)
	require.NoError(t, s.SchedulePoll(ctx, c.License, next.Add(time.Hour)))
	states, err = s.PollStates(ctx)
	require.NoError(t, err)
	require.WithinDuration(t, next, states[0].NextPollAt, time.Millisecond, "an earlier poll stands")
	require.NoError(t, s.SchedulePoll(ctx, c.License, clk.Now()))
	due, err = s.DuePolls(ctx, clk.Now())
	require.NoError(t, err)
	require.Len(t, due, 1)

	_, err = s.PollFailed(ctx, c.License, store.Trouble{Kind: "network", Text: "away"}, next, nil)
	require.NoError(t, err)
	states, err = s.PollStates(ctx)
	require.NoError(t, err)
	require.Equal(t, "network", states[0].ErrorKind)
	require.NotNil(t, states[0].FirstFailedAt)

	// Polls that fail one after the other are one outage, from its first failure on; a success ends it.
	failing := func() (since time.Time) {
		clk.add(time.Minute)
		_, err := s.PollFailed(ctx, c.License, store.Trouble{Kind: "network", Text: "away"}, next, func(t time.Time) []store.Event {
			since = t
			return nil
		})
		require.NoError(t, err)
		return since
	}
	first := *states[0].FirstFailedAt
	require.WithinDuration(t, first, failing(), 0)
	require.WithinDuration(t, first, failing(), 0)
	require.NoError(t, s.PollDone(ctx, c.License, next, false))
	require.True(t, failing().After(first), "the next outage")

	// An answer lost for good makes the licence's pending claims due.
	c2 := mustClaim(t, s)
	_, err = pool.Exec(ctx, `UPDATE claims SET state = 'pending', next_poll_at = now() + interval '1 day' WHERE id = $1`, c2.ID)
	require.NoError(t, err)
	_, err = s.BeginPoll(ctx, c.License, uuid.Nil, store.Message{Event: "poll-request", Body: []byte("poll")})
	require.NoError(t, err)
	n, err := s.GiveUpPoll(ctx, c.License)
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	w, err := s.OverdueClaims(ctx, 5)
	require.NoError(t, err)
	require.Equal(t, c2.ID, w[0].ID)
}

func TestNotifications(t *testing.T) {
	s, _, clk := open(t)
	ctx := t.Context()
	ev := func(key string, p cards.Priority) store.Event {
		return store.Event{Event: cards.Event{Type: cards.TaskDLQEvent, Priority: p, CorrelationID: "corr", Details: cards.DeadLetter{ID: "d", Queue: "teams", TaskType: "teams:notify", TaskID: "x"}}, Key: key}
	}
	for _, e := range []store.Event{ev("low", cards.Low), ev("high", cards.High), ev("critical", cards.Critical), ev("low", cards.Low)} {
		_, err := s.AddEvents(ctx, e)
		require.NoError(t, err)
		clk.add(time.Second)
	}
	chs, err := s.DueChannels(ctx, clk.Now())
	require.NoError(t, err)
	require.Equal(t, []string{"SHARED", "SRE"}, chs)
	due, err := s.DueNotifications(ctx, "SRE", 10)
	require.NoError(t, err)
	require.Len(t, due, 3, "the same event is written once for a channel")
	require.Equal(t, []string{"CRITICAL", "HIGH", "LOW"}, []string{due[0].Priority, due[1].Priority, due[2].Priority})
	require.Equal(t, []string{"SRE"}, due[0].Stakeholders)
	require.Contains(t, string(due[0].Card), "AdaptiveCard")
	require.NotEmpty(t, due[0].Summary)

	require.NoError(t, s.AssignDigest(ctx, "msg_digest", []uuid.UUID{due[1].ID, due[2].ID}))
	require.NoError(t, s.AssignDigest(ctx, "msg_other", []uuid.UUID{due[2].ID}))
	members, err := s.DigestNotifications(ctx, "msg_digest")
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{due[1].ID, due[2].ID}, []uuid.UUID{members[0].ID, members[1].ID}, "a member stays in its digest")

	now := clk.Now()
	require.NoError(t, s.MarkSent(ctx, store.Sent{ID: due[0].ID, StatusCode: 202, At: now, WebhookURL: "https://h/…#1"}, store.Sent{ID: due[2].ID, StatusCode: 202, At: now, DigestID: "msg_digest"}))
	code := 500
	for i := range 3 {
		require.NoError(t, s.MarkFailed(ctx, store.SendFailed{ID: due[1].ID, StatusCode: &code, Text: "HTTP 500", NextAttemptAt: now.Add(time.Minute), Dead: i == 2}))
	}
	next, ok, err := s.NextDue(ctx, "SRE")
	require.NoError(t, err)
	require.False(t, ok, "%s", next)
	next, ok, err = s.NextDue(ctx, "SHARED")
	require.NoError(t, err)
	require.True(t, ok)
	require.True(t, next.Before(now))
	rows, err := s.Notifications(ctx, nil, 10)
	require.NoError(t, err)
	require.Len(t, rows, 6)
	for _, r := range rows {
		switch r.ID {
		case due[1].ID:
			require.Equal(t, 3, r.RetryCount)
			require.Equal(t, 500, *r.StatusCode)
			require.Equal(t, "HTTP 500", *r.ErrorMessage)
			require.NotNil(t, r.DeadAt)
		case due[2].ID:
			require.Equal(t, "msg_digest", *r.DigestID)
			require.Equal(t, 202, *r.StatusCode)
		}
	}
	counts, err := s.ChannelCounts(ctx)
	require.NoError(t, err)
	require.Len(t, counts, 2)
	require.Equal(t, 2, counts[1].Sent)
	require.Equal(t, 1, counts[1].Dead)
	require.Equal(t, 3, counts[0].Waiting)
	require.Equal(t, 2, counts[0].UnacknowledgedUrgency)
}

func TestRowsThatDiedOfAnOutageAreRevived(t *testing.T) {
	s, _, clk := open(t)
	ctx := t.Context()
	add := func(key string) uuid.UUID {
		t.Helper()
		_, err := s.AddEvents(ctx, store.Event{Event: cards.Event{Type: cards.EligibilityDeniedEvent, Details: cards.EligibilityDenied{}}, Key: key})
		require.NoError(t, err)
		rows, err := s.Notifications(ctx, nil, 1)
		require.NoError(t, err)
		return rows[0].ID
	}
	kill := func(id uuid.UUID, status int) {
		t.Helper()
		require.NoError(t, s.MarkFailed(ctx, store.SendFailed{ID: id, StatusCode: &status, Text: "x", NextAttemptAt: clk.Now(), Dead: true}))
	}
	due := func() int {
		t.Helper()
		rows, err := s.DueNotifications(ctx, "SHARED", 10)
		require.NoError(t, err)
		return len(rows)
	}
	a, b, c := add("a"), add("b"), add("c")
	kill(a, 503)
	kill(b, 429)
	kill(c, 400)
	channels, err := s.ReviveNotifications(ctx, clk.Now().Add(-time.Minute))
	require.NoError(t, err)
	require.Empty(t, channels, "not yet")
	clk.add(time.Minute)
	channels, err = s.ReviveNotifications(ctx, clk.Now())
	require.NoError(t, err)
	require.Equal(t, []string{"SHARED"}, channels)
	require.Equal(t, 1, due(), "one row finds out whether the outage is over")
	clk.add(time.Minute)
	require.NoError(t, s.MarkSent(ctx, store.Sent{ID: a, StatusCode: 202, At: clk.Now()}))
	_, err = s.ReviveNotifications(ctx, clk.Now())
	require.NoError(t, err)
	rows, err := s.DueNotifications(ctx, "SHARED", 10)
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.Equal(t, b, rows[0].ID, "the rest follows, but for the card that Teams refused as such")
	kill(b, 503)
	clk.add(96 * time.Hour)
	channels, err = s.ReviveNotifications(ctx, clk.Now())
	require.NoError(t, err)
	require.Empty(t, channels, "news of last week")
}

// TestADigestIsRevivedWhole: it is repeated under its id. What was posted alone stays so, unless Teams put it off.
func TestADigestIsRevivedWhole(t *testing.T) {
	s, _, clk := open(t)
	ctx := t.Context()
	add := func(key string) uuid.UUID {
		t.Helper()
		_, err := s.AddEvents(ctx, store.Event{Event: cards.Event{Type: cards.EligibilityDeniedEvent, Details: cards.EligibilityDenied{}}, Key: key})
		require.NoError(t, err)
		rows, err := s.Notifications(ctx, nil, 1)
		require.NoError(t, err)
		return rows[0].ID
	}
	d, e := add("d"), add("e")
	require.NoError(t, s.AssignDigest(ctx, "msg_digest", []uuid.UUID{d, e}))
	status := 503
	require.NoError(t, s.MarkFailed(ctx, store.SendFailed{ID: d, StatusCode: &status, Text: "x", NextAttemptAt: clk.Now(), Dead: true},
		store.SendFailed{ID: e, StatusCode: &status, Text: "x", NextAttemptAt: clk.Now(), Dead: true}))
	clk.add(time.Minute)
	_, err := s.ReviveNotifications(ctx, clk.Now())
	require.NoError(t, err)
	members, err := s.DigestNotifications(ctx, "msg_digest")
	require.NoError(t, err)
	require.Len(t, members, 2)

	f := add("f")
	require.NoError(t, s.MarkPosting(ctx, f, clk.Now()))
	posted := func() *time.Time {
		t.Helper()
		rows, err := s.Notifications(ctx, nil, 1)
		require.NoError(t, err)
		require.Equal(t, f, rows[0].ID)
		return rows[0].PostedAt
	}
	require.NotNil(t, posted())
	require.NoError(t, s.MarkFailed(ctx, store.SendFailed{ID: f, StatusCode: &status, Text: "x", NextAttemptAt: clk.Now()}))
	require.NotNil(t, posted())
	require.NoError(t, s.MarkFailed(ctx, store.SendFailed{ID: f, StatusCode: &status, Text: "x", NextAttemptAt: clk.Now(), Deferred: true}))
	require.Nil(t, posted())
}

// TestManyWritersOfOneEvent: whoever is second is told that there is nothing new, not that the record refuses it.
func TestManyWritersOfOneEvent(t *testing.T) {
	s, _, _ := open(t)
	for i := range 20 {
		var all sync.WaitGroup
		var first atomic.Int32
		for range 8 {
			all.Go(func() {
				channels, err := s.Tell(t.Context(), store.Event{Event: cards.Event{Type: cards.EligibilityDeniedEvent, Details: cards.EligibilityDenied{}}, Key: fmt.Sprint("event ", i)})
				if err != nil {
					t.Error(err)
				}
				if len(channels) > 0 {
					first.Add(1)
				}
			})
		}
		all.Wait()
		require.EqualValues(t, 1, first.Load())
	}
}

func letter(task string, claim *uuid.UUID, at time.Time) store.DeadLetter {
	return store.DeadLetter{
		Queue: "nphies-submit", TaskType: "nphies:submit", TaskID: task, ClaimID: claim, Reference: "CLM", Retried: 8, ErrorKind: "network", ErrorText: "away",
		FirstFailedAt: at.Add(-time.Hour), LastFailedAt: at,
	}
}

func TestDeadLetters(t *testing.T) {
	s, _, clk := open(t)
	ctx := t.Context()
	c := mustClaim(t, s)
	events := func(d store.DeadLetter) []store.Event {
		return []store.Event{{Event: cards.Event{Type: cards.TaskDLQEvent, Details: cards.DeadLetter{ID: d.ID.String(), TaskType: d.TaskType, TaskID: d.TaskID, Queue: d.Queue}}, Key: "dlq/" + d.ID.String(), DeadLetterID: &d.ID}}
	}
	id, created, channels, err := s.RecordDeadLetter(ctx, letter("t", &c.ID, clk.Now()), events)
	require.NoError(t, err)
	require.True(t, created)
	require.Len(t, channels, 2)
	again, created, channels, err := s.RecordDeadLetter(ctx, letter("t", &c.ID, clk.Now().Add(time.Second)), events)
	require.NoError(t, err)
	require.False(t, created, "the reconciler saw what the worker had reported")
	require.Empty(t, channels)
	require.Equal(t, id, again)

	_, err = s.RetryLetter(ctx, store.Decision{ID: id, Actor: "a", Source: "cli"})
	require.ErrorIs(t, err, store.ErrReason)
	_, err = s.RetryLetter(ctx, store.Decision{ID: uuid.New(), Actor: "a", Source: "cli", Reason: "r"})
	require.True(t, store.IsNotFound(err))

	// Twenty operators at once: one decides, the others are told who did.
	var wg sync.WaitGroup
	results := make(chan store.Decided, 20)
	for i := range 20 {
		wg.Go(func() {
			decide := s.RetryLetter
			if i%2 == 0 {
				decide = s.DiscardLetter
			}
			if d, err := decide(context.WithoutCancel(ctx), store.Decision{ID: id, Actor: fmt.Sprintf("op%d", i), Source: "monitor", Reason: "because"}); err == nil {
				results <- d
			}
		})
	}
	wg.Wait()
	close(results)
	applied, all := 0, 0
	for d := range results {
		all++
		if d.Applied {
			applied++
		}
		require.NotEmpty(t, d.Letter.DecidedBy)
	}
	require.Equal(t, 20, all)
	require.Equal(t, 1, applied)
	n, err := s.VerifyActions(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 20, n, "every attempt is on record")

	// Discarded: the claim ends in error, and a late answer still counts.
	c2 := mustClaim(t, s)
	id2, _, _, err := s.RecordDeadLetter(ctx, letter("t2", &c2.ID, clk.Now()), nil)
	require.NoError(t, err)
	d, err := s.DiscardLetter(ctx, store.Decision{ID: id2, Actor: "op", Source: "cli", Reason: "billed on paper"})
	require.NoError(t, err)
	require.True(t, d.Applied)
	got, err := s.Claim(ctx, c2.ID)
	require.NoError(t, err)
	require.Equal(t, store.Failed, got.State)
	require.Contains(t, got.ErrorText, "billed on paper")
	out, err := s.RecordAnswer(ctx, store.Answer{ClaimID: c2.ID, MessageID: incoming(t, s, c2), Fingerprint: "f", Outcome: "complete", State: store.Approved}, nil)
	require.NoError(t, err)
	require.Equal(t, store.Approved, out.Claim.State)

	// Retried: a new episode; its answer resolves the letter; a later failure of the same task is another letter.
	c3 := mustClaim(t, s)
	id3, _, _, err := s.RecordDeadLetter(ctx, letter("t3", &c3.ID, clk.Now()), nil)
	require.NoError(t, err)
	d, err = s.RetryLetter(ctx, store.Decision{ID: id3, Actor: "op", Source: "cli", Reason: "NPHIES is back"})
	require.NoError(t, err)
	require.Equal(t, 2, d.Episode)
	_, created, _, err = s.RecordDeadLetter(ctx, letter("t3", &c3.ID, clk.Now()), nil)
	require.NoError(t, err)
	require.False(t, created, "the archived task of the decided letter is the same failure")
	_, created, _, err = s.RecordDeadLetter(ctx, letter("t3", &c3.ID, clk.Now().Add(time.Minute)), nil)
	require.NoError(t, err)
	require.True(t, created)
	_, err = s.RecordAnswer(ctx, store.Answer{ClaimID: c3.ID, MessageID: incoming(t, s, c3), Fingerprint: "f", Outcome: "complete", State: store.Approved}, nil)
	require.NoError(t, err)
	l, err := s.DeadLetter(ctx, id3)
	require.NoError(t, err)
	require.Equal(t, store.LetterResolved, l.State)
	require.Equal(t, "op", l.DecidedBy)
	l, err = s.LetterByTask(ctx, "nphies-submit", "t3")
	require.NoError(t, err)
	require.Equal(t, 2, l.Episode)
	require.Equal(t, store.LetterResolved, l.State)

	// A task without a claim.
	p := letter("p", nil, clk.Now())
	p.TaskType, p.Queue, p.Reference = "nphies:poll", "nphies-poll", "PR-1"
	id4, _, _, err := s.RecordDeadLetter(ctx, p, nil)
	require.NoError(t, err)
	require.NoError(t, s.LetterRerun(ctx, "nphies-poll", "p", "op", "again", false))
	l, err = s.DeadLetter(ctx, id4)
	require.NoError(t, err)
	require.Equal(t, store.LetterRetrying, l.State)
	require.NoError(t, s.SettleDeadLetter(ctx, "nphies:poll", "PR-1"))
	list, err := s.DeadLetters(ctx, store.LetterFilter{States: []store.LetterState{store.LetterResolved}, Queue: "nphies-poll", ErrorKind: "network", Reference: "PR-1", IDs: []uuid.UUID{id4}, Limit: 5})
	require.NoError(t, err)
	require.Len(t, list, 1)
	counts, err := s.LetterCounts(ctx)
	require.NoError(t, err)
	require.Positive(t, counts[store.LetterResolved])
	_, err = s.DeadLetter(ctx, uuid.New())
	require.True(t, store.IsNotFound(err))
	_, err = s.LetterByTask(ctx, "q", "none")
	require.True(t, store.IsNotFound(err))
}

func TestAuditTrailShowsTampering(t *testing.T) {
	s, pool, _ := open(t)
	ctx := t.Context()
	for i := range 5 {
		require.NoError(t, s.AppendAction(ctx, &store.Action{Actor: "op", Source: "monitor", Verb: "pause", TargetKind: "queue", Target: fmt.Sprint(i), Outcome: "requested", Detail: map[string]string{"b": "2", "a": "1"}}))
	}
	n, err := s.VerifyActions(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 5, n)
	list, err := s.Actions(ctx, "3", 1)
	require.NoError(t, err)
	require.Len(t, list, 1)
	for _, q := range []string{`UPDATE operator_actions SET reason = 'other' WHERE seq = 3`, `DELETE FROM operator_actions WHERE seq = 2`} {
		tx, err := pool.Begin(ctx)
		require.NoError(t, err)
		_, err = tx.Exec(ctx, `ALTER TABLE operator_actions DISABLE TRIGGER ALL`)
		require.NoError(t, err)
		_, err = tx.Exec(ctx, q)
		require.NoError(t, err)
		require.NoError(t, tx.Commit(ctx))
		_, err = s.VerifyActions(ctx)
		require.ErrorContains(t, err, "broken at row")
	}
}

func TestErrorsOfTheDatabaseAreClassified(t *testing.T) {
	_, err := store.Open(t.Context(), "not an address", 0)
	require.True(t, fault.Is(err, fault.Config))
	_, err = store.Open(t.Context(), "postgres://u:secret@/db?host=/nonexistent", 0)
	require.True(t, fault.Is(err, fault.Unavailable))
	require.NotContains(t, err.Error(), "secret")

	pool, err := store.Open(t.Context(), testenv.EmptyDatabaseURL(t), 3)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	s := store.New(pool, store.Options{})
	require.NoError(t, s.Ping(t.Context()))
	_, err = s.ClaimCounts(t.Context())
	require.True(t, fault.Is(err, fault.Config))
	require.ErrorContains(t, err, "worker migrate up")
}
