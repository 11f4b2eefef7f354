package bot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/actionlink"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/bot"
	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/nphiessim"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
	"github.com/claimlinc/nphiesq/tasks/teams"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const (
	linkKey  = "k1:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
	general  = "19:team@thread.tacv2"
	runtime  = "19:runtime@thread.tacv2"
	theBot   = "28:" + appID
	channel  = "RUNTIME_ENG"
	operator = "oid-amal"
)

// router shows a directory to the store.
type router struct{ d *notify.Directory }

func (r router) Channels(who []cards.Stakeholder) []store.Channel {
	var out []store.Channel
	for _, c := range r.d.Channels(who) {
		out = append(out, store.Channel{Name: c.Name, Stakeholders: c.Stakeholders, Redacted: c.Redacted})
	}
	return out
}

// site is the bot's two sides, Teams' stand-ins, and the record between them.
type site struct {
	*authority
	t       *testing.T
	pool    *pgxpool.Pool
	store   *store.Store
	drain   *teams.Handler
	route   *httptest.Server
	webhook *nphiessim.Sim
	keys    actionlink.Keys
	mu      sync.Mutex
	log     bytes.Buffer
	fails   []string
	number  atomic.Int64
	link    atomic.Int64 // seconds that the clock of tokens is ahead
}

func (s *site) AuthFailure(source actions.Source, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = append(s.fails, string(source)+" "+reason)
}

func (s *site) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *site) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String() + strings.Join(s.fails, "\n")
}

type noSchedule struct{}

func (noSchedule) NotifyAt(context.Context, string, time.Time) error { return nil }

func open(t *testing.T) *site {
	t.Helper()
	s := &site{authority: newAuthority(t), t: t, pool: testenv.Pool(t)}
	log := slog.New(slog.NewTextHandler(s, nil))
	s.webhook = nphiessim.New(nphiessim.Options{})
	hooks := httptest.NewServer(s.webhook.Teams())
	t.Cleanup(hooks.Close)
	dir, _, err := notify.NewDirectory(map[cards.Stakeholder]string{
		cards.RuntimeEng: hooks.URL + "/workflows/runtime/triggers/manual/paths/invoke?sig=secretsig", cards.SRE: hooks.URL + "/workflows/sre/triggers/manual/paths/invoke?sig=secretsig",
	}, true)
	require.NoError(t, err)
	serves, err := notify.ParseBotChannels("runtime_eng=" + runtime)
	require.NoError(t, err)
	dir.SetBots(serves)
	s.store = store.New(s.pool, store.Options{Router: router{dir}})
	s.keys, err = actionlink.ParseKeys(linkKey)
	require.NoError(t, err)
	rc := testenv.Redis(t)
	painter := bot.Painter{Record: s.store, Buttons: actionlink.Buttons{Keys: s.keys}}
	poster := notify.NewPoster(notify.Options{AllowInsecure: true})
	t.Cleanup(poster.Close)
	login, err := notify.NewLogin(notify.LoginSettings{
		Tenant: tenant, ClientID: appID, ClientSecret: "secret", TokenURL: s.address + "/<tenant>/oauth2/v2.0/token", Scope: bot.Scope, AllowInsecure: true,
	})
	require.NoError(t, err)
	s.drain = teams.New(s.store, dir, poster, ratelimit.New(rc, "teams", ratelimit.Settings{Requests: 1000, Period: time.Second, Burst: 1000}),
		ratelimit.NewBreaker(rc, "teams", ratelimit.CircuitSettings{After: 5, For: time.Minute}), noSchedule{}, teams.NewMetrics(prometheus.NewRegistry()), log, teams.Options{
			MaxRetries: 3, RetryBase: time.Millisecond, MaxRetryDelay: time.Millisecond, Bot: &bot.Transport{Record: s.store, Painter: painter, Poster: poster, Login: login, Channels: dir, Insecure: true},
			Buttons: actionlink.Buttons{Base: "https://actions.example", Keys: s.keys}.For,
		})
	needs, err := actions.ParsePermissions("discard=supervisor", "operator", "supervisor")
	require.NoError(t, err)
	operators, err := bot.ParseOperators(operator+" oid-boss=supervisor", needs)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle(bot.Path, &bot.Messages{
		Framework: s.framework(t, func(f *bot.FrameworkSettings) { f.Teams = []string{general} }),
		Core:      &actions.Core{Store: s.store, Queue: broker.New(rc), Log: log}, Record: s.store, Painter: painter, Keys: s.keys, Operators: operators, Serves: serves,
		Failures: ratelimit.NewFailures(rc, "bot", ratelimit.FailureSettings{Limit: 5, Window: time.Minute}), Metrics: s, Log: log,
		Now: func() time.Time { return time.Now().Add(time.Duration(s.link.Load()) * time.Second) },
	})
	s.route = httptest.NewServer(mux)
	t.Cleanup(s.route.Close)
	t.Cleanup(func() {
		for _, secret := range []string{"v1.k1.", "bot-token-", "secretsig", "eyJ", "ZmVkY2Jh", s.address} {
			if strings.Contains(s.logged(), secret) {
				t.Errorf("%q stands in the log: %s", secret, s.logged())
			}
		}
	})
	return s
}

