package teams_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/nphiessim"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks/teams"
)

// TestTenThousandRejectedClaims: a storm of urgent events of one kind is a handful of cards that say so, within the usual limit, and
// every row says which of them it went out in. What is CRITICAL goes first and alone.
func TestTenThousandRejectedClaims(t *testing.T) {
	const many = 10_000
	sim := nphiessim.New(nphiessim.Options{TeamsRate: 60})
	srv := httptest.NewServer(sim.Teams())
	t.Cleanup(func() { sim.Close(); srv.Close() })
	groups := []cards.Stakeholder{cards.NPHIESIntegration, cards.PMO, cards.Compliance}
	urls := map[cards.Stakeholder]string{}
	for _, g := range groups {
		urls[g] = srv.URL + "/workflows/" + strings.ToLower(string(g)) + "/triggers/manual/paths/invoke?sig=x"
	}
	dir, _, err := notify.NewDirectory(urls, true)
	require.NoError(t, err)
	pool, rc := testenv.Pool(t), testenv.Redis(t)
	s := store.New(pool, store.Options{})
	card, err := cards.Render(cards.Event{
		ID: uuid.NewString(), Type: cards.ClaimRejectedEvent, At: time.Now(), Details: cards.ClaimRejected{ClaimRef: "CLM-1", Payer: "INS", Claimed: "100.00", Reasons: []cards.Reason{{Code: "BE-1-4"}}},
	}, cards.Links{})
	require.NoError(t, err)
	for _, g := range groups {
		_, err := pool.Exec(t.Context(), `INSERT INTO teams_notifications (id, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload, channel, event_key, summary)
			SELECT gen_random_uuid(), 'c', 'nphies.claim.rejected', ARRAY[$1::text], 'HIGH', '', $2, $1, 'k' || n, 'HIGH: Claim rejected' FROM generate_series(1, $3) AS n`, string(g), card, many)
		require.NoError(t, err)
	}
	_, err = pool.Exec(t.Context(), `INSERT INTO teams_notifications (id, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload, channel, event_key, summary)
		SELECT gen_random_uuid(), 'c', 'vault.seal.detected', '{PMO}', 'CRITICAL', '', $1, 'PMO', 'seal' || n, 'CRITICAL: Vault sealed' FROM generate_series(1, 3) AS n`, card)
	require.NoError(t, err)
	h := teams.New(s, dir, notify.NewPoster(notify.Options{AllowInsecure: true}), ratelimit.New(rc, "teams", ratelimit.Settings{Requests: 60, Period: time.Minute, Burst: 10}),
		ratelimit.NewBreaker(rc, "teams", ratelimit.CircuitSettings{After: 5, For: time.Minute}), nowhere{}, teams.NewMetrics(prometheus.NewPedanticRegistry()), testenv.Discard(), teams.Options{DigestAbove: 20})
	for _, g := range groups {
		require.NoError(t, h.Drain(t.Context(), string(g)))
	}
	var waiting, alone, digests int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE sent_at IS NULL), count(*) FILTER (WHERE digest_id IS NULL), count(DISTINCT digest_id) FROM teams_notifications`).Scan(&waiting, &alone, &digests))
	require.Zero(t, waiting, "all has left")
	require.Equal(t, 3, alone, "only what is CRITICAL went alone")
	require.LessOrEqual(t, digests, 3*5, "a handful for each channel")
	shown := sim.Cards()
	require.Len(t, shown, digests+3)
	require.Empty(t, sim.RefusedPosts(), "within the limit")
	named := 0
	first := map[string]string{}
	for _, c := range shown {
		if first[c.Channel] == "" {
			first[c.Channel] = c.WebhookID
		}
		if strings.HasPrefix(c.WebhookID, "dig_") {
			require.Contains(t, string(c.Body), "events in one card")
			require.Contains(t, string(c.Body), "Claim rejected")
			named++
		}
	}
	require.Equal(t, digests, named)
	require.True(t, strings.HasPrefix(first["pmo"], "msg_"), "CRITICAL first")
	var counted int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM teams_notifications WHERE digest_id = ANY ($1) AND status_code = 202`, ids(shown)).Scan(&counted))
	require.Equal(t, 3*many, counted, "each row names a card that was shown")
}

func ids(shown []nphiessim.Card) []string {
	var out []string
	for _, c := range shown {
		out = append(out, c.WebhookID)
	}
	return out
}

// nowhere takes wishes and forgets them.
type nowhere struct{}

func (nowhere) NotifyAt(_ context.Context, channel string, at time.Time) error {
	return fmt.Errorf("%s should be done, not again at %s", channel, at)
}
