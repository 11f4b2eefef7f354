package web

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// allowedFailures is how often one user may fail from one address before both have to wait.
	allowedFailures = 10
	// addressFailures is the same for one address, whatever the names.
	addressFailures = 100
	// lockFor is how long they wait, and how long a failure is remembered.
	lockFor = 15 * time.Minute
	// maxTracked bounds memory.
	maxTracked = 20_000
)

type failures struct {
	count int
	last  time.Time
}

// lockout counts failed logins in memory.
type lockout struct {
	mu   sync.Mutex
	seen map[string]failures
	now  func() time.Time
}

func newLockout(now func() time.Time) *lockout {
	return &lockout{seen: map[string]failures{}, now: now}
}

// client is the address of whoever made a request. Forwarded headers are not read: anybody can send them.
func client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func lockKeys(name, address string) (pair, alone string) {
	return strings.ToLower(name) + "\x00" + address, "\x00" + address
}

// locked reports whether this user must wait at this address.
func (l *lockout) locked(name, address string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	pair, alone := lockKeys(name, address)
	return l.count(pair) >= allowedFailures || l.count(alone) >= addressFailures
}

func (l *lockout) count(key string) int {
	f, ok := l.seen[key]
	if !ok {
		return 0
	}
	if l.now().Sub(f.last) >= lockFor {
		delete(l.seen, key)
		return 0
	}
	return f.count
}

// failed counts a failure.
func (l *lockout) failed(name, address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	pair, alone := lockKeys(name, address)
	for _, key := range []string{pair, alone} {
		l.seen[key] = failures{l.count(key) + 1, now}
	}
	if len(l.seen) <= maxTracked {
		return
	}
	for key, f := range l.seen {
		if now.Sub(f.last) >= lockFor || (f.count < 3 && len(l.seen) > maxTracked/2) {
			delete(l.seen, key)
		}
	}
}

// passed forgets the failures of a user at an address.
func (l *lockout) passed(name, address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	pair, _ := lockKeys(name, address)
	delete(l.seen, pair)
}
