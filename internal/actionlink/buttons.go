package actionlink

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/store"
)

// Buttons makes those that a card gets when it is sent.
type Buttons struct {
	// Base is the public address of the action routes, https://host.
	Base string
	Keys Keys
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// How long links hold, and how long after a first post without an answer they are repeated as they were.
const (
	life        = 24 * time.Hour
	lifeDiscard = 4 * time.Hour
	repeated    = 2 * time.Hour
)

// For makes the buttons of a notification: those of its event's kind, on the card of the stakeholder who owns it. It returns nil for cards
// that ask for nothing.
func (b Buttons) For(n store.Notification) ([]cards.Button, error) {
	var out []cards.Button
	issued := b.issued(n)
	for _, verb := range verbsOf(n) {
		until := issued.Add(life)
		if verb == cards.VerbDiscard {
			until = issued.Add(lifeDiscard)
		}
		token, err := b.Keys.Mint(Token{ID: b.Keys.id(n.ID.String(), string(verb), issued), Alert: n.ID.String(), Verb: string(verb), Audience: n.Channel, Issued: issued, Expires: until})
		if err != nil {
			return nil, err
		}
		out = append(out, cards.Button{Verb: verb, URL: b.Base + "/a/" + token})
	}
	return out, nil
}

// issued is the time of a card's tokens.
func (b Buttons) issued(n store.Notification) time.Time {
	now := time.Now
	if b.Now != nil {
		now = b.Now
	}
	issued := now()
	if n.PostedAt != nil && issued.Sub(*n.PostedAt) < repeated { // Teams may have the card: the repetition is the same to the byte
		issued = *n.PostedAt
	}
	return issued
}

// Presses makes the buttons of a notification's card that the bot shows in a conversation: what a token says counts there only, and its verb
// is none that a link can have.
func (b Buttons) Presses(n store.Notification, conversation string, verbs []cards.Verb) ([]cards.Press, error) {
	var out []cards.Press
	issued := b.issued(n)
	for _, verb := range verbs {
		until := issued.Add(life)
		if verb == cards.VerbDiscard {
			until = issued.Add(lifeDiscard)
		}
		token, err := b.Keys.Mint(Token{
			ID: b.Keys.id(n.ID.String(), BotVerb(verb), issued), Alert: n.ID.String(), Verb: BotVerb(verb), Audience: Audience(conversation), Issued: issued, Expires: until,
		})
		if err != nil {
			return nil, err
		}
		out = append(out, cards.Press{Verb: verb, Token: token})
	}
	return out, nil
}

// BotVerb is a verb as the tokens of the bot's buttons name it.
func BotVerb(v cards.Verb) string { return "alert." + string(v) }

// Audience is a conversation as tokens name it: a card that is copied elsewhere is refused there. It is shortened, for the ids of
// conversations can be long.
func Audience(conversation string) string {
	sum := sha256.Sum256([]byte(conversation))
	return "bot:" + base64.RawURLEncoding.EncodeToString(sum[:12])
}

// Asks reports whether a notification's card may have buttons at all: it is its owner's, and asks for something.
func Asks(n store.Notification) bool {
	return n.State != store.AlertNotice && cards.Priority(n.Priority) != cards.Info && owned(n)
}

// verbsOf are the verbs that a card offers. A rejected claim is not retried: its correction is a new version.
func verbsOf(n store.Notification) []cards.Verb {
	priority, kind := cards.Priority(n.Priority), cards.EventType(n.EventType)
	if n.State.Over() || n.State == store.AlertNotice || priority == cards.Info || !owned(n) {
		return nil
	}
	out := []cards.Verb{cards.VerbAcknowledge}
	if priority != cards.Low {
		out = append(out, cards.VerbEscalate)
	}
	switch {
	case n.DeadLetterID != nil:
		out = append(out, cards.VerbRetry, cards.VerbDiscard)
	case kind == cards.APIErrorEvent:
		out = append(out, cards.VerbPoll)
	}
	return out
}

// owned reports whether the owner of the event reads this card: the first of its stakeholders, or whom it was passed on to.
func owned(n store.Notification) bool {
	if n.State == store.AlertEscalated {
		return true
	}
	for _, row := range cards.Table() {
		if row.Type == cards.EventType(n.EventType) {
			return slices.Contains(n.Stakeholders, string(row.Stakeholders[0]))
		}
	}
	return false
}

// id is the token's, the same for the same card and moment, and known to nobody without the key.
func (k Keys) id(notification, verb string, issued time.Time) string {
	if len(k) == 0 {
		return ""
	}
	h := hmac.New(sha256.New, k[0].secret)
	_, _ = fmt.Fprintf(h, "action-link.id.%s.%s.%d", notification, verb, issued.Unix()) // never fails
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}
