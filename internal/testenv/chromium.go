package testenv

import (
	"os/exec"
	"testing"
)

// Chromium finds the browser. It fails the test where there is none: what it shows is part of what is promised.
func Chromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{
		"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell", "/usr/bin/chromium", "/snap/bin/chromium",
		"/Applications/Chromium.app/Contents/MacOS/Chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
	} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("no Chromium found: apt-get install -y --no-install-recommends chromium fonts-liberation fonts-noto-core (or brew install --cask chromium)")
	return ""
}
