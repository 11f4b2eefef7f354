package store

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// standIns bounds how many rows one CopyCritical looks at; those beyond it are for the next one.
const standIns = 500

// CopyCritical writes the unsent CRITICAL notifications of a channel that is out of order for another channel, too, those of the last
// day and each once. It returns how many it wrote. The rows of the first channel stay as they are.
func (s *Store) CopyCritical(ctx context.Context, from string, to Channel) (int, error) {
	copied := 0
	err := s.tx(ctx, "copy urgent notifications", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT n.id, n.event_key FROM teams_notifications n
			WHERE n.channel = $1 AND n.priority = 'CRITICAL' AND n.sent_at IS NULL AND n.event_key IS NOT NULL AND n.created_at > $3
			  AND NOT EXISTS (SELECT 1 FROM teams_notifications o WHERE o.event_key = n.event_key AND o.channel = $2)
			ORDER BY n.created_at, n.id LIMIT $4`, from, to.Name, s.opt.Now().AddDate(0, 0, -1), standIns)
		if err != nil {
			return err
		}
		type source struct {
			ID  uuid.UUID
			Key string
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[source])
		if err != nil {
			return err
		}
		copied = 0
		for _, n := range list {
			tag, err := tx.Exec(ctx, `INSERT INTO teams_notifications (id, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload,
				channel, event_key, summary, claim_id, dead_letter_id, next_attempt_at, alert_key, state, version, event, created_at)
				SELECT $2, correlation_id, event_type, stakeholders, priority, $4, card_payload, $3, event_key, summary, claim_id, dead_letter_id, $5, alert_key, state, version, event, clock_timestamp()
				FROM teams_notifications WHERE id = $1
				ON CONFLICT DO NOTHING`,
				n.ID, notificationID(n.Key, to.Name), to.Name, to.Redacted, s.opt.Now())
			if err != nil {
				return err
			}
			copied += int(tag.RowsAffected())
		}
		return nil
	})
	return copied, err
}