// activity is one of the Bot Framework's, from the channel of RUNTIME_ENG.
func (s *site) activity(kind string, change map[string]any) map[string]any {
	a := map[string]any{
		"type": kind, "id": fmt.Sprint("act-", s.number.Add(1)), "channelId": "msteams", "serviceUrl": s.address + "/",
		"from": map[string]any{"id": "29:amal", "aadObjectId": operator, "name": "Amal"}, "recipient": map[string]any{"id": theBot},
		"conversation": map[string]any{"id": runtime + ";messageid=1", "tenantId": tenant},
		"channelData":  map[string]any{"tenant": map[string]any{"id": tenant}, "team": map[string]any{"id": general}, "channel": map[string]any{"id": runtime}},
	}
	maps.Copy(a, change)
	return a
}

// post sends an activity with a good token.
func (s *site) post(a map[string]any) (status int, body []byte) {
	s.t.Helper()
	token, err := s.Sign("key-1", s.Claims(s.address+"/"), nil)
	require.NoError(s.t, err)
	status, body, err = s.send(token, a)
	require.NoError(s.t, err)
	return status, body
}

func (s *site) send(token string, a map[string]any) (int, []byte, error) {
	raw, err := json.Marshal(a)
	if err != nil {
		return 0, nil, err
	}
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.route.URL+bot.Path, bytes.NewReader(raw))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

// said is the body of an answer to an invoke.
type said struct {
	StatusCode int             `json:"statusCode"`
	Type       string          `json:"type"`
	Value      json.RawMessage `json:"value"`
}

func (a said) card(t *testing.T) map[string]any {
	t.Helper()
	require.Equal(t, "application/vnd.microsoft.card.adaptive", a.Type, string(a.Value))
	var c map[string]any
	require.NoError(t, json.Unmarshal(a.Value, &c))
	require.Empty(t, nphiessim.InspectBotCard(c))
	return c
}

// press sends a button of a card.
func (s *site) press(button map[string]any, more map[string]any, change map[string]any) said {
	s.t.Helper()
	data := map[string]any{}
	maps.Copy(data, button["data"].(map[string]any))
	maps.Copy(data, more)
	a := s.activity("invoke", map[string]any{
		"name": "adaptiveCard/action", "value": map[string]any{"action": map[string]any{"type": "Action.Execute", "verb": button["verb"], "data": data}, "trigger": "manual"},
	})
	maps.Copy(a, change)
	status, body := s.post(a)
	require.Equal(s.t, http.StatusOK, status, string(body))
	var out said
	require.NoError(s.t, json.Unmarshal(body, &out), string(body))
	return out
}

// buttons are those of a card with Action.Execute, by verb.
func buttons(t *testing.T, card map[string]any) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	for _, e := range card["body"].([]any) {
		if e := e.(map[string]any); e["type"] == "ActionSet" {
			for _, a := range e["actions"].([]any) {
				a := a.(map[string]any)
				require.Equal(t, "Action.Execute", a["type"])
				out[a["verb"].(string)] = a
			}
		}
	}
	return out
}

