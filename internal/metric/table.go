package metric

import (
	"regexp"
	"slices"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/tasks"
)

// Other stands in a label for a value that is not in its set.
const Other = "other"

// None stands in a label for nothing: no answer, no error, no payer.
const None = "none"

// Table returns all rows, in the order of the documentation. The caller owns the slice.
func Table() []Row { return slices.Clone(table) }

func words[T ~string](list []T, more ...string) []string {
	out := make([]string, 0, len(list)+len(more))
	for _, v := range list {
		out = append(out, string(v))
	}
	return append(out, more...)
}

func taskTypes() []string {
	var out []string
	for _, s := range tasks.Table() {
		out = append(out, s.Type)
	}
	return append(out, Other)
}

func eventTypes(more ...string) []string {
	var out []string
	for _, r := range cards.Table() {
		out = append(out, string(r.Type))
	}
	return append(out, more...)
}

// anyLicense is what a licence may look like: the settings say which there are.
var anyLicense = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,64}$`)

// Label sets that several metrics share.
var (
	licence   = Label{Name: "license", Match: anyLicense, Say: "the licences of NPHIES_PROVIDER_LICENSE, and those that claims were taken in for"}
	certified = Label{Name: "license", Match: anyLicense, Say: "the licences with a certificate of their own, and default"}
	queue     = Label{Name: "queue", Values: tasks.Queues()}
	taskType  = Label{Name: "task_type", Values: taskTypes()}
	channel   = Label{Name: "channel", Values: words(cards.Stakeholders(), Other), Say: "the stakeholder after whom the channel is named, or other"}
	eventType = Label{Name: "event_type", Values: eventTypes("digest", Other), Say: "the event types of cards, digest for a card that names several, other"}
	priority  = Label{Name: "priority", Values: words(cards.Priorities())}
	urgent    = Label{Name: "priority", Values: []string{string(cards.Critical), string(cards.High)}}
	status    = Label{Name: "status", Values: []string{None, Other}, Match: regexp.MustCompile(`^[1-5][0-9]{2}$`), Say: "HTTP status; none: there was no answer; other"}
	source    = Label{Name: "source", Values: []string{"link", "api", "bot", "flow", "outgoing", "monitor", "cli", "system"}}
	verb      = Label{Name: "verb", Values: []string{"acknowledge", "escalate", "retry", "discard", "poll", "resolve", Other}}
	state     = Label{Name: "state", Values: []string{"idle", "in_use"}}
	listener  = Label{Name: "listener", Values: []string{"pages", "actions"}}
	shown     = Label{Name: "stakeholder", Values: words(cards.Stakeholders(), None)}

	worker  = []Program{Worker}
	monitor = []Program{Monitor}
	both    = []Program{Worker, Monitor}

	attemptBuckets = []float64{.005, .02, .1, .5, 1, 2.5, 5, 10, 30, 60, 120}
	shortBuckets   = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
)

// Error types of an exchange with NPHIES: those that stakeholders know; our_servers for our own record or certificate store being away.
const (
	ErrorOurs = "our_servers"
)

var table = []Row{
	{Name: "nphiesq_build_info", Type: Gauge, Of: both, Labels: []Label{{Name: "program", Values: []string{string(Worker), string(Monitor)}}, {Name: "version", Match: regexp.MustCompile(`^[A-Za-z0-9.+~_-]{1,64}$`), Say: "the version"}}, Help: "Always 1; program and version are the labels. A worker shows it from the very start, also while it waits for its servers."},
	{Name: "nphiesq_dependency_up", Type: Gauge, Of: both, Labels: []Label{{Name: "dependency", Values: []string{"postgresql", "redis", "vault"}}}, Help: "1 while the server answers, asked at each scrape; vault, only where it is used, while it is unsealed, too."},
	{Name: "nphiesq_db_connections", Type: Gauge, Unit: "connections", Of: both, Labels: []Label{state}, Help: "Connections to PostgreSQL that this process holds."},
	{Name: "nphiesq_db_connections_max", Type: Gauge, Unit: "connections", Of: both, Help: "How many connections to PostgreSQL this process may hold."},
	{Name: "nphiesq_db_acquires_total", Type: Counter, Of: both, Help: "Connections to PostgreSQL that were taken from the pool."},
	{Name: "nphiesq_db_acquire_seconds_total", Type: Counter, Unit: "seconds", Of: both, Help: "Time spent waiting for them."},
	{Name: "nphiesq_db_acquires_waited_total", Type: Counter, Of: both, Help: "Those that had to wait, as none was free."},
	{Name: "nphiesq_redis_connections", Type: Gauge, Unit: "connections", Of: both, Labels: []Label{state}, Help: "Connections to Redis that this process holds."},
	{Name: "nphiesq_redis_pool_timeouts_total", Type: Counter, Of: both, Help: "Times that no connection to Redis came free in time."},

	{Name: "nphiesq_claims", Type: Gauge, Unit: "claims", Of: worker, Labels: []Label{
		{Name: "use", Values: []string{"claim", "preauthorization"}},
		{Name: "state", Values: []string{"received", "submitting", "pending", "pended", "approved", "partial", "rejected", "error", "cancelled"}},
	}, Help: "Claims and prior authorizations in the record, by state; those with an outcome are counted every five minutes."},
	{Name: "nphiesq_claims_oldest_pending_age_seconds", Type: Gauge, Unit: "seconds", Of: worker, Labels: []Label{{Name: "use", Values: []string{"claim", "preauthorization"}}}, Help: "Time since the oldest claim without an outcome was taken in (received, submitting, pending, pended); 0 without one."},
	{Name: "nphiesq_work_oldest_waiting_age_seconds", Type: Gauge, Unit: "seconds", Of: worker, Labels: []Label{queue}, Help: "How long the oldest work of a queue has been waiting to be done, from the record: not paused, no dead letter. Unlike asynq's latency it does not start anew with the task."},
	{Name: "nphiesq_dead_letters", Type: Gauge, Unit: "dead letters", Of: worker, Labels: []Label{queue}, Help: "Dead letters that wait for a person."},
	{Name: "nphiesq_dead_letters_last_hour", Type: Gauge, Unit: "dead letters", Of: worker, Labels: []Label{queue}, Help: "Dead letters that were written in the last hour, whatever was decided since."},
	{Name: "nphiesq_dead_letters_oldest_age_seconds", Type: Gauge, Unit: "seconds", Of: worker, Help: "Time since the oldest of them was written; 0 without one."},
	{Name: "nphiesq_pauses", Type: Gauge, Of: worker, Labels: []Label{licence, {Name: "scope", Values: []string{"license", "payer"}}}, Help: "What is not sent now: license is 1 while the licence as a whole is paused, payer how many payers of it are."},
	{Name: "nphiesq_workers", Type: Gauge, Unit: "processes", Of: worker, Labels: []Label{{Name: "state", Values: []string{"alive", "lost"}}}, Help: "Worker processes by the leases they hold; lost: one that no longer renews its lease and has not given it back."},
	{Name: "nphiesq_record_read_timestamp_seconds", Type: Gauge, Unit: "seconds", Of: worker, Help: "When the values that come from the record were read, as Unix time. They are read again after 15 s."},
	{Name: "nphiesq_reconcile_findings_total", Type: Counter, Of: worker, Labels: []Label{{Name: "finding", Values: []string{"abandoned", "missing", "orphaned", "overdue", "poll", "channel", "page"}}}, Help: "What the reconciler found and mended: work of a process that died, a row without its task, a task that nobody works on, a claim of which nothing was heard, a mailbox that was due, notifications and pages that waited."},

	{Name: "nphies_request_duration_seconds", Type: Histogram, Unit: "seconds", Of: worker, Buckets: attemptBuckets, When: "a message was sent", Labels: []Label{
		{Name: "event", Values: []string{"eligibility-request", "claim-request", "priorauth-request", "status-check", "cancel-request", "poll-request", Other}},
		{Name: "outcome", Values: []string{"ok", "error"}},
		{Name: "error_type", Values: []string{None, string(fault.Certificate), string(fault.JWT), string(fault.Network), string(fault.API), ErrorOurs}},
		{Name: "payer_group", Match: regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`), Say: "the groups of METRICS_PAYER_GROUPS, other for payers in none, none for messages to no payer (poll-request)"},
	}, Help: "Time one exchange with NPHIES took. error_type as on the cards; our_servers: the answer could not be kept."},
	{Name: "nphies_poll_last_success_timestamp_seconds", Type: Gauge, Unit: "seconds", Of: worker, Labels: []Label{licence}, When: "the mailbox was read once", Help: "When the licence's mailbox was last read with success, as Unix time."},
	{Name: "nphies_poll_failing_seconds", Type: Gauge, Unit: "seconds", Of: worker, Labels: []Label{licence}, Help: "For how long polls of the licence have been failing; 0 while they succeed."},
	{Name: "nphies_poll_due_seconds", Type: Gauge, Unit: "seconds", Of: worker, Labels: []Label{licence}, Help: "For how long the next poll of the licence has been due; 0 until then."},
	{Name: "nphies_mailbox_more_waiting", Type: Gauge, Of: worker, Labels: []Label{licence}, Help: "1 when the last answer was full, so that more waits at NPHIES."},
	{Name: "nphies_mailbox_unprocessed", Type: Gauge, Unit: "answers", Of: worker, Labels: []Label{licence}, Help: "Answers to polls that are kept and not yet given to their claims."},
	{Name: "nphies_mailbox_unmatched", Type: Gauge, Unit: "messages", Of: worker, Help: "Messages of mailboxes in the last 24 h that belong to no claim of ours; see enqueue inbox."},
	{Name: "nphies_client_certificate_not_after_timestamp_seconds", Type: Gauge, Unit: "seconds", Of: worker, Labels: []Label{certified}, When: "a client certificate is in use", Help: "When the client certificate in use ends, as Unix time."},
	{Name: "nphies_client_certificate_expires_in_seconds", Type: Gauge, Unit: "seconds", Of: worker, Labels: []Label{certified}, When: "a client certificate is in use", Help: "Time until it ends (86,400 s are a day); negative afterwards."},
	{Name: "nphies_client_certificate_reloads_total", Type: Counter, Of: worker, Labels: []Label{certified}, When: "a client certificate is in use", Help: "Times that another client certificate came into use."},
	{Name: "nphies_client_certificate_failures_total", Type: Counter, Of: worker, Labels: []Label{certified}, When: "a client certificate is in use", Help: "Looks at a new client certificate that cannot be used."},

	{Name: "nphiesq_task_attempts_total", Type: Counter, Of: worker, Labels: []Label{taskType, {Name: "outcome", Values: words(fault.Kinds(), "ok", "revoked")}}, Help: "Attempts at tasks, by type and how they ended (ok, revoked or an error kind)."},
	{Name: "messaging_process_duration_seconds", Type: Histogram, Unit: "seconds", Of: worker, Labels: []Label{taskType}, Buckets: attemptBuckets, Help: "Time one attempt at a task took."},
	{Name: "messaging_client_sent_messages_total", Type: Counter, Unit: "tasks", Of: both, Labels: []Label{queue, {Name: "outcome", Values: []string{"ok", "existed", "error"}}}, Help: "Tasks that this process put into queues; existed: one with this id was there already."},
	{Name: "asynq_queue_size", Type: Gauge, Unit: "tasks", Of: worker, Labels: []Label{queue}, Help: "Tasks in the queue, in all states."},
	{Name: "asynq_queue_latency_seconds", Type: Gauge, Unit: "seconds", Of: worker, Labels: []Label{queue}, Help: "Age of the oldest pending task."},
	{Name: "asynq_queue_memory_usage_approx_bytes", Type: Gauge, Unit: "bytes", Of: worker, Labels: []Label{queue}, Help: "Memory the queue takes in Redis, about."},
	{Name: "asynq_tasks_enqueued_total", Type: Untyped, Unit: "tasks", Of: worker, Labels: []Label{queue, {Name: "state", Values: []string{"active", "pending", "scheduled", "retry", "archived", "completed"}}}, Help: "Tasks in the queue by state: a gauge under asynq's name."},
	{Name: "asynq_queue_paused_total", Type: Untyped, Of: worker, Labels: []Label{queue}, Help: "1 while the queue is paused: a gauge under asynq's name."},
	{Name: "asynq_tasks_processed_total", Type: Counter, Of: worker, Labels: []Label{queue}, Help: "Attempts that ended, failed ones included."},
	{Name: "asynq_tasks_failed_total", Type: Counter, Of: worker, Labels: []Label{queue}, Help: "Attempts that failed."},

	{Name: "teams_notifications_sent_total", Type: Counter, Of: worker, Labels: []Label{eventType, priority}, Help: "Notifications that Teams accepted, alone or in a digest."},
	{Name: "teams_notifications_failed_total", Type: Counter, Of: worker, Labels: []Label{{Name: "status_code", Values: status.Values, Match: status.Match, Say: status.Say}}, When: "a post failed", Help: "Posts that failed, by HTTP status; none: there was no answer or no webhook."},
	{Name: "teams_notification_send_duration_seconds", Type: Histogram, Unit: "seconds", Of: worker, Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}, Help: "Time of one post, whatever became of it."},
	{Name: "teams_notifications_total", Type: Counter, Of: worker, When: "a notification was sent or given up", Labels: []Label{channel, eventType, priority, {Name: "outcome", Values: []string{"sent", "sent_in_digest", "given_up", "copied_to_fallback"}}}, Help: "Notifications by what became of them: sent, sent_in_digest, given_up, copied_to_fallback."},
	{Name: "teams_notifications_unacknowledged", Type: Gauge, Unit: "alerts", Of: worker, Labels: []Label{urgent}, Help: "Alerts that were told and that nobody has acknowledged or ended."},
	{Name: "teams_notifications_unacknowledged_oldest_age_seconds", Type: Gauge, Unit: "seconds", Of: worker, Labels: []Label{urgent}, Help: "Time since the oldest of them was told; 0 without one."},
	{Name: "teams_outbox_waiting", Type: Gauge, Unit: "notifications", Of: worker, Labels: []Label{channel}, Help: "Notifications that wait to be posted."},
	{Name: "teams_outbox_oldest_age_seconds", Type: Gauge, Unit: "seconds", Of: worker, Labels: []Label{channel}, Help: "Outbox lag: time since the oldest of them was written; 0 without one."},
	{Name: "teams_outbox_given_up", Type: Gauge, Unit: "notifications", Of: worker, Labels: []Label{channel}, Help: "Notifications that were given up and that nobody sent again."},
	{Name: "teams_outbox_given_up_last_hour", Type: Gauge, Unit: "notifications", Of: worker, Labels: []Label{channel}, Help: "Those that were given up in the last hour."},
	{Name: "teams_posts_total", Type: Counter, Of: worker, Labels: []Label{channel, {Name: "class", Values: []string{"accepted", "temporary", "ambiguous", "permanent", "config"}}}, Help: "Posts by the class of their answer, there from the start: for rates and alarms. teams_delivery_attempts_total has the HTTP status besides."},
	{Name: "teams_delivery_attempts_total", Type: Counter, Of: worker, When: "a notification was posted", Labels: []Label{channel, {Name: "class", Values: []string{"accepted", "temporary", "ambiguous", "permanent", "config"}}, status}, Help: "Posts by the class of their answer and its HTTP status; none: there was no answer."},
	{Name: "teams_delivery_latency_seconds", Type: Histogram, Unit: "seconds", Of: worker, Labels: []Label{channel}, Buckets: []float64{.1, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400}, Help: "Time from the writing of a notification until Teams accepted it."},
	{Name: "teams_retry_after_seconds", Type: Gauge, Unit: "seconds", Of: worker, Labels: []Label{channel}, When: "Teams asked to wait", Help: "How long Teams last asked to leave the channel alone."},
	{Name: "teams_card_bytes", Type: Histogram, Unit: "bytes", Of: worker, Labels: []Label{eventType}, Buckets: []float64{1024, 2048, 4096, 8192, 16384, 24576, 28000}, Help: "Size of the accepted messages."},
	{Name: "teams_card_truncations_total", Type: Counter, Of: worker, Labels: []Label{eventType, {Name: "step", Values: []string{"minimal"}}}, Help: "Cards that were sent smaller than they were made. minimal: Teams found them too large."},
	{Name: "teams_card_changes_total", Type: Counter, Of: worker, Labels: []Label{channel, {Name: "outcome", Values: []string{"changed", "failed", "given_up", "gone"}}}, Help: "Changes of cards that the bot posted: changed, failed (tried again), given_up, gone (there is no such message any more)."},
	{Name: "teams_suppressed_total", Type: Counter, Of: worker, Labels: []Label{{Name: "reason", Values: []string{"inhibited"}}}, Help: "Events that were not told, by reason. inhibited: a condition that is told explains them."},
	{Name: "teams_rate_limit_deferrals_total", Type: Counter, Of: worker, Labels: []Label{channel, {Name: "window", Values: []string{"burst", "period", "pause", "circuit", "webhook"}}}, Help: "Drains that had to wait: burst and period are our limit, pause is Teams' wish, circuit is a webhook that a person must mend, webhook is Vault that has never answered."},
	{Name: "teams_circuit_state", Type: Gauge, Of: worker, Labels: []Label{channel}, When: "the channel has a webhook", Help: "The channel's circuit: 0 closed, 1 half open, 2 open: nothing is posted, a person must mend the webhook."},
	{Name: "teams_channel_last_accepted_timestamp_seconds", Type: Gauge, Unit: "seconds", Of: worker, Labels: []Label{channel}, When: "the channel's first post was accepted", Help: "When this worker's last post to the channel was accepted, as Unix time."},
	{Name: "teams_webhook_configured", Type: Gauge, Of: worker, Labels: []Label{shown}, Help: "1 when the stakeholder has a webhook, else 0: then its notifications fail."},
	{Name: "teams_webhook_unusable", Type: Gauge, Of: worker, Labels: []Label{shown}, When: "webhooks are read from Vault", Help: "1 while what Vault holds for the stakeholder cannot be used; none: for nobody in particular."},
	{Name: "teams_webhook_problems_total", Type: Counter, Of: worker, Labels: []Label{shown}, When: "webhooks are read from Vault", Help: "Things found in Vault that cannot be used, by stakeholder."},
	{Name: "teams_webhook_reads_total", Type: Counter, Of: worker, Labels: []Label{{Name: "outcome", Values: words(fault.Kinds(), "ok")}}, When: "webhooks are read from Vault", Help: "Reads of the webhooks from Vault; ok, or the kind of error."},

	{Name: "action_requests_total", Type: Counter, Of: both, Labels: []Label{source, verb, {Name: "outcome", Values: []string{"applied", "already", "refused"}}}, Help: "Commands about alerts by the way they came and what came of them: applied, already, refused."},
	{Name: "action_auth_failures_total", Type: Counter, Of: both, Labels: []Label{source, {Name: "reason", Match: regexp.MustCompile(`^[a-z_]{1,32}$`), Say: "a word: signature, timestamp, expired, token, tenant, reused_id, …"}}, When: "somebody was not let in", Help: "Calls and links that were not let in, by reason."},
	{Name: "action_latency_seconds", Type: Histogram, Unit: "seconds", Of: both, Labels: []Label{verb}, Buckets: shortBuckets, Help: "Time one command took."},
	{Name: "action_time_to_ack_seconds", Type: Histogram, Unit: "seconds", Of: both, Labels: []Label{priority}, Buckets: []float64{30, 60, 120, 300, 600, 1800, 3600, 14400, 43200, 86400}, Help: "Time from the first notification of an alert to its acknowledgement by a person."},
	{Name: "nphiesq_escalations_total", Type: Counter, Of: worker, Labels: []Label{urgent}, Help: "Alerts that were escalated by themselves, by priority, also those that another one stands for."},
	{Name: "pagerduty_events_total", Type: Counter, Of: worker, Labels: []Label{{Name: "action", Values: []string{"trigger", "acknowledge", "resolve"}}, {Name: "outcome", Values: []string{"accepted", "retry", "throttled", "dead", "unknown_to_pagerduty"}}}, Help: "Events sent to PagerDuty, by action and what became of them: accepted, retry, throttled, dead, unknown_to_pagerduty."},
	{Name: "pagerduty_events_waiting", Type: Gauge, Unit: "events", Of: worker, Help: "Events that wait to be sent to PagerDuty."},
	{Name: "pagerduty_events_given_up", Type: Gauge, Unit: "events", Of: worker, Help: "Events that PagerDuty never took."},
	{Name: "pagerduty_events_given_up_last_hour", Type: Gauge, Unit: "events", Of: worker, Help: "Those that were given up in the last hour."},
	{Name: "audit_chain_valid", Type: Gauge, Of: worker, When: "the trail was checked: at the first start, then each hour", Help: "1 while the audit trail is whole, 0 when a row was changed or removed: see enqueue audit verify."},
	{Name: "audit_chain_checked_timestamp_seconds", Type: Gauge, Unit: "seconds", Of: worker, When: "the trail was checked", Help: "When the audit trail was last checked from its first row to its last, as Unix time."},
	{Name: "audit_chain_rows", Type: Gauge, Unit: "rows", Of: worker, When: "the trail was checked", Help: "Rows of the audit trail when it was last checked."},

	{Name: "http_request_duration_seconds", Type: Histogram, Unit: "seconds", Of: monitor, Buckets: []float64{.005, .02, .1, .5, 1, 2.5, 5, 10, 30}, When: "a page was asked for", Labels: []Label{listener, {Name: "code", Match: status.Match, Say: "HTTP status"}, {Name: "method", Values: []string{"get", "head", "post", "put", "delete", "options", "patch", "connect", "trace", "notify", "unknown"}}}, Help: "Time a request to the monitor took: pages for people, actions for cards, bots and signed calls."},
}
