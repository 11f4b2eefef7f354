package observe

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

type page = dashboard.Dashboard //nolint:staticcheck // files of version 1: Grafana 10 and 11 know no other

// units that the panels use, as Grafana names them.
var units = []string{"short", "s", "bytes", "percentunit", "opm", "string"}

func dashboards(t *testing.T) map[string]page {
	t.Helper()
	plugins.RegisterDefaultPlugins()
	files, err := filepath.Glob(root + "/deploy/grafana/dashboards/*.json")
	require.NoError(t, err)
	out := map[string]page{}
	for _, f := range files {
		body, err := os.ReadFile(f)
		require.NoError(t, err)
		d := page{}
		strictly(t, f, new(page).UnmarshalJSONStrict(body))
		require.NoError(t, json.Unmarshal(body, &d)) // the strict decoder leaves panels empty
		var loose struct {
			Panels []struct {
				FieldConfig json.RawMessage `json:"fieldConfig"`
			} `json:"panels"`
		}
		require.NoError(t, json.Unmarshal(body, &loose))
		for _, p := range loose.Panels { // the library leaves this part to a lenient decoder
			if p.FieldConfig != nil {
				strictly(t, f, new(dashboard.FieldConfigSource).UnmarshalJSONStrict(p.FieldConfig))
			}
		}
		out[strings.TrimSuffix(filepath.Base(f), ".json")] = d
	}
	require.Len(t, out, 5)
	return out
}

// strictly fails for what Grafana's own schema does not allow. The library returns an empty list of errors, which is not nil, for none.
func strictly(t *testing.T, file string, err error) {
	t.Helper()
	if list, ok := err.(cog.BuildErrors); ok && len(list) == 0 { //nolint:errorlint // it is not wrapped
		return
	}
	require.NoError(t, err, file)
}

func panels(t *testing.T, d page) []dashboard.Panel {
	t.Helper()
	var out []dashboard.Panel
	ids := map[uint32]bool{}
	for _, p := range d.Panels {
		if p.RowPanel != nil {
			require.False(t, ids[p.RowPanel.Id], "two panels of the id %d", p.RowPanel.Id)
			ids[p.RowPanel.Id] = true
			require.Empty(t, p.RowPanel.Panels)
			continue
		}
		require.NotNil(t, p.Panel.Id)
		require.False(t, ids[*p.Panel.Id], "two panels of the id %d", *p.Panel.Id)
		ids[*p.Panel.Id] = true
		out = append(out, *p.Panel)
	}
	return out
}

var inLegend = regexp.MustCompile(`{{\s*(\w+)\s*}}`)

// filled puts something in place of Grafana's variables.
func filled(d page, expr string) string {
	for name, with := range map[string]string{"$__rate_interval": "5m", "$__range": "6h", "$__interval": "1m"} {
		expr = strings.ReplaceAll(expr, name, with)
	}
	for _, v := range d.Templating.List {
		expr = strings.ReplaceAll(expr, "$"+v.Name, ".*")
	}
	return expr
}

