package observe

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

const (
	root     = "../../.."
	rules    = root + "/deploy/prometheus/rules/nphiesq.yml"
	runbooks = root + "/docs/runbooks"
	address  = "https://github.com/claimlinc/nphiesq/blob/main/docs/runbooks/"
)

func alerts(t *testing.T) map[string]rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(rules, false, model.UTF8Validation, promql, slog.Default())
	require.Empty(t, errs)
	out := map[string]rulefmt.Rule{}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			require.NotEmpty(t, r.Alert, "%s: only alerts", r.Record)
			require.NotContains(t, out, r.Alert, "two alerts of one name")
			out[r.Alert] = r
		}
	}
	require.GreaterOrEqual(t, len(out), 20)
	return out
}

var labelInText = regexp.MustCompile(`\$labels\.(\w+)`)

func TestAlertsAreComplete(t *testing.T) {
	for name, r := range alerts(t) {
		has, wrong := verify(r.Expr)
		require.Empty(t, wrong, name)
		require.Contains(t, []string{"critical", "warning", "info"}, r.Labels["severity"], name)
		require.Contains(t, []string{"", "both", "outside"}, r.Labels["way"], name)
		for label := range r.Labels {
			require.Contains(t, []string{"severity", "way"}, label, name)
		}
		require.NotEmpty(t, r.Annotations["summary"], name)
		require.NotEmpty(t, r.Annotations["description"], name)
		require.Equal(t, address+name+".md", r.Annotations["runbook_url"], name)
		said := r.Annotations["summary"] + r.Annotations["description"]
		for _, m := range labelInText.FindAllStringSubmatch(said, -1) {
			require.Contains(t, has, m[1], "%s: the text names a label that the alert does not have", name)
		}
		for _, l := range has { // the object is named
			if l != "instance" && l != "job" && l != "dependency" && l != "priority" {
				require.Contains(t, said, "$labels."+l, name)
			}
		}
	}
}

var headings = []string{"## See", "## Understand", "## Mend", "## Prevent"}

func TestEachAlertHasItsRunbook(t *testing.T) {
	list := alerts(t)
	for name := range list {
		body, err := os.ReadFile(filepath.Join(runbooks, name+".md"))
		require.NoError(t, err)
		var found []string
		text := map[string]int{}
		at := ""
		for line := range strings.Lines(string(body)) {
			line = strings.TrimRight(line, "\n")
			if strings.HasPrefix(line, "## ") {
				found, at = append(found, line), line
			} else if strings.TrimSpace(line) != "" {
				text[at]++
			}
		}
		require.Equal(t, headings, found, name)
		for _, h := range headings {
			require.NotZero(t, text[h], "%s: nothing under %s", name, h)
		}
		require.True(t, strings.HasPrefix(string(body), "# "+name+"\n"), "%s: the title is the alert's name", name)
	}
	files, err := filepath.Glob(filepath.Join(runbooks, "*.md"))
	require.NoError(t, err)
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".md")
		if name != "README" {
			require.Contains(t, list, name, "a runbook without its alert")
		}
	}
}

// TestThePageListsTheAlerts: docs/alerts.md says of each its severity and its way.
func TestThePageListsTheAlerts(t *testing.T) {
	body, err := os.ReadFile(root + "/docs/alerts.md")
	require.NoError(t, err)
	listed := map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \| (\w+) \| (\w*) +\| \S.* \|$`).FindAllStringSubmatch(string(body), -1) {
		require.Equal(t, m[1], m[2])
		listed[m[1]] = m[3:]
	}
	want := map[string][]string{}
	for name, r := range alerts(t) {
		want[name] = []string{r.Labels["severity"], r.Labels["way"]}
	}
	require.Equal(t, want, listed)
}

// cases are those of promtool test rules, as far as they are looked at.
type cases struct {
	RuleFiles []string `yaml:"rule_files"`
	Tests     []struct {
		Name   string `yaml:"name"`
		Alerts []struct {
			EvalTime string `yaml:"eval_time"`
			Name     string `yaml:"alertname"`
			Expected []struct {
				Labels      map[string]string `yaml:"exp_labels"`
				Annotations map[string]string `yaml:"exp_annotations"`
			} `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	} `yaml:"tests"`
}

func TestEachAlertFiresInACaseAndNotInAnother(t *testing.T) {
	fires, quiet := map[string]int{}, map[string]int{}
	files, err := filepath.Glob(root + "/deploy/prometheus/tests/*.yml")
	require.NoError(t, err)
	list := alerts(t)
	for _, f := range files {
		body, err := os.ReadFile(f)
		require.NoError(t, err)
		var c cases
		require.NoError(t, yaml.Unmarshal(body, &c), f)
		require.Equal(t, []string{"../rules/nphiesq.yml"}, c.RuleFiles)
		for _, x := range c.Tests {
			fired := map[string]bool{}
			for _, a := range x.Alerts {
				require.Contains(t, list, a.Name, x.Name)
				fired[a.Name] = fired[a.Name] || len(a.Expected) > 0
				for _, e := range a.Expected {
					require.Equal(t, list[a.Name].Labels["severity"], e.Labels["severity"], x.Name)
					require.Len(t, e.Annotations, len(list[a.Name].Annotations), x.Name)
				}
			}
			for name, yes := range fired {
				if yes {
					fires[name]++
				} else {
					quiet[name]++
				}
			}
		}
	}
	names := slices.Sorted(maps.Keys(list))
	require.Equal(t, names, slices.Sorted(maps.Keys(fires)), "alerts with a case in which they fire")
	require.Equal(t, names, slices.Sorted(maps.Keys(quiet)), "alerts with a case in which they never fire")
}

var alertName = regexp.MustCompile(`\b(?:Nphiesq|Teams|PagerDuty)[A-Z]\w+`)

// TestAlertmanagerKnowsTheAlerts: those that its example names are there, and each way has a route.
func TestAlertmanagerKnowsTheAlerts(t *testing.T) {
	list := alerts(t)
	body, err := os.ReadFile(root + "/deploy/prometheus/alertmanager.yml")
	require.NoError(t, err)
	var config struct {
		Route struct {
			Receiver string `yaml:"receiver"`
			Routes   []struct {
				Matchers []string `yaml:"matchers"`
				Receiver string   `yaml:"receiver"`
			} `yaml:"routes"`
		} `yaml:"route"`
		InhibitRules []yaml.Node `yaml:"inhibit_rules"`
	}
	require.NoError(t, yaml.Unmarshal(body, &config))
	to := map[string][]string{"": {config.Route.Receiver}}
	for _, r := range config.Route.Routes {
		way := strings.Trim(strings.TrimPrefix(strings.Join(r.Matchers, ","), "way="), `"`)
		to[way] = append(to[way], r.Receiver)
	}
	require.Equal(t, map[string][]string{"": {"teams"}, "both": {"outside", "teams"}, "outside": {"outside"}}, to)
	require.NotEmpty(t, config.InhibitRules)
	for _, n := range config.InhibitRules {
		text, err := yaml.Marshal(&n)
		require.NoError(t, err)
		for _, name := range alertName.FindAllString(string(text), -1) {
			require.Contains(t, list, name)
		}
	}
	// What is about cards must not become one.
	for _, name := range []string{"TeamsNotificationHighFailureRate", "TeamsNotificationUnacknowledgedCritical", "TeamsOutboxLag", "TeamsNotificationsGivenUp", "NphiesqNoMonitor"} {
		require.Equal(t, "outside", list[name].Labels["way"], name)
	}
}
