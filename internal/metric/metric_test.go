package metric_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/metric"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/nphiesclient"
)

func TestTheCatalogueIsSound(t *testing.T) {
	seen := map[string]bool{}
	label := regexp.MustCompile(`^[a-z][a-z_]*$`)
	for _, r := range metric.Table() {
		require.False(t, seen[r.Name], "%s stands twice", r.Name)
		seen[r.Name] = true
		require.NotEmpty(t, r.Of, r.Name)
		require.Regexp(t, `^[A-Z1][^|\n]*\.$`, r.Help, r.Name)
		require.Equal(t, r.Type == metric.Histogram, len(r.Buckets) > 0, r.Name)
		require.Equal(t, r.Type == metric.Counter, strings.HasSuffix(r.Name, "_total") && r.Type != metric.Untyped, r.Name)
		if r.Unit == "seconds" || r.Unit == "bytes" {
			require.Contains(t, r.Name, "_"+r.Unit, r.Name)
		}
		for _, l := range r.Labels {
			require.Regexp(t, label, l.Name, r.Name)
			require.NotContains(t, []string{"id", "user", "url", "claim", "patient", "instance", "job"}, l.Name, r.Name)
			require.False(t, l.Values == nil && l.Say == "", "%s: nothing says what %s can be", r.Name, l.Name)
		}
	}
}

// TestSetsAreThoseOfTheCode compares the words that the catalogue cannot take from the packages they belong to.
func TestSetsAreThoseOfTheCode(t *testing.T) {
	of := func(name, label string) []string {
		for _, r := range metric.Table() {
			for _, l := range r.Labels {
				if r.Name == name && l.Name == label {
					return l.Values
				}
			}
		}
		t.Fatalf("no label %s of %s", label, name)
		return nil
	}
	var want []string
	for _, s := range store.States() {
		want = append(want, string(s))
	}
	require.Equal(t, want, of("nphiesq_claims", "state"))
	require.Equal(t, []string{store.UseClaim, store.UsePreauthorization}, of("nphiesq_claims", "use"))
	want = nil
	for _, s := range actions.Sources() {
		want = append(want, string(s))
	}
	require.Equal(t, want, of("action_requests_total", "source"))
	want = nil
	for _, v := range actions.Verbs() {
		want = append(want, string(v))
	}
	require.Equal(t, append(want, metric.Other), of("action_requests_total", "verb"))
	for _, e := range []string{
		nphiesclient.EventEligibilityRequest, nphiesclient.EventClaimRequest, nphiesclient.EventPriorAuthRequest, nphiesclient.EventStatusCheck, nphiesclient.EventCancelRequest,
		nphiesclient.EventPollRequest,
	} {
		require.Contains(t, of("nphies_request_duration_seconds", "event"), e)
	}
}

func TestVerifyNamesWhatIsWrong(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	good := metric.NewCounter("nphiesq_escalations_total")
	r.MustRegister(good, prometheus.NewCounter(prometheus.CounterOpts{Name: "surprise_total", Help: "x"}))
	families, err := r.Gather()
	require.NoError(t, err)
	require.Equal(t, []string{"surprise_total: has no row in the catalogue"}, metric.Verify(families))

	good.WithLabelValues("patient 1234567890").Inc()
	families, err = r.Gather()
	require.NoError(t, err)
	require.Contains(t, metric.Verify(families), `nphiesq_escalations_total: the label priority may not be "patient 1234567890"`)

	name, kind := "nphiesq_workers", dto.MetricType_COUNTER
	wrong := metric.Verify([]*dto.MetricFamily{{Name: &name, Type: &kind, Metric: []*dto.Metric{{Label: []*dto.LabelPair{{Name: new("id"), Value: new("7")}, {Name: new("state"), Value: new("alive")}}}}}})
	require.Equal(t, []string{
		"nphiesq_workers: has 2 labels, the catalogue says 1", "nphiesq_workers: is a counter, the catalogue says gauge", "nphiesq_workers: the catalogue has no label id",
	}, wrong)
}

func TestFewCombinationsAreThereFromTheStart(t *testing.T) {
	r := prometheus.NewRegistry()
	r.MustRegister(metric.NewCounter("pagerduty_events_total"), metric.NewCounter("teams_notifications_total"))
	families, err := r.Gather()
	require.NoError(t, err)
	require.Len(t, families, 1)
	require.Len(t, families[0].GetMetric(), 15)
	require.Panics(t, func() { metric.NewCounter("nphiesq_workers") }, "it is a gauge")
	require.Panics(t, func() { metric.Desc("nothing") })
}

func TestTheReferenceIsFresh(t *testing.T) {
	have, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	require.Equal(t, metric.Markdown(), string(have), "run make generate")
}
