package main_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/nphiessim"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
)

// TestTheBotFromTheCardToTheDecision runs the programs: the bot is added to a team, a submission dies, the worker posts its card through the
// bot, somebody presses Acknowledge, the monitor puts it on record, and the worker changes the card for everyone.
func TestTheBotFromTheCardToTheDecision(t *testing.T) {
	const app, tenant, secret, runtime, general = "the-bot", "the-tenant", "the secret of the bot", "19:runtime@thread.tacv2", "19:general@thread.tacv2"
	s := newSite(t)
	framework, err := nphiessim.NewBotFramework(app, secret, tenant)
	require.NoError(t, err)
	microsoft := httptest.NewServer(framework)
	t.Cleanup(microsoft.Close)
	actions := address(t)
	maps.Copy(s.env, map[string]string{
		"NPHIES_BASE_URL": "http://" + address(t), "NPHIES_BREAK_AFTER": "0", "ACTIONS_ADDR": actions, "MONITOR_ADDR": "127.0.0.1:0", "MONITOR_HTTP_ADDR": "127.0.0.1:0",
		"MONITOR_USERS":   "amal:operator:$2a$04$7sVXyDQKV0bWGh3Ts0JHVuYHxz9aAQgDDGZ4iO5qYz2tT9rT3zXQe",
		"ACTION_BASE_URL": "https://actions.example", "ACTION_LINK_KEYS": "k1:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=", "TEAMS_BOT_APP_ID": app, "TEAMS_BOT_APP_SECRET": secret,
		"TEAMS_BOT_TENANT": tenant, "TEAMS_BOT_TEAMS": general, "TEAMS_BOT_CHANNELS": "runtime_eng=" + runtime, "BOT_OPERATORS": "oid-amal",
		"TEAMS_BOT_METADATA_URL": microsoft.URL + "/.well-known/openidconfiguration", "TEAMS_BOT_TOKEN_URL": microsoft.URL + "/<tenant>/oauth2/v2.0/token",
	})
	w := s.worker()
	monitor := s.startMonitor()

	token := ""
	send := func(activity map[string]any) (int, []byte) {
		t.Helper()
		maps.Copy(activity, map[string]any{
			"channelId": "msteams", "serviceUrl": microsoft.URL + "/", "recipient": map[string]any{"id": "28:" + app}, "conversation": map[string]any{"id": runtime, "tenantId": tenant},
			"from":        map[string]any{"id": "29:amal", "aadObjectId": "oid-amal", "name": "Amal"},
			"channelData": map[string]any{"tenant": map[string]any{"id": tenant}, "team": map[string]any{"id": general}, "channel": map[string]any{"id": runtime}},
		})
		raw, err := json.Marshal(activity)
		require.NoError(t, err)
		token, err = framework.Sign("key-1", framework.Claims(microsoft.URL+"/"), nil)
		require.NoError(t, err)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+actions+"/api/messages", bytes.NewReader(raw))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
		r.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, body
	}
	status, body := send(map[string]any{"type": "conversationUpdate", "membersAdded": []any{map[string]any{"id": "28:" + app}}})
	require.Equal(t, http.StatusOK, status, "%s %s", body, monitor)
	require.Equal(t, 1, s.count(`SELECT count(*) FROM bot_conversations WHERE channel = 'RUNTIME_ENG'`))

	s.enqueue("submit", "../../examples/claims/01-professional-approved.json")
	rc, err := broker.Connect(s.env["REDIS_URL"])
	require.NoError(t, err)
	t.Cleanup(func() { _ = rc.Close() })
	q := broker.New(rc)
	dead := func() *nphiessim.BotMessage {
		for _, m := range framework.Messages() {
			if strings.Contains(string(m.Body), "alert.retry") {
				return &m
			}
		}
		return nil
	}
	testenv.Eventually(t, func() bool { // the waits between attempts are not waited for
		_, _ = q.Inspector().RunAllRetryTasks(tasks.QueueSubmit)
		return dead() != nil
	}, "the card of the dead letter comes through the bot")
	var press map[string]any
	for _, e := range dead().Card()["body"].([]any) {
		if e := e.(map[string]any); e["type"] == "ActionSet" {
			press = e["actions"].([]any)[0].(map[string]any)
		}
	}
	require.Equal(t, "alert.acknowledge", press["verb"])
	before := dead().Versions
	status, body = send(map[string]any{
		"type": "invoke", "id": "f:1", "name": "adaptiveCard/action", "value": map[string]any{"action": map[string]any{"type": "Action.Execute", "verb": press["verb"], "data": press["data"]}, "trigger": "manual"},
	})
	require.Equal(t, http.StatusOK, status, string(body))
	require.Contains(t, string(body), "Acknowledged by Amal")
	testenv.Eventually(t, func() bool {
		return dead().Versions > before && strings.Contains(string(dead().Body), "Acknowledged by Amal")
	}, "the card changes for everyone")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM operator_actions WHERE target_kind = 'alert' AND verb = 'acknowledge' AND outcome = 'applied' AND source = 'bot'
		AND detail->>'actor_id' = 'oid-amal' AND detail->>'tenant' = 'the-tenant'`))
	for _, c := range s.sim.Cards() {
		require.NotContains(t, string(c.Body), "Action.Execute")
		require.NotContains(t, string(c.Body), "Action.Submit")
		require.NotEqual(t, "runtime_eng", c.Channel, "the bot has that channel")
	}
	require.Empty(t, framework.Refused())
	require.Zero(t, s.count(`SELECT count(*) FROM teams_notifications WHERE card_payload::text LIKE '%v1.k1.%' OR event::text LIKE '%v1.k1.%' OR error_message LIKE '%v1.k1.%'`), "no token is kept")
	keys, err := rc.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	for name, text := range map[string]string{"worker": w.log.String(), "monitor": monitor.String(), "redis": strings.Join(keys, " ")} {
		for _, no := range []string{"v1.k1.", secret, token, "bot-token-", microsoft.URL} {
			require.NotContains(t, text, no, "%s shows a secret", name)
		}
	}
}
