package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

// TestDebianPackages looks at what the packages take: every file is there, and every file that the deployment page uses on a Debian machine
// is in one of them.
func TestDebianPackages(t *testing.T) {
	installed := installed(t)
	for _, used := range regexp.MustCompile(`/usr/(?:share|lib|bin)/\S*nphies[^\s'"|;]*`).FindAllString(commands(t, "Debian with systemd"), -1) {
		require.Contains(t, installed, used)
	}
	for _, program := range regexp.MustCompile(`\bnphiesq-(?:worker|enqueue|monitor) (?:submit|list|health|hash)`).FindAllString(commands(t, "Debian with systemd"), -1) {
		require.Contains(t, installed, "/usr/bin/"+strings.Fields(program)[0])
	}
}

// installed are the paths of what the packages bring.
func installed(t *testing.T) (installed []string) {
	t.Helper()
	for _, f := range []string{"../deb/nphiesq.yaml", "../deb/nphiessim.yaml"} {
		body, err := os.ReadFile(f)
		require.NoError(t, err)
		var p struct {
			Contents []struct {
				Src, Dst, Type string
			}
			Scripts map[string]string
		}
		require.NoError(t, yaml.Unmarshal(body, &p))
		require.NotEmpty(t, p.Contents)
		for _, s := range p.Scripts {
			require.FileExists(t, "../../"+s)
		}
		for _, c := range p.Contents {
			require.False(t, strings.HasPrefix(c.Dst, "/etc/") || strings.HasPrefix(c.Type, "config"), "%s: dpkg would ask about %s at an upgrade", f, c.Dst)
			c.Src = strings.TrimPrefix(c.Src, "dist/share/")              // copies of what is here
			if c.Type == "symlink" || strings.HasPrefix(c.Src, "dist/") { // dist/ is made by make deb
				installed = append(installed, c.Dst)
				continue
			}
			found, err := filepath.Glob("../../" + c.Src)
			require.NoError(t, err)
			require.NotEmpty(t, found, "%s: %s", f, c.Src)
			for _, src := range found {
				dst := c.Dst
				if strings.HasSuffix(dst, "/") {
					dst += filepath.Base(src)
				}
				installed = append(installed, dst)
				if c.Type == "tree" {
					require.NoError(t, filepath.WalkDir(src, func(path string, _ os.DirEntry, err error) error {
						installed = append(installed, dst+strings.TrimPrefix(path, src))
						return err
					}))
				}
			}
		}
	}
	return installed
}

// TestThePackageHasWhatPagesName: whoever installed it reads its pages there, follows their links from one to the other, and finds the files
// of deploy/ that the pages' commands name below /usr/share/nphiesq.
func TestThePackageHasWhatPagesName(t *testing.T) {
	shipped := installed(t)
	require.NoError(t, filepath.WalkDir("../../docs", func(path string, d os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".md") {
			return err
		}
		body, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Contains(t, shipped, "/usr/share/doc/nphiesq/"+strings.TrimPrefix(path, "../../docs/"))
		for _, m := range regexp.MustCompile(`deploy/((?:former|vault|prometheus|grafana|postgres|redis)/[a-z0-9._/-]+\.(?:sql|hcl|yml|yaml|json|acl))`).FindAllStringSubmatch(string(body), -1) {
			if strings.HasPrefix(m[1], "prometheus/tests/") {
				continue // for those who change rules
			}
			require.Contains(t, shipped, "/usr/share/nphiesq/"+m[1], "%s names it", path)
		}
		return nil
	}))
}

// commands are those of a section of the deployment page, as the scripts that try it take them. They are in good form.
func commands(t *testing.T, section string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../../scripts/doc-blocks.sh", "../../docs/deployment.md", section).Output()
	require.NoError(t, err)
	check := exec.CommandContext(t.Context(), "sh", "-n")
	check.Stdin = strings.NewReader(string(out))
	problem, err := check.CombinedOutput()
	require.NoError(t, err, "%s", problem)
	return string(out)
}

