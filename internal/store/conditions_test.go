package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/store"
)

func seal() store.Condition {
	return store.Condition{Type: cards.VaultSealEvent, Identity: "vault-1", Details: cards.VaultSeal{Cluster: "v", Node: "vault-1", SealType: "shamir"}}
}

func backlog(pending int) store.Condition {
	return store.Condition{Type: cards.QueueBacklogEvent, Identity: "teams", Details: cards.Backlog{Queue: "teams", Pending: pending}}
}

// told lists the cards of an event type, oldest first.
func told(t *testing.T, s *store.Store, what cards.EventType) []store.Notification {
	t.Helper()
	list, err := s.Notifications(t.Context(), nil, 1000)
	require.NoError(t, err)
	var out []store.Notification
	for _, n := range slices.Backward(list) {
		if n.EventType == string(what) {
			out = append(out, n)
		}
	}
	return out
}

// TestAConditionIsToldNowAndThen: at once when it is urgent, after a while when it lasts, when it gets worse, and when it ends.
func TestAConditionIsToldNowAndThen(t *testing.T) {
	s, pool, clk := open(t)
	ctx := t.Context()
	raise := func(c store.Condition) int {
		t.Helper()
		_, err := s.Raise(t.Context(), c)
		require.NoError(t, err)
		return len(told(t, s, c.Type))
	}
	per := raise(seal()) // one row for each channel
	require.Positive(t, per, "CRITICAL: at once")
	for range 20 {
		clk.add(time.Minute)
		require.Equal(t, per, raise(seal()), "seen again and again, told once")
	}
	clk.add(41 * time.Minute)
	require.Equal(t, 2*per, raise(seal()), "after an hour once more")
	last := told(t, s, cards.VaultSealEvent)[per]
	require.Contains(t, string(last.Card), "22", "how often it was seen")

	// Acknowledged: quiet for half an hour, then told again.
	_, err := pool.Exec(ctx, `UPDATE teams_notifications SET acknowledged_at = $2, acknowledged_by = 'amal' WHERE id = $1`, last.ID, clk.Now())
	require.NoError(t, err)
	clk.add(29 * time.Minute)
	require.Equal(t, 2*per, raise(seal()))
	clk.add(2 * time.Minute)
	require.Equal(t, 3*per, raise(seal()), "nobody mended it")
	clk.add(50 * time.Minute)
	require.Equal(t, 3*per, raise(seal()))
	clk.add(20 * time.Minute)
	require.Equal(t, 4*per, raise(seal()), "nobody acknowledged that one: as before")

	_, err = s.Clear(ctx, cards.VaultSealEvent, "vault-1")
	require.NoError(t, err)
	_, err = s.Clear(ctx, cards.VaultSealEvent, "vault-1")
	require.NoError(t, err)
	all := told(t, s, cards.VaultSealEvent)
	require.Len(t, all, 5*per, "its end is told once")
	require.Contains(t, string(all[4*per].Card), "RESOLVED")
	require.Contains(t, string(all[4*per].Card), "amal")

	clk.add(time.Minute)
	require.Equal(t, 5*per, raise(seal()), "it comes and goes: not within five minutes of its end")
	_, err = s.Clear(ctx, cards.VaultSealEvent, "vault-1")
	require.NoError(t, err)
	clk.add(3 * time.Minute)
	require.Equal(t, 5*per, raise(seal()), "nor is an end told of what was not told")
	clk.add(time.Minute + time.Second)
	require.Equal(t, 6*per, raise(seal()), "a new one is a new one")
	list, err := s.Conditions(ctx, false)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, 2, list[0].Seen)

	// Nobody sees it any more: it is over by itself.
	lapsed, err := s.Lapsed(ctx)
	require.NoError(t, err)
	require.Empty(t, lapsed)
	clk.add(16 * time.Minute)
	lapsed, err = s.Lapsed(ctx)
	require.NoError(t, err)
	require.Len(t, lapsed, 1)
	require.Equal(t, "vault-1", lapsed[0].Identity)
}

// TestAPassingConditionIsNotTold: one that is not urgent is waited with; if it passes nobody hears of it, nor of its end.
func TestAPassingConditionIsNotTold(t *testing.T) {
	s, _, clk := open(t)
	ctx := t.Context()
	_, err := s.Raise(ctx, backlog(2000))
	require.NoError(t, err)
	_, err = s.Clear(ctx, cards.QueueBacklogEvent, "teams")
	require.NoError(t, err)
	require.Empty(t, told(t, s, cards.QueueBacklogEvent))

	_, err = s.Raise(ctx, backlog(2000))
	require.NoError(t, err)
	channels, err := s.TellConditions(ctx)
	require.NoError(t, err)
	require.Empty(t, channels)
	clk.add(31 * time.Second)
	channels, err = s.TellConditions(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, channels, "it lasts")
	per := len(told(t, s, cards.QueueBacklogEvent))

	// Worse: at once.
	c := backlog(90000)
	c.Priority = cards.Critical
	_, err = s.Raise(ctx, c)
	require.NoError(t, err)
	require.Len(t, told(t, s, cards.QueueBacklogEvent), 2*per)
	// Better and the same again: not within the interval.
	_, err = s.Raise(ctx, backlog(80000))
	require.NoError(t, err)
	require.Len(t, told(t, s, cards.QueueBacklogEvent), 2*per)
	clk.add(4*time.Hour + time.Second)
	_, err = s.TellConditions(ctx)
	require.NoError(t, err)
	require.Len(t, told(t, s, cards.QueueBacklogEvent), 3*per, "MEDIUM: every four hours")
}

// TestWhatSomethingWorseExplainsIsNotTold, but counted, and told if it outlasts that.
func TestWhatSomethingWorseExplainsIsNotTold(t *testing.T) {
	s, _, clk := open(t)
	ctx := t.Context()
	_, err := s.Raise(ctx, store.Condition{Type: cards.RedisNodeDownEvent, Identity: store.RedisMaster, Details: cards.Redis{Instance: "r", State: "down"}})
	require.NoError(t, err)
	_, err = s.Raise(ctx, backlog(2000))
	require.NoError(t, err)
	clk.add(time.Hour)
	_, err = s.Raise(ctx, backlog(3000))
	require.NoError(t, err)
	require.Empty(t, told(t, s, cards.QueueBacklogEvent))
	list, err := s.Conditions(ctx, false)
	require.NoError(t, err)
	require.Equal(t, "redis.node.down", list[1].InhibitedBy)
	require.Equal(t, 2, list[1].Seen)
	by, err := s.Suppress(ctx, cards.TaskRetryEvent)
	require.NoError(t, err)
	require.Equal(t, "redis.node.down", by)
	list, err = s.Conditions(ctx, false)
	require.NoError(t, err)
	require.Equal(t, []int{1, 0}, []int{list[0].Suppressed, list[1].Suppressed})
	by, err = s.Suppress(ctx, cards.TaskDLQEvent)
	require.NoError(t, err)
	require.Empty(t, by, "what waits for a person is always told")

	_, err = s.Clear(ctx, cards.RedisNodeDownEvent, store.RedisMaster)
	require.NoError(t, err)
	_, err = s.TellConditions(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, told(t, s, cards.QueueBacklogEvent), "it outlasts what explained it")
}
