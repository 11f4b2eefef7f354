// Package cards turns an event of the claim pipeline into the Adaptive Card that tells people in Microsoft Teams about it.
//
// Everything here is a pure function: no clock, no network, no database. The details of each event are a typed struct whose
// fields are the allow-list of what the card may show; none of them holds a patient's name, identifier, date of birth or
// diagnosis. All text of other parties is made inert before it reaches the card (see text.go), and every card fits the size
// Teams accepts (see shrink.go).
//
// A new card is one row in table.go, one file with its details struct and builder, and its cases in testdata.
package cards

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// EventType names what happened. It is stored in teams_notifications.event_type and is a metric label: a closed set.
type EventType string

// The events of the claim pipeline.
const (
	// ClaimSubmittedEvent: NPHIES or the payer took the claim in.
	ClaimSubmittedEvent EventType = "nphies.claim.submitted"
	// ClaimApprovedEvent: the payer approved the claim, in full or in part.
	ClaimApprovedEvent EventType = "nphies.claim.approved"
	// ClaimRejectedEvent: the payer rejected the claim, or NPHIES refused it as invalid.
	ClaimRejectedEvent EventType = "nphies.claim.rejected"
	// EligibilityDeniedEvent: the payer answered that the coverage does not apply.
	EligibilityDeniedEvent EventType = "nphies.eligibility.denied"
	// APIErrorEvent: an exchange with NPHIES failed: eligibility, submission or poll.
	APIErrorEvent EventType = "nphies.api.error"

	// TaskRetryEvent: a task has used half of its retries.
	TaskRetryEvent EventType = "task.retry"
	// TaskTimeoutEvent: a task ran into its timeout.
	TaskTimeoutEvent EventType = "task.timeout"
	// TaskFailedEvent: a task failed for good.
	TaskFailedEvent EventType = "task.failed"
	// TaskDLQEvent: a dead letter was written and waits for a person.
	TaskDLQEvent EventType = "task.dlq"

	// DLQThresholdEvent: there are more dead letters than the settings allow.
	DLQThresholdEvent EventType = "dlq.threshold"
	// QueueBacklogEvent: a queue is longer or older than the settings allow.
	QueueBacklogEvent EventType = "queue.backlog"
	// WorkerOfflineEvent: a worker stopped reporting.
	WorkerOfflineEvent EventType = "worker.offline"

	// VaultSealEvent: Vault is sealed.
	VaultSealEvent EventType = "vault.seal.detected"
	// VaultUnsealFailedEvent: unsealing Vault failed.
	VaultUnsealFailedEvent EventType = "vault.unseal.failed"
	// VaultTokenRenewalFailedEvent: our Vault token could not be renewed.
	VaultTokenRenewalFailedEvent EventType = "vault.token.renewal.failed"
	// VaultSecretRotatedEvent: a secret was rotated and is in use.
	VaultSecretRotatedEvent EventType = "vault.secret.rotation.complete"
	// VaultCertificateEvent: a certificate is about to expire or has expired.
	VaultCertificateEvent EventType = "vault.certificate.expiring"

	// RedisNodeDownEvent: a Redis node does not answer.
	RedisNodeDownEvent EventType = "redis.node.down"
	// RedisReplicaLagEvent: a Redis replica is behind its master.
	RedisReplicaLagEvent EventType = "redis.replica.lagging"
	// PostgresConnectionsEvent: PostgreSQL has no connection left for us.
	PostgresConnectionsEvent EventType = "postgres.connection.exhausted"
	// PostgresReplicationLagEvent: a PostgreSQL replica is behind its primary.
	PostgresReplicationLagEvent EventType = "system.postgres.replication_lag"
	// PodCrashLoopEvent: a pod restarts again and again.
	PodCrashLoopEvent EventType = "kubernetes.pod.crashloop"
	// PrometheusAlertEvent: Alertmanager reported a firing alert.
	PrometheusAlertEvent EventType = "prometheus.alert.firing"
	// HeartbeatEvent: a channel in which nothing happened for a while shows that it works.
	HeartbeatEvent EventType = "teams.channel.heartbeat"
	// BackupFailedEvent: a backup failed.
	BackupFailedEvent EventType = "backup.failed"

	// ChannelFailingEvent: a channel's webhook refuses everything, or cannot be used. It is told in another channel.
	ChannelFailingEvent EventType = "teams.channel.failing"
)

