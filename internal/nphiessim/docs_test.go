package nphiessim

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDocs keeps the table of behaviours in docs/nphiessim.md complete.
func TestDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/nphiessim.md")
	require.NoError(t, err)
	for _, b := range Behaviours() {
		require.Contains(t, string(page), fmt.Sprintf("| `SIM-%s` | %s | %s |\n", b.Name, b.For, b.Doc))
	}
	for kind := range faultKinds {
		require.Contains(t, string(page), "`"+kind+"`")
	}
}
