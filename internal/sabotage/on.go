//go:build drill

package sabotage

import (
	"os"
	"strings"
	"sync"
	"time"
)

// On reports whether NPHIESQ_SABOTAGE names this promise.
func On(name string) bool { return os.Getenv("NPHIESQ_SABOTAGE") == name } //nolint:forbidigo // no setting: it exists in drills only

var clock struct {
	sync.Mutex
	read   time.Time
	offset time.Duration
}

// Now is the time that this process believes in: the file that NPHIESQ_CLOCK names holds how far it is off, as a duration.
func Now() time.Time {
	now := time.Now()
	file := os.Getenv("NPHIESQ_CLOCK") //nolint:forbidigo // as above
	if file == "" {
		return now
	}
	clock.Lock()
	defer clock.Unlock()
	if now.Sub(clock.read) > 50*time.Millisecond {
		clock.read = now
		if body, err := os.ReadFile(file); err == nil { //nolint:gosec // named by the drill
			if d, err := time.ParseDuration(strings.TrimSpace(string(body))); err == nil {
				clock.offset = d
			}
		}
	}
	return now.Add(clock.offset).Round(0) // without the monotonic part: clocks that step are what this is for
}
