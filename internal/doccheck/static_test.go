package doccheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"mvdan.cc/sh/v3/syntax"

	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/metric"
)

// problems collects what is wrong in one page after the other, so that one run tells all of it.
type problems struct{ t *testing.T }

func (p problems) at(pg page, line int, format string, args ...any) {
	p.t.Helper()
	p.t.Errorf("%s:%d: "+format, append([]any{pg.name, line}, args...)...)
}

// TestEveryBlockIsMarked: each block says what it is, and what can be parsed parses.
func TestEveryBlockIsMarked(t *testing.T) {
	bad := problems{t}
	policies, taken := policyLines(t), map[string]bool{}
	require.False(t, foreign("enqueue audit verify\nredis-cli ping"), "the check itself")
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			switch b.lang + " " + b.kind {
			case "sh ", "sh serve", "sh make", "text ", "conf ", "sql ", "env ":
			case "sh tenant":
				if !foreign(b.text) {
					bad.at(p, b.line, "nothing in it needs something of yours: mark it `sh`, and it is executed")
				}
			case "sh script":
				at := p.name + "#" + b.part
				if taken[at] = true; !byScript()[at] {
					bad.at(p, b.line, "no script takes it: none of scripts/*.sh calls doc-blocks.sh %s %q", p.name, b.part)
				}
			case "json ":
				d := json.NewDecoder(strings.NewReader(b.text))
				for err := error(nil); !errors.Is(err, io.EOF); {
					var v any
					if err = d.Decode(&v); err != nil && !errors.Is(err, io.EOF) {
						bad.at(p, b.line, "not JSON: %v", err)
						break
					}
				}
			case "yaml ":
				d := yaml.NewDecoder(strings.NewReader(b.text))
				for err := error(nil); !errors.Is(err, io.EOF); {
					var v any
					if err = d.Decode(&v); err != nil && !errors.Is(err, io.EOF) {
						bad.at(p, b.line, "not YAML: %v", err)
						break
					}
				}
			case "hcl ":
				for line := range strings.Lines(b.text) {
					if line = squeeze(line); line != "" && !policies[line] {
						bad.at(p, b.line, "no policy of deploy/vault has this line: %s", line)
					}
				}
			case "indented ":
				bad.at(p, b.line, "an indented block: use a fence that says what it is")
			default:
				bad.at(p, b.line, "a block of kind %q: want one of those in internal/doccheck/doc.go", strings.TrimSpace(b.lang+" "+b.kind))
			}
			if b.lang == "sh" && b.kind != "script" && byScript()[p.name+"#"+b.part] {
				bad.at(p, b.line, "a script takes this part: mark it `sh script`")
			}
			if b.lang == "sh" {
				if _, err := syntax.NewParser().Parse(strings.NewReader(b.text), ""); err != nil {
					bad.at(p, b.line, "not a shell's: %v", err)
				}
			}
		}
	}
	for at := range byScript() {
		if !taken[at] {
			t.Errorf("a script takes the commands of %s, and there are none", at)
		}
	}
}

// foreignTools are commands that need a server, a cluster or a machine that is not here.
var foreignTools = map[string]bool{
	"vault": true, "kubectl": true, "helm": true, "docker": true, "systemctl": true, "journalctl": true, "promtool": true, "amtool": true, "celery": true, "rabbitmqctl": true,
}

// foreign reports whether a block has a command that cannot be executed here: one of foreignTools, a request to a host that is not the
// loopback, a question to a Sentinel or Cluster, one for a password, a file of a certificate that only the reader has, or files that go
// where only root may.
func foreign(text string) bool {
	for _, words := range commands(text) {
		args := strings.Join(words[1:], " ")
		switch words[0] {
		case "curl":
			if strings.Contains(args, "://") && !strings.Contains(args, "://127.0.0.1") && !strings.Contains(args, "://localhost") || strings.Contains(args, "…") {
				return true
			}
		case "redis-cli":
			if strings.Contains(args, "sentinel") || strings.Contains(args, "cluster") {
				return true
			}
		case "psql":
			if strings.Contains(args, `\password`) {
				return true
			}
		case "openssl":
			if strings.Contains(args, "-in ") && !strings.Contains(args, "-in /tmp/") {
				return true
			}
		case "cp", "install":
			if strings.Contains(args, " /etc/") || strings.Contains(args, " /var/") {
				return true
			}
		case "cd", "export", "sed":
			if strings.Contains(args, "/etc/nphiesq/") {
				return true
			}
		default:
			if foreignTools[words[0]] {
				return true
			}
		}
	}
	return false
}

