// Package fault is the error type that crosses package borders: it says what kind of trouble there is, whether and when
// to try again, and which part of the text may be shown to a person or stored in Redis.
package fault

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// Kind classifies an error. It is a closed set: metric labels and stored error classes are made of it.
type Kind string

// The first four are the error types of a failed exchange with NPHIES, as stakeholders know them.
const (
	// Certificate: the TLS handshake failed, or NPHIES does not accept the client certificate for this sender.
	Certificate Kind = "certificate"
	// JWT: a gateway in front of NPHIES refused a token. NPHIES itself knows no tokens.
	JWT Kind = "jwt"
	// Network: refused, reset, timeout, or an answer that is no FHIR: the outcome may be unknown.
	Network Kind = "network"
	// API: NPHIES answered and refused.
	API Kind = "api"

	// Invalid: input or stored data is wrong; repeating changes nothing.
	Invalid Kind = "invalid"
	// NotFound: what was named does not exist.
	NotFound Kind = "not_found"
	// Conflict: somebody else was first, or the state does not allow it.
	Conflict Kind = "conflict"
	// RateLimited: try again after RetryIn; this is not a failure.
	RateLimited Kind = "rate_limited"
	// Unavailable: one of our own servers (PostgreSQL, Redis, Vault) is away.
	Unavailable Kind = "unavailable"
	// Config: a setting or a remote configuration is wrong; a person must act.
	Config Kind = "config"
	// Internal: everything else, a panic included. Its text is hidden.
	Internal Kind = "internal"
)

// Kinds lists every Kind, for tests of closed label sets.
func Kinds() []Kind {
	return []Kind{Certificate, JWT, Network, API, Invalid, NotFound, Conflict, RateLimited, Unavailable, Config, Internal}
}

// Error is an error whose text is safe to show. Err, the cause, is for logs only: it may hold addresses or personal data, so
// it is reachable by errors.Is and errors.As but never printed.
type Error struct {
	// Op is what was tried, in a few words ("send claim-request").
	Op string
	// Kind is the class.
	Kind Kind
	// Safe is a sentence without personal data and secrets.
	Safe string
	// Code is the code of the other side, if it gave one ("GE-00012", "HTTP 503").
	Code string
	// RetryIn is the least time to wait before another try; 0 leaves it to the caller's policy.
	RetryIn time.Duration
	// Permanent means that repeating the same thing cannot succeed.
	Permanent bool
	// Err is the cause.
	Err error
}

// Error returns Op, Kind and Safe, never the cause's text.
func (e *Error) Error() string {
	s := string(e.Kind)
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	if e.Code != "" {
		s += " " + e.Code
	}
	if e.Safe != "" {
		s += ": " + e.Safe
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Of returns the first Error in err's chain, or one of Kind Internal that wraps err. Of(nil) is nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: Internal, Safe: "unexpected error, see the log", Err: err}
}

// KindOf returns the Kind of err: Internal for an unknown error, "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	return Of(err).Kind
}

// Is reports whether err is a fault of kind k.
func Is(err error, k Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == k
}

// ParseText reads Kind and Code back out of the text of an Error, as it stands in a queue. A text of another make is Internal.
func ParseText(text string) (k Kind, code string) {
	for part := range strings.SplitSeq(text, ": ") {
		word, rest, _ := strings.Cut(part, " ")
		if slices.Contains(Kinds(), Kind(word)) {
			return Kind(word), rest
		}
	}
	return Internal, ""
}
