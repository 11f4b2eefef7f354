package metric

import (
	"fmt"
	"strings"
)

//go:generate go run ./gen

// Markdown is docs/metrics.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# Metrics

The worker shows them at ` + "`/metrics` on `HTTP_ADDR`, the monitor on `MONITOR_HTTP_ADDR`" + `. Labels come from closed sets or the settings, never an id, an
address or a name. Besides these there are ` + "`go_*` and `process_*`" + ` of the runtime and ` + "`promhttp_*`" + ` of the handler.

What comes from the record (claims, dead letters, outbox, mailboxes, pauses, workers, alerts, pages, audit trail) is the same from every worker: take the
` + "`max by`" + ` its labels, not the sum. It is missing while PostgreSQL does not answer; ` + "`asynq_*` and `teams_circuit_state`" + ` while Redis does not. A metric *from* is not
there before that has happened; the others are there once the program works, counters with 0 where their labels have few values. While it waits for its servers it shows
` + "`nphiesq_build_info`, `nphiesq_dependency_up`" + ` and the counters of tasks. Rules for alarms are in
[deploy/prometheus](../deploy/prometheus), dashboards in [deploy/grafana](../deploy/grafana).

This page is generated from the catalogue in ` + "`internal/metric`" + `, from which the metrics are made, by ` + "`make generate`" + `.

| metric | type, unit | labels | meaning | shown by |
|---|---|---|---|---|
`)
	for _, r := range table {
		var labels []string
		for _, l := range r.Labels {
			labels = append(labels, l.markdown())
		}
		kind := string(r.Type)
		if r.Unit != "" {
			kind += ", " + r.Unit
		}
		if len(r.Buckets) > 0 {
			kind += fmt.Sprintf(" to %g", r.Buckets[len(r.Buckets)-1])
		}
		meaning := r.Help
		if r.When != "" {
			meaning += " *From when " + r.When + ".*"
		}
		var of []string
		for _, p := range r.Of {
			of = append(of, string(p))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.Name, kind, strings.Join(labels, "<br>"), meaning, strings.Join(of, ", "))
	}
	return b.String()
}

func (l Label) markdown() string {
	if l.Say != "" {
		return "`" + l.Name + "`: " + l.Say
	}
	return "`" + l.Name + "`: " + strings.Join(l.Values, ", ")
}