// policyLines are the lines of the policies in deploy/vault.
func policyLines(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(root, "deploy/vault/*.hcl"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		body, err := os.ReadFile(f)
		require.NoError(t, err)
		for line := range strings.Lines(string(body)) {
			out[squeeze(line)] = true
		}
	}
	return out
}

func squeeze(line string) string { return strings.Join(strings.Fields(line), " ") }

// TestLinksLeadSomewhere: each link within the repository leads to a file that is there, and to a heading that it has.
func TestLinksLeadSomewhere(t *testing.T) {
	bad := problems{t}
	all := pages(t)
	for _, p := range all {
		for _, l := range p.links {
			u, err := url.Parse(l.text)
			if err != nil {
				bad.at(p, l.line, "not a link: %v", err)
				continue
			}
			if u.Scheme != "" || u.Host != "" {
				continue
			}
			to := p.name
			if u.Path != "" {
				to = path.Join(path.Dir(p.name), u.Path)
				if _, err := os.Stat(filepath.Join(root, to)); err != nil {
					bad.at(p, l.line, "the link leads nowhere: %s", l.text)
					continue
				}
			}
			if u.Fragment == "" {
				continue
			}
			i := slices.IndexFunc(all, func(o page) bool { return o.name == to })
			if i < 0 || !all[i].has(u.Fragment) {
				bad.at(p, l.line, "%s has no heading %q", to, u.Fragment)
			}
		}
	}
}

var (
	settingName = regexp.MustCompile(`[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+_?…?`)
	// assigned is a word of capitals that gets a value.
	assigned = regexp.MustCompile(`\b([A-Z][A-Z0-9_]*[A-Z0-9])=`)
	// notSettings look like settings and are others' words. It is a closed list: a new word in backquotes is a setting or stands here.
	notSettings = map[string]string{
		"OTEL_EXPORTER_OTLP_CERTIFICATE": "of the OpenTelemetry SDK",
		"NPHIES_INTEGRATION":             "a stakeholder",
		"ARGS":                           "of the Makefile",
		"NAME":                           "of the Makefile",
		"COMPOSE_FILE":                   "of Docker Compose",
		"CREDENTIALS_DIRECTORY":          "of systemd",
		"HTTPS_PROXY":                    "of Go",
		"MONITOR_REDIS_URL":              "of a page: another program's REDIS_URL",
		"OWNER_URL":                      "of a page: the owner's DATABASE_URL",
		"SUPERUSER_URL":                  "of a page: a superuser's DATABASE_URL",
		"TEST_DATABASE_URL":              "of the tests",
		"TEST_REDIS_URL":                 "of the tests",
		"THIRD_PARTY_LICENSES":           "a file",
		"WORKER_QUEUES":                  "of the unit nphiesq-worker",
		"RUNTIME_ENG":                    "a stakeholder",
		"SECURITY_ENG":                   "a stakeholder",
	}
)

// TestSettingsExist: what looks like a setting is one.
func TestSettingsExist(t *testing.T) {
	bad := problems{t}
	known, prefixes := map[string]bool{}, map[string]bool{}
	for _, s := range config.Settings() {
		for _, name := range []string{s.Name, s.Alias} {
			if name != "" {
				known[name] = true
				first, _, _ := strings.Cut(name, "_")
				prefixes[first] = true
			}
		}
	}
	compose, err := os.ReadFile(filepath.Join(root, "compose.yaml")) // has variables of its own
	if err == nil {
		for _, name := range settingName.FindAllString(string(compose), -1) {
			known[name] = true
		}
	}
	begins := func(part string) bool {
		for name := range known {
			if strings.HasPrefix(name, part) {
				return true
			}
		}
		return false
	}
	for _, p := range pages(t) {
		if p.name == "CHANGELOG.md" {
			continue // it tells of what was
		}
		for at, line := range lines(p.text) {
			for _, m := range settingName.FindAllStringIndex(line, -1) {
				name := line[m[0]:m[1]]
				first, _, _ := strings.Cut(name, "_")
				switch stem, open := strings.CutSuffix(name, "…"); {
				case !prefixes[first], known[name], notSettings[name] != "":
				case strings.HasSuffix(line[:m[0]], "…"), strings.HasSuffix(line[:m[0]], "_"): // `…_TENANT`
				case open && begins(stem), strings.HasSuffix(name, "_") && begins(name):
				default:
					bad.at(p, at, "there is no setting %s", name)
				}
			}
		}
		// Between backquotes no prefix is needed to be taken for a setting.
		for _, c := range p.code {
			for _, name := range append(settingName.FindAllString(c.text, -1), firsts(assigned.FindAllStringSubmatch(c.text, -1))...) {
				stem, open := strings.CutSuffix(name, "…")
				if known[name] || notSettings[name] != "" || (open || strings.HasSuffix(name, "_") || strings.Contains(c.text, name+"<")) && begins(stem) || strings.Contains(c.text, "…_"+name) {
					continue
				}
				bad.at(p, c.line, "`%s`: there is no setting %s (or put it on the list of others' words)", c.text, name)
			}
		}
		for _, b := range p.blocks {
			if b.lang != "env" {
				continue
			}
			for line := range strings.Lines(b.text) {
				name, _, ok := strings.Cut(strings.TrimSpace(line), "=")
				if name == "" || strings.HasPrefix(name, "#") {
					continue
				}
				if !ok || !known[name] {
					bad.at(p, b.line, "not a setting: %s", strings.TrimSpace(line))
				}
			}
		}
	}
}

