// Package telemetry sets up logs and metrics. Labels come from closed sets: never an id, an address or a name.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/metric"
	"github.com/claimlinc/nphiesq/internal/tracing"
	"github.com/claimlinc/nphiesq/tasks"
)

// Logger writes structured logs to w; lines carry the ids of their task, of what it is about, and of their trace. level is debug, info, warn or error; format json or text.
func Logger(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo // internal/config has checked it
	}
	o := &slog.HandlerOptions{Level: l}
	if format == "text" {
		return slog.New(tracing.Logs(slog.NewTextHandler(w, o)))
	}
	return slog.New(tracing.Logs(slog.NewJSONHandler(w, o)))
}

// Registry returns a registry with the metrics of the process and the Go runtime, and the name and version of the program.
func Registry(program metric.Program, version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	info := metric.NewGauge("nphiesq_build_info")
	info.WithLabelValues(string(program), version).Set(1)
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
	groups    map[string]string
}

// NewTasks registers the task metrics on r. groups names the group of a payer by its licence: see ParsePayerGroups.
func NewTasks(r prometheus.Registerer, groups map[string]string) *Tasks {
	m := &Tasks{
		attempts:  metric.NewCounter("nphiesq_task_attempts_total"),
		durations: metric.NewHistogram("messaging_process_duration_seconds"),
		exchanges: metric.NewHistogram("nphies_request_duration_seconds"),
		findings:  metric.NewCounter("nphiesq_reconcile_findings_total"),
		silenced:  metric.NewCounter("teams_suppressed_total"),
		groups:    groups,
	}
	r.MustRegister(m.attempts, m.durations, m.exchanges, m.findings, m.silenced)
	return m
}

// Attempt counts one attempt at a task. Unknown types count as "other".
func (m *Tasks) Attempt(taskType, outcome string, took time.Duration) {
	if _, ok := tasks.SpecOf(taskType); !ok {
		taskType = metric.Other
	}
	m.attempts.WithLabelValues(taskType, outcome).Inc()
	m.durations.WithLabelValues(taskType).Observe(took.Seconds())
}

// Exchange counts one exchange with NPHIES that was meant for a payer, "" for none, and ended with err.
func (m *Tasks) Exchange(event, payer string, err error, took time.Duration) {
	group := metric.None
	if payer != "" {
		if group = m.groups[payer]; group == "" {
			group = metric.Other
		}
	}
	outcome, kind := "ok", metric.None
	if err != nil {
		outcome = "error"
		switch k := fault.KindOf(err); k {
		case fault.Certificate, fault.JWT, fault.Network, fault.API:
			kind = string(k)
		case fault.Invalid:
			kind = string(fault.API)
		case fault.NotFound, fault.Conflict, fault.RateLimited, fault.Unavailable, fault.Config, fault.Internal:
			kind = metric.ErrorOurs
		}
	}
	m.exchanges.WithLabelValues(event, outcome, kind, group).Observe(took.Seconds())
}

// ParsePayerGroups reads METRICS_PAYER_GROUPS: "payer licence=group" pairs, separated by blanks or commas. A group is a word of small
// letters, digits and _ that is not other or none.
func ParsePayerGroups(text string) (map[string]string, error) {
	out := map[string]string{}
	for _, pair := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) {
		payer, group, ok := strings.Cut(pair, "=")
		switch {
		case !ok || payer == "" || !isGroup.MatchString(group):
			return nil, fmt.Errorf("%q is not a pair; want <payer licence>=<group>, a group of small letters, digits and _", pair)
		case group == metric.Other || group == metric.None:
			return nil, fmt.Errorf("%q: this group is taken for payers in no group and messages to no payer", pair)
		case out[payer] != "" && out[payer] != group:
			return nil, fmt.Errorf("payer %s stands in two groups", payer)
		}
		out[payer] = group
	}
	names := map[string]bool{}
	for _, g := range out {
		names[g] = true
	}
	if len(names) > maxGroups {
		return nil, fmt.Errorf("%d groups; want %d or fewer, as each is a label of its own", len(names), maxGroups)
	}
	return out, nil
}

const maxGroups = 30

var isGroup = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// Finding counts what the reconciler found.
func (m *Tasks) Finding(finding string, n int) { m.findings.WithLabelValues(finding).Add(float64(n)) }

// Suppressed counts an event that was not told.
func (m *Tasks) Suppressed(reason string) { m.silenced.WithLabelValues(reason).Inc() }

// queues collects asynq's own figures under asynq's own names, which the monitor's charts expect.
type queues struct {
	insp  Inspector
	descs map[string]*prometheus.Desc

	mu    sync.Mutex
	asked chan []*asynq.QueueInfo // an answer that is still awaited, nil for none
}

// Inspector is asynq's view of the queues.
type Inspector interface {
	GetQueueInfo(queue string) (*asynq.QueueInfo, error)
}

// NewQueues returns a collector of the depth of each queue. Each scrape asks Redis once per queue. One that hangs does not hold up the scrape:
// there are no figures then, and nphiesq_dependency_up says why.
func NewQueues(insp Inspector) prometheus.Collector {
	q := &queues{insp: insp, descs: map[string]*prometheus.Desc{}}
	for _, r := range metric.Table() {
		if strings.HasPrefix(r.Name, "asynq_") {
			q.descs[r.Name] = metric.Desc(r.Name)
		}
	}
	return q
}

func (q *queues) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range q.descs {
		ch <- d
	}
}

// ask asks for all queues; asynq knows no deadline. While one question waits for its answer no other is put.
func (q *queues) ask() []*asynq.QueueInfo {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.asked == nil {
		answer := make(chan []*asynq.QueueInfo, 1)
		q.asked = answer
		go func() {
			var out []*asynq.QueueInfo
			for _, name := range tasks.Queues() {
				if i, err := q.insp.GetQueueInfo(name); err == nil { // else it is not used yet, or Redis is away
					out = append(out, i)
				}
			}
			answer <- out
		}()
	}
	patience := time.NewTimer(answerWithin)
	defer patience.Stop()
	select {
	case out := <-q.asked:
		q.asked = nil
		return out
	case <-patience.C:
		return nil // the next scrape looks for the answer
	}
}

func (q *queues) Collect(ch chan<- prometheus.Metric) {
	for _, i := range q.ask() {
		put := func(m string, v float64, labels ...string) {
			ch <- metric.Value(q.descs[m], m, v, append([]string{i.Queue}, labels...)...)
		}
		put("asynq_queue_size", float64(i.Size))
		put("asynq_queue_latency_seconds", i.Latency.Seconds())
		put("asynq_queue_memory_usage_approx_bytes", float64(i.MemoryUsage))
		for state, n := range map[string]int{
			"active": i.Active, "pending": i.Pending, "scheduled": i.Scheduled, "retry": i.Retry, "archived": i.Archived, "completed": i.Completed,
		} {
			put("asynq_tasks_enqueued_total", float64(n), state)
		}
		paused := 0.0
		if i.Paused {
			paused = 1
		}
		put("asynq_queue_paused_total", paused)
		put("asynq_tasks_processed_total", float64(i.ProcessedTotal))
		put("asynq_tasks_failed_total", float64(i.FailedTotal))
	}
}
