package bot

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/actionlink"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/store"
)

// Path is where the bot's messages come in.
const Path = "/api/messages"

// maxBody is the largest activity, in bytes.
const maxBody = 64 << 10

// answerBy is when an answer is due: Teams waits 5 s. answerWithin is how long a command may take before its answer is that it goes on, and
// goesOn how long it may go on.
const (
	answerBy     = 4500 * time.Millisecond
	lookFor      = time.Second // for failures of an address, in Redis
	answerWithin = 3500 * time.Millisecond
	goesOn       = 30 * time.Second
)

// Core carries out commands: *actions.Core.
type Core interface {
	Do(ctx context.Context, cmd actions.Command) (actions.Result, error)
	Forbid(ctx context.Context, cmd actions.Command) (actions.Result, error)
}

// Metrics counts those who are not let in. reason is from a closed set.
type Metrics interface {
	AuthFailure(source actions.Source, reason string)
}

// Messages answers the bot's messages: presses of its buttons, and where it is installed. All fields but Failures and Metrics are needed.
type Messages struct {
	Framework *Framework
	Core      Core
	Record    Record
	Painter   Painter
	Keys      actionlink.Keys
	Operators Operators
	// Serves are the stakeholders' conversations, for the record.
	Serves map[cards.Stakeholder]string
	// Failures counts addresses that come without a token of Microsoft's.
	Failures *ratelimit.Failures
	Metrics  Metrics
	Log      *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Within is how long a command may take before Teams is told that it goes on; 0 for 3.5 s.
	Within time.Duration
}

func (m *Messages) now() time.Time {
	if m.Now == nil {
		return time.Now()
	}
	return m.Now()
}

// answer is the body of an answer to an invoke.
type answer struct {
	StatusCode int    `json:"statusCode"`
	Type       string `json:"type"`
	Value      any    `json:"value"`
}

type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// The types of answers.
const (
	answerCard    = "application/vnd.microsoft.card.adaptive"
	answerMessage = "application/vnd.microsoft.activity.message"
	answerError   = "application/vnd.microsoft.error"
)

func shows(card json.RawMessage) answer { return answer{http.StatusOK, answerCard, card} }
func says(text string) answer           { return answer{http.StatusOK, answerMessage, text} }

func fails(status int, code, text string) answer {
	return answer{status, answerError, failure{code, text}}
}

// ServeHTTP answers 200 once an activity is let in, whatever became of it: that stands in the body. Else 400, 401, 403, 405, 413, 415, 429 with
// Retry-After, 503, and no reason.
func (m *Messages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), answerBy)
	defer cancel()
	request, from := rand.Text(), ratelimit.Address(r.RemoteAddr)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "Only POST.", http.StatusMethodNotAllowed)
		return
	}
	if m.Failures != nil {
		look, stop := context.WithTimeout(ctx, lookFor)
		wait, err := m.Failures.Blocked(look, from)
		stop()
		if err == nil && wait > 0 { // with Redis away the signature is guard enough
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(max(wait, time.Second).Seconds()))))
			http.Error(w, "Too many calls from this address were not signed.", http.StatusTooManyRequests)
			return
		}
	}
	signed, err := m.Framework.Authenticate(r)
	if err != nil {
		m.refuse(ctx, w, err, request, from)
		return
	}
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(kind) != "application/json" {
		http.Error(w, "Want Content-Type application/json.", http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		status := http.StatusBadRequest
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			status = http.StatusRequestEntityTooLarge
		}
		http.Error(w, http.StatusText(status), status)
		return
	}
	var a Activity
	if err := json.Unmarshal(body, &a); err != nil {
		http.Error(w, "Want an activity as JSON.", http.StatusBadRequest)
		return
	}
	if err := m.Framework.Permit(signed, a); err != nil {
		m.refuse(ctx, w, err, request, from)
		return
	}
	var out *answer
	switch {
	case a.Type == typeInvoke && a.Name == invokeCard:
		got := m.press(ctx, r, a, request)
		out = &got
	case a.Type == typeConversation, a.Type == typeInstallation:
		err = m.place(ctx, a)
	case a.Type == typeMessage:
		err = m.message(ctx, r, a, request)
	default: // nothing that concerns us
	}
	switch {
	case err != nil:
		m.Log.ErrorContext(ctx, "message of the bot not worked off", slog.String("request_id", request), slog.String("error", err.Error()))
		http.Error(w, "It cannot be done now.", http.StatusServiceUnavailable) // the Bot Framework sends it again
	case out != nil:
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		_ = e.Encode(out)
	default:
		w.WriteHeader(http.StatusOK)
	}
}