func firsts(found [][]string) (out []string) {
	for _, m := range found {
		out = append(out, m[1])
	}
	return out
}

var ourPath = regexp.MustCompile(`^(?:docs|deploy|scripts|internal|cmd|examples|migrations|cards|tasks|nphiesclient|asynqmon)/[A-Za-z0-9_@.*/-]+$`)

// goSymbol is what a package of Go has, behind its path.
var goSymbol = regexp.MustCompile(`\.[A-Z]\w*$`)

// TestNamedFilesExist: a file or folder of the repository that is named is there.
func TestNamedFilesExist(t *testing.T) {
	bad, n := problems{t}, 0
	for _, p := range pages(t) {
		if p.name == "CHANGELOG.md" {
			continue // it tells of what was
		}
		for _, c := range p.code {
			if !ourPath.MatchString(c.text) || strings.Contains(c.text, "NAME") {
				continue
			}
			n++
			found, err := filepath.Glob(filepath.Join(root, goSymbol.ReplaceAllString(c.text, "")))
			require.NoError(t, err)
			if len(found) == 0 {
				bad.at(p, c.line, "there is no %s", c.text)
			}
		}
	}
	require.Greater(t, n, 20)
}

// lines numbers the lines of a text from 1.
func lines(text string) func(func(int, string) bool) {
	return func(yield func(int, string) bool) {
		for i, line := range strings.Split(text, "\n") {
			if !yield(i+1, line) {
				return
			}
		}
	}
}

var target = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)

// TestMakeTargetsExist: in blocks and in the text.
func TestMakeTargetsExist(t *testing.T) {
	bad := problems{t}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	require.NoError(t, err)
	known := map[string]bool{}
	for _, m := range target.FindAllSubmatch(makefile, -1) {
		known[string(m[1])] = true
	}
	require.True(t, known["test"])
	check := func(p page, line int, words []string) {
		if len(words) < 2 || words[0] != "make" {
			return
		}
		if !known[words[1]] {
			bad.at(p, line, "the Makefile has no target %s", words[1])
		}
		for _, w := range words[2:] {
			if name, _, ok := strings.Cut(w, "="); ok && !bytes.Contains(makefile, []byte("$("+name+")")) {
				bad.at(p, line, "the Makefile knows no %s", name)
			}
		}
	}
	for _, p := range pages(t) {
		for _, c := range p.code {
			for _, words := range commands(c.text) {
				check(p, c.line, words)
			}
		}
		for _, b := range p.blocks {
			if b.lang != "sh" {
				continue
			}
			for _, words := range commands(b.text) {
				check(p, b.line, words)
			}
			if b.kind == "make" && len(commands(b.text)) == 0 {
				bad.at(p, b.line, "no make in it")
			}
		}
	}
}

var goFunc = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)

