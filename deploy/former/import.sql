-- Copies what aside.sql moved into our teams_notifications, after `worker migrate up`. Running it again adds what is missing and changes
-- nothing else. What the former system kept in them and we do not stays in the schema "former": cards (they named patients), addresses of
-- webhooks (they are credentials), what people wrote (action_data).
--
-- Nothing of it is sent, and nobody is asked about it: notifications that nobody had acknowledged are marked as taken over. Those that
-- were not sent come once they are older than four days: ours tries for three, so none of them is ever tried.
INSERT INTO public.teams_notifications (id, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload, sent_at, status_code, retry_count,
    error_message, acknowledged_by, acknowledged_at, action_taken, created_at, updated_at, channel, event_key, summary, dead_at, published_at, alert_key, state)
SELECT id, correlation_id, regexp_replace(event_type, '^celery\.', ''), upper(stakeholders::text)::text[], upper(priority),
    coalesce(substring(webhook_url FROM '^https?://[^/?#:@]+') || '/…#' || left(encode(sha256(convert_to(webhook_url, 'UTF8')), 'hex'), 8), ''),
    jsonb_build_object('type', 'AdaptiveCard', 'version', '1.5', 'body', jsonb_build_array(
        jsonb_build_object('type', 'TextBlock', 'wrap', true, 'text', 'A card of the former system. What it said was not taken over.'))),
    sent_at, status_code, retry_count, regexp_replace(error_message, '[a-zA-Z]+://\S+', '(an address)', 'g'),
    CASE WHEN acknowledged_at IS NULL AND upper(priority) IN ('CRITICAL', 'HIGH') THEN 'nobody: taken over' ELSE acknowledged_by END,
    CASE WHEN acknowledged_at IS NULL AND upper(priority) IN ('CRITICAL', 'HIGH') THEN now() ELSE acknowledged_at END, action_taken,
    created_at, updated_at, coalesce(upper(stakeholders[1]), ''), 'former/' || id, 'Former system: ' || event_type,
    CASE WHEN sent_at IS NULL THEN updated_at END, now(), 'former/' || id, 'resolved'
FROM former.teams_notifications
WHERE sent_at IS NOT NULL OR created_at < now() - interval '4 days'
ON CONFLICT DO NOTHING;
