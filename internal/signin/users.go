package signin

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// hashing is how many passwords are compared at a time: each takes a processor for a quarter of a second.
	hashing = 2
	// hashWait is how long a sign-in waits for its turn.
	hashWait = 3 * time.Second
	// maxFile is the largest file of users, in bytes.
	maxFile = 1 << 20
)

// errBusy says that too many passwords are compared at the moment.
var errBusy = errors.New("too many people are signing in at the moment")

// user is one entry.
type user struct {
	Person
	hash passwordHash
	// origin is the SHA-256 of the entry.
	origin [32]byte
}

// Users are those who sign in with a password: entries of a setting, and of a file that is read again when it changes. They are
// safe for concurrent use.
type Users struct {
	fixed   []user
	file    string
	log     *slog.Logger
	key     [32]byte
	hashing chan struct{}

	mu     sync.Mutex
	stamp  os.FileInfo
	missed bool
	all    map[string]user
	sorted []user
	salt   [32]byte
}

var userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

const entryForm = "name:role:hash"

// ParseUsers reads entries of the form name:role:hash, separated by blanks or new lines; several roles are joined by +, the hash
// is bcrypt or argon2id. Errors name MONITOR_USERS and the position of a wrong
// entry, and never show a hash.
func ParseUsers(text string) (*Users, error) {
	return LoadUsers(text, "", slog.New(slog.DiscardHandler))
}

// LoadUsers is ParseUsers with a file beside the setting, one entry a line; what follows a # is a comment. The file must be right
// at the start. Later a wrong entry is left out, and while the file cannot be read its former content holds; both are logged.
func LoadUsers(text, file string, log *slog.Logger) (*Users, error) {
	u := &Users{file: file, log: log, hashing: make(chan struct{}, hashing)}
	_, _ = rand.Read(u.key[:]) // never fails
	seen := map[string]bool{}
	for i, entry := range strings.Fields(text) {
		found, err := parseEntry(entry, seen)
		if err != nil {
			return nil, fmt.Errorf("MONITOR_USERS: entry %d: %w", i+1, err)
		}
		u.fixed = append(u.fixed, found)
	}
	var more []user
	if file != "" {
		var errs []error
		var err error
		if u.stamp, more, errs, err = u.read(); err != nil {
			return nil, fmt.Errorf("MONITOR_USERS_FILE: %w", err)
		}
		if len(errs) > 0 {
			for i, err := range errs {
				errs[i] = fmt.Errorf("MONITOR_USERS_FILE: %w", err)
			}
			return nil, errors.Join(errs...)
		}
	}
	if len(u.fixed)+len(more) == 0 {
		return nil, errors.New("MONITOR_USERS: nobody may sign in; want " + entryForm + ", separated by blanks or new lines, role " + roleNames())
	}
	u.set(more)
	return u, nil
}

func parseEntry(entry string, seen map[string]bool) (user, error) {
	parts := strings.SplitN(entry, ":", 3)
	if len(parts) != 3 {
		return user{}, errors.New("want " + entryForm)
	}
	name := parts[0]
	if !userName.MatchString(name) {
		return user{}, errors.New("the name may hold letters, digits and . _ @ - and at most 64 of them")
	}
	roles, err := rolesOf(strings.Split(parts[1], "+"))
	if err != nil {
		return user{}, err
	}
	hash, err := parseHash(parts[2])
	if err != nil {
		return user{}, err
	}
	key := strings.ToLower(name)
	if seen[key] {
		return user{}, errors.New("the name was given before")
	}
	seen[key] = true
	return user{Person{ID: "local:" + key, Name: name, Roles: roles, Method: ByPassword}, hash, sha256.Sum256([]byte(entry))}, nil
}

// read reads the file. errs are wrong entries, err says that it cannot be read.
func (u *Users) read() (stamp os.FileInfo, found []user, errs []error, err error) {
	f, err := os.Open(u.file)
	if err != nil {
		return nil, nil, nil, errors.New("cannot read the file: " + cause(err))
	}
	defer f.Close()
	if stamp, err = f.Stat(); err != nil {
		return nil, nil, nil, errors.New("cannot read the file: " + cause(err))
	}
	if stamp.Size() > maxFile || !stamp.Mode().IsRegular() {
		return nil, nil, nil, errors.New("no file of at most 1 MB")
	}
	body := make([]byte, stamp.Size())
	n, err := f.ReadAt(body, 0)
	if int64(n) < stamp.Size() {
		return nil, nil, nil, errors.New("cannot read the file: " + cause(err))
	}
	seen := map[string]bool{}
	for _, f := range u.fixed {
		seen[strings.ToLower(f.Name)] = true
	}
	for i, line := range strings.Split(string(body), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		e, err := parseEntry(line, seen)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", i+1, err))
			continue
		}
		found = append(found, e)
	}
	return stamp, found, errs, nil
}