// Priority says how urgent an event is. It is stored in upper case.
type Priority string

// The five priorities, most urgent first.
const (
	Critical Priority = "CRITICAL"
	High     Priority = "HIGH"
	Medium   Priority = "MEDIUM"
	Low      Priority = "LOW"
	Info     Priority = "INFO"
)

// Priorities lists every Priority, most urgent first. The caller owns the slice.
func Priorities() []Priority { return []Priority{Critical, High, Medium, Low, Info} }

// Rank orders priorities: 0 for Critical, 4 for Info, 5 for anything unknown.
func (p Priority) Rank() int {
	if i := slices.Index(Priorities(), p); i >= 0 {
		return i
	}
	return len(Priorities())
}

// Valid reports whether p is one of the five priorities.
func (p Priority) Valid() bool { return slices.Contains(Priorities(), p) }

// Urgent reports whether p is Critical or High: such an event is sent first, alone, and wants an acknowledgement.
func (p Priority) Urgent() bool { return p == Critical || p == High }

// Stakeholder is a group of people with a channel in Teams.
type Stakeholder string

// The eight groups.
const (
	SecurityEng       Stakeholder = "SECURITY_ENG"
	CloudOps          Stakeholder = "CLOUDOPS"
	RuntimeEng        Stakeholder = "RUNTIME_ENG"
	DevOps            Stakeholder = "DEVOPS"
	SRE               Stakeholder = "SRE"
	Compliance        Stakeholder = "COMPLIANCE"
	NPHIESIntegration Stakeholder = "NPHIES_INTEGRATION"
	PMO               Stakeholder = "PMO"
)

// Stakeholders lists every group in the fixed order in which groups that share a webhook give it its name. The caller owns the
// slice.
func Stakeholders() []Stakeholder {
	return []Stakeholder{SecurityEng, CloudOps, RuntimeEng, DevOps, SRE, Compliance, NPHIESIntegration, PMO}
}

// Valid reports whether s is one of the eight groups.
func (s Stakeholder) Valid() bool { return slices.Contains(Stakeholders(), s) }

// Links are what the settings say about every card: its language and the addresses it may lead to. An empty address, or one that is not https (http is accepted
// for loopback hosts only), is left out of the card.
type Links struct {
	// Language of the card's own words; the zero value is English.
	Language Language

	Monitor       string // our own pages; "Details" leads to <Monitor>/claims/<id> or <Monitor>/dead/<id>
	Grafana       string
	Kibana        string
	NPHIESPortal  string
	NPHIESStatus  string
	NPHIESDocs    string
	ClaimLinc     string
	VaultRunbook  string
	QueueRunbook  string
	NPHIESRunbook string
}

// Event is one thing that happened.
type Event struct {
	// ID is a UUID. The card shows it, so that a card sent twice can be recognised.
	ID string `json:"id"`
	// Type decides the card and, with Details, the default priority and the stakeholders.
	Type EventType `json:"type"`
	// Priority overrides the table's default when it is not empty.
	Priority Priority `json:"priority,omitempty"`
	// CorrelationID ties together what belongs to one claim or check.
	CorrelationID string `json:"correlation_id,omitempty"`
	// Environment is where it happened ("production", "sandbox").
	Environment string `json:"environment,omitempty"`
	// Seen counts how often it happened since SeenSince, when one card stands for several; 0 and 1 are not shown.
	Seen      int       `json:"seen,omitempty"`
	SeenSince time.Time `json:"seen_since,omitzero"`
	// Resolved makes the card that tells of the end. Acknowledged makes the one that tells what a person decided. Priority and
	// stakeholders stay those of the event unless Priority says otherwise.
	Resolved     *Resolution      `json:"resolved,omitempty"`
	Acknowledged *Acknowledgement `json:"acknowledged,omitempty"`
	// Escalated makes the card for a group that the event was passed on to.
	Escalated *Escalation `json:"escalated,omitempty"`
	// At is when it happened.
	At time.Time `json:"at"`
	// Details is the struct Table names for Type, by value: ClaimSubmitted for "nphies.claim.submitted" and so on.
	Details any `json:"details"`
}

