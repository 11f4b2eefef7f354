package doccheck

import (
	"context"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/testenv"
)

// programs builds ours, once, and returns their folder.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "doccheck")
	if err != nil {
		return "", err
	}
	testenv.OnExit(func() { _ = os.RemoveAll(dir) })
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-o", dir, "./cmd/worker", "./cmd/enqueue", "./cmd/monitor", "./cmd/nphiessim")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	return dir, cmd.Run()
})

func TestMain(m *testing.M) { testenv.Main(m) }

// grammar knows what our programs understand.
type grammar struct {
	bin  string
	help map[string]string // of the programs that have few flags
	flag map[string]map[string]bool
	seen map[string]string
}

func newGrammar(t *testing.T) *grammar {
	t.Helper()
	bin, err := programs()
	require.NoError(t, err)
	g := &grammar{bin: bin, help: map[string]string{}, flag: map[string]map[string]bool{}, seen: map[string]string{}}
	for name, args := range map[string][][]string{"worker": {{"--help"}}, "monitor": {{"--help"}}, "nphiessim": {{"--help"}, {"certs", "--help"}}} {
		for _, a := range args {
			out, err := exec.CommandContext(t.Context(), filepath.Join(bin, name), a...).CombinedOutput()
			require.NoError(t, err, "%s %v: %s", name, a, out)
			g.help[name] += string(out)
		}
		g.flag[name] = map[string]bool{"help": true}
		for _, m := range flagName.FindAllStringSubmatch(g.help[name], -1) {
			g.flag[name][m[1]] = true
		}
	}
	return g
}

var (
	placeholder = regexp.MustCompile(`^[A-Z]*…?$|^<[^>]*>…?$|^…`)
	flagName    = regexp.MustCompile(`(?:^|[\s\[|,(])--?([a-z][a-z0-9-]*)`)
	subcommand  = regexp.MustCompile(`^[a-z]+$`)
	// someID is put where a text says ID.
	someID = "0190a8f0-0000-7000-8000-000000000000"
)

// carried is the command that another one carries out: within a container, a pod, for each line, as another user.
func carried(words []string) []string {
	rest := func(i int) []string { // without the options that come first
		for i < len(words) && (strings.HasPrefix(words[i], "-") || strings.Contains(words[i], "=")) {
			i++
		}
		return words[min(i, len(words)):]
	}
	dashes := slices.Index(words, "--")
	switch {
	case words[0] == "xargs" || words[0] == "env" || words[0] == "sudo":
		words = rest(1)
	case words[0] == "runuser" && dashes > 0, words[0] == "kubectl" && dashes > 0 && slices.Contains(words[:dashes], "exec"):
		words = words[dashes+1:]
	case len(words) > 3 && words[0] == "docker" && words[1] == "compose" && words[2] == "run":
		if words = rest(3); len(words) > 0 && words[0] != "enqueue" { // which is a service of that name with itself as the entrypoint
			words = words[1:]
		}
	case len(words) > 3 && words[0] == "docker" && words[1] == "compose" && words[2] == "exec":
		if words = rest(3); len(words) > 0 {
			words = words[1:]
		}
	default:
		return words
	}
	if len(words) == 0 {
		return nil
	}
	return carried(words)
}

// units are what is wrong with the units of ours that a command names.
func units(words []string) string {
	if words[0] != "systemctl" && words[0] != "journalctl" && words[0] != "systemd-analyze" {
		return ""
	}
	for _, w := range words[1:] {
		if !strings.HasPrefix(w, "nphies") || strings.ContainsAny(w, "*.…") {
			continue
		}
		name, instance, _ := strings.Cut(w, "@")
		if instance != "" {
			name += "@"
		}
		if _, err := os.Stat(filepath.Join(root, "deploy/systemd", name+".service")); err != nil {
			return "there is no unit " + w
		}
	}
	return ""
}

