package nphiesclient_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// message reads a sample message.
func message(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "messages", name))
	require.NoError(tb, err)
	return b
}
