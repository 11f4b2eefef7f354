package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/metric"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

// TestMetricsOfAWorkingWorker looks at /metrics of the real program after claims of every outcome: each name, label and value as the
// catalogue says, and nothing that Prometheus' own lint finds fault with.
func TestMetricsOfAWorkingWorker(t *testing.T) {
	s := newSite(t)
	s.env["METRICS_PAYER_GROUPS"] = "10000000000001=tpa_a DEMO-INS-0001=tpa_a"
	w := s.worker()
	files, err := filepath.Glob("../../examples/claims/*json")
	require.NoError(t, err)
	s.enqueue(append([]string{"submit"}, files...)...)
	checks, err := filepath.Glob("../../examples/eligibility/*json")
	require.NoError(t, err)
	require.NotEmpty(t, checks)
	s.enqueue(append([]string{"eligibility"}, checks...)...)
	testenv.Eventually(t, func() bool {
		return s.count(`SELECT count(*) FROM claims WHERE state IN ('received', 'submitting', 'pending')`) == 0 && s.count(`SELECT count(*) FROM eligibility_checks WHERE state IN ('received', 'submitting')`) == 0
	}, "every claim has an outcome or waits for a person")
	s.cardsArrivedOnce()

	var text string
	var families map[string]*dto.MetricFamily
	have := func(names ...string) bool {
		var code int
		if code, text = w.get("/metrics"); code != 200 {
			return false
		}
		p := expfmt.NewTextParser(model.UTF8Validation)
		var err error
		families, err = p.TextToMetricFamilies(strings.NewReader(text))
		require.NoError(t, err)
		for _, n := range names {
			if families[n] == nil {
				return false
			}
		}
		return true
	}
	late := []string{
		"nphies_request_duration_seconds", "nphies_poll_last_success_timestamp_seconds", "nphiesq_task_attempts_total", "teams_notifications_sent_total", "teams_notifications_total",
		"teams_delivery_attempts_total", "teams_circuit_state", "teams_channel_last_accepted_timestamp_seconds", "audit_chain_valid",
	}
	testenv.Eventually(t, func() bool { return have(late...) }, "what has happened is shown")
	for _, r := range metric.Table() {
		if slices.Contains(r.Of, metric.Worker) && r.When == "" {
			require.NotNil(t, families[r.Name], r.Name)
		}
	}
	require.Empty(t, metric.Verify(values(families)))

	problems, err := promlint.New(strings.NewReader(text)).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	promtool(t, text)

	groups := map[string]bool{}
	for _, m := range families["nphies_request_duration_seconds"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "payer_group" {
				groups[l.GetValue()] = true
			}
		}
	}
	require.True(t, groups["none"], "polls are for no payer: %v", groups)
	require.True(t, groups["tpa_a"], "%v", groups)
}

// promtool gives the text to the real one, where it is installed.
func promtool(t *testing.T, text string) {
	t.Helper()
	bin, err := exec.LookPath("promtool")
	if err != nil {
		require.Empty(t, os.Getenv("CI"), "promtool is missing: apt-get install prometheus")
		t.Log("left out: promtool is not installed (Debian: apt-get install prometheus)")
		return
	}
	cmd := exec.CommandContext(t.Context(), bin, "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out))
}

func values(m map[string]*dto.MetricFamily) (out []*dto.MetricFamily) {
	for _, f := range m {
		out = append(out, f)
	}
	return out
}
