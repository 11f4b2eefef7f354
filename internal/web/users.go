package web

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// Role is what a user may do.
type Role string

// Roles: viewers look, operators also decide.
const (
	Viewer   Role = "viewer"
	Operator Role = "operator"
)

// HashCost is the bcrypt cost of hashes that `monitor hash` makes.
const HashCost = 12

type user struct {
	name string
	role Role
	hash []byte
}

// Users are those who may sign in.
type Users struct {
	byName map[string]user
	// decoy is compared against when the name is unknown, so that this takes as long as a wrong password.
	decoy []byte
}

var userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// ParseUsers reads entries of the form name:role:bcrypt-hash, separated by blanks or new lines. Errors name the position of a
// wrong entry and never show a hash.
func ParseUsers(text string) (*Users, error) {
	u := &Users{byName: map[string]user{}}
	cost := bcrypt.MinCost
	for i, entry := range strings.Fields(text) {
		bad := func(problem string) error { return fmt.Errorf("entry %d: %s", i+1, problem) }
		parts := strings.SplitN(entry, ":", 3)
		if len(parts) != 3 {
			return nil, bad("want name:role:bcrypt-hash")
		}
		name, role, hash := parts[0], Role(parts[1]), []byte(parts[2])
		if !userName.MatchString(name) {
			return nil, bad("the name may hold letters, digits and . _ @ - and at most 64 of them")
		}
		if role != Viewer && role != Operator {
			return nil, bad("the role must be viewer or operator")
		}
		c, err := bcrypt.Cost(hash)
		if err != nil || len(hash) != 60 {
			return nil, bad("the hash is no bcrypt hash; make one with `monitor hash`")
		}
		if c > 15 {
			return nil, bad("the hash costs too much: each login would take seconds; 15 is the most")
		}
		key := strings.ToLower(name)
		if _, twice := u.byName[key]; twice {
			return nil, bad("the name was given before")
		}
		u.byName[key] = user{name, role, hash}
		cost = max(cost, c)
	}
	if len(u.byName) == 0 {
		return nil, errors.New("nobody may sign in; want name:role:bcrypt-hash, separated by blanks or new lines, role viewer or operator")
	}
	var err error
	u.decoy, err = bcrypt.GenerateFromPassword([]byte(token()), cost)
	return u, err
}

// verify compares a password. It takes the same time for an unknown name.
func (u *Users) verify(name, password string) (user, bool) {
	found, known := u.byName[strings.ToLower(name)]
	hash := u.decoy
	if known {
		hash = found.hash
	}
	if len(password) > 72 { // all that bcrypt reads; longer ones are refused when they are hashed
		password = ""
	}
	ok := bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil
	return found, ok && known
}

// Hash makes the bcrypt hash of a password of 12 to 72 bytes.
func Hash(password []byte) (string, error) {
	if len(password) < 12 || len(password) > 72 {
		return "", errors.New("the password must have 12 to 72 bytes")
	}
	hash, err := bcrypt.GenerateFromPassword(password, HashCost)
	return string(hash), err
}
