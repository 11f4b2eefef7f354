package check

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/config"
)

// project loads the files of Compose as Compose does: against the schema, with every reference resolved.
func project(t *testing.T, files ...string) *types.Project {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	var paths []string
	for _, f := range files {
		paths = append(paths, filepath.Join(root, f))
	}
	o, err := cli.NewProjectOptions(paths, cli.WithWorkingDirectory(root), cli.WithProfiles([]string{"*"}), cli.WithEnv([]string{"USER=amal"}))
	require.NoError(t, err)
	p, err := o.LoadProject(t.Context())
	require.NoError(t, err)
	return p
}

func TestCompose(t *testing.T) {
	for name, files := range map[string][]string{"trying": {"compose.yaml", "compose.override.yaml"}, "real": {"compose.yaml"}} {
		t.Run(name, func(t *testing.T) {
			p := project(t, files...)
			programs := 0
			for name, s := range p.Services {
				for _, port := range s.Ports {
					require.Equal(t, "127.0.0.1", port.HostIP, "%s is published on loopback only", name)
				}
				for _, v := range s.Volumes {
					if v.Type != types.VolumeTypeBind {
						continue
					}
					require.True(t, v.ReadOnly, "%s: %s", name, v.Source)
					if dir := filepath.Join(p.WorkingDir, "deploy", strings.SplitN(strings.TrimPrefix(v.Source, p.WorkingDir+"/deploy/"), "/", 2)[0]); exists(dir) {
						require.FileExists(t, orDirectory(v.Source), name)
					}
				}
				if !strings.HasPrefix(s.Image, "nphiesq:") {
					continue
				}
				programs++
				require.True(t, s.ReadOnly, name)
				require.Equal(t, "65532:65532", s.User, name)
				require.Equal(t, []string{"ALL"}, s.CapDrop, name)
				require.Empty(t, s.CapAdd, name)
				require.False(t, s.Privileged, name)
				require.Equal(t, []string{"no-new-privileges:true"}, s.SecurityOpt, name)
			}
			require.GreaterOrEqual(t, programs, 5)
			require.Greater(t, time.Duration(*p.Services["worker"].StopGracePeriod), longest()+5*time.Second, "a stop lets the longest task end")
			require.Equal(t, types.HealthCheckTest{"CMD", "worker", "health"}, p.Services["worker"].HealthCheck.Test)
			require.Equal(t, types.HealthCheckTest{"CMD", "monitor", "health"}, p.Services["monitor"].HealthCheck.Test)
			for s, after := range map[string]string{"worker": "grants", "monitor": "grants", "grants": "migrate"} {
				require.Equal(t, types.ServiceConditionCompletedSuccessfully, p.Services[s].DependsOn[after].Condition, "%s waits for %s", s, after)
			}
			require.Equal(t, name == "trying", slices.Contains(p.ServiceNames(), "nphiessim"))
		})
	}
}

// TestComposeSettings gives the programs the environment that Compose gives them: every name is one, every value is allowed.
func TestComposeSettings(t *testing.T) {
	p := project(t, "compose.yaml", "compose.override.yaml")
	known := map[string]bool{"USER": true, "HOME": true}
	for _, s := range config.Settings() {
		known[s.Name] = true
	}
	for _, name := range []string{"worker", "monitor", "enqueue", "migrate", "grants", "nphiessim"} {
		env := map[string]string{}
		for k, v := range p.Services[name].Environment {
			require.True(t, known[k], "%s: no setting %s", name, k)
			env[k] = *v
		}
		c, err := config.LoadFrom(env)
		require.NoError(t, err, name)
		if name != "nphiessim" {
			require.NoError(t, c.Require("DATABASE_URL"), name)
		}
	}
	token, err := os.ReadFile("../compose/alertmanager_token")
	require.NoError(t, err)
	require.Equal(t, string(token), *p.Services["worker"].Environment["ALERTMANAGER_TOKEN"])
	require.NotEmpty(t, slices.Collect(maps.Keys(p.Secrets)))
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// orDirectory is a path that FileExists takes: a folder counts as there when it holds something.
func orDirectory(path string) string {
	if entries, err := os.ReadDir(path); err == nil && len(entries) > 0 {
		for _, e := range entries {
			if !e.IsDir() {
				return filepath.Join(path, e.Name())
			}
			return orDirectory(filepath.Join(path, e.Name()))
		}
	}
	return path
}
