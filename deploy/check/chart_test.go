package check

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/claimlinc/nphiesq/tasks"
)

const chartDir = "../helm/nphiesq"

// scaledObject is KEDA's, as far as the chart uses it: https://keda.sh/docs/2.18/reference/scaledobject-spec/.
type scaledObject struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		ScaleTargetRef struct {
			Name string `json:"name"`
		} `json:"scaleTargetRef"`
		MinReplicaCount int32 `json:"minReplicaCount"`
		MaxReplicaCount int32 `json:"maxReplicaCount"`
		PollingInterval int32 `json:"pollingInterval"`
		CooldownPeriod  int32 `json:"cooldownPeriod"`
		Triggers        []struct {
			Type     string            `json:"type"`
			Metadata map[string]string `json:"metadata"`
		} `json:"triggers"`
	} `json:"spec"`
}

func (s *scaledObject) DeepCopyObject() runtime.Object { c := *s; return &c }

// codec refuses fields that do not exist and names that come twice.
var codec = func() runtime.Decoder {
	s := runtime.NewScheme()
	if err := scheme.AddToScheme(s); err != nil {
		panic(err)
	}
	if err := monitoring.AddToScheme(s); err != nil {
		panic(err)
	}
	s.AddKnownTypeWithName(schema.GroupVersionKind{Group: "keda.sh", Version: "v1alpha1", Kind: "ScaledObject"}, &scaledObject{})
	return serializer.NewCodecFactory(s, serializer.EnableStrict).UniversalDeserializer()
}()

func variants(t *testing.T) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob(chartDir + "/ci/*-values.yaml")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 5)
	out := map[string]map[string]any{}
	for _, f := range files {
		v, err := chartutil.ReadValuesFile(f)
		require.NoError(t, err, f)
		out[strings.TrimSuffix(filepath.Base(f), "-values.yaml")] = v
	}
	return out
}

func render(values map[string]any) (map[string]string, error) {
	c, err := loader.Load(chartDir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(chartDir + "/files/rules.yml"); err != nil { // there are no alerts yet
		values = maps.Clone(values)
		delete(values, "prometheusRule")
	}
	return renderAs(c, "nphiesq", values)
}

func renderAs(c *chart.Chart, release string, values map[string]any) (map[string]string, error) {
	v, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: release, Namespace: "claims", IsInstall: true, Revision: 1}, nil)
	if err != nil {
		return nil, err
	}
	return engine.Engine{Strict: true}.Render(c, v)
}

func objects(t *testing.T, values map[string]any) []runtime.Object {
	t.Helper()
	files, err := render(values)
	require.NoError(t, err)
	return decode(t, "nphiesq", files)
}

func decode(t *testing.T, release string, files map[string]string) []runtime.Object {
	t.Helper()
	var out []runtime.Object
	names := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, "NOTES.txt") {
			require.Contains(t, files[name], "kubectl -n claims")
			continue
		}
		r := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(files[name])))
		for {
			doc, err := r.Read()
			if err == io.EOF { //nolint:errorlint // as the reader gives it
				break
			}
			require.NoError(t, err, name)
			var empty any
			require.NoError(t, yaml.Unmarshal(doc, &empty), "%s\n%s", name, doc)
			if empty == nil {
				continue
			}
			o, _, err := codec.Decode(doc, nil, nil)
			require.NoError(t, err, "%s\n%s", name, doc)
			m := o.(metav1.Object)
			key := fmt.Sprintf("%s/%s", o.GetObjectKind().GroupVersionKind().Kind, m.GetName())
			require.False(t, names[key], "%s comes twice", key)
			names[key] = true
			require.LessOrEqual(t, len(m.GetName()), 63, key)
			require.Equal(t, release, m.GetLabels()["app.kubernetes.io/instance"], key)
			out = append(out, o)
		}
	}
	return out
}

// pod is the template in an object, if it has one.
func pod(o runtime.Object) (metav1.Object, *corev1.PodTemplateSpec) {
	switch o := o.(type) {
	case *appsv1.Deployment:
		return o, &o.Spec.Template
	case *batchv1.Job:
		return o, &o.Spec.Template
	}
	return nil, nil
}