// refuse answers what is not let in: the same for all reasons of one status.
func (m *Messages) refuse(ctx context.Context, w http.ResponseWriter, err error, request, from string) {
	reason, signed := "other", false
	if r, ok := errors.AsType[*RefusalError](err); ok {
		reason, signed = r.Reason, r.Signed
	}
	if m.Metrics != nil {
		m.Metrics.AuthFailure(actions.FromBot, reason)
	}
	m.Log.WarnContext(ctx, "message of the bot refused", slog.String("request_id", request), slog.String("reason", reason), slog.String("address", from))
	status := http.StatusUnauthorized
	switch {
	case errors.Is(err, ErrKeys):
		status = http.StatusServiceUnavailable
	case errors.Is(err, ErrPolicy):
		status = http.StatusForbidden
	}
	if status == http.StatusUnauthorized && !signed && m.Failures != nil { // what Microsoft signed comes from Microsoft's addresses
		if err := m.Failures.Failed(ctx, from); err != nil {
			m.Log.WarnContext(ctx, "failure not counted", slog.String("error", err.Error()))
		}
	}
	http.Error(w, http.StatusText(status), status)
}

// sent is what a button sends.
type sent struct {
	verb                        cards.Verb
	alert, token, step, reason  string
	conversation, activityID    string
	address, userAgent, request string
	who                         actions.Actor
}

// fields reads what a button sent; ok is false when it is none of ours.
func fields(verb string, data map[string]any) (s sent, ok bool) {
	text := func(name string) string {
		t, _ := data[name].(string)
		return t
	}
	name, ok := strings.CutPrefix(verb, "alert.")
	s = sent{verb: cards.Verb(name), alert: text(cards.FieldAlert), token: text(cards.FieldToken), step: text(cards.FieldStep), reason: text(cards.FieldReason)}
	return s, ok && (actions.Verb(name).Valid() || s.verb == cards.VerbView)
}

// stepSubmit stands for a client that can show no form.
const stepSubmit = "submit"

// by fills in who sent it, and where.
func (s sent) by(a Activity, r *http.Request, request string) sent {
	s.who = actions.Actor{ID: a.From.AADObjectID, Name: a.From.Name, Tenant: a.tenants()[0]}
	s.conversation, s.activityID = Conversation(a.Conversation.ID), a.ID
	s.address, s.userAgent, s.request = ratelimit.Address(r.RemoteAddr), r.UserAgent(), request
	return s
}

// press answers a press of a button, or a refresh.
func (m *Messages) press(ctx context.Context, r *http.Request, a Activity, request string) answer {
	var v struct {
		Action struct {
			Type string         `json:"type"`
			Verb string         `json:"verb"`
			Data map[string]any `json:"data"`
		} `json:"action"`
		Trigger string `json:"trigger"`
	}
	if err := json.Unmarshal(a.Value, &v); err != nil || v.Action.Type != "Action.Execute" {
		return fails(http.StatusBadRequest, "BadRequest", "That is not an Action.Execute.")
	}
	s, ok := fields(v.Action.Verb, v.Action.Data)
	if !ok {
		return fails(http.StatusBadRequest, "BadRequest", "There is no such verb.")
	}
	// Nothing but a person's press changes anything.
	if v.Trigger != "manual" {
		s.verb = cards.VerbView
	}
	return m.handle(ctx, s.by(a, r, request), v.Action.Verb)
}

