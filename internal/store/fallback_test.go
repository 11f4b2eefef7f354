package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/store"
)

func TestCopyCritical(t *testing.T) {
	s, _, clk := open(t)
	ctx := t.Context()
	tell := func(key string, p cards.Priority, who ...cards.Stakeholder) {
		t.Helper()
		_, err := s.Tell(ctx, store.Event{Key: key, Stakeholders: who, Event: cards.Event{
			Type: cards.ChannelFailingEvent, Priority: p, CorrelationID: "corr", Details: cards.ChannelTrouble{Channel: key, Failure: "x"},
		}})
		require.NoError(t, err)
	}
	tell("waits", cards.Critical, cards.SRE)
	tell("dead", cards.Critical, cards.SRE)
	tell("sent", cards.Critical, cards.SRE)
	tell("both", cards.Critical, cards.SRE, cards.PMO)
	tell("high", cards.High, cards.SRE)
	due, err := s.DueNotifications(ctx, "SRE", 10)
	require.NoError(t, err)
	require.Len(t, due, 5)
	for _, n := range due {
		switch {
		case strings.Contains(n.Summary, ": dead"):
			require.NoError(t, s.MarkFailed(ctx, store.SendFailed{ID: n.ID, Text: "x", NextAttemptAt: clk.Now(), Dead: true}))
		case strings.Contains(n.Summary, ": sent"):
			require.NoError(t, s.MarkSent(ctx, store.Sent{ID: n.ID, StatusCode: 202, At: clk.Now()}))
		}
	}

	to := store.Channel{Name: "SHARED", Redacted: "https://shared.example/…#2"}
	n, err := s.CopyCritical(ctx, "SRE", to)
	require.NoError(t, err)
	require.Equal(t, 2, n, "what waits and what is dead; not what is sent, is there already, or is less than CRITICAL")
	n, err = s.CopyCritical(ctx, "SRE", to)
	require.NoError(t, err)
	require.Zero(t, n, "each once")
	copies, err := s.DueNotifications(ctx, "SHARED", 10)
	require.NoError(t, err)
	require.Len(t, copies, 3)
	for _, c := range copies {
		require.Equal(t, "corr", c.CorrelationID)
		require.Zero(t, c.RetryCount)
		require.NotEmpty(t, c.Card)
	}
	n, err = s.CopyCritical(ctx, "SHARED", store.Channel{Name: "SRE"})
	require.NoError(t, err)
	require.Zero(t, n, "nothing goes back")

	tell("yesterday", cards.Critical, cards.SRE)
	clk.add(25 * time.Hour)
	n, err = s.CopyCritical(ctx, "SRE", to)
	require.NoError(t, err)
	require.Zero(t, n, "old ones help nobody")
}

// TestADeferralUsesUpNoRetry: Teams asked to come later.
func TestADeferralUsesUpNoRetry(t *testing.T) {
	s, _, clk := open(t)
	ctx := t.Context()
	_, err := s.Tell(ctx, store.Event{Key: "k", Stakeholders: []cards.Stakeholder{cards.SRE}, Event: cards.Event{
		Type: cards.ChannelFailingEvent, Details: cards.ChannelTrouble{Channel: "PMO", Failure: "x"},
	}})
	require.NoError(t, err)
	due, err := s.DueNotifications(ctx, "SRE", 1)
	require.NoError(t, err)
	status := 429
	require.NoError(t, s.MarkFailed(ctx, store.SendFailed{ID: due[0].ID, StatusCode: &status, Text: "later", NextAttemptAt: clk.Now(), Deferred: true}))
	due, err = s.DueNotifications(ctx, "SRE", 1)
	require.NoError(t, err)
	require.Zero(t, due[0].RetryCount)
	require.Equal(t, 429, *due[0].StatusCode)
	require.Equal(t, "later", *due[0].ErrorMessage)
}
