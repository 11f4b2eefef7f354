package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/store"
)

func TestListNotificationsByStatus(t *testing.T) {
	s, _, c := open(t)
	ctx := t.Context()
	claim := mustClaim(t, s)
	_, err := s.RecordAnswer(ctx, store.Answer{ClaimID: claim.ID, MessageID: incoming(t, s, claim), Fingerprint: "f", Outcome: "queued", State: store.Pending}, submittedEvent)
	require.NoError(t, err)
	all, err := s.ListNotifications(ctx, store.NotificationFilter{Claim: &claim.ID})
	require.NoError(t, err)
	require.NotEmpty(t, all)
	require.JSONEq(t, "null", string(all[0].Card)) // lists carry no cards
	digest := uuid.NewString()
	require.NoError(t, s.MarkSent(ctx, store.Sent{ID: all[0].ID, StatusCode: 202, At: c.Now(), DigestID: digest}))

	count := func(f store.NotificationFilter) int {
		list, err := s.ListNotifications(ctx, f)
		require.NoError(t, err)
		return len(list)
	}
	require.Equal(t, 1, count(store.NotificationFilter{Status: "sent"}))
	require.Equal(t, len(all)-1, count(store.NotificationFilter{Status: "waiting"}))
	require.Zero(t, count(store.NotificationFilter{Status: "dead"}))
	require.Equal(t, 1, count(store.NotificationFilter{Either: digest}))
	require.Equal(t, 1, count(store.NotificationFilter{Either: all[0].ID.String()}))
	require.Equal(t, 1, count(store.NotificationFilter{Limit: 1}))
	require.Zero(t, count(store.NotificationFilter{Channel: "none"}))
}

func TestUnsentLeavesOutWhatAPersonHas(t *testing.T) {
	s, _, _ := open(t)
	ctx := t.Context()
	old, other := mustClaim(t, s), mustClaim(t, s)
	later := time.Now().Add(time.Hour)
	n, oldest, err := s.Unsent(ctx, later)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.WithinDuration(t, old.CreatedAt, *oldest, time.Millisecond)

	id, _, _, err := s.RecordDeadLetter(ctx, store.DeadLetter{
		Queue: "q", TaskType: "t", TaskID: "1", ClaimID: &other.ID, Reference: other.Identifier.Value, ErrorKind: "network", FirstFailedAt: time.Now(), LastFailedAt: time.Now(),
	}, nil)
	require.NoError(t, err)
	n, _, err = s.Unsent(ctx, later)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, oldest, err = s.Unsent(ctx, time.Now().Add(-time.Hour))
	require.NoError(t, err)
	require.Zero(t, n)
	require.Nil(t, oldest)

	found, err := s.LettersOf(ctx, other.ID)
	require.NoError(t, err)
	require.Len(t, found, 1)
	_, err = s.DiscardLetter(ctx, store.Decision{ID: id, Actor: "amal", Source: "monitor", Reason: "x"})
	require.NoError(t, err)
	acts, err := s.ActionsOn(ctx, "nothing", id.String())
	require.NoError(t, err)
	require.Len(t, acts, 1)
}