// handle checks the token of a button and does what it asks for. named is the verb that the button was made for.
func (m *Messages) handle(ctx context.Context, s sent, named string) answer {
	t, err := m.Keys.Verify(s.token, m.now())
	old := errors.Is(err, actionlink.ErrExpired)
	id, parse := uuid.Parse(t.Alert)
	switch {
	case err != nil && !old, parse != nil, t.Alert != s.alert, t.Verb != named:
		m.failed("action_token")
		return fails(http.StatusForbidden, "NotOurs", "This button is none of ours, or it was changed.")
	case t.Audience != actionlink.Audience(s.conversation):
		m.failed("conversation")
		return fails(http.StatusForbidden, "OtherConversation", "This card was copied from elsewhere. Use it where it was posted.")
	}
	n, err := m.Record.Notification(ctx, id)
	switch {
	case store.IsNotFound(err):
		return says("There is no such alert any more.")
	case err != nil:
		return m.away(ctx, s, err)
	case s.verb == cards.VerbView:
		return m.show(ctx, n, s, "")
	case old: // it is known whose card it is and who presses: new buttons are all that is missing
		m.failed("expired")
		return m.show(ctx, n, s, "The buttons of this card were too old, so nothing was done. These are new ones: press again.")
	}
	verb := actions.Verb(s.verb)
	cmd := actions.Command{
		Key: repetition(s), Notification: id, Verb: verb, Reason: s.reason, Actor: s.who, Source: actions.FromBot, AuthMethod: "botframework", KeyID: t.KeyID,
		RequestID: s.request, Address: s.address, UserAgent: s.userAgent,
	}
	if !m.Operators.May(s.who.ID, verb) {
		res, err := m.Core.Forbid(ctx, cmd)
		if err != nil {
			return m.away(ctx, s, err)
		}
		return m.show(ctx, n, s, "Nothing was done. "+res.Message)
	}
	if verb.NeedsReason() {
		a, err := m.Record.AlertOf(ctx, id)
		if err != nil {
			return m.away(ctx, s, err)
		}
		if form := m.ask(ctx, n, a, s); form != nil {
			return *form
		}
	}
	res, err, done := m.do(ctx, cmd)
	switch {
	case !done:
		return says("It takes longer than usual and goes on. The card changes when it is done.")
	case err != nil:
		return m.away(ctx, s, err)
	}
	if n, err = m.Record.Notification(ctx, id); err != nil {
		return says(res.Message)
	}
	return m.show(ctx, n, s, note(res))
}

// note says what came of a press, where the card does not show it by itself.
func note(r actions.Result) string {
	if r.Outcome == actions.Refused {
		return "Nothing was done. " + r.Message
	}
	return r.Message
}

// repetition makes a repetition of one activity known. Its id is unique in its conversation.
func repetition(s sent) string {
	if s.activityID == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(s.conversation + "\n" + s.activityID))
	return "bot:" + hex.EncodeToString(sum[:16])
}

// ask returns the next question before a verb that needs a reason, nil when all is answered, or when it would not be possible anyway.
func (m *Messages) ask(ctx context.Context, n store.Notification, a store.Alert, s sent) *answer {
	reason := strings.TrimSpace(s.reason)
	if s.step == stepSubmit {
		return nil
	}
	if !slices.Contains(actions.Offered(a), actions.Verb(s.verb)) {
		if reason != "" {
			return nil
		}
		out := m.show(ctx, n, s, "Nothing was done: that is not possible any more.")
		return &out
	}
	if reason != "" && (s.step == cards.StepConfirm || (s.step == cards.StepReason && s.verb != cards.VerbDiscard)) {
		return nil
	}
	presses, err := m.Painter.Buttons.Presses(n, s.conversation, []cards.Verb{s.verb, cards.VerbView})
	var card json.RawMessage
	if err == nil && reason != "" && s.step == cards.StepReason {
		card, err = cards.Confirm(n.Card, presses[0], presses[1], s.alert, string([]rune(reason)[:min(len([]rune(reason)), actions.MaxReason)]))
	} else if err == nil {
		text := ""
		if s.step != "" {
			text = "A reason is needed."
		}
		card, err = cards.Ask(n.Card, presses[0], presses[1], s.alert, text)
	}
	out := shows(card)
	if err != nil {
		out = m.away(ctx, s, err)
	}
	return &out
}