// cause is an error of the file system without the path.
func cause(err error) string {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err.Error()
	}
	return fmt.Sprint(err)
}

// set takes over the entries of the file.
func (u *Users) set(more []user) {
	u.all = map[string]user{}
	u.sorted = slices.Concat(u.fixed, more)
	slices.SortFunc(u.sorted, func(a, b user) int { return cmp.Compare(a.ID, b.ID) })
	sum := sha256.New()
	for _, f := range u.sorted {
		u.all[strings.ToLower(f.Name)] = f
		_, _ = sum.Write(f.origin[:]) // never fails
	}
	u.salt = [32]byte(sum.Sum(nil))
}

// renew reads the file again if it has changed. u.mu is held.
func (u *Users) renew(ctx context.Context) {
	if u.file == "" {
		return
	}
	now, err := os.Stat(u.file)
	if err == nil && !u.missed && os.SameFile(now, u.stamp) && now.ModTime().Equal(u.stamp.ModTime()) && now.Size() == u.stamp.Size() {
		return
	}
	stamp, more, errs, err := u.read()
	if err != nil {
		if !u.missed {
			u.log.ErrorContext(ctx, "MONITOR_USERS_FILE cannot be read again; its former entries hold", slog.String("error", err.Error()))
		}
		u.missed = true
		return
	}
	for _, err := range errs {
		u.log.ErrorContext(ctx, "MONITOR_USERS_FILE holds a wrong entry, which is left out", slog.String("error", err.Error()))
	}
	u.stamp, u.missed = stamp, false
	u.set(more)
	u.log.InfoContext(ctx, "MONITOR_USERS_FILE was read again", slog.Int("users", len(u.sorted)))
}

// find returns the entry of a name. For an unknown one it is another's entry with a hash that nothing matches, always of the same
// cost for the same name.
func (u *Users) find(ctx context.Context, name string) (found user, known bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.renew(ctx)
	name = strings.ToLower(name)
	if f, ok := u.all[name]; ok {
		return f, true
	}
	if len(u.sorted) == 0 {
		return user{}, false
	}
	mac := hmac.New(sha256.New, u.key[:])
	_, _ = mac.Write([]byte(name)) // never fails
	like := u.sorted[binary.BigEndian.Uint64(mac.Sum(nil))%uint64(len(u.sorted))]
	return user{hash: like.hash.decoy()}, false
}

// turn waits until a password may be compared. The caller calls done afterwards.
//
// Errors: errBusy, and the end of ctx.
func (u *Users) turn(ctx context.Context) (done func(), err error) {
	wait := time.NewTimer(hashWait)
	defer wait.Stop()
	select {
	case u.hashing <- struct{}{}:
		return func() { <-u.hashing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-wait.C:
		return nil, errBusy
	}
}

// verify compares a password, in its turn. It takes the same time for an unknown name.
func (u *Users) verify(ctx context.Context, name, password string) (user, bool) {
	found, known := u.find(ctx, name)
	if found.hash.bcrypt == nil && found.hash.argon.sum == nil {
		return user{}, false // there is nobody at all
	}
	ok := found.hash.matches(password)
	return found, ok && known
}

// origin is what the roles of a person rest on; ok is false for one who may not sign in any more.
func (u *Users) origin(ctx context.Context, id string) (sum [32]byte, ok bool) {
	name, local := strings.CutPrefix(id, "local:")
	found, known := u.find(ctx, name)
	return found.origin, known && local
}

// blind turns what was typed into the form into a key under which failures may be counted: people type passwords into the field
// for the name. All monitors with the same users have the same.
func (u *Users) blind(name, address string) string {
	u.mu.Lock()
	salt := u.salt
	u.mu.Unlock()
	mac := hmac.New(sha256.New, salt[:])
	_, _ = mac.Write([]byte(strings.ToLower(name) + "\x00" + address)) // never fails
	return fmt.Sprintf("%x", mac.Sum(nil)[:16])
}
