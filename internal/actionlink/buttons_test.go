package actionlink

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/store"
)

func TestButtonsOfACard(t *testing.T) {
	letter := uuid.New()
	owner := []string{"RUNTIME_ENG"}
	for name, x := range map[string]struct {
		n    store.Notification
		want string
	}{
		"a dead letter":               {store.Notification{EventType: "task.dlq", Priority: "HIGH", Stakeholders: owner, DeadLetterID: &letter, State: "open"}, "acknowledge escalate retry discard"},
		"not its owner":               {store.Notification{EventType: "task.dlq", Priority: "HIGH", Stakeholders: []string{"SRE"}, DeadLetterID: &letter, State: "open"}, ""},
		"passed on":                   {store.Notification{EventType: "task.dlq", Priority: "CRITICAL", Stakeholders: []string{"PMO"}, DeadLetterID: &letter, State: "escalated"}, "acknowledge escalate retry discard"},
		"a rejected claim":            {store.Notification{EventType: "nphies.claim.rejected", Priority: "HIGH", Stakeholders: []string{"NPHIES_INTEGRATION"}, State: "open"}, "acknowledge escalate"},
		"an approved one":             {store.Notification{EventType: "nphies.claim.approved", Priority: "INFO", Stakeholders: []string{"NPHIES_INTEGRATION"}, State: "open"}, ""},
		"trouble with NPHIES":         {store.Notification{EventType: "nphies.api.error", Priority: "MEDIUM", Stakeholders: []string{"NPHIES_INTEGRATION"}, State: "open"}, "acknowledge escalate poll"},
		"a retry":                     {store.Notification{EventType: "task.retry", Priority: "LOW", Stakeholders: owner, State: "open"}, "acknowledge"},
		"one that only tells":         {store.Notification{EventType: "task.dlq", Priority: "HIGH", Stakeholders: owner, DeadLetterID: &letter, State: "notice"}, ""},
		"one that is over by now":     {store.Notification{EventType: "task.dlq", Priority: "HIGH", Stakeholders: owner, DeadLetterID: &letter, State: "resolved"}, ""},
		"an event of another version": {store.Notification{EventType: "x", Priority: "HIGH", Stakeholders: owner, State: "open"}, ""},
	} {
		var got []string
		for _, v := range verbsOf(x.n) {
			got = append(got, string(v))
		}
		require.Equal(t, x.want, strings.Join(got, " "), name)
	}
}

// TestARepeatedCardIsTheSame to the byte, as long as it may be there already.
func TestARepeatedCardIsTheSame(t *testing.T) {
	now := issued
	b := Buttons{Base: "https://actions.example", Keys: keys(t, first), Now: func() time.Time { return now }}
	letter, at := uuid.New(), issued
	n := store.Notification{ID: uuid.New(), EventType: "task.dlq", Priority: "HIGH", Channel: "RUNTIME_ENG", Stakeholders: []string{"RUNTIME_ENG"}, DeadLetterID: &letter, State: "open", PostedAt: &at}
	before, err := b.For(n)
	require.NoError(t, err)
	require.Len(t, before, 4)
	now = now.Add(time.Hour)
	again, err := b.For(n)
	require.NoError(t, err)
	require.Equal(t, before, again)
	ids := map[string]bool{}
	for _, x := range before {
		token, err := b.Keys.Verify(strings.TrimPrefix(x.URL, "https://actions.example/a/"), now)
		require.NoError(t, err)
		require.Equal(t, []string{n.ID.String(), string(x.Verb), "RUNTIME_ENG"}, []string{token.Alert, token.Verb, token.Audience})
		require.Equal(t, map[bool]time.Duration{true: 4 * time.Hour, false: 24 * time.Hour}[x.Verb == cards.VerbDiscard], token.Expires.Sub(token.Issued))
		ids[token.ID] = true
		require.LessOrEqual(t, len(x.URL), 600)
	}
	require.Len(t, ids, 4)
	now = now.Add(24 * time.Hour)
	later, err := b.For(n)
	require.NoError(t, err)
	require.NotEqual(t, before, later, "a link that has expired is of no use")
}