func text(card map[string]any) string {
	b, _ := json.Marshal(card)
	return string(b)
}

// dead is a claim whose submission died, after the bot was installed; its card is posted.
func (s *site) dead() (store.Notification, map[string]any) {
	s.t.Helper()
	ctx := s.t.Context()
	number := fmt.Sprint("CLM-", s.number.Add(1))
	c, _, err := s.store.CreateClaim(ctx, store.NewClaim{
		License: "PR-1", Identifier: store.Identifier{System: "s", Value: number}, Payer: "INS", Claimed: decimal.New(100, -2), HeaderID: "h", BundleID: "b", SourceHash: number,
		Event: "claim-request", Body: []byte("{}"),
	})
	require.NoError(s.t, err)
	task := tasks.NewSubmit(c.ID, 1)
	_, _, _, err = s.store.RecordDeadLetter(ctx, store.DeadLetter{
		Queue: task.Queue, TaskType: tasks.TypeSubmit, TaskID: task.ID, ClaimID: &c.ID, Reference: number, ErrorKind: "network", ErrorText: "refused", LastFailedAt: time.Now(), FirstFailedAt: time.Now(),
	}, func(l store.DeadLetter) []store.Event {
		return []store.Event{{
			Event: cards.Event{Type: cards.TaskDLQEvent, CorrelationID: number, Details: cards.DeadLetter{ID: l.ID.String(), ClaimID: c.ID.String(), ClaimRef: number, TaskType: l.TaskType}},
			Key:   "dead/" + l.ID.String(), ClaimID: &c.ID, DeadLetterID: &l.ID,
		}}
	})
	require.NoError(s.t, err)
	before := len(s.Messages())
	require.NoError(s.t, s.drain.Drain(ctx, channel))
	list, err := s.store.Notifications(ctx, &c.ID, 10)
	require.NoError(s.t, err)
	for _, n := range list {
		if n.Channel == channel {
			if len(s.Messages()) > before {
				return n, s.Messages()[len(s.Messages())-1].Card()
			}
			return n, nil
		}
	}
	s.t.Fatal("no notification for " + channel)
	return store.Notification{}, nil
}

func (s *site) install() {
	s.t.Helper()
	status, body := s.post(s.activity("conversationUpdate", map[string]any{"membersAdded": []any{map[string]any{"id": theBot}}, "from": map[string]any{"id": "29:amal"}}))
	require.Equal(s.t, http.StatusOK, status, string(body))
}

func (s *site) alert(n store.Notification) store.Alert {
	s.t.Helper()
	a, err := s.store.AlertOf(s.t.Context(), n.ID)
	require.NoError(s.t, err)
	return a
}

func (s *site) count(sql string, args ...any) (n int) {
	s.t.Helper()
	require.NoError(s.t, s.pool.QueryRow(s.t.Context(), sql, args...).Scan(&n))
	return n
}

