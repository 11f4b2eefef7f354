package metric

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

var described = regexp.MustCompile(`^Desc\{fqName: "([^"]*)", help: "(.*)", constLabels: \{[^}]*\}, variableLabels: \{([^}]*)\}\}$`)

// Compare reports how what is registered differs from the rows that a program shows: metrics without a row, rows that nothing
// registers, other labels.
func Compare(of Program, registered prometheus.Collector) []string {
	descs := make(chan *prometheus.Desc)
	go func() { registered.Describe(descs); close(descs) }()
	found := map[string]bool{}
	var wrong []string
	for d := range descs {
		m := described.FindStringSubmatch(d.String())
		if m == nil {
			wrong = append(wrong, "not understood: "+d.String())
			continue
		}
		name := m[1]
		found[name] = true
		if Foreign(name) {
			continue
		}
		i := slices.IndexFunc(table, func(r Row) bool { return r.Name == name && slices.Contains(r.Of, of) })
		if i < 0 {
			wrong = append(wrong, fmt.Sprintf("%s: no row says that %s shows it", name, of))
			continue
		}
		if want := strings.Join(table[i].labels(), ","); m[3] != want {
			wrong = append(wrong, fmt.Sprintf("%s: has labels %s, the catalogue says %s", name, m[3], want))
		}
	}
	for _, r := range table {
		if slices.Contains(r.Of, of) && !found[r.Name] {
			wrong = append(wrong, fmt.Sprintf("%s: %s does not register it", r.Name, of))
		}
	}
	slices.Sort(wrong)
	return wrong
}