// check says what is wrong with a command of ours, "" for nothing and for those of others.
func (g *grammar) check(t *testing.T, words []string) string {
	t.Helper()
	if words = carried(words); len(words) == 0 {
		return ""
	}
	if said := units(words); said != "" {
		return said
	}
	name := path.Base(words[0])
	if short := strings.TrimPrefix(name, "nphiesq-"); short == "enqueue" || g.help[short] != "" {
		name = short
	} else if short != name && len(words) > 1 {
		return "there is no program " + name
	}
	if help, ok := g.help[name]; ok {
		plain := true
		for _, w := range words[1:] {
			flag, _, _ := strings.Cut(strings.TrimLeft(w, "-"), "=")
			switch isFlag := strings.HasPrefix(w, "-"); {
			case isFlag && !g.flag[name][flag]:
				return name + " knows no flag " + w
			case isFlag:
				plain = false
			case plain && subcommand.MatchString(w) && !regexp.MustCompile(`[ |]`+w+`\b`).MatchString(help):
				return name + " knows no " + w
			}
		}
		return ""
	}
	if name != "enqueue" || len(words) == 1 {
		return ""
	}
	key := strings.Join(words, "\x00")
	if known, ok := g.seen[key]; ok {
		return known
	}
	// What stands for a value is tried as a number, a time and an id; a form of words may leave the last value out.
	var last string
	for _, value := range []string{"1", "1s", someID, ""} {
		args := make([]string, 0, len(words))
		for _, w := range words[1:] {
			if placeholder.MatchString(w) {
				w = value
			}
			if w != "" {
				args = append(args, w)
			}
		}
		for _, more := range [][]string{nil, {"1"}, {someID}} {
			out, err := exec.CommandContext(t.Context(), filepath.Join(g.bin, "enqueue"), append(append(slices.Clone(args), more...), "--help")...).CombinedOutput()
			if err == nil {
				g.seen[key] = ""
				return ""
			}
			if last == "" {
				first, _, _ := strings.Cut(string(out), "\n")
				last = first
			}
		}
	}
	g.seen[key] = "enqueue does not understand it: " + last
	return g.seen[key]
}

// forms takes a form of words apart: `dead list|show` is two commands, brackets are what may be left out.
func forms(text string) []string {
	out := []string{""}
	for w := range strings.FieldsSeq(strings.NewReplacer("[", "", "]", "", `\|`, "|").Replace(text)) {
		var next []string
		for alt := range strings.SplitSeq(w, "|") {
			if len(w) == 1 {
				alt = w
			}
			for _, o := range out {
				next = append(next, strings.TrimSpace(o+" "+alt))
			}
			if len(w) == 1 {
				break
			}
		}
		out = next
	}
	return out
}

var ours = regexp.MustCompile(`^(?:[A-Z_]+=\S+ )*(?:(?:bin/|nphiesq-)?(?:enqueue|worker|monitor|nphiessim)(?: |$)|(?:systemctl|journalctl|docker compose|kubectl|systemd-analyze) )`)

// TestCommandsFitTheGrammar: a misspelt command or flag, in a block or in the text, is noticed, also where it is not executed.
func TestCommandsFitTheGrammar(t *testing.T) {
	t.Parallel()
	g, bad := newGrammar(t), problems{t}
	require.NotEmpty(t, g.check(t, []string{"enqueue", "dead", "list", "--quee", "x"}), "the check itself")
	require.NotEmpty(t, g.check(t, []string{"enqueue", "ded", "list"}))
	require.NotEmpty(t, g.check(t, []string{"worker", "--queue-names", "x"}))
	require.NotEmpty(t, g.check(t, []string{"worker", "migrat", "up"}))
	for _, wrong := range []string{
		"worker --queue x", "monitor --hel", "nphiesq-worker --queue x", "nphiesq-enqueue ded list", "docker compose exec worker worker helth", "docker compose run --rm -T enqueue submt x",
		"kubectl -n claims exec deploy/x -- enqueue ded list", "xargs -r enqueue eras x", "systemctl start nphiesq-migrat", "systemctl enable --now nphiesq-wrker@teams", "journalctl -u nphiesq-workers",
	} {
		require.NotEmpty(t, g.check(t, strings.Fields(wrong)), wrong)
	}
	require.Empty(t, g.check(t, []string{"enqueue", "dead", "retry", "ID…", "--reason", "…"}))
	require.Empty(t, g.check(t, strings.Fields("systemctl enable --now nphiesq-worker@teams")))
	n := 0
	for _, p := range pages(t) {
		for _, c := range p.code {
			if !ours.MatchString(c.text) {
				continue
			}
			for _, f := range forms(c.text) {
				for _, words := range commands(f) {
					n++
					if said := g.check(t, words); said != "" {
						bad.at(p, c.line, "`%s`: %s", c.text, said)
					}
				}
			}
		}
		for _, b := range p.blocks {
			if b.lang != "sh" {
				continue
			}
			for _, words := range commands(b.text) {
				n++
				if said := g.check(t, words); said != "" {
					bad.at(p, b.line, "%s: %s", strings.Join(words, " "), said)
				}
			}
		}
	}
	require.Greater(t, n, 20, "few commands found: is the search broken?")
}
