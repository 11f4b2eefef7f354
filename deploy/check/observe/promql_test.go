package observe

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/metric"
)

var (
	promql = parser.NewParser(parser.Options{})
	// scraped are the labels that Prometheus adds.
	scraped = []string{"instance", "job"}
	// own are the metrics of Prometheus itself.
	own = map[string][]string{"up": nil, "ALERTS": {"alertname", "alertstate", "severity", "way"}}
)

// row returns what the catalogue says of a series, and the labels that it has.
func row(name string) (metric.Row, []string, error) {
	if more, ok := own[name]; ok || metric.Foreign(name) {
		return metric.Row{}, append(slices.Clone(scraped), more...), nil
	}
	for _, r := range metric.Table() {
		has := slices.Clone(scraped)
		for _, l := range r.Labels {
			has = append(has, l.Name)
		}
		if suffix, ok := strings.CutPrefix(name, r.Name); ok && r.Type == metric.Histogram {
			switch suffix {
			case "_bucket":
				return r, append(has, "le"), nil
			case "_sum", "_count":
				return r, has, nil
			}
		}
		if name == r.Name && r.Type != metric.Histogram {
			return r, has, nil
		}
	}
	return metric.Row{}, nil, fmt.Errorf("%s is not in the catalogue", name)
}

// verify returns what an expression says that the catalogue does not know, and the labels that its result may have.
func verify(expr string) (result []string, wrong []string) {
	e, err := promql.ParseExpr(expr)
	if err != nil {
		return nil, []string{err.Error()}
	}
	return walk(e)
}

func walk(n parser.Node) (has, wrong []string) {
	known := func(what string, names []string) {
		for _, l := range names {
			if !slices.Contains(has, l) {
				wrong = append(wrong, fmt.Sprintf("%s (%s): no series has this label", what, l))
			}
		}
	}
	switch n := n.(type) {
	case *parser.VectorSelector:
		r, with, err := row(n.Name)
		if err != nil {
			return nil, []string{err.Error()}
		}
		for _, m := range n.LabelMatchers {
			if m.Name == model.MetricNameLabel {
				continue
			}
			if !slices.Contains(with, m.Name) {
				wrong = append(wrong, fmt.Sprintf("%s: has no label %s", n.Name, m.Name))
			}
			wrong = append(wrong, values(r, n.Name, m)...)
		}
		return with, wrong
	case *parser.AggregateExpr:
		has, wrong = walk(n.Expr)
		known("by, without", n.Grouping)
		if n.Without {
			return slices.DeleteFunc(slices.Clone(has), func(l string) bool { return slices.Contains(n.Grouping, l) }), wrong
		}
		return n.Grouping, wrong
	case *parser.BinaryExpr:
		left, wl := walk(n.LHS)
		right, wr := walk(n.RHS)
		has, wrong = append(slices.Clone(left), right...), append(wl, wr...)
		if m := n.VectorMatching; m != nil {
			known("on, ignoring", m.MatchingLabels)
			known("group", m.Include)
		}
		return has, wrong
	case *parser.Call:
		if n.Func.Name == "absent" || n.Func.Name == "absent_over_time" || n.Func.Name == "vector" || n.Func.Name == "time" {
			for _, a := range n.Args {
				_, w := walk(a)
				wrong = append(wrong, w...)
			}
			return nil, wrong
		}
	}
	for c := range parser.ChildrenIter(n) {
		h, w := walk(c)
		has, wrong = append(has, h...), append(wrong, w...)
	}
	return has, wrong
}

// values checks what a label is compared with: one of its closed set at least must fit.
func values(r metric.Row, name string, m *labels.Matcher) []string {
	i := slices.IndexFunc(r.Labels, func(l metric.Label) bool { return l.Name == m.Name })
	if i < 0 || r.Labels[i].Values == nil { // the settings, or a form, say which there are
		return nil
	}
	l := r.Labels[i]
	switch m.Type {
	case labels.MatchEqual, labels.MatchNotEqual:
		if l.Allows(m.Value) {
			return nil
		}
	case labels.MatchRegexp, labels.MatchNotRegexp:
		alternatives := strings.Split(m.Value, "|")
		for _, a := range alternatives {
			re, err := regexp.Compile("^(?:" + a + ")$")
			if err != nil || !slices.ContainsFunc(l.Values, re.MatchString) {
				return []string{fmt.Sprintf("%s: the label %s has no value like %q", name, m.Name, a)}
			}
		}
		return nil
	}
	return []string{fmt.Sprintf("%s: the label %s is never %q", name, m.Name, m.Value)}
}

// TestVerify breaks what verify is there for.
func TestVerify(t *testing.T) {
	for expr, want := range map[string]string{
		`sum(nphiesq_claim)`:                                "nphiesq_claim is not in the catalogue",
		`nphies_request_duration_seconds`:                   "is not in the catalogue",
		`nphiesq_claims_bucket`:                             "is not in the catalogue",
		`nphiesq_claims{status="x"}`:                        "nphiesq_claims: has no label status",
		`nphiesq_claims{state="dead"}`:                      `the label state is never "dead"`,
		`nphiesq_claims{state!="dead"}`:                     `the label state is never "dead"`,
		`nphiesq_claims{state=~"approved|dead"}`:            `the label state has no value like "dead"`,
		`sum by (queue) (nphiesq_claims)`:                   "by, without (queue)",
		`max by (le) (nphies_request_duration_seconds_sum)`: "by, without (le)",
		`nphiesq_claims and on (queue) nphiesq_pauses`:      "on, ignoring (queue)",
		`sum by (state) (max by (use) (nphiesq_claims))`:    "by, without (state)",
		`sum(nphiesq_claims`:                                "parse error",
	} {
		_, wrong := verify(expr)
		require.Contains(t, strings.Join(wrong, "\n"), want, expr)
	}
	for _, expr := range []string{
		`histogram_quantile(0.9, sum by (le, event) (rate(nphies_request_duration_seconds_bucket{error_type=~"none|network"}[5m])))`,
		`max without (instance, job) (nphiesq_claims{state=~"app.*"}) or on () absent(up)`, `go_goroutines`, `teams_delivery_attempts_total{status="503"}`,
	} {
		_, wrong := verify(expr)
		require.Empty(t, wrong, expr)
	}
}