// do carries out a command. done is false when it goes on for longer than Teams waits.
func (m *Messages) do(ctx context.Context, cmd actions.Command) (res actions.Result, err error, done bool) { //nolint:revive // err is of what was done
	type outcome struct {
		res actions.Result
		err error
	}
	within := m.Within
	if within <= 0 {
		within = answerWithin
	}
	ch := make(chan outcome, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goesOn) // a client that goes away stops no decision half-way
		defer cancel()
		var o outcome
		defer func() {
			if v := recover(); v != nil { // outside the server's goroutine it would end the program
				o.err = errors.New("the command panicked")
			}
			if o.err != nil {
				m.Log.ErrorContext(ctx, "press not carried out", slog.String("request_id", cmd.RequestID), slog.String("verb", string(cmd.Verb)), slog.String("error", o.err.Error()))
			}
			ch <- o
		}()
		o.res, o.err = m.Core.Do(ctx, cmd)
	}()
	wait := time.NewTimer(within)
	defer wait.Stop()
	select {
	case o := <-ch:
		return o.res, o.err, true
	case <-wait.C:
		return res, nil, false
	}
}

// show is the card as it stands now, with the buttons that the person may use.
func (m *Messages) show(ctx context.Context, n store.Notification, s sent, note string) answer {
	card, err := m.Painter.Card(ctx, n, s.conversation, Reader{note, func(v actions.Verb) bool { return m.Operators.May(s.who.ID, v) }})
	if err != nil {
		return m.away(ctx, s, err)
	}
	return shows(card)
}

func (m *Messages) away(ctx context.Context, s sent, err error) answer {
	m.Log.ErrorContext(ctx, "press not answered", slog.String("request_id", s.request), slog.String("verb", string(s.verb)), slog.String("error", err.Error()))
	return fails(http.StatusInternalServerError, "Unavailable", "It cannot be done now, so nothing was done. Try again.")
}

func (m *Messages) failed(reason string) {
	if m.Metrics != nil {
		m.Metrics.AuthFailure(actions.FromBot, reason)
	}
}

// message does what an Action.Submit asks for: older clients send that instead. Its card cannot be changed in the answer; it changes with the
// alert. What people write is not read; it only shows where the bot is.
func (m *Messages) message(ctx context.Context, r *http.Request, a Activity, request string) error {
	var data map[string]any
	if len(a.Value) == 0 || json.Unmarshal(a.Value, &data) != nil {
		return m.place(ctx, a)
	}
	verb, _ := data[cards.FieldVerb].(string)
	s, ok := fields(verb, data)
	if !ok || s.verb == cards.VerbView {
		return nil
	}
	// It has no form of its own: a reason cannot be asked for, so the core refuses what needs one, on record.
	s.step = stepSubmit
	out := m.handle(ctx, s.by(a, r, request), verb)
	if out.StatusCode >= http.StatusInternalServerError {
		return errors.New("the record does not answer")
	}
	return nil
}

// place keeps where the bot is, and forgets where it is no more.
func (m *Messages) place(ctx context.Context, a Activity) error {
	team := a.ChannelData.Team.ID
	if team == "" { // a chat: no cards go there
		return nil
	}
	gone := a.Type == typeInstallation && strings.HasPrefix(a.Action, "remove") || a.Type == typeConversation &&
		(slices.ContainsFunc(a.MembersRemoved, func(x member) bool { return x.ID != "" && x.ID == a.Recipient.ID }) || a.ChannelData.EventType == "teamDeleted")
	if gone {
		n, err := m.Record.DropBotConversations(ctx, team, Conversation(a.Conversation.ID))
		if err == nil {
			m.Log.InfoContext(ctx, "the bot was removed from a team", slog.Int("conversations", n))
		}
		return err
	}
	if a.ChannelData.EventType == "channelDeleted" {
		_, err := m.Record.DropBotConversations(ctx, "", a.ChannelData.Channel.ID)
		return err
	}
	var ids []string
	for _, id := range []string{Conversation(a.Conversation.ID), team, a.ChannelData.Channel.ID, a.ChannelData.Settings.SelectedChannel.ID} {
		if id != "" && len(id) <= 255 && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	// A bot of a team may post in all its standard channels, but only the settings say which are ours.
	for _, id := range ids {
		c := store.BotConversation{ID: id, TeamID: team, TenantID: a.tenants()[0], ServiceURL: a.ServiceURL}
		for _, who := range cards.Stakeholders() {
			if m.Serves[who] == id {
				c.Channel = string(who)
				break
			}
		}
		if err := m.Record.SaveBotConversation(ctx, c); err != nil {
			return err
		}
	}
	return nil
}