// UnmarshalJSON reads an event with the details struct of its type. An unknown type is an error that wraps ErrEvent.
func (e *Event) UnmarshalJSON(data []byte) error {
	type plain Event
	var raw json.RawMessage
	p := plain{Details: &raw}
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	r, ok := rows[p.Type]
	if !ok {
		return fmt.Errorf("%w: unknown type %q", ErrEvent, p.Type)
	}
	details, err := r.decode(raw)
	if err != nil {
		return fmt.Errorf("%w: details of %s: %w", ErrEvent, p.Type, err)
	}
	p.Details = details
	*e = Event(p)
	return nil
}

// Errors of this package. All of them are permanent: the same input gives the same error.
var (
	// ErrEvent: the event has an unknown type, the wrong details struct, no id or no time.
	ErrEvent = errors.New("cards: unusable event")
	// ErrCardTooLarge: even the minimal card is over the hard limit.
	ErrCardTooLarge = errors.New("cards: card too large")
	// ErrCard: what should be a card is not one.
	ErrCard = errors.New("cards: not an Adaptive Card")
	// ErrActionNotSupportedByTransport: the card holds an action that a webhook cannot serve (anything but Action.OpenUrl and Action.ShowCard).
	ErrActionNotSupportedByTransport = errors.New("cards: action not supported by webhooks")
)

// Resolve returns the event's priority and its stakeholders, the owner first, by the table and its special cases.
//
// Errors wrap ErrEvent: unknown type, wrong details struct, unknown priority.
func (e Event) Resolve() (Priority, []Stakeholder, error) {
	r, ok := rows[e.Type]
	if !ok {
		return "", nil, fmt.Errorf("%w: unknown type %q", ErrEvent, e.Type)
	}
	if !r.accepts(e.Details) {
		return "", nil, fmt.Errorf("%w: %s with details of type %T", ErrEvent, e.Type, e.Details)
	}
	p, groups := r.Priority, slices.Clone(r.Stakeholders)
	if r.route != nil {
		p, groups = r.route(e.Details, p, groups)
	}
	if e.Priority != "" {
		if !e.Priority.Valid() {
			return "", nil, fmt.Errorf("%w: unknown priority %q", ErrEvent, e.Priority)
		}
		p = e.Priority
	}
	return p, groups, nil
}

// Title returns the card's title in English, without its priority ("Claim rejected").
//
// Errors wrap ErrEvent, as those of Resolve.
func (e Event) Title() (string, error) {
	c, err := e.content(Links{})
	return string(c.title), err
}

var identifier = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$`)

// content checks the event and lets its builder say what the card shows.
func (e Event) content(l Links) (content, error) {
	p, _, err := e.Resolve()
	if err != nil {
		return content{}, err
	}
	if !identifier.MatchString(e.ID) {
		return content{}, fmt.Errorf("%w: %s without a usable id", ErrEvent, e.Type)
	}
	if e.At.IsZero() {
		return content{}, fmt.Errorf("%w: %s without a time", ErrEvent, e.Type)
	}
	if (e.Resolved != nil && e.Resolved.At.IsZero()) || (e.Acknowledged != nil && e.Acknowledged.At.IsZero()) || (e.Escalated != nil && e.Escalated.At.IsZero()) {
		return content{}, fmt.Errorf("%w: %s resolved, acknowledged or escalated at no time", ErrEvent, e.Type)
	}
	r := rows[e.Type]
	c := r.build(e, l)
	if c.title == "" {
		c.title = l.Language.say(phrase(r.Title))
	}
	c.language, c.priority = l.Language, p
	c.id, c.environment, c.correlationID, c.at = e.ID, e.Environment, e.CorrelationID, e.At
	if e.Seen > 1 && !e.SeenSince.IsZero() {
		c.seen = l.Language.say("seen %s times since %s", grouped(e.Seen), moment(e.SeenSince))
	}
	switch {
	case e.Resolved != nil:
		c = c.resolved(e, l.Language)
	case e.Acknowledged != nil:
		c = c.acknowledged(e, l.Language)
	case e.Escalated != nil:
		c = c.escalated(e, l.Language)
	}
	return c, nil
}

// Render builds the event's card: the JSON that belongs into the "content" of the message's attachment, version 1.4. Its
// envelope is at most SoftLimit bytes long whatever the event holds.
//
// Errors wrap ErrEvent or ErrCardTooLarge.
func Render(e Event, l Links) ([]byte, error) {
	c, err := e.content(l)
	if err != nil {
		return nil, err
	}
	return c.render()
}
