// Package metric is the catalogue of nphiesq's metrics: each has its row here, from which it is made, documented (docs/metrics.md) and
// checked. Labels come from closed sets, or from the settings: never an id, an address or a name.
package metric

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Type is a metric's type in Prometheus.
type Type string

// The types in use.
const (
	Counter   Type = "counter"
	Gauge     Type = "gauge"
	Histogram Type = "histogram"
	// Untyped is a gauge whose name, which asynq gave it, would be that of a counter.
	Untyped Type = "untyped"
)

// Program says which program shows a metric.
type Program string

// The programs that show metrics.
const (
	Worker  Program = "worker"
	Monitor Program = "monitor"
)

// Row is one metric.
type Row struct {
	Name string
	Type Type
	// Unit of the value, or of the observations of a histogram: "seconds", "bytes", "tasks"; "" for a plain number.
	Unit   string
	Labels []Label
	Help   string
	// Buckets of a histogram.
	Buckets []float64
	Of      []Program
	// Late metrics are not there from the start: When says what has to happen first. The others are.
	When string
}

// Label is a label with the values it can have.
type Label struct {
	Name string
	// Values is the closed set; nil: the values come from the settings, or have the form of Match.
	Values []string
	// Match is the form of the values that are not in Values.
	Match *regexp.Regexp
	// Say is what docs/metrics.md says instead of the values, if anything.
	Say string
}

// Allows reports whether the label may have the value.
func (l Label) Allows(v string) bool {
	return slices.Contains(l.Values, v) || (l.Match != nil && l.Match.MatchString(v)) || (l.Values == nil && l.Match == nil && v != "")
}

func (r Row) labels() []string {
	out := make([]string, 0, len(r.Labels))
	for _, l := range r.Labels {
		out = append(out, l.Name)
	}
	return out
}

// row returns a metric's row. A name without one is a programming error.
func row(name string, t Type) Row {
	for _, r := range table {
		if r.Name == name && r.Type == t {
			return r
		}
	}
	panic(fmt.Sprintf("metric: no row for the %s %s", t, name))
}

// NewCounter makes the counter of this name. Where its labels have few values all combinations are there from the start, with 0, so that
// the first event is an increase.
func NewCounter(name string) *prometheus.CounterVec {
	r := row(name, Counter)
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: r.Name, Help: r.Help}, r.labels())
	for _, values := range combinations(r.Labels) {
		c.WithLabelValues(values...)
	}
	return c
}

// NewGauge makes the gauge of this name.
func NewGauge(name string) *prometheus.GaugeVec {
	r := row(name, Gauge)
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: r.Name, Help: r.Help}, r.labels())
}

// NewHistogram makes the histogram of this name.
func NewHistogram(name string) *prometheus.HistogramVec {
	r := row(name, Histogram)
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: r.Name, Help: r.Help, Buckets: r.Buckets}, r.labels())
	for _, values := range combinations(r.Labels) {
		h.WithLabelValues(values...)
	}
	return h
}

// Desc describes the metric of this name, for collectors that compute it when asked.
func Desc(name string) *prometheus.Desc {
	for _, r := range table {
		if r.Name == name {
			return prometheus.NewDesc(r.Name, r.Help, r.labels(), nil)
		}
	}
	panic("metric: no row for " + name)
}

// Value is one value of a metric of Desc.
func Value(d *prometheus.Desc, name string, v float64, labels ...string) prometheus.Metric {
	t := prometheus.GaugeValue
	switch kindOf(name) {
	case Counter:
		t = prometheus.CounterValue
	case Untyped:
		t = prometheus.UntypedValue
	case Gauge, Histogram:
	}
	return prometheus.MustNewConstMetric(d, t, v, labels...)
}

func kindOf(name string) Type {
	for _, r := range table {
		if r.Name == name {
			return r.Type
		}
	}
	return ""
}

// fewest is how many combinations of labels are made at the start.
const fewest = 200

// combinations lists all values that the labels can have together, nil when these are many or not known.
func combinations(labels []Label) [][]string {
	out := [][]string{{}}
	for _, l := range labels {
		if l.Values == nil || l.Match != nil || len(out)*len(l.Values) > fewest {
			return nil
		}
		var next [][]string
		for _, head := range out {
			for _, v := range l.Values {
				next = append(next, append(slices.Clone(head), v))
			}
		}
		out = next
	}
	return out
}

// Verify reports what is wrong with gathered metrics: one that has no row, or another type, or a label or value that its row does not
// allow. Metrics of the Go runtime, the process and the HTTP handler of Prometheus are left out.
func Verify(families []*dto.MetricFamily) []string {
	var wrong []string
	for _, f := range families {
		name := f.GetName()
		if Foreign(name) {
			continue
		}
		i := slices.IndexFunc(table, func(r Row) bool { return r.Name == name })
		if i < 0 {
			wrong = append(wrong, name+": has no row in the catalogue")
			continue
		}
		r := table[i]
		if got := strings.ToLower(f.GetType().String()); got != string(r.Type) {
			wrong = append(wrong, fmt.Sprintf("%s: is a %s, the catalogue says %s", name, got, r.Type))
		}
		for _, m := range f.GetMetric() {
			wrong = append(wrong, r.check(m.GetLabel())...)
		}
	}
	slices.Sort(wrong)
	return slices.Compact(wrong)
}

func (r Row) check(pairs []*dto.LabelPair) []string {
	var wrong []string
	if len(pairs) != len(r.Labels) {
		wrong = append(wrong, fmt.Sprintf("%s: has %d labels, the catalogue says %d", r.Name, len(pairs), len(r.Labels)))
	}
	for _, p := range pairs {
		i := slices.IndexFunc(r.Labels, func(l Label) bool { return l.Name == p.GetName() })
		switch {
		case i < 0:
			wrong = append(wrong, fmt.Sprintf("%s: the catalogue has no label %s", r.Name, p.GetName()))
		case !r.Labels[i].Allows(p.GetValue()):
			wrong = append(wrong, fmt.Sprintf("%s: the label %s may not be %q", r.Name, p.GetName(), p.GetValue()))
		}
	}
	return wrong
}

// Foreign reports whether a metric is not ours: it comes with the Go runtime, the process, or Prometheus' HTTP handler.
func Foreign(name string) bool {
	for _, prefix := range []string{"go_", "process_", "promhttp_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
