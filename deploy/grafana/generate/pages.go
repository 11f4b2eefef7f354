package main

import (
	"maps"
	"slices"
)

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

var (
	channel  = variable{"channel", "Channel", "teams_outbox_waiting"}
	license  = variable{"license", "Licence", "nphies_poll_due_seconds"}
	queue    = variable{"queue", "Queue", "asynq_queue_size"}
	instance = variable{"instance", "Process", "nphiesq_build_info"}
)

// All workers say of the record and of the queues the same: max over them. What each counts for itself is added up.
var pages = []page{
	{
		name: "notifications", title: "notifications", say: "What was told in Teams, whether it arrived, and whether anybody has seen to it.", vars: []variable{channel},
		rows: []row{
			{"Told", []panel{
				{
					kind: bars, title: "Notifications by event type", series: true, unit: "short", wide: 16,
					say: "Notifications by the time they were written. From the record: a counter would miss the first of each type after a start.",
					sql: `SELECT $__timeGroupAlias(created_at,$__interval), event_type AS metric, count(*) AS notifications
FROM teams_notifications
WHERE $__timeFilter(created_at)
GROUP BY 1, event_type
ORDER BY 1`,
				},
				{
					kind: gauge, title: "Mean time to acknowledge", unit: "s", warn: 300, alarm: 1800,
					say: "From the first notification of an alert to its acknowledgement by a person, by priority, over the time chosen above. No bar: nobody acknowledged anything.",
					ask: []query{{`sum by (priority) (increase(action_time_to_ack_seconds_sum[$__range])) / sum by (priority) (increase(action_time_to_ack_seconds_count[$__range]) > 0)`, `{{priority}}`}},
				},
				{
					kind: table, title: "Unacknowledged CRITICAL", unit: "string", wide: 16, units: map[string]string{"age": "s"},
					say: "CRITICAL notifications that nobody has acknowledged, the oldest first, at most 100. From the record.",
					sql: `SELECT created_at, event_type, array_to_string(stakeholders, ', ') AS stakeholders, sent_at, retry_count, status_code, id::text AS notification,
  extract(epoch FROM age)::float8 AS age
FROM teams_notifications_unacknowledged_critical
ORDER BY created_at
LIMIT 100`,
				},
				{
					kind: lines, title: "Unacknowledged alerts", say: "Alerts that were told and that nobody has acknowledged or ended.", unit: "short",
					ask: []query{{`max by (priority) (teams_notifications_unacknowledged)`, `{{priority}}`}},
				},
			}},
			{"Delivery", []panel{
				{
					kind: lines, title: "Delivery success", unit: "percentunit", warn: 0.99, alarm: 0.9,
					say: "Share of the posts to a channel that Teams accepted. A gap: nothing was posted.",
					ask: []query{{`sum by (channel) (rate(teams_posts_total{channel=~"$channel", class="accepted"}[$__rate_interval])) / sum by (channel) (rate(teams_posts_total{channel=~"$channel"}[$__rate_interval]))`, `{{channel}}`}},
				},
				{
					kind: bars, title: "Posts that failed", say: "By the class of the answer.", unit: "short",
					ask: []query{{`sum by (class) (increase(teams_posts_total{channel=~"$channel", class!="accepted"}[$__interval])) > 0`, `{{class}}`}},
				},
				{
					kind: gauge, title: "Failed posts by status", say: "Since the workers started, by the class of the answer and its HTTP status; none: there was no answer.", unit: "short",
					ask: []query{{`sum by (class, status) (teams_delivery_attempts_total{channel=~"$channel", class!="accepted"})`, `{{class}} {{status}}`}},
				},
				{
					kind: chart, title: "Retries", unit: "short",
					say: "Notifications of the time chosen above by how many of their posts failed, 0 to 3. From the record.",
					sql: `SELECT retry_count::text AS "failed posts", count(*) AS notifications
FROM teams_notifications
WHERE $__timeFilter(created_at)
GROUP BY retry_count
ORDER BY retry_count`,
				},
				{
					kind: lines, title: "Outbox lag", say: "Time since the oldest waiting notification of a channel was written.", unit: "s", alarm: 1800,
					ask: []query{{`max by (channel) (teams_outbox_oldest_age_seconds{channel=~"$channel"})`, `{{channel}}`}},
				},
				{
					kind: lines, title: "Waiting", say: "Notifications that wait to be posted.", unit: "short",
					ask: []query{{`max by (channel) (teams_outbox_waiting{channel=~"$channel"})`, `{{channel}}`}},
				},
				{
					kind: lines, title: "Given up", say: "Notifications that were given up and that nobody sent again.", unit: "short",
					ask: []query{{`max by (channel) (teams_outbox_given_up{channel=~"$channel"})`, `{{channel}}`}},
				},
				{
					kind: lines, title: "From event to acceptance", say: "Time until Teams accepted a notification, all channels chosen above: the median, and what 95 of 100 do not exceed.", unit: "s",
					ask: []query{
						{`histogram_quantile(0.5, sum by (le) (rate(teams_delivery_latency_seconds_bucket{channel=~"$channel"}[$__rate_interval])))`, `half`},
						{`histogram_quantile(0.95, sum by (le) (rate(teams_delivery_latency_seconds_bucket{channel=~"$channel"}[$__rate_interval])))`, `95 %`},
					},
				},
				{
					kind: bars, title: "Drains that waited", say: "burst, period: our own limit; pause: Teams asked for it; circuit: a webhook that a person must mend; webhook: Vault has never answered.", unit: "short",
					ask: []query{{`sum by (window) (increase(teams_rate_limit_deferrals_total{channel=~"$channel"}[$__interval])) > 0`, `{{window}}`}},
				},
				{
					kind: stat, title: "Channels that rest", say: "Closed: posts leave. Open: nothing is posted, a person must mend the webhook. Half open: one post finds out.", unit: "short", alarm: 2, warn: 1,
					words: map[string]string{"0": "closed", "1": "half open", "2": "open"},
					ask:   []query{{`max by (channel) (teams_circuit_state{channel=~"$channel"})`, `{{channel}}`}},
				},
			}},
			{"Decisions", []panel{
				{
					kind: bars, title: "Commands", say: "What people asked for, and what came of it.", unit: "short",
					ask: []query{{`sum by (verb, outcome) (increase(action_requests_total[$__interval])) > 0`, `{{verb}} {{outcome}}`}},
				},
				{
					kind: bars, title: "Escalated by themselves", say: "Alerts that nobody acknowledged in time.", unit: "short",
					ask: []query{{`sum by (priority) (increase(nphiesq_escalations_total[$__interval]))`, `{{priority}}`}},
				},
				{
					kind: lines, title: "PagerDuty", say: "Events that wait, and events that PagerDuty never took.", unit: "short",
					ask: []query{{`max(pagerduty_events_waiting)`, `waiting`}, {`max(pagerduty_events_given_up)`, `given up`}},
				},
			}},
		},
	},
	{
		name: "pipeline", title: "pipeline", say: "Claims from their taking in to their outcome, what waits for a person, and whether what happened is on record.", vars: nil,
		rows: []row{
			{"Now", []panel{
				{
					kind: table, title: "Alerts that fire", say: "Each has a runbook in docs/runbooks, under its name.", unit: "string", wide: 12,
					ask: []query{{`ALERTS{alertname=~"(Nphiesq|Teams|PagerDuty).*", alertstate="firing"}`, ``}},
				},
				{
					kind: stat, title: "Oldest without an outcome", say: "Time since the oldest claim without an outcome was taken in; 0 without one.", unit: "s", wide: 6, warn: 86400, alarm: 259200,
					ask: []query{{`max by (use) (nphiesq_claims_oldest_pending_age_seconds)`, `{{use}}`}},
				},
				{
					kind: stat, title: "Audit trail", say: "Whether the chain of hashes is whole, as of the last check.", unit: "short", wide: 6, warn: 1, alarm: 1,
					words: map[string]string{"0": "changed", "1": "whole"},
					ask:   []query{{`min(audit_chain_valid)`, `audit trail`}},
				},
			}},
			{"Claims", []panel{
				{
					kind: lines, title: "Claims by state", say: "Without those that have their outcome.", unit: "short",
					ask: []query{{`sum by (state) (max by (use, state) (nphiesq_claims{state=~"received|submitting|pending|pended"}))`, `{{state}}`}},
				},
				{
					kind: lines, title: "Outcomes", say: "Claims and prior authorizations that have their outcome, in all.", unit: "short",
					ask: []query{{`sum by (state) (max by (use, state) (nphiesq_claims{state=~"approved|partial|rejected|error|cancelled"}))`, `{{state}}`}},
				},
				{
					kind: bars, title: "Taken in, and what became of it", series: true, unit: "short",
					say: "Claims by the time they were taken in and the state they are in now. From the record.",
					sql: `SELECT $__timeGroupAlias(created_at,$__interval), state AS metric, count(*) AS claims
FROM claims
WHERE $__timeFilter(created_at)
GROUP BY 1, state
ORDER BY 1`,
				},
				{
					kind: lines, title: "Throughput", say: "Claims and prior authorizations that were sent to NPHIES, a minute.", unit: "opm",
					ask: []query{{`sum by (event, outcome) (rate(nphies_request_duration_seconds_count{event=~"claim-request|priorauth-request"}[$__rate_interval])) * 60`, `{{event}} {{outcome}}`}},
				},
				{
					kind: lines, title: "Oldest work not done", say: "From the record: neither paused nor a dead letter.", unit: "s", alarm: 1800,
					ask: []query{{`max by (queue) (nphiesq_work_oldest_waiting_age_seconds)`, `{{queue}}`}},
				},
				{
					kind: bars, title: "Found and mended", say: "By the reconciler: abandoned: work of a process that died; missing: a row without a task; orphaned: a task that nobody works on; overdue: nothing was heard of a claim.", unit: "short",
					ask: []query{{`sum by (finding) (increase(nphiesq_reconcile_findings_total[$__interval])) > 0`, `{{finding}}`}},
				},
			}},
			{"Dead letters", []panel{
				{
					kind: lines, title: "Dead letters", say: "Those that wait for a person.", unit: "short",
					ask: []query{{`max by (queue) (nphiesq_dead_letters)`, `{{queue}}`}},
				},
				{
					kind: lines, title: "Oldest dead letter", say: "Time since it was written; 0 without one.", unit: "s", alarm: 86400,
					ask: []query{{`max(nphiesq_dead_letters_oldest_age_seconds)`, `oldest`}},
				},
				{
					kind: table, title: "Dead letters by error", say: "Those that wait for a person, the most frequent first. From the record.", unit: "short",
					sql: `SELECT queue, error_kind, error_code, count(*) AS letters, max(last_failed_at) AS last_failed_at
FROM dead_letters
WHERE state = 'open'
GROUP BY queue, error_kind, error_code
ORDER BY letters DESC
LIMIT 50`,
				},
			}},
		},
	},
	{
		name: "nphies", title: "NPHIES", say: "Exchanges with NPHIES, mailboxes, pauses and certificates.", vars: []variable{license},
		rows: []row{
			{"Exchanges", []panel{
				{
					kind: lines, title: "Exchanges", say: "Messages sent to NPHIES, a minute.", unit: "opm",
					ask: []query{{`sum by (event) (rate(nphies_request_duration_seconds_count[$__rate_interval])) * 60`, `{{event}}`}},
				},
				{
					kind: lines, title: "Failed", say: "Share of the exchanges that failed.", unit: "percentunit",
					ask: []query{{`sum by (event) (rate(nphies_request_duration_seconds_count{outcome="error"}[$__rate_interval])) / sum by (event) (rate(nphies_request_duration_seconds_count[$__rate_interval]))`, `{{event}}`}},
				},
				{
					kind: bars, title: "Errors", say: "By their type, as on the cards; our_servers: the answer could not be kept.", unit: "short",
					ask: []query{{`sum by (error_type) (increase(nphies_request_duration_seconds_count{outcome="error"}[$__interval])) > 0`, `{{error_type}}`}},
				},
				{
					kind: lines, title: "Time of an exchange", say: "The median of each event.", unit: "s",
					ask: []query{{`histogram_quantile(0.5, sum by (le, event) (rate(nphies_request_duration_seconds_bucket[$__rate_interval])))`, `{{event}}`}},
				},
				{
					kind: lines, title: "Time of a slow exchange", say: "What 95 of 100 do not exceed. NPHIES itself gives up after 60 s.", unit: "s", alarm: 60,
					ask: []query{{`histogram_quantile(0.95, sum by (le, event) (rate(nphies_request_duration_seconds_bucket[$__rate_interval])))`, `{{event}}`}},
				},
				{
					kind: lines, title: "By group of payers", say: "Exchanges a minute; the groups are those of METRICS_PAYER_GROUPS, none is for messages to no payer.", unit: "opm",
					ask: []query{{`sum by (payer_group, outcome) (rate(nphies_request_duration_seconds_count[$__rate_interval])) * 60`, `{{payer_group}} {{outcome}}`}},
				},
			}},
			{"Mailboxes", []panel{
				{
					kind: lines, title: "Last poll that succeeded", say: "Time since then.", unit: "s",
					ask: []query{{`time() - max by (license) (nphies_poll_last_success_timestamp_seconds{license=~"$license"})`, `{{license}}`}},
				},
				{
					kind: lines, title: "Polls failing", say: "For how long; 0 while they succeed.", unit: "s", alarm: 1800,
					ask: []query{{`max by (license) (nphies_poll_failing_seconds{license=~"$license"})`, `{{license}}`}},
				},
				{
					kind: lines, title: "Polls due", say: "For how long the next poll has been due; 0 until then.", unit: "s", alarm: 900,
					ask: []query{{`max by (license) (nphies_poll_due_seconds{license=~"$license"})`, `{{license}}`}},
				},
				{
					kind: lines, title: "Answers not yet given to their claims", say: "They are kept.", unit: "short",
					ask: []query{{`max by (license) (nphies_mailbox_unprocessed{license=~"$license"})`, `{{license}}`}},
				},
				{
					kind: stat, title: "Mailbox", say: "Whether the last answer was full, so that more waits at NPHIES.", unit: "short",
					words: map[string]string{"0": "read to its end", "1": "more waits"},
					ask:   []query{{`max by (license) (nphies_mailbox_more_waiting{license=~"$license"})`, `{{license}}`}},
				},
				{
					kind: stat, title: "Messages of no claim of ours", say: "Of all mailboxes in the last 24 hours: see enqueue inbox --unmatched.", unit: "short", alarm: 1,
					ask: []query{{`max(nphies_mailbox_unmatched)`, `unmatched`}},
				},
			}},
			{"Pauses and certificates", []panel{
				{
					kind: lines, title: "Pauses", say: "The licence as a whole, or how many payers of it.", unit: "short",
					ask: []query{{`max by (license, scope) (nphiesq_pauses{license=~"$license"})`, `{{license}} {{scope}}`}},
				},
				{
					kind: gauge, title: "Certificates: time left", say: "Of the worker whose certificate ends first. default is that of licences without one of their own.", unit: "s", warn: 14 * 86400, alarm: 3 * 86400,
					ask: []query{{`min by (license) (nphies_client_certificate_expires_in_seconds)`, `{{license}}`}},
				},
				{
					kind: bars, title: "Certificates: changes", say: "Certificates that came into use, and looks at one that cannot be used.", unit: "short",
					ask: []query{
						{`sum by (license) (increase(nphies_client_certificate_reloads_total[$__interval])) > 0`, `{{license}} in use`},
						{`sum by (license) (increase(nphies_client_certificate_failures_total[$__interval])) > 0`, `{{license}} cannot be used`},
					},
				},
			}},
		},
	},
	{
		name: "queues", title: "queues", say: "asynq's queues in Redis. What stands in them is ids; the record is in PostgreSQL.", vars: []variable{queue},
		rows: []row{
			{"Tasks", []panel{
				{
					kind: lines, title: "Pending", say: "Tasks that wait for a free worker.", unit: "short",
					ask: []query{{`max by (queue) (asynq_tasks_enqueued_total{queue=~"$queue", state="pending"})`, `{{queue}}`}},
				},
				{
					kind: lines, title: "Retry and scheduled", say: "Tasks that wait for their time.", unit: "short",
					ask: []query{{`max by (queue, state) (asynq_tasks_enqueued_total{queue=~"$queue", state=~"retry|scheduled"})`, `{{queue}} {{state}}`}},
				},
				{
					kind: lines, title: "Active", say: "Tasks that are worked on.", unit: "short",
					ask: []query{{`max by (queue) (asynq_tasks_enqueued_total{queue=~"$queue", state="active"})`, `{{queue}}`}},
				},
				{
					kind: lines, title: "Latency", say: "Age of the oldest pending task.", unit: "s",
					ask: []query{{`max by (queue) (asynq_queue_latency_seconds{queue=~"$queue"})`, `{{queue}}`}},
				},
				{
					kind: lines, title: "Archive", say: "Tasks in asynq's archive. From 9,999 on it drops the oldest; the dead letters in the record stay.", unit: "short", warn: 5000, alarm: 9999,
					ask: []query{{`max by (queue) (asynq_tasks_enqueued_total{queue=~"$queue", state="archived"})`, `{{queue}}`}},
				},
				{
					kind: stat, title: "Paused queues", say: "Queues that a person paused on the pages of the queues.", unit: "short", alarm: 1,
					words: map[string]string{"0": "runs", "1": "paused"},
					ask:   []query{{`max by (queue) (asynq_queue_paused_total{queue=~"$queue"})`, `{{queue}}`}},
				},
			}},
			{"Flow", []panel{
				{
					kind: lines, title: "Attempts that ended", say: "A minute, failed ones included.", unit: "opm",
					ask: []query{{`max by (queue) (rate(asynq_tasks_processed_total{queue=~"$queue"}[$__rate_interval])) * 60`, `{{queue}}`}},
				},
				{
					kind: lines, title: "Attempts that failed", say: "A minute.", unit: "opm",
					ask: []query{{`max by (queue) (rate(asynq_tasks_failed_total{queue=~"$queue"}[$__rate_interval])) * 60`, `{{queue}}`}},
				},
				{
					kind: lines, title: "Put into queues", say: "Tasks a minute; existed: one with its id was there already.", unit: "opm",
					ask: []query{{`sum by (queue, outcome) (rate(messaging_client_sent_messages_total{queue=~"$queue"}[$__rate_interval])) * 60 > 0`, `{{queue}} {{outcome}}`}},
				},
				{
					kind: lines, title: "Size", say: "Tasks in all states, completed ones that are still kept included.", unit: "short",
					ask: []query{{`max by (queue) (asynq_queue_size{queue=~"$queue"})`, `{{queue}}`}},
				},
				{
					kind: lines, title: "Memory in Redis", say: "About.", unit: "bytes",
					ask: []query{{`max by (queue) (asynq_queue_memory_usage_approx_bytes{queue=~"$queue"})`, `{{queue}}`}},
				},
				{
					kind: lines, title: "Oldest work of the record", say: "What waits to be done, whatever its task; unlike the latency it does not start anew with one.", unit: "s", alarm: 1800,
					ask: []query{{`max by (queue) (nphiesq_work_oldest_waiting_age_seconds{queue=~"$queue"})`, `{{queue}}`}},
				},
			}},
		},
	},
	{
		name: "workers", title: "workers", say: "The processes: worker and monitor, their servers, and what they use.", vars: []variable{instance},
		rows: []row{
			{"Fleet", []panel{
				{
					kind: stat, title: "Workers", say: "Those that hold a lease and renew it.", unit: "short", wide: 6, warn: 1, alarm: 1,
					ask: []query{{`max(nphiesq_workers{state="alive"})`, `alive`}},
				},
				{
					kind: stat, title: "Workers lost", say: "Those that no longer renew their lease and have not given it back.", unit: "short", wide: 6, alarm: 1,
					ask: []query{{`max(nphiesq_workers{state="lost"})`, `lost`}},
				},
				{
					kind: stat, title: "Servers", say: "Whether they answer all processes.", unit: "short", wide: 6, warn: 1, alarm: 1,
					words: map[string]string{"0": "away", "1": "answers"},
					ask:   []query{{`min by (dependency) (nphiesq_dependency_up)`, `{{dependency}}`}},
				},
				{
					kind: stat, title: "Versions", say: "How many processes of each program run which version.", unit: "short", wide: 6,
					ask: []query{{`count by (program, version) (nphiesq_build_info)`, `{{program}} {{version}}`}},
				},
			}},
			{"Tasks", []panel{
				{
					kind: lines, title: "Attempts", say: "At tasks, a minute.", unit: "opm",
					ask: []query{{`sum by (task_type) (rate(nphiesq_task_attempts_total{instance=~"$instance"}[$__rate_interval])) * 60`, `{{task_type}}`}},
				},
				{
					kind: bars, title: "Attempts that did not end well", say: "By type and kind of error.", unit: "short",
					ask: []query{{`sum by (task_type, outcome) (increase(nphiesq_task_attempts_total{instance=~"$instance", outcome!="ok"}[$__interval])) > 0`, `{{task_type}} {{outcome}}`}},
				},
				{
					kind: lines, title: "Time of an attempt", say: "What 95 of 100 do not exceed.", unit: "s",
					ask: []query{{`histogram_quantile(0.95, sum by (le, task_type) (rate(messaging_process_duration_seconds_bucket{instance=~"$instance"}[$__rate_interval])))`, `{{task_type}}`}},
				},
			}},
			{"Connections", []panel{
				{
					kind: lines, title: "PostgreSQL", say: "Connections in use, and how many there may be.", unit: "short",
					ask: []query{
						{`sum by (instance) (nphiesq_db_connections{instance=~"$instance", state="in_use"})`, `{{instance}}`},
						{`max(nphiesq_db_connections_max{instance=~"$instance"})`, `most`},
					},
				},
				{
					kind: lines, title: "Waiting for PostgreSQL", say: "Share of the connections taken from the pool that had to be waited for.", unit: "percentunit",
					ask: []query{{`sum by (instance) (rate(nphiesq_db_acquires_waited_total{instance=~"$instance"}[$__rate_interval])) / sum by (instance) (rate(nphiesq_db_acquires_total{instance=~"$instance"}[$__rate_interval]))`, `{{instance}}`}},
				},
				{
					kind: lines, title: "Redis", say: "Connections in use, and times a minute that none came free.", unit: "short",
					ask: []query{
						{`sum by (instance) (nphiesq_redis_connections{instance=~"$instance", state="in_use"})`, `{{instance}}`},
						{`sum by (instance) (rate(nphiesq_redis_pool_timeouts_total{instance=~"$instance"}[$__rate_interval])) * 60 > 0`, `{{instance}} none free`},
					},
				},
			}},
			{"Process", []panel{
				{
					kind: lines, title: "Processor", say: "Cores in use.", unit: "short",
					ask: []query{{`rate(process_cpu_seconds_total{instance=~"$instance", job=~".*nphiesq.*"}[$__rate_interval])`, `{{instance}}`}},
				},
				{
					kind: lines, title: "Memory", say: "Resident.", unit: "bytes",
					ask: []query{{`process_resident_memory_bytes{instance=~"$instance", job=~".*nphiesq.*"}`, `{{instance}}`}},
				},
				{
					kind: lines, title: "Heap", say: "Of the Go runtime, in use.", unit: "bytes",
					ask: []query{{`go_memstats_heap_inuse_bytes{instance=~"$instance", job=~".*nphiesq.*"}`, `{{instance}}`}},
				},
				{
					kind: lines, title: "Goroutines", say: "One that only rises is a leak.", unit: "short",
					ask: []query{{`go_goroutines{instance=~"$instance", job=~".*nphiesq.*"}`, `{{instance}}`}},
				},
				{
					kind: lines, title: "Open files", say: "Sockets included, as a share of what the process may have.", unit: "percentunit", alarm: 0.8,
					ask: []query{{`process_open_fds{instance=~"$instance", job=~".*nphiesq.*"} / process_max_fds{instance=~"$instance", job=~".*nphiesq.*"}`, `{{instance}}`}},
				},
				{
					kind: lines, title: "Started", say: "Time since the process started: a fall is a restart.", unit: "s",
					ask: []query{{`time() - process_start_time_seconds{instance=~"$instance", job=~".*nphiesq.*"}`, `{{instance}}`}},
				},
			}},
			{"Monitor", []panel{
				{
					kind: lines, title: "Requests", say: "A minute, by listener and status.", unit: "opm",
					ask: []query{{`sum by (listener, code) (rate(http_request_duration_seconds_count{instance=~"$instance"}[$__rate_interval])) * 60`, `{{listener}} {{code}}`}},
				},
				{
					kind: lines, title: "Time of a request", say: "What 95 of 100 do not exceed.", unit: "s",
					ask: []query{{`histogram_quantile(0.95, sum by (le, listener) (rate(http_request_duration_seconds_bucket{instance=~"$instance"}[$__rate_interval])))`, `{{listener}}`}},
				},
				{
					kind: bars, title: "Not let in", say: "Calls and links that were not let in, by the way they came and the reason.", unit: "short",
					ask: []query{{`sum by (source, reason) (increase(action_auth_failures_total{instance=~"$instance"}[$__interval])) > 0`, `{{source}} {{reason}}`}},
				},
			}},
		},
	},
}