func TestDashboards(t *testing.T) {
	uids := map[string]bool{}
	for name, d := range dashboards(t) {
		require.NotNil(t, d.Uid)
		require.False(t, uids[*d.Uid])
		uids[*d.Uid] = true
		var variables []string
		for _, v := range d.Templating.List {
			require.NotNil(t, v.Definition)
			ask := regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`).FindStringSubmatch(*v.Definition)
			require.NotNil(t, ask, *v.Definition)
			_, has, err := row(ask[1])
			require.NoError(t, err)
			require.Contains(t, has, ask[2])
			require.Equal(t, v.Name, ask[2], "a variable has the name of its label")
			variables = append(variables, v.Name)
		}
		used := map[string]bool{}
		titles := map[string]bool{}
		var taken []dashboard.GridPos
		for _, p := range panels(t, d) {
			require.NotNil(t, p.Title)
			what := name + ": " + *p.Title
			require.False(t, titles[*p.Title], what)
			titles[*p.Title] = true
			require.NotNil(t, p.Description, what)
			require.NotEmpty(t, *p.Description, what)
			require.NotNil(t, p.FieldConfig.Defaults.Unit, what)
			require.Contains(t, units, *p.FieldConfig.Defaults.Unit, what)
			require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, uint32(24), what)
			for _, o := range taken {
				apart := p.GridPos.X+p.GridPos.W <= o.X || o.X+o.W <= p.GridPos.X || p.GridPos.Y+p.GridPos.H <= o.Y || o.Y+o.H <= p.GridPos.Y
				require.True(t, apart, "%s lies over another", what)
			}
			taken = append(taken, *p.GridPos)
			require.NotNil(t, p.Datasource, what)
			uid := *p.Datasource.Uid
			require.Contains(t, []string{"prometheus", "nphiesq-postgres"}, uid, what)
			require.NotEmpty(t, p.Targets, what)
			for _, target := range p.Targets {
				q, ok := target.(*prometheus.Dataquery)
				if !ok {
					p, isValue := target.(prometheus.Dataquery)
					q, ok = &p, isValue
				}
				require.Equal(t, uid == "prometheus", ok, "%s: %T", what, target)
				if !ok {
					continue // deploy/grafana runs the SQL
				}
				require.Equal(t, uid, *q.Datasource.Uid, what)
				expr := filled(d, q.Expr)
				require.NotContains(t, expr, "$", what)
				for _, v := range variables {
					if strings.Contains(q.Expr, "$"+v) {
						used[v] = true
						require.Contains(t, q.Expr, v+`=~"$`+v+`"`, "%s: several may be chosen", what)
					}
				}
				has, wrong := verify(expr)
				require.Empty(t, wrong, "%s: %s", what, q.Expr)
				for _, m := range inLegend.FindAllStringSubmatch(deref(q.LegendFormat), -1) {
					require.Contains(t, has, m[1], "%s: the legend names a label that the result does not have", what)
				}
			}
		}
		for _, v := range variables {
			require.True(t, used[v], "%s: nothing uses the variable %s", name, v)
		}
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// TestProvisioning: the data sources that the dashboards name are provisioned, and their folder is.
func TestProvisioning(t *testing.T) {
	read := func(file string, v any) {
		body, err := os.ReadFile(root + "/deploy/grafana/provisioning/" + file)
		require.NoError(t, err)
		dec := yaml.NewDecoder(strings.NewReader(string(body)))
		dec.KnownFields(true)
		require.NoError(t, dec.Decode(v), file)
	}
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, Type, UID, URL, Access, User, Database string
			Editable                                     bool
			IsDefault                                    bool           `yaml:"isDefault"`
			JSONData                                     map[string]any `yaml:"jsonData"`
			SecureJSONData                               map[string]any `yaml:"secureJsonData"`
		}
	}
	read("datasources/nphiesq.yaml", &sources)
	require.Equal(t, 1, sources.APIVersion)
	types := map[string]string{}
	for _, s := range sources.Datasources {
		types[s.UID] = s.Type
		for _, secret := range s.SecureJSONData {
			require.Regexp(t, `^\$\w+$`, secret, "a secret comes from the environment")
		}
	}
	require.Equal(t, map[string]string{"prometheus": "prometheus", "nphiesq-postgres": "postgres"}, types)
	for _, d := range dashboards(t) {
		for _, p := range panels(t, d) {
			require.Equal(t, types[*p.Datasource.Uid], *p.Datasource.Type)
		}
	}
	var providers struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Type, Folder    string
			OrgID                 int  `yaml:"orgId"`
			DisableDeletion       bool `yaml:"disableDeletion"`
			AllowUIUpdates        bool `yaml:"allowUiUpdates"`
			UpdateIntervalSeconds int  `yaml:"updateIntervalSeconds"`
			Options               map[string]any
		}
	}
	read("dashboards/nphiesq.yaml", &providers)
	require.Len(t, providers.Providers, 1)
	require.Equal(t, "file", providers.Providers[0].Type)
	require.True(t, slices.Contains([]string{"/var/lib/grafana/dashboards"}, providers.Providers[0].Options["path"].(string)))
}