func TestFromTheCardToTheDecision(t *testing.T) {
	s := open(t)
	s.install()
	require.Equal(t, 1, s.count(`SELECT count(*) FROM bot_conversations WHERE conversation_id = $1 AND team_id = $2 AND channel = 'RUNTIME_ENG'`, runtime, general))
	n, card := s.dead()
	require.NotNil(t, card, "the bot posted it: %v", s.Refused())
	require.Empty(t, s.webhook.Cards())
	require.Equal(t, "1.5", card["version"])
	have := buttons(t, card)
	require.Len(t, have, 5)
	for verb, b := range have {
		fallback := b["fallback"].(map[string]any)
		require.Equal(t, "Action.Submit", fallback["type"])
		require.Equal(t, verb, fallback["data"].(map[string]any)["verb"])
	}
	require.Equal(t, 1, s.Tokens())
	posted := s.Messages()[0]
	require.Equal(t, runtime, posted.Conversation)
	require.Equal(t, posted.ID, *n.Activity)
	require.NotNil(t, n.SentAt)

	// Amal presses Acknowledge.
	answered := s.press(have["alert.acknowledge"], nil, nil).card(t)
	require.Contains(t, text(answered), "Acknowledged by Amal")
	require.NotContains(t, buttons(t, answered), "alert.acknowledge")
	require.Contains(t, buttons(t, answered), "alert.retry")
	require.Equal(t, store.AlertAcknowledged, s.alert(n).State)
	require.Equal(t, 1, s.count(`SELECT count(*) FROM operator_actions WHERE target_kind = 'alert' AND verb = 'acknowledge' AND outcome = 'applied' AND source = 'bot' AND actor = 'Amal'
		AND detail->>'actor_id' = $1 AND detail->>'tenant' = $2 AND detail->>'auth_method' = 'botframework'`, operator, tenant))

	// Everybody sees it: the card changes in place, and no second one comes. SRE's webhook cannot be changed: it gets one.
	require.NoError(t, s.drain.Drain(t.Context(), channel))
	require.Len(t, s.Messages(), 1)
	require.Equal(t, 2, s.Messages()[0].Versions)
	require.Contains(t, text(s.Messages()[0].Card()), "Acknowledged by Amal")
	require.NotContains(t, text(s.Messages()[0].Card()), "Acknowledged: it is not told", "what one person is told is not for everyone")
	require.NoError(t, s.drain.Drain(t.Context(), channel))
	require.Equal(t, 2, s.Messages()[0].Versions, "once")
	require.Equal(t, 1, s.Tokens(), "the token is kept")
	require.Zero(t, s.count(`SELECT count(*) FROM teams_notifications WHERE state = 'notice' AND 'RUNTIME_ENG' = ANY (stakeholders)`))
	require.Equal(t, 1, s.count(`SELECT count(*) FROM teams_notifications WHERE state = 'notice' AND channel = 'SRE'`))

	// A second person is told that it was done.
	again := s.press(have["alert.acknowledge"], nil, map[string]any{"from": map[string]any{"id": "29:boss", "aadObjectId": "oid-boss", "name": "Boss"}}).card(t)
	require.Contains(t, text(again), "It was acknowledged before: Amal")
	require.Empty(t, s.Refused())
}

