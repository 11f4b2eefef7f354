package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/nphiessim"
	"github.com/claimlinc/nphiesq/tasks"
)

// settleLimit is how long everything may take to come to rest after the fault; brokenLimit the same where a promise is broken on
// purpose: the drills come to rest in less.
const (
	settleLimit = 2 * time.Minute
	brokenLimit = 40 * time.Second
)

// drillOne runs one scenario.
func drillOne(ctx context.Context, o options, s scenario, sabotage string, stderr io.Writer) *result {
	r := &result{Scenario: s.name, Seed: o.seed, Claims: o.claims}
	start := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t, err := newSite(ctx, o, s, sabotage)
	defer t.remove()
	if err == nil {
		err = t.play(ctx, s, r)
	}
	if err != nil {
		r.unplayed = true
		r.problem("%v", err)
	}
	r.Took = time.Since(start)
	r.OK = len(r.Problems) == 0
	if !r.OK && o.verbose {
		for _, p := range t.workers {
			if p != nil {
				_, _ = fmt.Fprintf(stderr, "--- %s %d\n%s\n", p.name, p.cmd.Process.Pid, p.log.tail(40))
			}
		}
	}
	return r
}

func (t *site) play(ctx context.Context, s scenario, r *result) error {
	pace := 40 * time.Millisecond
	if !s.late {
		go t.load(ctx, pace)
		if err := until(ctx, time.Minute, "a third of the claims is taken in", func() bool { return t.promises() >= len(t.claims)/3 }); err != nil {
			return err
		}
	}
	since, err := s.fault(ctx, t)
	if err != nil {
		return fmt.Errorf("the fault could not be made: %w", err)
	}
	if s.late {
		go t.load(ctx, pace)
	}
	limit := s.limit
	if limit == 0 {
		limit = time.Minute
	}
	accepted := t.promisedBefore(since)
	if err := until(ctx, t.patience, "what was accepted before has its outcome", func() bool { return t.open(ctx, accepted) == 0 }); err != nil {
		r.problem("%v", err)
	}
	if r.Recovered = time.Since(since); r.Recovered > limit {
		r.problem("the work stood still for %s after the fault; at most %s are allowed", r.Recovered.Round(100*time.Millisecond), limit)
	}
	if t.broken && len(r.Problems) > 0 {
		return t.books(ctx, s, r) // noticed: what else is wrong, the books say
	}
	for i, p := range t.workers {
		select {
		case <-p.done: // whoever looks after processes starts it again
			if err := t.work(i); err != nil {
				return err
			}
		default:
		}
	}
	if err := until(ctx, t.patience, "all claims are taken in", func() bool {
		select {
		case <-t.loading:
			return true
		default:
			return false
		}
	}); err != nil {
		r.problem("%v", err)
	}
	var last string
	if err := until(ctx, t.patience, "everything comes to rest", func() bool { last = t.unsettled(ctx); return last == "" }); err != nil {
		r.problem("%v: %s", err, last)
	}
	if err := t.books(ctx, s, r); err != nil {
		return fmt.Errorf("compare the books: %w", err)
	}
	if s.check != nil {
		s.check(ctx, t, r)
	}
	return nil
}

