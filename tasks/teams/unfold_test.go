package teams_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/tasks/teams"
)

// TestARefusedDigestIsTakenApart: one row in it is at fault, and only that one is lost.
func TestARefusedDigestIsTakenApart(t *testing.T) {
	b := newBench(t, teams.Options{DigestAbove: 20, Concurrency: 1, MaxRetries: 3})
	for range 30 {
		b.record.add(t, cards.Info)
	}
	b.teams.answer = func(p notify.Post) notify.Result {
		if strings.HasPrefix(p.WebhookID, "dig_") {
			return notify.Result{Class: notify.Permanent, Status: 400, Safe: "x"}
		}
		return notify.Result{Class: notify.Accepted, Status: 202}
	}
	b.drain(t)
	for _, n := range b.record.rows {
		require.Nil(t, n.DeadAt)
		require.Nil(t, n.DigestID)
		require.NotNil(t, n.SentAt)
	}
	require.Len(t, b.teams.posts, 31)
}
