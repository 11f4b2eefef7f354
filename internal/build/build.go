// Package build says what a program was built from. The linker sets it (make build); a plain go build leaves what the toolchain
// notes by itself.
package build

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Set by the linker. date is that of the commit, so that the same source makes the same bytes.
var version, commit, date string

// Info is what a program was built from; what is unknown is empty.
type Info struct{ Version, Commit, Date string }

// Get returns it. Without a version it is the first twelve digits of the commit, or "dev".
func Get() Info {
	bi, _ := debug.ReadBuildInfo()
	return fill(Info{Version: version, Commit: commit, Date: date}, bi)
}

func fill(i Info, bi *debug.BuildInfo) Info {
	if bi != nil {
		for _, s := range bi.Settings {
			switch {
			case s.Key == "vcs.revision" && i.Commit == "":
				i.Commit = s.Value
			case s.Key == "vcs.time" && i.Date == "":
				i.Date = s.Value
			}
		}
	}
	if i.Version == "" {
		i.Version = "dev"
		if len(i.Commit) >= 12 {
			i.Version = i.Commit[:12]
		}
	}
	return i
}

// Line is what --version prints: "v1.4.0 commit 0123456789ab 2026-11-01T12:00:00Z go1.26.8 linux/amd64".
func (i Info) Line() string {
	out := i.Version
	if i.Commit != "" {
		out += fmt.Sprintf(" commit %.12s", i.Commit)
	}
	if i.Date != "" {
		out += " " + i.Date
	}
	return fmt.Sprintf("%s %s %s/%s", out, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
