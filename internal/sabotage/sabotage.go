// Package sabotage breaks a promise on purpose, so that the drills can show that they would notice. Only programs built with the
// tag "drill" can be sabotaged; in all others On is always false and costs nothing.
package sabotage

// What can be broken. Each has a drill that must fail with it.
const (
	// NoTakeOver leaves the work of processes that died to asynq.
	NoTakeOver = "no-take-over"
	// NoReconciler: rows without a task get none.
	NoReconciler = "no-reconciler"
	// NewBytes sends a message with new ids at each attempt, instead of the stored bytes.
	NewBytes = "new-bytes"
	// TwoPollers lets any number of workers poll one mailbox.
	TwoPollers = "two-pollers"
	// ForgetLostPoll: when a poll answer is lost, the pending claims do not ask for their answers.
	ForgetLostPoll = "forget-lost-poll"
	// NewWebhookID gives a card a new id at each post.
	NewWebhookID = "new-webhook-id"
	// DropCards writes an outcome without its notifications now and then.
	DropCards = "drop-cards"
	// EarlyID prints a claim's id before it is kept.
	EarlyID = "early-id"
	// OwnClocks: each worker goes by its own clock.
	OwnClocks = "own-clocks"
	// NoBreaker lets an outage use up the attempts of every claim.
	NoBreaker = "no-breaker"
)
