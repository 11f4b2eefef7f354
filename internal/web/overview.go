package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/hibiken/asynq"
	"github.com/shopspring/decimal"

	"github.com/claimlinc/nphiesq/internal/store"
)

// When something that waits has waited too long for nobody to look.
const (
	lateClaim   = 30 * time.Minute
	latePending = 10 * time.Minute
	lateCard    = 15 * time.Minute
	// lastingPause is how often a pause that ends by itself began anew.
	lastingPause = 4
)

// need is a line of what needs a person now.
type need struct {
	Text   phrase
	Link   string
	Urgent bool
}

type overviewPage struct {
	Needs  []need
	Claims []store.StateCount
	Total  store.StateCount
	// Pending is the money of claims that have no outcome yet, Approved what was granted, in SAR.
	Pending, Approved decimal.Decimal
	Chart             chart
	Queues            queueState
	// Oldest is, by queue, for how long its oldest work waits, as the record has it: asynq's age begins anew with each try.
	Oldest     map[string]time.Duration
	Letters    letterCounts
	Channels   []store.ChannelCount
	Conditions []store.ConditionRow
	Polls      []store.PollState
	Pauses     []store.Pause
	At         time.Time
}

// Age is for how long the oldest work of a queue waits, 0 when none does.
func (p overviewPage) Age(queue string) time.Duration { return p.Oldest[queue] }

type letterCounts struct{ Open, Retrying, Resolved, Discarded int }

func (s *Server) overview(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	p := overviewPage{At: s.opt.Now()}
	var err error
	if p.Claims, p.Chart, err = s.claims.look(ctx, s.opt.Store, p.At); err != nil {
		s.failed(w, r, err)
		return
	}
	for _, c := range p.Claims {
		p.Total.Count += c.Count
		p.Total.Claimed = p.Total.Claimed.Add(c.Claimed)
		p.Total.Approved = p.Total.Approved.Add(c.Approved)
		if !c.State.Outcome() {
			p.Pending = p.Pending.Add(c.Claimed)
		}
	}
	p.Approved = p.Total.Approved
	letters, err := s.opt.Store.LetterCounts(ctx)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	p.Letters = letterCounts{letters[store.LetterOpen], letters[store.LetterRetrying], letters[store.LetterResolved], letters[store.LetterDiscarded]}
	if p.Channels, err = s.opt.Store.ChannelCounts(ctx); err != nil {
		s.failed(w, r, err)
		return
	}
	if p.Polls, err = s.opt.Store.PollStates(ctx); err != nil {
		s.failed(w, r, err)
		return
	}
	if p.Pauses, err = s.opt.Store.Pauses(ctx); err != nil {
		s.failed(w, r, err)
		return
	}
	unsent, oldest, err := s.opt.Store.Unsent(ctx, p.At.Add(-lateClaim))
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if p.Conditions, err = s.opt.Store.Conditions(ctx, false); err != nil {
		s.failed(w, r, err)
		return
	}
	since, err := s.opt.Store.OldestWaiting(ctx)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	p.Oldest = map[string]time.Duration{}
	for queue, at := range since {
		p.Oldest[queue] = max(p.At.Sub(at), 0)
	}
	p.Queues = s.queues.look(ctx)
	p.Needs = p.needs()
	if unsent > 0 {
		p.Needs = append(p.Needs, need{Text: say("%s could not be sent so far, the oldest for %s", claimsOf(unsent), p.At.Sub(*oldest)), Link: "/claims?state=submitting", Urgent: true})
	}
	slices.SortStableFunc(p.Needs, func(a, b need) int { return cmp.Compare(urgency(a), urgency(b)) })
	s.render(w, r, http.StatusOK, "overview", "Overview", p)
}

func urgency(n need) int {
	if n.Urgent {
		return 0
	}
	return 1
}

func claimsOf(n int) phrase { return plural(n, say("1 claim"), say("%s claims")) }

func cardsOf(n int) phrase { return plural(n, say("1 notification"), say("%s notifications")) }

// needs lists what waits for a person, the urgent first.
func (p *overviewPage) needs() []need {
	var out []need
	urgent := func(link string, text phrase) { out = append(out, need{Text: text, Link: link, Urgent: true}) }
	if p.Queues.Away {
		urgent("", say("Redis does not answer: nothing is sent until it is back, and nothing is lost"))
	} else if p.Queues.Workers == 0 {
		urgent(queuesPath+"/servers", say("No worker is running"))
	}
	for _, c := range p.Conditions {
		if c.InhibitedBy == "" {
			text := say("%s of %s since %s", string(c.Type), c.Identity, p.At.Sub(c.Since))
			if c.Suppressed > 0 {
				text = say("%s of %s since %s; it explains %s more events", string(c.Type), c.Identity, p.At.Sub(c.Since), count(c.Suppressed))
			}
			out = append(out, need{Text: text, Link: "#conditions", Urgent: c.Priority.Urgent()})
		}
	}
	if n := p.Letters.Open; n > 0 {
		urgent("/dead?state=open", say("%s to decide on", plural(n, say("1 open dead letter"), say("%s open dead letters"))))
	}
	for _, m := range p.Polls {
		if m.ErrorKind != "" {
			urgent("#mailboxes", say("The mailbox of %s cannot be read: %s", m.License, m.ErrorText))
		}
	}
	for _, x := range p.Pauses {
		what := say("Nothing is sent for %s", x.License)
		if x.Payer != "" {
			what = say("Nothing is sent to payer %s for %s", x.Payer, x.License)
		}
		switch {
		case x.Until == nil:
			urgent("/pauses", say("%s until somebody resumes it: %s", what, x.ErrorText))
		case x.Failures >= lastingPause:
			urgent("/pauses", say("%s, tried %s times since %s: %s", what, x.Failures, when(x.Since), x.ErrorText))
		}
	}
	for _, q := range p.Queues.Queues {
		if q.Paused {
			urgent(queuesPath+"/", say("Queue %s is paused", q.Queue))
		} else if age := max(p.Oldest[q.Queue], pendingFor(q)); age >= latePending {
			urgent(queuesPath+"/", say("Queue %s is behind: its oldest task has waited %s", q.Queue, age))
		}
	}
	for _, c := range p.Channels {
		channel := "&channel=" + url.QueryEscape(c.Channel)
		if c.Dead > 0 {
			urgent("/notifications?status=dead"+channel, say("%s of channel %s could not be delivered", cardsOf(c.Dead), c.Channel))
		}
		if c.OldestWaiting != nil && p.At.Sub(*c.OldestWaiting) >= lateCard {
			urgent("/notifications?status=waiting"+channel, say("Channel %s is behind: %s waiting, the oldest for %s", c.Channel, cardsOf(c.Waiting), p.At.Sub(*c.OldestWaiting)))
		}
	}
	for _, c := range p.Claims {
		if c.State == store.Pended && c.Count > 0 {
			out = append(out, need{Text: say("%s pended: the payer asks for more", claimsOf(c.Count)), Link: "/claims?state=pended"})
		}
	}
	return out
}

// pendingFor is asynq's age of the oldest pending task.
func pendingFor(q *asynq.QueueInfo) time.Duration {
	if q.Pending == 0 {
		return 0
	}
	return q.Latency
}
