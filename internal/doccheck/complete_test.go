package doccheck

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/config"
)

var column = regexp.MustCompile(`(?m)^column (\w+)\.`)

// TestEveryStoreIsTold: each table and each kind of key in Redis stands on the pages that say what is stored where.
func TestEveryStoreIsTold(t *testing.T) {
	schema, err := os.ReadFile(filepath.Join(root, "migrations/testdata/schema.txt"))
	require.NoError(t, err)
	var tables []string
	for _, m := range column.FindAllSubmatch(schema, -1) {
		tables = append(tables, string(m[1]))
	}
	tables = slices.Compact(tables)
	require.Greater(t, len(tables), 20)
	for _, name := range []string{"docs/security.md", "docs/data-protection.md"} {
		p := read(t, name)
		for _, table := range tables {
			if table == "teams_notifications_unacknowledged_critical" { // a view
				continue
			}
			require.Regexp(t, "`"+table+"[`.]", p.text, "%s does not say what the table %s holds", name, table)
		}
	}
	acl, err := os.ReadFile(filepath.Join(root, "deploy/redis/users.acl"))
	require.NoError(t, err)
	keys := regexp.MustCompile(`~([a-z:]+):\*`).FindAllSubmatch(acl, -1)
	require.NotEmpty(t, keys)
	p := read(t, "docs/security.md")
	for _, m := range keys {
		require.Contains(t, p.text, "`"+string(m[1])+":…`", "docs/security.md does not say what these keys hold")
	}
}

// TestTheIndexNamesEveryPage: a page that nothing leads to is read by nobody. Each page of docs stands in the README.md of its folder or of
// one above, and each README.md in one above.
func TestTheIndexNamesEveryPage(t *testing.T) {
	all := pages(t)
	named := func(index string, p page) bool {
		i := slices.IndexFunc(all, func(o page) bool { return o.name == index })
		return i >= 0 && slices.ContainsFunc(all[i].links, func(l span) bool {
			to, _, _ := strings.Cut(l.text, "#")
			return path.Join(path.Dir(index), to) == p.name
		})
	}
	n := 0
	for _, p := range all {
		if !strings.HasPrefix(p.name, "docs/") || p.name == "docs/README.md" {
			continue
		}
		n++
		found := false
		for dir := path.Dir(p.name); !found && dir != "."; dir = path.Dir(dir) {
			found = dir+"/README.md" != p.name && named(dir+"/README.md", p)
		}
		require.True(t, found, "no README.md of docs names %s", p.name)
	}
	require.Greater(t, n, 50)
}

// TestEverySecretHasADrill: docs/security.md says how each is changed.
func TestEverySecretHasADrill(t *testing.T) {
	drills, ok := read(t, "docs/security.md").section("Key rotation")
	require.True(t, ok)
	for _, s := range config.Settings() {
		name := s.Name
		if strings.HasPrefix(name, "TEAMS_WEBHOOK_") {
			name = "TEAMS_WEBHOOK_…"
		}
		if s.Secret {
			require.Contains(t, drills, name, "no drill for %s", s.Name)
		}
	}
}
