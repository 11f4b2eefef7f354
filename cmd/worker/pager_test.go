package main_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

// TestUnacknowledgedReachesPagerDuty: the real worker posts a card that nobody acknowledges, escalates it, and PagerDuty rings once.
func TestUnacknowledgedReachesPagerDuty(t *testing.T) {
	s := newSite(t)
	const key = "R0123456789abcdefghijABCDEFGHIJ0"
	s.env["ESCALATE_HIGH_AFTER"], s.env["PAGERDUTY_ROUTING_KEYS"] = "1", "default="+key
	s.env["PAGERDUTY_URL"], _, _ = strings.Cut(s.env["TEAMS_WEBHOOK_SRE"], "/workflows/")
	e := cards.Event{ID: uuid.NewString(), Type: cards.BackupFailedEvent, CorrelationID: "backup", At: time.Now(), Details: cards.Backup{}}
	card, err := cards.Render(e, cards.Links{})
	require.NoError(t, err)
	kept, err := json.Marshal(e)
	require.NoError(t, err)
	_, err = s.db.Exec(t.Context(), `INSERT INTO teams_notifications (id, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload, channel, event_key, summary, next_attempt_at, alert_key, event)
		VALUES (gen_random_uuid(), 'c', $1, '{SRE}', 'HIGH', '', $2, 'SRE', 'backup', 'x', now(), 'backup', $3)`, string(e.Type), card, kept)
	require.NoError(t, err)
	w := s.worker()
	testenv.Eventually(t, func() bool { return len(s.sim.PagerEvents()) > 0 }, "PagerDuty rings")
	s.cardsArrivedOnce()
	require.Equal(t, 1, s.count(`SELECT count(*) FROM teams_notifications WHERE channel = 'CLOUDOPS' AND priority = 'CRITICAL' AND state = 'escalated'`))
	ev := s.sim.PagerEvents()
	require.Len(t, ev, 1)
	require.Empty(t, ev[0].Problems)
	require.Equal(t, "critical", ev[0].Severity)
	testenv.Eventually(t, func() bool {
		return s.count(`SELECT count(*) FROM pagerduty_events WHERE sent_at IS NOT NULL`) == 1
	}, "it is marked")
	code, metrics := w.get("/metrics")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, metrics, `pagerduty_events_total{action="trigger",outcome="accepted"} 1`)
	w.stop(t)
	require.NotContains(t, w.log.String()+metrics, key)
	require.Zero(t, s.count(`SELECT count(*) FROM pagerduty_events WHERE pagerduty_events::text LIKE '%`+key+`%'`))
}
