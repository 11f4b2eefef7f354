package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/licenseclassifier/v2/assets"
	"github.com/stretchr/testify/require"
)

// TestSubfolders plants licences in the folders of a module that is MIT at its top. One that is not allowed is found wherever a linked package brings
// it in, under whatever name, and not where nothing is linked.
func TestSubfolders(t *testing.T) {
	c, err := assets.DefaultClassifier()
	require.NoError(t, err)
	text := func(name string) []byte {
		body, err := assets.ReadLicenseFile("License/" + name)
		require.NoError(t, err)
		return body
	}
	mit, gpl, bsd := text("MIT/pristine.txt"), text("GPL-2.0/license.txt"), text("BSD-3-Clause/pristine.txt")
	for name, tt := range map[string]struct {
		planted string
		text    []byte
		refused string
	}{
		"beside the package":   {"a/b/LICENSE", gpl, "GPL-2.0 is not allowed"},
		"above the package":    {"a/COPYING", gpl, "GPL-2.0 is not allowed"},
		"with another name":    {"a/b/gpl-licence.txt", gpl, "GPL-2.0 is not allowed"},
		"as a copyright":       {"a/b/COPYRIGHT", gpl, "GPL-2.0 is not allowed"},
		"as a notice":          {"a/b/NOTICE", gpl, "GPL-2.0 is not allowed"},
		"unknown":              {"a/b/LICENSE.md", []byte("You may do as you please on Mondays.\n"), "look at it"},
		"allowed":              {"a/b/LICENSE", bsd, ""},
		"patents":              {"a/b/PATENTS", []byte("Additional IP Rights Grant (Patents)\n"), ""},
		"of what is not there": {"other/LICENSE", gpl, ""},
		"below the package":    {"a/b/testdata/LICENSE", gpl, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put := func(name string, body []byte) {
				name = filepath.Join(dir, name)
				require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
				require.NoError(t, os.WriteFile(name, body, 0o644))
			}
			put("LICENSE", mit)
			put("a/b/b.go", []byte("package b\n"))
			put(tt.planted, tt.text)
			m := &module{Path: "example.com/m", Version: "v1", Dir: dir, folders: []string{filepath.Join(dir, "a/b")}}
			err := m.read(c)
			if tt.refused != "" {
				require.ErrorContains(t, err, tt.refused)
				return
			}
			require.NoError(t, err)
			require.Contains(t, m.licenses, "MIT")
			require.Equal(t, name == "allowed", slices.Contains(m.licenses, "BSD-3-Clause"))
			named := slices.ContainsFunc(m.files, func(f file) bool { return f.name == tt.planted })
			require.Equal(t, name == "allowed" || name == "patents", named)
		})
	}
}