func longest() time.Duration {
	var d time.Duration
	for _, s := range tasks.Table() {
		d = max(d, s.Timeout)
	}
	return d
}

// TestChart renders every variant, decodes it strictly, and looks at what must hold in each of them.
func TestChart(t *testing.T) {
	kinds := map[string]bool{}
	for name, values := range variants(t) {
		t.Run(name, func(t *testing.T) {
			all := objects(t, values)
			pods := map[string]labels.Set{} // by workload
			served := map[string]bool{}
			for _, o := range all {
				kinds[o.GetObjectKind().GroupVersionKind().Kind] = true
				m, template := pod(o)
				if m == nil {
					continue
				}
				pods[m.GetName()] = template.Labels
				s := template.Spec
				require.True(t, *s.SecurityContext.RunAsNonRoot)
				require.Equal(t, int64(65532), *s.SecurityContext.RunAsUser)
				require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, s.SecurityContext.SeccompProfile.Type)
				require.False(t, s.HostNetwork || s.HostPID || s.HostIPC)
				if _, ok := o.(*batchv1.Job); ok {
					require.Contains(t, m.GetAnnotations()["helm.sh/hook"], "pre-upgrade")
					require.False(t, *s.AutomountServiceAccountToken)
				} else {
					require.Equal(t, name == "vault" || name == "agent", *s.AutomountServiceAccountToken, "only Vault needs the token")
				}
				for _, c := range slices.Concat(s.InitContainers, s.Containers) {
					require.False(t, *c.SecurityContext.AllowPrivilegeEscalation)
					require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem)
					require.Equal(t, []corev1.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop)
					require.Empty(t, c.SecurityContext.Capabilities.Add)
					require.NotEmpty(t, c.Resources.Limits.Memory().String())
					require.NotEmpty(t, c.Resources.Requests.Cpu().String())
					for _, v := range s.Volumes {
						require.NotNil(t, v.Secret, "nothing but secrets is mounted")
					}
					if c.Command[0] == "worker" && c.Command[1] == "--queues" {
						require.Greater(t, time.Duration(*s.TerminationGracePeriodSeconds)*time.Second, longest()+5*time.Second, "a stop lets the longest task end")
						require.Equal(t, "/livez", c.LivenessProbe.HTTPGet.Path)
						require.Equal(t, "/readyz", c.ReadinessProbe.HTTPGet.Path)
						for _, q := range strings.Split(c.Command[2], ",") {
							served[q] = true
						}
					}
				}
			}
			require.ElementsMatch(t, tasks.Queues(), slices.Collect(maps.Keys(served)), "every queue has a worker")
			matches := func(selector map[string]string) (n int) {
				for _, l := range pods {
					if labels.SelectorFromSet(selector).Matches(l) {
						n++
					}
				}
				return n
			}
			early := map[string]*networkingv1.NetworkPolicy{} // by the hook before whose job they are made
			for _, o := range all {                           // selectors select
				switch o := o.(type) {
				case *appsv1.Deployment:
					require.Equal(t, 1, matches(o.Spec.Selector.MatchLabels), o.Name)
				case *policyv1.PodDisruptionBudget:
					require.Equal(t, 1, matches(o.Spec.Selector.MatchLabels), o.Name)
				case *corev1.Service:
					require.Positive(t, matches(o.Spec.Selector), o.Name)
				case *networkingv1.NetworkPolicy:
					for _, e := range o.Spec.Egress {
						require.NotEmpty(t, e.Ports, "%s: a rule without ports allows all", o.Name)
					}
					require.Positive(t, matches(o.Spec.PodSelector.MatchLabels), o.Name)
					if o.Annotations["helm.sh/hook-weight"] == "-5" {
						early[o.Annotations["helm.sh/hook"]] = o
					}
				case *autoscalingv2.HorizontalPodAutoscaler:
					require.Contains(t, pods, o.Spec.ScaleTargetRef.Name)
				case *scaledObject:
					require.Contains(t, pods, o.Spec.ScaleTargetRef.Name)
				}
			}
			for _, o := range all { // where nothing is let out, the migrations still reach PostgreSQL
				if job, ok := o.(*batchv1.Job); ok {
					p := early[job.Annotations["helm.sh/hook"]]
					require.NotNil(t, p)
					require.True(t, labels.SelectorFromSet(p.Spec.PodSelector.MatchLabels).Matches(labels.Set(job.Spec.Template.Labels)))
					require.Equal(t, int32(5432), p.Spec.Egress[1].Ports[0].Port.IntVal)
				}
			}
		})
	}
	want := []string{"Deployment", "Service", "ServiceAccount", "Job", "PodDisruptionBudget", "HorizontalPodAutoscaler", "ScaledObject", "Ingress", "NetworkPolicy", "ServiceMonitor"}
	if _, err := os.Stat(chartDir + "/files/rules.yml"); err == nil {
		want = append(want, "PrometheusRule")
	}
	for _, k := range want {
		require.True(t, kinds[k], "no variant has a %s", k)
	}
}

