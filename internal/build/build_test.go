package build

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLine(t *testing.T) {
	const commit, date = "0123456789abcdef0123456789abcdef01234567", "2026-11-01T12:00:00Z"
	noted := &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: commit}, {Key: "vcs.time", Value: date}}}
	tail := " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
	for name, c := range map[string]struct {
		given Info
		bi    *debug.BuildInfo
		want  string
	}{
		"make build":            {Info{"v1.4.0", commit, date}, nil, "v1.4.0 commit 0123456789ab " + date},
		"make build goes first": {Info{"v1.4.0", "fedcba9876543210", "2026-12-01T00:00:00Z"}, noted, "v1.4.0 commit fedcba987654 2026-12-01T00:00:00Z"},
		"go build":              {Info{}, noted, "0123456789ab commit 0123456789ab " + date},
		"nothing known":         {Info{}, nil, "dev"},
	} {
		require.Equal(t, c.want+tail, fill(c.given, c.bi).Line(), name)
	}
}
