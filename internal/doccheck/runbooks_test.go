package doccheck

import (
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/tasks"
)

var update = flag.Bool("update", false, "write the list of alerts in docs/runbooks/README.md")

const (
	runbookIndex = "docs/runbooks/README.md"
	letterFolder = "docs/runbooks/dead-letters"
	alertsBegin  = "<!-- alerts: written by go test ./internal/doccheck -run TestRunbooks -update -->\n"
	alertsEnd    = "<!-- end -->"
)

// TestRunbooks: each kind of error that a dead letter may have has its page, with the four parts and commands of its own; there is none
// for a kind that is no more; the index names every page and every task type.
func TestRunbooks(t *testing.T) {
	bad := problems{t}
	index := read(t, runbookIndex)
	named := map[string]bool{}
	for _, l := range index.links {
		named[path.Join(path.Dir(runbookIndex), l.text)] = true
	}
	var kinds []string
	for _, k := range fault.Kinds() {
		kinds = append(kinds, string(k))
		name := letterFolder + "/" + string(k) + ".md"
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("dead letters of kind %s have no runbook: %s", k, name)
			continue
		}
		p := read(t, name)
		var parts []string
		for _, h := range p.headings {
			if h.level == 2 {
				parts = append(parts, h.text)
			}
		}
		if want := []string{"See", "Understand", "Mend", "Prevent"}; !slices.Equal(parts, want) {
			bad.at(p, 1, "its parts are %q; want %q", parts, want)
		}
		for _, part := range parts {
			if text, ok := p.section(part); !ok || len(text) < 40 {
				bad.at(p, 1, "the part %s says nothing", part)
			}
		}
		see, _ := p.section("See")
		mend, _ := p.section("Mend")
		if !strings.Contains(see, "enqueue dead list --error-kind "+string(k)) || !strings.Contains(mend, "enqueue dead retry") {
			bad.at(p, 1, "it lacks the commands that list the letters (See) and try them again (Mend)")
		}
	}
	var alerts strings.Builder
	for _, p := range pages(t) {
		dir := path.Dir(p.name)
		if dir == letterFolder && !slices.Contains(kinds, strings.TrimSuffix(path.Base(p.name), ".md")) {
			bad.at(p, 1, "there is no such kind of error")
		}
		if dir == path.Dir(runbookIndex) && p.name != runbookIndex {
			fmt.Fprintf(&alerts, "- [%s](%s)\n", strings.TrimSuffix(path.Base(p.name), ".md"), path.Base(p.name))
		}
		if strings.HasPrefix(dir, path.Dir(runbookIndex)) && p.name != runbookIndex && !named[p.name] && !*update {
			bad.at(p, 1, "%s does not name it: go test ./internal/doccheck -run TestRunbooks -update", runbookIndex)
		}
	}
	for _, s := range tasks.Table() {
		if !strings.Contains(index.text, "`"+s.Type+"`") {
			bad.at(index, 1, "it does not say what is behind a letter of %s", s.Type)
		}
	}
	before, rest, ok := strings.Cut(index.text, alertsBegin)
	require.True(t, ok)
	_, after, ok := strings.Cut(rest, alertsEnd)
	require.True(t, ok)
	want := before + alertsBegin + alerts.String() + alertsEnd + after
	if *update {
		require.NoError(t, os.WriteFile(filepath.Join(root, runbookIndex), []byte(want), 0o644))
		return
	}
	require.Equal(t, want, index.text, "the list of alerts is old: go test ./internal/doccheck -run TestRunbooks -update")
}