// TestDeploymentPage fails when the page has a section of commands that nothing tries, or shows commands that no script takes.
func TestDeploymentPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/deployment.md")
	require.NoError(t, err)
	tried := map[string]string{"One host with Docker Compose": "try-image.sh", "Debian with systemd": "try-systemd.sh"}
	for section, script := range tried {
		commands(t, section)
		body, err := os.ReadFile("../../scripts/" + script)
		require.NoError(t, err)
		require.Contains(t, string(body), `doc-blocks.sh docs/deployment.md "`+section+`"`)
	}
	section := ""
	inside := false
	for line := range strings.Lines(string(page)) {
		switch {
		case strings.HasPrefix(line, "```"):
			inside = !inside
			if inside && strings.HasPrefix(line, "```sh") && strings.TrimSpace(line) != "```sh tenant" {
				require.Equal(t, "```sh script", strings.TrimSpace(line), section)
				require.Contains(t, tried, section)
			}
		case !inside && strings.HasPrefix(line, "## "):
			section = strings.TrimSpace(line[3:])
		}
	}
	require.False(t, inside, "a block has no end")
}

// TestImage looks at the Dockerfile: nothing is run to make the image, and nothing in it runs as root.
func TestImage(t *testing.T) {
	body, err := os.ReadFile("../../Dockerfile")
	require.NoError(t, err)
	var steps []string
	for line := range strings.Lines(string(body)) {
		if f := strings.Fields(line); len(f) > 0 && f[0] != "#" {
			steps = append(steps, f[0]+" "+f[1])
		}
	}
	require.Equal(t, []string{
		"FROM scratch", "COPY rootfs/", "USER 65532:65532", "EXPOSE 8080", "HEALTHCHECK --interval=10s", `CMD ["worker"]`,
		"FROM programs", "COPY demo/", "FROM programs",
	}, steps)
}

// TestVersions holds the versions of packages to the order in which they are made.
func TestVersions(t *testing.T) {
	version := func(kind, of, seconds string) string {
		out, err := exec.CommandContext(t.Context(), "../../scripts/version.sh", kind, of, seconds).Output()
		require.NoError(t, err, of)
		return strings.TrimSpace(string(out))
	}
	var debs []string
	for _, tt := range []struct{ of, seconds, deb, chart string }{ // ascending
		{"f00dfee", "1764189530", "0~20251126203850.gf00dfee", "0.0.0-20251126203850.gf00dfee"},
		{"0123456", "1764189531", "0~20251126203851.g0123456", "0.0.0-20251126203851.g0123456"},
		{"0123456-dirty", "1764189531", "0~20251126203851.g0123456.dirty", "0.0.0-20251126203851.g0123456.dirty"},
		{"v0.0.1", "0", "0.0.1", "0.0.1"},
		{"v1.4.0-rc1", "0", "1.4.0~rc1", "1.4.0-rc1"},
		{"v1.4.0-rc1-2-gabc1234", "0", "1.4.0~rc1+2.gabc1234", "1.4.0-rc1+2.gabc1234"},
		{"v1.4.0-rc2", "0", "1.4.0~rc2", "1.4.0-rc2"},
		{"v1.4.0", "0", "1.4.0", "1.4.0"},
		{"v1.4.0-3-gabc1234", "0", "1.4.0+3.gabc1234", "1.4.0+3.gabc1234"},
		{"v1.4.0-12-gabc1234-dirty", "0", "1.4.0+12.gabc1234.dirty", "1.4.0+12.gabc1234.dirty"},
		{"v1.4.1-rc1", "0", "1.4.1~rc1", "1.4.1-rc1"},
		{"v1.10.0", "0", "1.10.0", "1.10.0"},
	} {
		require.Equal(t, tt.deb, version("deb", tt.of, tt.seconds), tt.of)
		require.Equal(t, tt.chart, version("chart", tt.of, tt.seconds), tt.of)
		_, err := semver.StrictNewVersion(tt.chart)
		require.NoError(t, err, tt.chart)
		debs = append(debs, tt.deb)
	}
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Log("without dpkg the order is not compared")
		return
	}
	for i := range debs[1:] {
		require.NoError(t, exec.CommandContext(t.Context(), "dpkg", "--compare-versions", debs[i], "lt", debs[i+1]).Run(), "%s < %s", debs[i], debs[i+1])
	}
}

// TestCheckAsksForACompiler: make check uses the race detector, so it says or installs what that needs before it begins.
func TestCheckAsksForACompiler(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	require.Regexp(t, `(?m)^check: gcc `, string(makefile))
	bare := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "../../scripts/deps.sh", "gcc")
	cmd.Env = []string{"PATH=" + bare} // without apt-get nothing is installed either
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "not on this machine: gcc")
	require.Contains(t, string(out), "libc6-dev")
}