// TestNamedTestsExist: a go test that is quoted finds what it is to run.
func TestNamedTestsExist(t *testing.T) {
	bad := problems{t}
	n := 0
	for _, p := range pages(t) {
		for _, c := range append(p.code, blocksOf(p)...) {
			for _, words := range commands(c.text) {
				if len(words) < 3 || words[0] != "go" || words[1] != "test" {
					continue
				}
				n++
				dir := words[slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "./") })]
				var funcs []string
				files, _ := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
				for _, f := range files {
					body, err := os.ReadFile(f)
					require.NoError(t, err)
					for _, m := range goFunc.FindAllSubmatch(body, -1) {
						funcs = append(funcs, string(m[1]))
					}
				}
				for i, w := range words[:len(words)-1] {
					if (w != "-run" && w != "-bench" && w != "-fuzz") || words[i+1] == "^$" {
						continue
					}
					for want := range strings.SplitSeq(words[i+1], "|") {
						want, _, _ = strings.Cut(want, "/")
						re, err := regexp.Compile(want)
						require.NoError(t, err)
						if !slices.ContainsFunc(funcs, re.MatchString) {
							bad.at(p, c.line, "%s has nothing like %s", dir, want)
						}
					}
				}
			}
		}
	}
	require.NotZero(t, n, "none found: is the search broken?")
}

var testName = regexp.MustCompile(`^(?:Test|Fuzz|Benchmark)[A-Z]\w+$`)

// TestQuotedTestsExist: a test that is named as proof is there.
func TestQuotedTestsExist(t *testing.T) {
	bad, known, n := problems{t}, map[string]bool{}, 0
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		body, err := os.ReadFile(path)
		for _, m := range goFunc.FindAllSubmatch(body, -1) {
			known[string(m[1])] = true
		}
		return err
	}))
	for _, p := range pages(t) {
		for _, c := range p.code {
			if !testName.MatchString(c.text) {
				continue
			}
			if n++; !known[c.text] {
				bad.at(p, c.line, "there is no test %s", c.text)
			}
		}
	}
	require.NotZero(t, n)
}

var metricName = regexp.MustCompile(`^((?:nphiesq|nphies|teams|action|pagerduty|asynq|messaging)_[a-z0-9_]+?)(_bucket|_sum|_count)?(\{[^}]*\})?$`)

// TestMetricsExist: what looks like a metric (by its end, or its labels) is in the catalogue, and has the labels.
func TestMetricsExist(t *testing.T) {
	bad, known, n := problems{t}, map[string]metric.Row{}, 0
	for _, r := range metric.Table() {
		known[r.Name] = r
	}
	for _, p := range pages(t) {
		if p.name == "CHANGELOG.md" {
			continue // it tells of what was
		}
		for _, c := range p.code {
			m := metricName.FindStringSubmatch(c.text)
			if m == nil {
				continue
			}
			r, ok := known[m[1]]
			if !ok {
				if m[3] != "" || regexp.MustCompile(`_(total|seconds|bytes|timestamp)$`).MatchString(m[1]) {
					bad.at(p, c.line, "there is no metric %s", m[1])
				}
				continue
			}
			n++
			for l := range strings.SplitSeq(strings.Trim(m[3], "{}"), ",") {
				l, _, _ = strings.Cut(l, "=")
				if l != "" && !slices.ContainsFunc(r.Labels, func(x metric.Label) bool { return x.Name == l }) {
					bad.at(p, c.line, "%s has no label %s", r.Name, l)
				}
			}
		}
	}
	require.NotZero(t, n)
}

func blocksOf(p page) (out []span) {
	for _, b := range p.blocks {
		if b.lang == "sh" {
			out = append(out, span{b.text, b.line})
		}
	}
	return out
}

// commands are the simple commands of a shell text, as words; quotes are off, and what a shell would compute is "…".
func commands(text string) (out [][]string) {
	f, err := syntax.NewParser().Parse(strings.NewReader(text), "")
	if err != nil {
		return [][]string{strings.Fields(text)} // a form of words, as in "[ID…] [--state S]"
	}
	syntax.Walk(f, func(n syntax.Node) bool {
		if c, ok := n.(*syntax.CallExpr); ok && len(c.Args) > 0 {
			var words []string
			for _, a := range c.Args {
				words = append(words, word(a))
			}
			out = append(out, words)
		}
		return true
	})
	return out
}

// word is a word's value, as far as it is known.
func word(w *syntax.Word) string {
	var b strings.Builder
	var put func(parts []syntax.WordPart)
	put = func(parts []syntax.WordPart) {
		for _, part := range parts {
			switch x := part.(type) {
			case *syntax.Lit:
				b.WriteString(x.Value)
			case *syntax.SglQuoted:
				b.WriteString(x.Value)
			case *syntax.DblQuoted:
				put(x.Parts)
			default:
				b.WriteString("…")
			}
		}
	}
	put(w.Parts)
	return b.String()
}
