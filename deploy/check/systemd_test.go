package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// unitsRoot is a file system with our units where the package puts them, stand-ins for the programs, and the targets of this machine's systemd.
func unitsRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	units := filepath.Join(root, "usr/lib/systemd/system")
	put := func(path string, body []byte, mode os.FileMode) {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, body, mode))
	}
	for _, pattern := range []string{"../systemd/*.service", "../systemd/*.d/*.conf"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, f := range files {
			body, err := os.ReadFile(f)
			require.NoError(t, err)
			rel, err := filepath.Rel("../systemd", f)
			require.NoError(t, err)
			put(filepath.Join(units, rel), body, 0o644)
		}
	}
	targets, err := filepath.Glob("/lib/systemd/system/*.target")
	require.NoError(t, err)
	slices, err := filepath.Glob("/lib/systemd/system/*.slice")
	require.NoError(t, err)
	require.NotEmpty(t, targets, "systemd is needed: apt-get install systemd")
	for _, f := range append(targets, slices...) {
		body, err := os.ReadFile(f)
		require.NoError(t, err)
		put(filepath.Join(units, filepath.Base(f)), body, 0o644)
	}
	for _, p := range []string{"worker", "monitor", "enqueue", "nphiessim"} {
		put(filepath.Join(root, "usr/lib/nphiesq/bin", p), []byte("#!/bin/sh\n"), 0o755)
	}
	put(filepath.Join(root, "etc/nphiesq/nphiesq.env"), nil, 0o640)
	return root
}

// ours are the units; the template by an instance of it.
func ours() []string {
	return []string{"nphiesq-worker.service", "nphiesq-worker@teams.service", "nphiesq-monitor.service", "nphiesq-migrate.service", "nphiessim.service"}
}

// TestUnits is systemd-analyze verify, which says nothing about units in good order, and a limit on what systemd-analyze security says.
func TestUnits(t *testing.T) {
	root := unitsRoot(t)
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", append([]string{"verify", "--root=" + root}, ours()...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out))
	for _, u := range ours() {
		limit := "15" // tenths
		if u == "nphiessim.service" {
			limit = "40"
		}
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--no-pager", "--root="+root, "--threshold="+limit, u).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

// TestUnitsCoverAllFiles fails when a unit is added that TestUnits does not know.
func TestUnitsCoverAllFiles(t *testing.T) {
	files, err := filepath.Glob("../systemd/*.service")
	require.NoError(t, err)
	require.Len(t, files, len(ours()))
}

// TestUnitsLetTasksEnd compares the time a stop gives with the longest task.
func TestUnitsLetTasksEnd(t *testing.T) {
	for _, u := range []string{"nphiesq-worker.service", "nphiesq-worker@.service"} {
		body, err := os.ReadFile("../systemd/" + u)
		require.NoError(t, err)
		m := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`).FindSubmatch(body)
		require.NotNil(t, m, u)
		seconds, err := strconv.Atoi(string(m[1]))
		require.NoError(t, err)
		require.Greater(t, time.Duration(seconds)*time.Second, longest()+5*time.Second, u)
	}
}

// TestRun checks how the commands on a Debian machine read their settings.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	body, err := os.ReadFile("../systemd/run")
	require.NoError(t, err)
	script := regexp.MustCompile(`/etc/nphiesq|/usr/lib/nphiesq/bin`).ReplaceAll(body, []byte(dir))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nphiesq-enqueue"), script, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "enqueue"), []byte("#!/bin/sh\nprintf '%s|%s|%s|%s|%s\\n' \"$A\" \"$B\" \"$C\" \"${HOSTILE-}\" \"$*\"\n"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nphiesq.env"), []byte("# B=no\nA=postgres://u:p@h/d?x=1&y=$HOME `id`\nB=all\nC=all\nHOSTILE$(touch x)=1\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "enqueue.env"), []byte("B=own"), 0o600)) // without a new line at the end
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "nphiesq-enqueue"), "list", "a b")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "C=given"}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "postgres://u:p@h/d?x=1&y=$HOME `id`|own|given||list a b\n", string(out))
	// What systemd reads otherwise: https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#EnvironmentFile=.
	for line, problem := range map[string]string{
		`B=secret\x`: "a backslash", `# secret\`: "a backslash", `B="secret"`: "a quote", `B='secret'`: "a quote", "B=secret ": "blanks around the value", "B= secret": "blanks around the value",
		"B=secret\r": "blanks around the value", " B=secret": "blanks at the name", "B =secret": "blanks at the name", "export B=secret": "blanks at the name",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "enqueue.env"), []byte("# one\n\n"+line+"\n"), 0o600))
		out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "nphiesq-enqueue"), "list").CombinedOutput()
		require.Error(t, err, line)
		require.Contains(t, string(out), "enqueue.env, line 3: "+problem, line)
		require.NotContains(t, string(out), "secret")
	}
	for _, line := range []string{` # B="x"`, `;B="x"`, `B=it's a "quote"`, "no setting at all"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "enqueue.env"), []byte(line+"\n"), 0o600))
		out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "nphiesq-enqueue"), "list").CombinedOutput()
		require.NoError(t, err, "%s: %s", line, out)
	}
}
