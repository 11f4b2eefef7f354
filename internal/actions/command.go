package actions

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/claimlinc/nphiesq/internal/store"
)

// Verb is what a person wants done about an alert. It is a closed set.
type Verb string

// The verbs.
const (
	// Acknowledge: somebody sees to it; repeats stop for a while.
	Acknowledge Verb = "acknowledge"
	// Escalate: the next group hears of it, more urgently, and PagerDuty.
	Escalate Verb = "escalate"
	// Retry: the work behind the dead letter is tried again, the stored bytes unchanged.
	Retry Verb = "retry"
	// Discard: the work behind the dead letter is given up. It needs a reason.
	Discard Verb = "discard"
	// Poll: the licence's mailbox is asked at once.
	Poll Verb = "poll"
	// Resolve: it is over.
	Resolve Verb = "resolve"
)

// Verbs lists them all.
func Verbs() []Verb { return []Verb{Acknowledge, Escalate, Retry, Discard, Poll, Resolve} }

// Valid reports whether v is one of the verbs.
func (v Verb) Valid() bool { return slices.Contains(Verbs(), v) }

// NeedsReason reports whether the verb is refused without a reason.
func (v Verb) NeedsReason() bool { return v == Discard || v == Retry }

// Source is the way a command came. It is a closed set.
type Source string

// The sources.
const (
	FromLink     Source = "link"
	FromAPI      Source = "api"
	FromBot      Source = "bot"
	FromFlow     Source = "flow"
	FromOutgoing Source = "outgoing"
	FromMonitor  Source = "monitor"
	FromCLI      Source = "cli"
	FromSystem   Source = "system"
)

// Sources lists them all.
func Sources() []Source {
	return []Source{FromLink, FromAPI, FromBot, FromFlow, FromOutgoing, FromMonitor, FromCLI, FromSystem}
}

// ActorType says what an actor is.
type ActorType string

// The types of actors. The zero value counts as Human.
const (
	Human   ActorType = "person"
	Service ActorType = "service"
	System  ActorType = "system"
)

// Actor is who wants it.
type Actor struct {
	Type ActorType
	// ID does not change with the name: Entra's object id, local:<name>.
	ID string
	// Name is what people know them by. It goes into acknowledged_by.
	Name   string
	Tenant string
	// AssertedBy is the key or app that says so, where the actor did not prove it themselves; "" if they did.
	AssertedBy string
}

// Command is a wish to change what is done about an alert. Every way in makes one after it has found out who asks.
type Command struct {
	ID uuid.UUID // made if it is zero
	// Key makes a repetition known: it is answered as the first was, and changes nothing. "" for none.
	Key string
	// Notification is the id of any notification of the alert.
	Notification uuid.UUID
	Verb         Verb
	Reason       string
	Actor        Actor
	Source       Source
	// AuthMethod and KeyID say how the actor was known. For the record only.
	AuthMethod, KeyID string
	RequestID         string
	Address           string // of the network
	UserAgent         string
	// With are alerts that an escalation by the system stands for, too; nil for none.
	With *store.AlertFilter
}

// MaxReason is the longest reason, in characters; the rest is cut.
const MaxReason = 500

// tidy brings the texts of a command to a form that can be kept and shown.
func (c Command) tidy() Command {
	line := func(s string, n int) string {
		r := []rune(strings.Join(strings.Fields(strings.ToValidUTF8(strings.Map(func(r rune) rune {
			if unicode.Is(unicode.Cf, r) || (unicode.IsControl(r) && r != '\n' && r != '\t') {
				return -1
			}
			return r
		}, s), "")), " "))
		return string(r[:min(len(r), n)])
	}
	c.Reason = line(c.Reason, MaxReason)
	c.Actor.Name, c.Actor.ID, c.Actor.Tenant = line(c.Actor.Name, 200), line(c.Actor.ID, 200), line(c.Actor.Tenant, 64)
	c.RequestID, c.Address, c.UserAgent = line(c.RequestID, 64), line(c.Address, 64), line(c.UserAgent, 200)
	if c.Actor.Type == "" {
		c.Actor.Type = Human
	}
	if c.Actor.Name == "" {
		c.Actor.Name = c.Actor.ID
	}
	if c.Actor.Name == "" {
		c.Actor.Name = "unknown"
	}
	if c.ID == uuid.Nil {
		c.ID = uuid.New()
	}
	return c
}

// fingerprint tells a command from another one under the same key.
func (c Command) fingerprint() string {
	b, _ := json.Marshal([]any{c.Notification, c.Verb, c.Reason, c.Actor.ID, c.Source}) // plain strings
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Outcome says what came of a command.
type Outcome string

// The outcomes. Already: somebody did it before, which is no error.
const (
	Applied Outcome = "applied"
	Already Outcome = "already"
	Refused Outcome = "refused"
)

// Code names a result more closely. It is a closed set, and its Status is the HTTP status that answers it.
type Code string

// The codes.
const (
	CodeApplied       Code = "applied"
	CodeAlready       Code = "already"
	CodeNoReason      Code = "reason_missing"
	CodeNotPossible   Code = "not_possible"
	CodeNotRetryable  Code = "not_retryable"
	CodeNothingToPoll Code = "nothing_to_poll"
	CodeUnknownAlert  Code = "alert_unknown"
	CodeUnknownVerb   Code = "verb_unknown"
	CodeNotPermitted  Code = "not_permitted"
	CodeReused        Code = "id_reused"
	CodeUnavailable   Code = "unavailable"
)

// Status is the HTTP status of a code.
func (c Code) Status() int {
	switch c {
	case CodeApplied, CodeAlready:
		return 200
	case CodeNoReason:
		return 422
	case CodeUnknownAlert:
		return 404
	case CodeUnknownVerb:
		return 400
	case CodeNotPermitted:
		return 403
	case CodeUnavailable:
		return 503
	case CodeNotPossible, CodeNotRetryable, CodeNothingToPoll, CodeReused:
		return 409
	}
	return 500
}

// Result is the answer to a command.
type Result struct {
	Outcome Outcome          `json:"outcome"`
	Code    Code             `json:"code"`
	Before  store.AlertState `json:"state_before,omitempty"`
	State   store.AlertState `json:"state,omitempty"`
	// Message is a sentence for people, in English. It holds no data of the alert.
	Message string `json:"message"`
	// Actor is who did it: the one who asked, or the one who was first.
	Actor     string    `json:"actor,omitempty"`
	At        time.Time `json:"at,omitzero"`
	RequestID string    `json:"request_id,omitempty"`
	CommandID uuid.UUID `json:"command_id,omitzero"`
	// Later: it is on record and applied, but Redis does not answer; the work follows by itself.
	Later bool `json:"later,omitempty"`
	// Repeated: the command came before; this is what was answered then, and nothing was done now.
	Repeated bool `json:"repeated,omitempty"`
	// With is how many other alerts were escalated with it.
	With int `json:"with,omitempty"`
}
