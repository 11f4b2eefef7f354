//go:build !drill

package sabotage

import "time"

// On reports whether a promise is broken. Here: none ever is.
func On(string) bool { return false }

// Now is time.Now.
func Now() time.Time { return time.Now() }
