package web

import (
	"fmt"
	"net/http"
	"time"

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
	Text   string
	Link   string
	Urgent bool
}

type overviewPage struct {
	Needs    []need
	Claims   []store.StateCount
	Total    store.StateCount
	Queues   queueState
	Letters  letterCounts
	Channels []store.ChannelCount
	Polls    []store.PollState
	Pauses   []store.Pause
	At       time.Time
}

type letterCounts struct{ Open, Retrying, Resolved, Discarded int }

func (s *Server) overview(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	p := overviewPage{At: s.opt.Now()}
	var err error
	if p.Claims, err = s.opt.Store.ClaimCounts(ctx); err != nil {
		s.failed(w, r, err)
		return
	}
	for _, c := range p.Claims {
		p.Total.Count += c.Count
		p.Total.Claimed = p.Total.Claimed.Add(c.Claimed)
		p.Total.Approved = p.Total.Approved.Add(c.Approved)
	}
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
	p.Queues = s.queues.look(ctx)
	p.Needs = p.needs()
	if unsent > 0 {
		p.Needs = append(p.Needs, need{Text: fmt.Sprintf("%s could not be sent so far, the oldest for %s", plural(unsent, "claim"), duration(p.At.Sub(*oldest))), Link: "/claims?state=submitting", Urgent: true})
	}
	s.render(w, r, http.StatusOK, "overview", "Overview", p)
}

// needs lists what waits for a person, the urgent first.
func (p *overviewPage) needs() []need {
	var out []need
	urgent := func(link, format string, args ...any) {
		out = append(out, need{Text: fmt.Sprintf(format, args...), Link: link, Urgent: true})
	}
	if p.Queues.Away {
		urgent("", "Redis does not answer: nothing is sent until it is back, and nothing is lost")
	} else if p.Queues.Workers == 0 {
		urgent(queuesPath+"/servers", "No worker is running")
	}
	if n := p.Letters.Open; n > 0 {
		urgent("/dead?state=open", "%s to decide on", plural(n, "open dead letter"))
	}
	for _, m := range p.Polls {
		if m.ErrorKind != "" {
			urgent("#mailboxes", "The mailbox of %s cannot be read: %s", m.License, m.ErrorText)
		}
	}
	for _, x := range p.Pauses {
		what := "Nothing is sent for " + x.License
		if x.Payer != "" {
			what = "Nothing is sent to payer " + x.Payer + " for " + x.License
		}
		switch {
		case x.Until == nil:
			urgent("/pauses", "%s until somebody resumes it: %s", what, x.ErrorText)
		case x.Failures >= lastingPause:
			urgent("/pauses", "%s, tried %d times since %s: %s", what, x.Failures, when(x.Since), x.ErrorText)
		}
	}
	for _, q := range p.Queues.Queues {
		if q.Paused {
			urgent(queuesPath+"/", "Queue %s is paused", q.Queue)
		} else if q.Latency >= latePending {
			urgent(queuesPath+"/", "Queue %s is behind: its oldest task has waited %s", q.Queue, duration(q.Latency))
		}
	}
	for _, c := range p.Channels {
		if c.Dead > 0 {
			urgent("/notifications?status=dead&channel="+c.Channel, "%s of channel %s could not be delivered", plural(c.Dead, "notification"), c.Channel)
		}
		if c.OldestWaiting != nil && p.At.Sub(*c.OldestWaiting) >= lateCard {
			urgent("/notifications?status=waiting&channel="+c.Channel, "Channel %s is behind: %s waiting, the oldest for %s", c.Channel, plural(c.Waiting, "notification"), duration(p.At.Sub(*c.OldestWaiting)))
		}
	}
	for _, c := range p.Claims {
		if c.State == store.Pended && c.Count > 0 {
			out = append(out, need{Text: plural(c.Count, "claim") + " pended: the payer asks for more", Link: "/claims?state=pended"})
		}
	}
	return out
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(n) + " " + what + "s"
}
