// Package telemetry sets up logs and metrics. Labels come from closed sets: never an id, an address or a name.
package telemetry

import (
	"io"
	"log/slog"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/claimlinc/nphiesq/tasks"
)

// Logger writes structured logs to w. level is debug, info, warn or error; format json or text.
func Logger(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo // internal/config has checked it
	}
	o := &slog.HandlerOptions{Level: l}
	if format == "text" {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}

// Registry returns a registry with the metrics of the process and the Go runtime, and the version of the program.
func Registry(version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "nphiesq_build_info", Help: "Always 1; the version is the label.", ConstLabels: prometheus.Labels{"version": version}})
	info.Set(1)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info)
	return r
}

// Tasks counts attempts at tasks and exchanges with NPHIES.
type Tasks struct {
	attempts  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	exchanges *prometheus.HistogramVec
	findings  *prometheus.CounterVec
	silenced  *prometheus.CounterVec
}

// NewTasks registers the task metrics on r.
func NewTasks(r prometheus.Registerer) *Tasks {
	buckets := []float64{.005, .02, .1, .5, 1, 2.5, 5, 10, 30, 60, 120}
	m := &Tasks{
		attempts:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "nphiesq_task_attempts_total", Help: "Attempts at tasks, by type and how they ended (ok or an error kind)."}, []string{"task_type", "outcome"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "messaging_process_duration_seconds", Help: "Time one attempt at a task took.", Buckets: buckets}, []string{"task_type"}),
		exchanges: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "nphies_request_duration_seconds", Help: "Time one exchange with NPHIES took, by message event and outcome (ok or an error kind).", Buckets: buckets}, []string{"event", "outcome"}),
	}
	m.findings = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "nphiesq_reconcile_findings_total", Help: "What the reconciler found and mended, by kind: abandoned, missing, orphaned, overdue, poll, channel, page."}, []string{"finding"})
	m.silenced = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "teams_suppressed_total", Help: "Events that were not told, by reason. inhibited: a condition that is told explains them."}, []string{"reason"})
	r.MustRegister(m.attempts, m.durations, m.exchanges, m.findings, m.silenced)
	return m
}

// Attempt counts one attempt at a task. Unknown types count as "other".
func (m *Tasks) Attempt(taskType, outcome string, took time.Duration) {
	if _, ok := tasks.SpecOf(taskType); !ok {
		taskType = "other"
	}
	m.attempts.WithLabelValues(taskType, outcome).Inc()
	m.durations.WithLabelValues(taskType).Observe(took.Seconds())
}

// Exchange counts one exchange with NPHIES.
func (m *Tasks) Exchange(event, outcome string, took time.Duration) {
	m.exchanges.WithLabelValues(event, outcome).Observe(took.Seconds())
}

// Finding counts what the reconciler found.
func (m *Tasks) Finding(finding string, n int) { m.findings.WithLabelValues(finding).Add(float64(n)) }

// Suppressed counts an event that was not told.
func (m *Tasks) Suppressed(reason string) { m.silenced.WithLabelValues(reason).Inc() }

// queues collects asynq's own figures under asynq's own names, which the monitor's charts expect.
type queues struct {
	insp                                  *asynq.Inspector
	size, latency, memory, states, paused *prometheus.Desc
	processed, failed                     *prometheus.Desc
}

// NewQueues returns a collector of the depth of each queue. Each scrape asks Redis once per queue.
func NewQueues(insp *asynq.Inspector) prometheus.Collector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"queue"}, labels...), nil)
	}
	return &queues{
		insp:      insp,
		size:      d("asynq_queue_size", "Tasks in the queue, in all states."),
		latency:   d("asynq_queue_latency_seconds", "Age of the oldest pending task."),
		memory:    d("asynq_queue_memory_usage_approx_bytes", "Memory the queue takes in Redis, about."),
		states:    d("asynq_tasks_enqueued_total", "Tasks in the queue by state.", "state"),
		paused:    d("asynq_queue_paused_total", "1 while the queue is paused."),
		processed: d("asynq_tasks_processed_total", "Attempts that ended, failed ones included."),
		failed:    d("asynq_tasks_failed_total", "Attempts that failed."),
	}
}

func (q *queues) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{q.size, q.latency, q.memory, q.states, q.paused, q.processed, q.failed} {
		ch <- d
	}
}

func (q *queues) Collect(ch chan<- prometheus.Metric) {
	for _, name := range tasks.Queues() {
		i, err := q.insp.GetQueueInfo(name)
		if err != nil {
			continue // not used yet, or Redis is away: then /readyz says so
		}
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{name}, labels...)...)
		}
		gauge(q.size, float64(i.Size))
		gauge(q.latency, i.Latency.Seconds())
		gauge(q.memory, float64(i.MemoryUsage))
		for state, n := range map[string]int{
			"active": i.Active, "pending": i.Pending, "scheduled": i.Scheduled, "retry": i.Retry, "archived": i.Archived, "completed": i.Completed,
		} {
			gauge(q.states, float64(n), state)
		}
		paused := 0.0
		if i.Paused {
			paused = 1
		}
		gauge(q.paused, paused)
		ch <- prometheus.MustNewConstMetric(q.processed, prometheus.CounterValue, float64(i.ProcessedTotal), name)
		ch <- prometheus.MustNewConstMetric(q.failed, prometheus.CounterValue, float64(i.FailedTotal), name)
	}
}