// unsettled says what is not yet as it will be; "" when all is.
func (t *site) unsettled(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var claims, cards, work int
	err := t.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM claims WHERE state IN ('received', 'submitting', 'pending', 'pended')),
		(SELECT count(*) FROM teams_notifications WHERE sent_at IS NULL), (SELECT count(*) FROM leases WHERE kind = 'claim')`).Scan(&claims, &cards, &work)
	switch {
	case err != nil:
		return err.Error()
	case claims > 0:
		return fmt.Sprintf("%d claims have no outcome", claims)
	case cards > 0:
		return fmt.Sprintf("%d cards have not left", cards)
	case work > 0:
		return fmt.Sprintf("%d claims are being worked on", work)
	}
	// An answer that replaces an earlier one leaves the claim with an outcome while it is under way.
	if n := t.sim.Stats().Waiting; n > 0 {
		return fmt.Sprintf("%d messages wait in the mailbox", n)
	}
	ours, err := t.record(ctx)
	if err != nil {
		return err.Error()
	}
	for _, c := range t.sim.Claims() {
		if x, ok := ours[c.Identifier.Value]; ok && x.state != c.Final {
			return fmt.Sprintf("%s is %s here and %s at NPHIES", c.Identifier.Value, x.state, c.Final)
		}
	}
	return ""
}

// row of the record.
type row struct {
	state    string
	approved decimal.NullDecimal
}

// record reads all claims, by number.
func (t *site) record(ctx context.Context) (map[string]row, error) {
	out := map[string]row{}
	rows, err := t.pool.Query(ctx, `SELECT identifier_value, state, amount_approved FROM claims`)
	if err != nil {
		return nil, err
	}
	var number string
	var x row
	_, err = pgx.ForEachRow(rows, []any{&number, &x.state, &x.approved}, func() error { out[number] = x; return nil })
	return out, err
}

// books compares what enqueue promised, what NPHIES got, what the record says and what Teams showed.
func (t *site) books(ctx context.Context, s scenario, r *result) error {
	record, err := t.record(ctx)
	if err != nil {
		return err
	}
	nphies := map[string]nphiessim.Claim{}
	for _, c := range t.sim.Claims() {
		nphies[c.Identifier.Value] = c
		if c.DistinctBodies > 1 || c.DistinctContents > 1 {
			r.Double++
			r.problem("%s reached NPHIES as %d different messages", c.Identifier.Value, max(c.DistinctBodies, c.DistinctContents))
		}
	}
	if n := len(nphies); n > len(t.claims) {
		r.Double += n - len(t.claims)
		r.problem("NPHIES knows %d claims, %d were handed in", n, len(t.claims))
	}
	for _, c := range t.claims {
		ours, known := record[c.number]
		theirs, sent := nphies[c.number]
		switch ours.state {
		case "approved":
			r.Approved++
		case "partial":
			r.Partial++
		case "rejected":
			r.Rejected++
		default:
			r.Other++
		}
		switch {
		case !known:
			r.Lost++
			r.problem("%s was promised and is not in the record", c.number)
		case !sent:
			r.Lost++
			r.problem("%s is %s here and never reached NPHIES", c.number, ours.state)
		case ours.state != theirs.Final:
			r.Lost++
			r.problem("%s is %s here and %s at NPHIES", c.number, ours.state, theirs.Final)
		case !ours.approved.Valid || ours.approved.Decimal.StringFixed(2) != theirs.Amounts.Paid.StringFixed(2):
			r.problem("%s: %s is paid, the record says %s", c.number, theirs.Amounts.Paid.StringFixed(2), ours.approved.Decimal.StringFixed(2))
		}
	}
	if err := t.cards(ctx, s, r, nphies); err != nil {
		return err
	}
	var letters int
	if err := t.pool.QueryRow(ctx, `SELECT count(*) FROM dead_letters WHERE state = 'open'`).Scan(&letters); err != nil {
		return err
	}
	if letters > 0 {
		r.problem("%d dead letters are left, though the fault is over", letters)
	}
	if n := len(record); n != len(t.claims) {
		r.problem("the record has %d claims, %d were handed in", n, len(t.claims))
	}
	return t.schedule(ctx, r)
}

// schedule looks into Redis: what failed for good is in the record, and no work of claims is left over.
func (t *site) schedule(ctx context.Context, r *result) error {
	rc, err := broker.Connect(t.env["REDIS_URL"])
	if err != nil {
		return err
	}
	defer rc.Close()
	insp := broker.New(rc).Inspector()
	for _, queue := range tasks.Queues() {
		info, err := insp.GetQueueInfo(queue)
		if err != nil {
			continue // nothing was ever in it, or it was lost with Redis
		}
		var letters int
		if err := t.pool.QueryRow(ctx, `SELECT count(*) FROM dead_letters WHERE queue = $1`, queue).Scan(&letters); err != nil {
			return err
		}
		if info.Archived > letters {
			r.problem("%s: %d tasks are archived in Redis, %d are in the record", queue, info.Archived, letters)
		}
		if queue != tasks.QueueSubmit {
			continue
		}
		// An answer may come by the mailbox while the task that asked for it waits for its next attempt, which then finds nothing to do.
		left := 0
		if err := until(ctx, t.patience, "no task is left", func() bool {
			info, err := insp.GetQueueInfo(queue)
			if err != nil {
				return false
			}
			left = info.Pending + info.Retry + info.Scheduled
			return left == 0
		}); err != nil {
			r.problem("%s: %d tasks are left, though every claim has its outcome", queue, left)
		}
	}
	return nil
}

// audience of a claim's cards.
var audience = []string{"NPHIES_INTEGRATION", "PMO", "COMPLIANCE"}

// cards compares the cards that there must be with those that Teams showed.
func (t *site) cards(ctx context.Context, s scenario, r *result, nphies map[string]nphiessim.Claim) error {
	shown := map[string]nphiessim.Card{}
	for _, c := range t.sim.Cards() {
		shown[strings.ToUpper(c.Channel)+" "+c.WebhookID] = c
		r.Cards++
	}
	type key struct{ number, event, channel string }
	wanted, twoVersions := map[key]bool{}, map[key]bool{}
	for number, c := range nphies {
		outcome := "nphies.claim.approved"
		if c.Behaviour == "REISSUE" { // two versions, and two cards of the same event
			for _, channel := range audience {
				twoVersions[key{number, outcome, channel}] = true
			}
		}
		if c.Final == "rejected" {
			outcome = "nphies.claim.rejected"
		}
		for _, channel := range audience {
			wanted[key{number, "nphies.claim.submitted", channel}] = true
			wanted[key{number, outcome, channel}] = true
		}
	}
	rows, err := t.pool.Query(ctx, `SELECT coalesce(c.identifier_value, ''), n.event_type, n.channel, n.id::text, n.event_key FROM teams_notifications n LEFT JOIN claims c ON c.id = n.claim_id`)
	if err != nil {
		return err
	}
	found := map[key]int{}
	troubles := map[string]bool{}
	var number, event, channel, id, what string
	_, err = pgx.ForEachRow(rows, []any{&number, &event, &channel, &id, &what}, func() error {
		k := key{number, event, channel}
		card, ok := shown[channel+" msg_"+id]
		delete(shown, channel+" msg_"+id)
		switch {
		case !ok:
			r.CardsMissing++
			r.problem("Teams never showed %s of %q in %s", event, number, channel)
		case card.Duplicates > 0 && !s.repeats:
			r.CardsTwice += card.Duplicates
			r.problem("the card %s was posted %d times", id, 1+card.Duplicates)
		case card.Changed && !s.again:
			r.CardsTwice++
			r.problem("the card %s came again with another body", id)
		}
		if event == "nphies.api.error" {
			troubles[what] = true
		} else if wanted[k] {
			found[k]++
		}
		return nil
	})
	if err != nil {
		return err
	}
	for k := range wanted {
		switch n := found[k]; {
		case n == 0:
			r.CardsMissing++
			r.problem("there is no %s of %s in %s", k.event, k.number, k.channel)
		case twoVersions[k] && n == 2:
		case n > 1:
			r.CardsTwice += n - 1
			r.problem("%s of %s came %d times to %s", k.event, k.number, n, k.channel)
		}
	}
	if s.again { // the first version was told after the backup; NPHIES repeats the last one only
		for k := range twoVersions {
			for id := range shown {
				if found[k] == 1 && strings.HasPrefix(id, k.channel+" ") {
					delete(shown, id)
					break
				}
			}
		}
	}
	for k := range shown {
		r.CardsTwice++
		r.problem("Teams shows a card that nobody knows: %s", k)
	}
	if len(troubles) > s.apiCards {
		r.problem("%d cards tell of trouble with NPHIES, at most %d are wanted", len(troubles), s.apiCards)
	}
	return nil
}