// TestChartLint is helm lint.
func TestChartLint(t *testing.T) {
	for name, values := range variants(t) {
		if _, err := os.Stat(chartDir + "/files/rules.yml"); err != nil {
			delete(values, "prometheusRule")
		}
		l := lint.All(chartDir, values, "claims", true)
		for _, m := range l.Messages {
			require.True(t, m.Severity < support.WarningSev, "%s: %s", name, m)
		}
	}
}

// TestChartRefuses gives the chart values that must not pass.
func TestChartRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ values, want string }{
		"a setting that does not exist": {"config: {NPHIES_TIMEUOT: 65}", "NPHIES_TIMEUOT"},
		"a secret among the settings":   {"config: {DATABASE_URL: postgres://u:p@h/d}", "DATABASE_URL"},
		"a value that does not exist":   {"replicaCount: 3", "replicaCount"},
		"a queue that does not exist":   {"workers: {claims: {queues: [nphies-sumbit]}}", "/workers/claims/queues/0"},
		"a queue without a worker":      {"workers: {poll: null}", "no group serves the queue nphies-poll"},
		"two that scale":                {"workers: {claims: {autoscaling: {enabled: true}, keda: {enabled: true}}}", "one of them scales"},
		"an ingress without a host":     {"monitor: {ingress: {enabled: true}}", "needs a host"},
		"no login for migrations":       {"existingSecret: ''", "migrations.existingSecret or existingSecret"},
		"an unknown secret of Vault":    {"vault: {agent: {role: r, secrets: {DATABASE_URI: {path: p, key: k}}}}", "DATABASE_URI"},
		"a licence as a number":         {"config: {NPHIES_PROVIDER_LICENSE: 10000000000001}", "NPHIES_PROVIDER_LICENSE"},
		"more digits than a number has": {"config: {NPHIES_MAX_ANSWER_BYTES: 12345678901234567}", "put it in quotes"},
		"an enormous number":            {"env: {A: 1e21}", "put it in quotes"},
		"an image that nobody named":    {"image: {tag: ''}", "image.tag"},
		"a stop that is too short":      {"worker: {terminationGracePeriodSeconds: 140}", "terminationGracePeriodSeconds"},
		"a group's stop, too short":     {"workers: {poll: {queues: [nphies-poll], terminationGracePeriodSeconds: 140}}", "terminationGracePeriodSeconds"},
	} {
		t.Run(name, func(t *testing.T) {
			var values map[string]any
			require.NoError(t, yaml.Unmarshal([]byte("existingSecret: s\nimage: {tag: v1.4.0}\n"), &values))
			require.NoError(t, yaml.Unmarshal([]byte(tt.values), &values))
			_, err := render(values)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// TestChartSettings looks at the environment that a variant makes: numbers as they were written, no secret but by reference.
func TestChartSettings(t *testing.T) {
	values := variants(t)
	env := func(variant, workload string) (map[string]string, corev1.Container) {
		for _, o := range objects(t, values[variant]) {
			if m, p := pod(o); m != nil && m.GetName() == workload {
				out := map[string]string{}
				for _, e := range p.Spec.Containers[0].Env {
					out[e.Name] = e.Value
				}
				return out, p.Spec.Containers[0]
			}
		}
		t.Fatalf("%s: no %s", variant, workload)
		return nil, corev1.Container{}
	}
	got, c := env("all", "nphiesq-worker-claims")
	for name, want := range map[string]string{
		"NPHIES_MAX_ANSWER_BYTES": "10485760", "NPHIES_TIMEOUT": "65", "TEAMS_RETRY_FACTOR": "1.5", "TEAMS_WEBHOOK_ENABLED": "true",
		"NPHIES_SUBMIT_CONCURRENCY": "8", "HTTP_ADDR": ":9090", "HTTPS_PROXY": "http://proxy:3128",
	} {
		require.Equal(t, want, got[name], name)
	}
	require.Equal(t, []string{"nphiesq", "nphiesq-worker"}, []string{c.EnvFrom[0].SecretRef.Name, c.EnvFrom[1].SecretRef.Name}, "the program's own goes before")
	got, _ = env("vault", "nphiesq-monitor")
	require.Equal(t, "nphiesq", got["VAULT_K8S_ROLE"])
	got, _ = env("agent", "nphiesq-monitor")
	require.Equal(t, "/vault/secrets", got["CREDENTIALS_DIRECTORY"])
	for _, o := range objects(t, values["agent"]) {
		if d, ok := o.(*appsv1.Deployment); ok {
			require.Equal(t, `{{- with secret "secret/data/nphiesq/app" }}{{ index .Data.data "redis_url" }}{{ end -}}`,
				d.Spec.Template.Annotations["vault.hashicorp.com/agent-inject-template-REDIS_URL"])
		}
	}
	_, c = env("bare", "claims-worker-all")
	require.Equal(t, "registry.example/nphiesq@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", c.Image)
}

// TestChartTakesAlertsAndDashboards compares the chart's copies with what deploy/ has.
func TestChartTakesAlertsAndDashboards(t *testing.T) {
	read := func(pattern string) map[string]string {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		out := map[string]string{}
		for _, f := range files {
			body, err := os.ReadFile(f)
			require.NoError(t, err)
			out[filepath.Base(f)] = string(body)
		}
		return out
	}
	require.Equal(t, read("../grafana/dashboards/*.json"), read(chartDir+"/files/dashboards/*.json"), "make generate")
	rules := read("../prometheus/rules/nphiesq.yml")["nphiesq.yml"]
	require.Equal(t, rules, read(chartDir + "/files/rules.yml")["rules.yml"], "make generate")
	if rules == "" {
		return
	}
	var want monitoring.PrometheusRuleSpec
	require.NoError(t, yaml.UnmarshalStrict([]byte(rules), &want))
	found := 0
	for _, o := range objects(t, variants(t)["all"]) {
		switch o := o.(type) {
		case *monitoring.PrometheusRule:
			require.Equal(t, want, o.Spec)
			found++
		case *corev1.ConfigMap:
			if o.Labels["grafana_dashboard"] == "1" {
				for name, body := range o.Data {
					require.JSONEq(t, read("../grafana/dashboards/" + name)[name], body)
				}
			}
		}
	}
	require.Equal(t, 1, found)
}

// TestChartOfThePage renders the values that docs/deployment.md shows.
func TestChartOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/deployment.md")
	require.NoError(t, err)
	_, after, ok := strings.Cut(string(page), "```yaml\n")
	require.True(t, ok)
	block, _, ok := strings.Cut(after, "```\n")
	require.True(t, ok)
	var values map[string]any
	require.NoError(t, yaml.UnmarshalStrict([]byte(block), &values))
	require.NotEmpty(t, objects(t, values))
}

// parsed are values as they stand in a file.
func parsed(t *testing.T, text string) map[string]any {
	t.Helper()
	v, err := chartutil.ReadValues([]byte(text))
	require.NoError(t, err)
	return v
}

// TestChartOwnSettings: what a group or the monitor says goes before what holds for all, even if it is nothing, nought or no.
func TestChartOwnSettings(t *testing.T) {
	found := 0
	for _, o := range objects(t, parsed(t, `
image: {tag: v1.4.0}
existingSecret: s
config: {TEAMS_WEBHOOK_ENABLED: true, TEAMS_DIGEST_ABOVE: 5, LOG_FORMAT: text, NPHIES_TIMEOUT: 65}
worker: {config: {NPHIES_TIMEOUT: 60}, replicas: 3, keda: {enabled: true}}
workers:
  claims: {config: {TEAMS_WEBHOOK_ENABLED: false, TEAMS_DIGEST_ABOVE: 0, LOG_FORMAT: ""}}
  poll: {replicas: 0, keda: {enabled: false}}
monitor: {config: {TEAMS_WEBHOOK_ENABLED: false, TEAMS_DIGEST_ABOVE: 0, LOG_FORMAT: ""}}
`)) {
		d, ok := o.(*appsv1.Deployment)
		if !ok {
			continue
		}
		found++
		got := map[string]string{}
		for _, e := range d.Spec.Template.Spec.Containers[0].Env {
			got[e.Name] = e.Value
		}
		want := map[string]string{"TEAMS_WEBHOOK_ENABLED": "false", "TEAMS_DIGEST_ABOVE": "0", "LOG_FORMAT": "", "NPHIES_TIMEOUT": "60"}
		switch d.Name {
		case "nphiesq-monitor":
			want["NPHIES_TIMEOUT"] = "65"
		case "nphiesq-worker-poll":
			require.Equal(t, int32(0), *d.Spec.Replicas)
			fallthrough
		case "nphiesq-worker-notify":
			want = map[string]string{"TEAMS_WEBHOOK_ENABLED": "true", "TEAMS_DIGEST_ABOVE": "5", "LOG_FORMAT": "text", "NPHIES_TIMEOUT": "60"}
		}
		for name, v := range want {
			require.Equal(t, v, got[name], "%s: %s", d.Name, name)
		}
		require.Equal(t, ":9090", got["HTTP_ADDR"])
	}
	require.Equal(t, 4, found)
}

// TestChartQuotes gives the chart names and values that YAML takes for numbers, booleans or nothing where they are not quoted.
func TestChartQuotes(t *testing.T) {
	all := objects(t, parsed(t, `
nameOverride: "123"
fullnameOverride: "456"
image: {repository: "10", tag: "1e3", pullPolicy: Always}
imagePullSecrets: ["789"]
existingSecret: "1e3"
filesSecret: "0x10"
config: {NPHIES_PROVIDER_LICENSE: "00000000000001", NPHIES_MAX_ANSWER_BYTES: 12345678, TEAMS_RETRY_FACTOR: 1.5}
env: {"Y": yes, BIG: 12345678}
serviceAccount: {name: "1", annotations: {a: 12345678, b: true}}
migrations: {existingSecret: "2", activeDeadlineSeconds: 12345678}
worker: {existingSecret: "true", nodeSelector: {a: true}, podAnnotations: {b: 12345678}, terminationGracePeriodSeconds: 12345678}
workers:
  claims: {autoscaling: {enabled: true}, replicas: 12345678}
  poll: {replicas: 12345678}
  notify: null
  "1": {queues: [teams, pagerduty], keda: {enabled: true, threshold: 12345678, serverAddress: "1"}}
monitor:
  existingSecret: "false"
  replicas: 12345678
  ingress: {enabled: true, className: "1", host: "2", tlsSecret: "3", annotations: {a: 12345678, b: true}}
serviceMonitor: {enabled: true, labels: {a: 1}, interval: "1", scrapeTimeout: "1"}
prometheusRule: {enabled: true, labels: {a: true}}
dashboards: {enabled: true, labels: {a: 12345678}}
`))
	var jobName string
	for _, o := range all {
		switch o := o.(type) {
		case *appsv1.Deployment:
			require.Equal(t, "10:1e3", o.Spec.Template.Spec.Containers[0].Image)
			if o.Name == "456-worker-poll" {
				require.Equal(t, int32(12345678), *o.Spec.Replicas)
				require.Equal(t, int64(12345678), *o.Spec.Template.Spec.TerminationGracePeriodSeconds)
				require.Equal(t, "12345678", o.Spec.Template.Annotations["b"])
				require.Equal(t, map[string]string{"a": "true"}, o.Spec.Template.Spec.NodeSelector)
				require.Contains(t, o.Spec.Template.Spec.Containers[0].Env, corev1.EnvVar{Name: "BIG", Value: "12345678"})
				require.Contains(t, o.Spec.Template.Spec.Containers[0].Env, corev1.EnvVar{Name: "NPHIES_PROVIDER_LICENSE", Value: "00000000000001"})
				require.Contains(t, o.Spec.Template.Spec.Containers[0].Env, corev1.EnvVar{Name: "NPHIES_MAX_ANSWER_BYTES", Value: "12345678"})
			}
		case *scaledObject:
			require.Equal(t, "12345678", o.Spec.Triggers[0].Metadata["threshold"])
			require.Equal(t, `sum(max by (queue) (asynq_tasks_enqueued_total{namespace="claims",state="pending",queue=~"teams|pagerduty"}))`, o.Spec.Triggers[0].Metadata["query"])
		case *batchv1.Job:
			jobName = o.Name
			require.Equal(t, int64(12345678), *o.Spec.ActiveDeadlineSeconds)
		}
	}
	require.Equal(t, "456-migrate", jobName)
}

// TestChartJob: under whatever name, the job that Prometheus gives the metrics is one that the alerts ask for.
func TestChartJob(t *testing.T) {
	asked := regexp.MustCompile(`nphiesq`)
	for _, values := range []string{"{}", "fullnameOverride: claims", "nameOverride: claims"} {
		v := parsed(t, values)
		v["image"], v["existingSecret"], v["serviceMonitor"] = map[string]any{"tag": "v1"}, "s", map[string]any{"enabled": true}
		c, err := loader.Load(chartDir)
		require.NoError(t, err)
		files, err := renderAs(c, "claims", v)
		require.NoError(t, err)
		all := decode(t, "claims", files)
		var monitor *monitoring.ServiceMonitor
		for _, o := range all {
			if m, ok := o.(*monitoring.ServiceMonitor); ok {
				monitor = m
			}
		}
		require.NotNil(t, monitor)
		services := 0
		for _, o := range all {
			s, ok := o.(*corev1.Service)
			if !ok {
				continue
			}
			services++
			job := s.Name // what the operator makes of it
			for _, r := range monitor.Spec.Endpoints[0].RelabelConfigs {
				require.Equal(t, []monitoring.LabelName{"job"}, r.SourceLabels)
				require.Equal(t, "job", r.TargetLabel)
				job = strings.ReplaceAll(*r.Replacement, "$1", job)
			}
			require.Regexp(t, asked, job, values)
		}
		require.Equal(t, 2, services)
	}
}

// TestChartLongNames: two releases with long names that begin alike have objects of their own.
func TestChartLongNames(t *testing.T) {
	names := map[string]bool{}
	long := "a-release-with-a-very-long-name-for-the-hospital-"
	for _, release := range []string{long + "1", long + "2"} {
		c, err := loader.Load(chartDir)
		require.NoError(t, err)
		files, err := renderAs(c, release, map[string]any{"image": map[string]any{"tag": "v1"}, "existingSecret": "s", "dashboards": map[string]any{"enabled": true}})
		require.NoError(t, err)
		for _, o := range decode(t, release, files) {
			key := o.GetObjectKind().GroupVersionKind().Kind + "/" + o.(metav1.Object).GetName()
			require.False(t, names[key], "%s comes twice", key)
			names[key] = true
		}
	}
}
