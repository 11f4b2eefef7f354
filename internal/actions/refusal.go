package actions

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/claimlinc/nphiesq/internal/store"
)

// perMinute is how many attempts that were not let in go on record: a flood of them says no more than its beginning does.
const perMinute = 20

// sampler lets so many through in a minute and counts the others.
type sampler struct {
	mu     sync.Mutex
	minute time.Time
	taken  int
	missed int
}

func (s *sampler) take(now time.Time) (missed int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.minute) >= time.Minute {
		s.minute, s.taken = now, 0
	}
	if s.taken >= perMinute {
		s.missed++
		return 0, false
	}
	s.taken++
	missed, s.missed = s.missed, 0
	return missed, true
}

// Intruder puts on record that somebody was not let in: a forged link, a call that was not signed well. reason is a word of a closed set.
// Of a flood only the beginning is kept. It fails silently but for the log: nobody who is refused waits for it.
func (c *Core) Intruder(ctx context.Context, source Source, reason, address string) {
	missed, ok := c.sampler.take(c.now())
	if !ok {
		return
	}
	cmd := Command{Actor: Actor{Name: "unknown"}, Address: address}.tidy()
	d := map[string]string{"code": "unauthenticated", "reason": reason, "ip": cmd.Address}
	if missed > 0 {
		d["more_before"] = strconv.Itoa(missed)
	}
	a := store.Action{
		CommandID: cmd.ID, Actor: cmd.Actor.Name, Source: string(source), Verb: "unknown", TargetKind: "route", Target: string(source), Outcome: string(Refused), Detail: d,
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), followTime)
	defer cancel()
	if err := c.Store.AppendAction(ctx, &a); err != nil && c.Log != nil {
		c.Log.WarnContext(ctx, "who was not let in is not on record", slog.String("error", err.Error()))
	}
}
