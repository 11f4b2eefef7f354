package signin

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

const (
	// HashCost is the bcrypt cost of hashes that `monitor hash` makes.
	HashCost = 12
	// maxCost is the highest bcrypt cost that is taken: each sign-in takes seconds above it.
	maxCost = 15
	// maxMemory, maxPasses and maxLanes bound argon2id: at most two hashes are computed at a time.
	maxMemory = 64 << 10 // KiB
	maxPasses = 10
	maxLanes  = 8
	// maxPassword is the longest password, in bytes: all that bcrypt reads.
	maxPassword = 72
)

// Hash makes the bcrypt hash of a password of 12 to 72 bytes.
func Hash(password []byte) (string, error) {
	if len(password) < 12 || len(password) > maxPassword {
		return "", errors.New("the password must have 12 to 72 bytes")
	}
	hash, err := bcrypt.GenerateFromPassword(password, HashCost)
	return string(hash), err
}

// passwordHash is a hash of either kind.
type passwordHash struct {
	bcrypt []byte
	argon  argonHash
}

// argonHash is a hash in the PHC form $argon2id$v=19$m=…,t=…,p=…$salt$hash.
type argonHash struct {
	memory, passes uint32
	lanes          uint8
	salt, sum      []byte
}

// parseHash reads a hash. Errors never show it.
func parseHash(text string) (passwordHash, error) {
	if strings.HasPrefix(text, "$argon2") {
		a, err := parseArgon(text)
		return passwordHash{argon: a}, err
	}
	cost, err := bcrypt.Cost([]byte(text))
	if err != nil || len(text) != 60 {
		return passwordHash{}, errors.New("the hash is no bcrypt hash and no argon2id hash; make one with `monitor hash`")
	}
	if cost > maxCost {
		return passwordHash{}, fmt.Errorf("the hash costs too much: each sign-in would take seconds; %d is the most", maxCost)
	}
	return passwordHash{bcrypt: []byte(text)}, nil
}

func parseArgon(text string) (a argonHash, err error) {
	parts := strings.Split(text, "$")
	var version int
	if len(parts) != 6 || parts[1] != "argon2id" {
		return a, errors.New("want $argon2id$v=19$m=…,t=…,p=…$salt$hash")
	}
	if n, err := fmt.Sscanf(parts[2], "v=%d", &version); n != 1 || err != nil || version != argon2.Version || parts[2] != "v=19" {
		return a, errors.New("want version 19 of argon2id (v=19)")
	}
	form := fmt.Sprintf("m=%%d,t=%%d,p=%%d")
	if n, err := fmt.Sscanf(parts[3], form, &a.memory, &a.passes, &a.lanes); n != 3 || err != nil || parts[3] != fmt.Sprintf(form, a.memory, a.passes, a.lanes) {
		return a, errors.New("want the cost of argon2id as m=…,t=…,p=…")
	}
	if a.lanes < 1 || a.lanes > maxLanes || a.passes < 1 || a.passes > maxPasses || a.memory < 8*uint32(a.lanes) || a.memory > maxMemory {
		return a, fmt.Errorf("the cost of argon2id is not allowed; want m up to %d (KiB, 64 MiB) and at least 8 times p, t from 1 to %d, p from 1 to %d", maxMemory, maxPasses, maxLanes)
	}
	a.salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[4])
	if err != nil || len(a.salt) < 8 || len(a.salt) > 64 {
		return a, errors.New("want a salt of 8 to 64 bytes in base64 without =")
	}
	a.sum, err = base64.RawStdEncoding.Strict().DecodeString(parts[5])
	if err != nil || len(a.sum) < 16 || len(a.sum) > 64 {
		return a, errors.New("want a hash of 16 to 64 bytes in base64 without =")
	}
	return a, nil
}

// matches compares a password.
func (h passwordHash) matches(password string) bool {
	if len(password) > maxPassword {
		password = ""
	}
	if h.bcrypt != nil {
		return bcrypt.CompareHashAndPassword(h.bcrypt, []byte(password)) == nil
	}
	a := h.argon
	sum := argon2.IDKey([]byte(password), a.salt, a.passes, a.memory, a.lanes, uint32(len(a.sum))) //nolint:gosec // 64 at most
	return subtle.ConstantTimeCompare(sum, a.sum) == 1 && password != ""
}

// decoy is a hash of the same cost that nothing matches.
func (h passwordHash) decoy() passwordHash {
	if h.bcrypt != nil {
		return passwordHash{bcrypt: []byte(string(h.bcrypt[:7]) + strings.Repeat(".", 53))}
	}
	a := h.argon
	a.salt, a.sum = make([]byte, len(a.salt)), make([]byte, len(a.sum))
	return passwordHash{argon: a}
}
