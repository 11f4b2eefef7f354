package check

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	p, err := load(t, []string{"USER=amal"}, files...)
	require.NoError(t, err)
	return p
}

func load(t *testing.T, env []string, files ...string) (*types.Project, error) {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	var paths []string
	for _, f := range files {
		paths = append(paths, filepath.Join(root, f))
	}
	o, err := cli.NewProjectOptions(paths, cli.WithWorkingDirectory(root), cli.WithProfiles([]string{"*"}), cli.WithEnv(env))
	require.NoError(t, err)
	return o.LoadProject(t.Context())
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
				if name == "redis" {
					require.Equal(t, "redis", s.User)
				} else if !strings.HasPrefix(s.Image, "nphiesq:") {
					continue
				} else {
					programs++
					require.True(t, s.ReadOnly, name)
					require.Equal(t, "65532:65532", s.User, name)
				}
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

// TestComposeReal: with real.yaml Compose refuses until every password and the settings are said, and then nothing is left that is only for trying.
func TestComposeReal(t *testing.T) {
	files := []string{"compose.yaml", "deploy/compose/real.yaml"}
	settings := filepath.Join(t.TempDir(), "real.env")
	require.NoError(t, os.WriteFile(settings, []byte("NPHIES_BASE_URL=https://hsb.nphies.sa\nMONITOR_INSECURE_COOKIES=true\nTEAMS_WEBHOOK_ALLOW_INSECURE=true\n"), 0o600))
	needed := map[string]string{"NPHIESQ_ENV_FILE": settings}
	base, err := os.ReadFile("../../compose.yaml")
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`\$\{([A-Z_]*PASSWORD):-`).FindAllSubmatch(base, -1) { // every password that has a default there
		needed[string(m[1])] = "secret-" + strings.ToLower(string(m[1]))
	}
	require.Len(t, needed, 10)
	var all []string
	for name, value := range needed {
		all = append(all, name+"="+value)
	}
	for i := range all {
		name, _, _ := strings.Cut(all[i], "=")
		_, err := load(t, slices.Delete(slices.Clone(all), i, i+1), files...)
		require.ErrorContains(t, err, name)
	}
	p, err := load(t, all, files...)
	require.NoError(t, err)
	body, err := p.MarshalYAML()
	require.NoError(t, err)
	require.NotContains(t, string(body), "only-for-trying")
	require.NotContains(t, string(body), "demo")
	require.NotContains(t, p.ServiceNames(), "nphiessim")
	for _, name := range []string{"worker", "monitor", "enqueue", "migrate", "grants"} {
		env := p.Services[name].Environment
		require.Equal(t, "https://hsb.nphies.sa", *env["NPHIES_BASE_URL"], name)
		for _, s := range config.Settings() {
			if strings.Contains(s.Name, "INSECURE") {
				require.Equal(t, "false", *env[s.Name], "%s: %s", name, s.Name)
			}
		}
	}
	// Each program has its own user of Redis, with its own password.
	seen := map[string]bool{}
	for _, name := range []string{"worker", "monitor", "enqueue"} {
		seen[*p.Services[name].Environment["REDIS_URL"]] = true
	}
	require.Len(t, seen, 3)
}

// TestComposeRedisUsers carries out what makes the users of Redis: each has its password, and those that are not here are gone.
func TestComposeRedisUsers(t *testing.T) {
	redis := project(t, "compose.yaml").Services["redis"]
	dir := t.TempDir()
	script := strings.NewReplacer("$$", "$", "/run/redis/", dir+"/", "exec redis-server", "exec true", "/etc/redis/users.acl", "../redis/users.acl").Replace(redis.Command[2])
	cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script)
	for k, v := range redis.Environment {
		cmd.Env = append(cmd.Env, k+"="+*v)
	}
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	acl, err := os.ReadFile(filepath.Join(dir, "users.acl"))
	require.NoError(t, err)
	require.NotContains(t, string(acl), "CHANGE-ME")
	users := map[string]string{}
	for line := range strings.Lines(string(acl)) {
		if f := strings.Fields(line); len(f) > 3 {
			users[f[1]] = f[3]
		}
	}
	require.Len(t, users, 3)
	require.Contains(t, string(acl), "user default off\n")
	for _, u := range []string{"worker", "monitor", "operator"} {
		require.Equal(t, ">only-for-trying-"+u, users["nphiesq-"+u])
	}
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
