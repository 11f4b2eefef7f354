package nphiesclient_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/nphiesclient"
)

// message reads a sample message.
// paidOf is what the payer pays, "" when the answer does not tell it.
func paidOf(c *nphiesclient.ClaimAnswer) string {
	if paid, known := c.Paid(); known {
		return paid.String()
	}
	return ""
}

func message(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "messages", name))
	require.NoError(tb, err)
	return b
}

// check is Check at the time the tests' messages are built, or of a sample message at its own time.
func check(r *nphiesclient.Request) []nphiesclient.Finding {
	now := fixedNow
	if r.Created.Before(now) {
		now = r.Created
	}
	return nphiesclient.CheckWith(r, nphiesclient.CheckOptions{Now: now})
}