func TestAHundredPressesApplyOnce(t *testing.T) {
	s := open(t)
	s.install()
	n, card := s.dead()
	button := buttons(t, card)["alert.acknowledge"]
	token, err := s.Sign("key-1", s.Claims(s.address+"/"), nil)
	require.NoError(t, err)
	var wg sync.WaitGroup
	errs := make([]error, 100)
	for i := range errs {
		wg.Go(func() {
			a := s.activity("invoke", map[string]any{"name": "adaptiveCard/action", "value": map[string]any{
				"action": map[string]any{"type": "Action.Execute", "verb": button["verb"], "data": button["data"]}, "trigger": "manual",
			}})
			status, body, err := s.send(token, a)
			if err == nil && (status != http.StatusOK || !strings.Contains(string(body), `"statusCode":200`)) {
				err = fmt.Errorf("%d %s", status, body)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, 1, s.count(`SELECT count(*) FROM operator_actions WHERE target_kind = 'alert' AND outcome = 'applied'`))
	require.Equal(t, 99, s.count(`SELECT count(*) FROM operator_actions WHERE target_kind = 'alert' AND outcome = 'already'`))
	require.Equal(t, 1, s.alert(n).Version)
}

func TestARefreshChangesNothing(t *testing.T) {
	s := open(t)
	s.install()
	n, card := s.dead()
	all := buttons(t, card)
	refresh := card["refresh"].(map[string]any)["action"].(map[string]any)
	require.Equal(t, "alert.view", refresh["verb"])
	var wg sync.WaitGroup
	answers := make([]string, 60)
	token, err := s.Sign("key-1", s.Claims(s.address+"/"), nil)
	require.NoError(t, err)
	for i := range answers {
		wg.Go(func() {
			action, trigger := refresh, "automatic"
			switch i % 4 {
			case 1:
				action = all["alert.acknowledge"]
			case 2:
				action, trigger = all["alert.resolve"], ""
			case 3:
				trigger = "manual"
			}
			a := s.activity("invoke", map[string]any{
				"name": "adaptiveCard/action", "from": map[string]any{"id": "29:x", "aadObjectId": fmt.Sprint("oid-", i), "name": "X"},
				"value": map[string]any{"action": map[string]any{"type": "Action.Execute", "verb": action["verb"], "data": action["data"]}, "trigger": trigger},
			})
			status, body, err := s.send(token, a)
			answers[i] = fmt.Sprint(status, err, string(body))
		})
	}
	wg.Wait()
	for _, a := range answers {
		require.True(t, strings.HasPrefix(a, "200"), a)
		require.Contains(t, a, `"statusCode":200,"type":"application/vnd.microsoft.card.adaptive"`)
	}
	require.Equal(t, store.AlertOpen, s.alert(n).State)
	require.Zero(t, s.alert(n).Version)
	require.Zero(t, s.count(`SELECT count(*) FROM operator_actions`))
	require.Zero(t, s.count(`SELECT count(*) FROM action_commands`))
}

func TestWhatIsNotOursIsRefused(t *testing.T) {
	s := open(t)
	s.install()
	n, card := s.dead()
	_, other := s.dead()
	ack := buttons(t, card)["alert.acknowledge"]
	elsewhere := s.press(ack, nil, map[string]any{"conversation": map[string]any{"id": "19:copy@thread.tacv2", "tenantId": tenant}})
	require.Equal(t, 403, elsewhere.StatusCode)
	require.Contains(t, string(elsewhere.Value), "copied")
	// A token of another verb, of another alert, of a link, and none.
	require.Equal(t, 403, s.press(map[string]any{"verb": "alert.retry", "data": ack["data"]}, nil, nil).StatusCode)
	require.Equal(t, 403, s.press(ack, map[string]any{"t": buttons(t, other)["alert.acknowledge"]["data"].(map[string]any)["t"]}, nil).StatusCode)
	link, err := s.keys.Mint(actionlink.Token{Alert: n.ID.String(), Verb: "acknowledge", Audience: channel, Issued: time.Now(), Expires: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	require.Equal(t, 403, s.press(ack, map[string]any{"t": link}, nil).StatusCode)
	require.Equal(t, 403, s.press(ack, map[string]any{"t": ""}, nil).StatusCode)
	require.Equal(t, 403, s.press(ack, map[string]any{"a": uuid.NewString()}, nil).StatusCode)
	require.Equal(t, 400, s.press(map[string]any{"verb": "alert.drop", "data": ack["data"]}, nil, nil).StatusCode)
	require.Equal(t, 400, s.press(map[string]any{"verb": "", "data": ack["data"]}, nil, nil).StatusCode)
	require.Zero(t, s.count(`SELECT count(*) FROM operator_actions`))

	// Who is no operator is told so, on record.
	stranger := map[string]any{"from": map[string]any{"id": "29:vera", "aadObjectId": "oid-vera", "name": "Vera"}}
	refused := s.press(ack, nil, stranger).card(t)
	require.Contains(t, text(refused), "Your role does not permit that.")
	require.Empty(t, buttons(t, refused), "and has no buttons in their own view")
	require.Contains(t, text(s.press(buttons(t, card)["alert.discard"], nil, nil).card(t)), "Your role does not permit that.", "an operator is no supervisor")
	require.Equal(t, 2, s.count(`SELECT count(*) FROM operator_actions WHERE outcome = 'refused' AND detail->>'code' = 'not_permitted'`))

	// An old card gets new buttons; nothing is done.
	s.link.Store(25 * 3600)
	renewed := s.press(ack, nil, nil).card(t)
	require.Contains(t, text(renewed), "too old")
	s.link.Store(0)
	require.Equal(t, store.AlertOpen, s.alert(n).State)
}

func TestDiscardAsksTwice(t *testing.T) {
	s := open(t)
	s.install()
	n, card := s.dead()
	boss := map[string]any{"from": map[string]any{"id": "29:boss", "aadObjectId": "oid-boss", "name": "Boss"}}
	form := s.press(buttons(t, card)["alert.discard"], nil, boss).card(t)
	require.Contains(t, text(form), `"Input.Text"`)
	require.Contains(t, buttons(t, form), "alert.view", "there is a way back")
	empty := s.press(buttons(t, form)["alert.discard"], map[string]any{"reason": "  "}, boss).card(t)
	require.Contains(t, text(empty), "A reason is needed.")
	confirm := s.press(buttons(t, form)["alert.discard"], map[string]any{"reason": "billed by *hand* [x](https://evil.example)"}, boss).card(t)
	require.NotContains(t, text(confirm), `"Input.Text"`)
	require.Equal(t, store.AlertOpen, s.alert(n).State, "nothing is done before it is confirmed")
	back := s.press(buttons(t, confirm)["alert.view"], nil, boss).card(t)
	require.Contains(t, buttons(t, back), "alert.discard")
	done := s.press(buttons(t, confirm)["alert.discard"], nil, boss).card(t)
	require.Contains(t, text(done), "Discarded by Boss")
	require.Empty(t, buttons(t, done))
	require.Equal(t, store.AlertDiscarded, s.alert(n).State)
	require.Equal(t, 1, s.count(`SELECT count(*) FROM dead_letters WHERE state = 'discarded' AND reason = 'billed by *hand* [x](https://evil.example)'`))
	late := s.press(buttons(t, card)["alert.retry"], nil, nil).card(t)
	require.Contains(t, text(late), "not possible any more")

	// Retry asks once.
	m, card := s.dead()
	form = s.press(buttons(t, card)["alert.retry"], nil, nil).card(t)
	done = s.press(buttons(t, form)["alert.retry"], map[string]any{"reason": "NPHIES is back"}, nil).card(t)
	require.Contains(t, text(done), "Tried again by Amal")
	require.Equal(t, store.AlertRetrying, s.alert(m).State)
}

func TestARepeatedActivityIsAnsweredAgain(t *testing.T) {
	s := open(t)
	s.install()
	n, card := s.dead()
	same := map[string]any{"id": "the-same"}
	first := s.press(buttons(t, card)["alert.escalate"], nil, same).card(t)
	second := s.press(buttons(t, card)["alert.escalate"], nil, same).card(t)
	require.Contains(t, text(first), "Escalated: the next group hears of it.")
	require.Contains(t, text(second), "Escalated: the next group hears of it.")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM operator_actions`))
	require.Equal(t, 1, s.alert(n).Version)
}

func TestAnOlderClientSubmits(t *testing.T) {
	s := open(t)
	s.install()
	n, card := s.dead()
	submit := func(verb string) {
		data := buttons(t, card)[verb]["fallback"].(map[string]any)["data"]
		status, body := s.post(s.activity("message", map[string]any{"value": data}))
		require.Equal(t, http.StatusOK, status)
		require.Empty(t, body)
	}
	submit("alert.retry")
	require.Equal(t, store.AlertOpen, s.alert(n).State, "it has no reason")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM operator_actions WHERE detail->>'code' = 'reason_missing'`))
	submit("alert.acknowledge")
	require.Equal(t, store.AlertAcknowledged, s.alert(n).State)
}

func TestInstalledAndRemoved(t *testing.T) {
	s := open(t)
	n, card := s.dead()
	require.Nil(t, card, "the bot is not there yet")
	require.Len(t, s.webhook.Cards(), 1, "so the webhook has it: %v", s.webhook.RefusedPosts())
	require.Nil(t, n.Activity)
	status, _ := s.post(s.activity("installationUpdate", map[string]any{"action": "add", "channelData": map[string]any{
		"tenant": map[string]any{"id": tenant}, "team": map[string]any{"id": general}, "settings": map[string]any{"selectedChannel": map[string]any{"id": runtime}},
	}}))
	require.Equal(t, http.StatusOK, status)
	m, card := s.dead()
	require.NotNil(t, card)
	for _, kind := range []string{"typing", "messageReaction", "event", ""} {
		status, body := s.post(s.activity(kind, nil))
		require.Equal(t, http.StatusOK, status, kind)
		require.Empty(t, body)
	}
	status, _ = s.post(s.activity("message", map[string]any{"text": "<at>nphiesq</at> hello"}))
	require.Equal(t, http.StatusOK, status)
	status, _ = s.post(s.activity("installationUpdate", map[string]any{"action": "remove"}))
	require.Equal(t, http.StatusOK, status)
	require.Zero(t, s.count(`SELECT count(*) FROM bot_conversations`))
	// What it posted cannot be changed any more.
	_, err := s.pool.Exec(t.Context(), `UPDATE teams_notifications SET version = version + 1 WHERE id = $1`, m.ID)
	require.NoError(t, err)
	require.NoError(t, s.drain.Drain(t.Context(), channel))
	require.Equal(t, 1, s.Messages()[0].Versions)
	require.Zero(t, s.count(`SELECT count(*) FROM teams_notifications WHERE activity_id IS NOT NULL`))
}

func TestTheWebhookStandsIn(t *testing.T) {
	for _, status := range []int{401, 403, 404} {
		s := open(t)
		s.install()
		s.Answer = func(*http.Request) int { return status }
		n, _ := s.dead()
		require.Len(t, s.webhook.Cards(), 1, "%d: %v %s", status, s.webhook.RefusedPosts(), s.logged())
		require.Empty(t, s.Messages())
		require.NotNil(t, n.SentAt)
		require.Nil(t, n.Activity)
		body := string(s.webhook.Cards()[0].Body)
		require.NotContains(t, body, "Action.Execute")
		require.NotContains(t, body, "Action.Submit")
		require.Contains(t, body, "https://actions.example/a/v1.k1.")
		require.Contains(t, body, `"1.4"`)
		_, _ = s.dead()
		require.Len(t, s.webhook.Cards(), 2)
		require.Len(t, s.Refused(), 1, "it is not asked for each card")
	}
}

func TestTeamsThatAsksToComeLater(t *testing.T) {
	s := open(t)
	s.install()
	for i, status := range []int{412, 502, 504} {
		left := atomic.Int64{}
		left.Store(1)
		s.Answer = func(*http.Request) int {
			if left.Add(-1) >= 0 {
				return status
			}
			return 0
		}
		n, _ := s.dead()
		testenv.Eventually(t, func() bool {
			require.NoError(t, s.drain.Drain(t.Context(), channel))
			return s.count(`SELECT count(*) FROM teams_notifications WHERE id = $1 AND sent_at IS NOT NULL`, n.ID) == 1
		}, "status %d is tried again", status)
		require.Len(t, s.Messages(), i+1)
		left.Store(1) // the change, too
		_, err := s.pool.Exec(t.Context(), `UPDATE teams_notifications SET version = version + 1 WHERE id = $1`, n.ID)
		require.NoError(t, err)
		testenv.Eventually(t, func() bool {
			require.NoError(t, s.drain.Drain(t.Context(), channel))
			return s.Messages()[i].Versions == 2
		}, "the change is tried again after %d", status)
	}
	require.Empty(t, s.webhook.Cards())
}

func TestTheRouteIsClosedToOthers(t *testing.T) {
	s := open(t)
	a := s.activity("conversationUpdate", nil)
	for range 5 {
		status, body, err := s.send("", a)
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, status)
		require.Equal(t, "Unauthorized\n", string(body))
	}
	status, _, err := s.send("", a)
	require.NoError(t, err)
	require.Equal(t, http.StatusTooManyRequests, status)
	require.Zero(t, s.count(`SELECT count(*) FROM bot_conversations`))

	s = open(t)
	for range 10 { // signed by Microsoft for another bot: its address is not blamed
		claims := s.Claims(s.address + "/")
		claims["aud"] = "another"
		token, err := s.Sign("key-1", claims, nil)
		require.NoError(t, err)
		status, _, err := s.send(token, s.activity("conversationUpdate", nil))
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, status)
	}
	s.install()
	big := s.activity("message", map[string]any{"text": strings.Repeat("x", 70<<10)})
	status, _ = s.post(big)
	require.Equal(t, http.StatusRequestEntityTooLarge, status)
	status, _ = s.post(s.activity("message", map[string]any{"channelData": map[string]any{"tenant": map[string]any{"id": "other"}}}))
	require.Equal(t, http.StatusForbidden, status)
	require.Contains(t, s.fails, "bot audience")
	require.Contains(t, s.fails, "bot tenant")
}

func TestOperators(t *testing.T) {
	needs, err := actions.ParsePermissions("discard=supervisor acknowledge=viewer", "viewer", "operator", "supervisor")
	require.NoError(t, err)
	o, err := bot.ParseOperators("A-1, b-2=supervisor c-3=viewer", needs)
	require.NoError(t, err)
	for who, want := range map[string]map[actions.Verb]bool{
		"a-1": {actions.Retry: true, actions.Discard: false, actions.Acknowledge: true}, "B-2": {actions.Retry: true, actions.Discard: true},
		"c-3": {actions.Acknowledge: true, actions.Retry: false}, "d-4": {actions.Acknowledge: false}, "": {actions.Acknowledge: false},
	} {
		for verb, may := range want {
			require.Equal(t, may, o.May(who, verb), "%s %s", who, verb)
		}
	}
	everyone, err := bot.ParseOperators("*", needs)
	require.NoError(t, err)
	require.True(t, everyone.May("x", actions.Retry))
	require.False(t, everyone.May("x", actions.Discard))
	require.False(t, everyone.May("", actions.Retry))
	for _, bad := range []string{"", "a=king", "a b=", "amal@example.com", "="} {
		_, err := bot.ParseOperators(bad, needs)
		require.Error(t, err, bad)
	}
}

func TestChangesThatCannotBe(t *testing.T) {
	s := open(t)
	s.install()
	n, _ := s.dead()
	again := func() {
		_, err := s.pool.Exec(t.Context(), `UPDATE teams_notifications SET version = version + 1 WHERE id = $1`, n.ID)
		require.NoError(t, err)
	}
	status := atomic.Int64{}
	status.Store(500)
	s.Answer = func(r *http.Request) int {
		if r.Method == http.MethodPut {
			return int(status.Load())
		}
		return 0
	}
	again()
	testenv.Eventually(t, func() bool {
		require.NoError(t, s.drain.Drain(t.Context(), channel))
		return s.count(`SELECT count(*) FROM teams_notifications WHERE activity_id IS NOT NULL AND activity_version = version AND id = $1`, n.ID) == 1
	}, "after some tries the change is given up")
	require.Len(t, s.Refused(), 8)
	require.Equal(t, 1, s.Messages()[0].Versions)
	status.Store(0)
	again() // the next change of state is tried anew
	require.NoError(t, s.drain.Drain(t.Context(), channel))
	require.Equal(t, 2, s.Messages()[0].Versions)
	status.Store(404)
	again()
	require.NoError(t, s.drain.Drain(t.Context(), channel))
	require.Zero(t, s.count(`SELECT count(*) FROM teams_notifications WHERE activity_id IS NOT NULL`), "somebody deleted the message")
}

// slowCore takes its time.
type slowCore struct {
	bot.Core
	release chan struct{}
	done    chan struct{}
}

func (c slowCore) Do(ctx context.Context, cmd actions.Command) (actions.Result, error) {
	<-c.release
	r, err := c.Core.Do(ctx, cmd)
	close(c.done)
	return r, err
}

func TestWhatTakesLongGoesOn(t *testing.T) {
	s := open(t)
	s.install()
	n, card := s.dead()
	m := s.route.Config.Handler.(*http.ServeMux)
	h, _ := m.Handler(httptest.NewRequestWithContext(t.Context(), http.MethodPost, bot.Path, nil))
	slow := slowCore{h.(*bot.Messages).Core, make(chan struct{}), make(chan struct{})}
	h.(*bot.Messages).Core, h.(*bot.Messages).Within = slow, 10*time.Millisecond
	out := s.press(buttons(t, card)["alert.acknowledge"], nil, nil)
	require.Equal(t, "application/vnd.microsoft.activity.message", out.Type)
	require.Contains(t, string(out.Value), "goes on")
	close(slow.release)
	<-slow.done
	require.Equal(t, store.AlertAcknowledged, s.alert(n).State)
}
