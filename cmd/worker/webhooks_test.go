package main_test

import (
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/nphiessim"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

var stakeholders = []string{"SECURITY_ENG", "CLOUDOPS", "RUNTIME_ENG", "DEVOPS", "SRE", "COMPLIANCE", "NPHIES_INTEGRATION", "PMO"}

var vaultPaths atomic.Int64

// kept is the secret of a site's webhooks in a real Vault.
type kept struct {
	s    *site
	root *api.Client
	path string
	hook func(channel string) string
}

// useVault moves the site's webhooks into Vault, behind an AppRole that may only read them.
func (s *site) useVault() *kept {
	s.t.Helper()
	v := testenv.Vault(s.t)
	teams, _, ok := strings.Cut(s.env["TEAMS_WEBHOOK_SRE"], "/workflows/")
	require.True(s.t, ok)
	name := fmt.Sprintf("w%d-%d", os.Getpid(), vaultPaths.Add(1))
	k := &kept{s: s, root: v.Root(s.t), path: name + "/webhooks", hook: func(channel string) string {
		return teams + "/workflows/" + channel + "/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=s3cr3tsig"
	}}
	ctx := s.t.Context()
	require.NoError(s.t, k.root.Sys().PutPolicyWithContext(ctx, name, `path "secret/data/`+k.path+`" { capabilities = ["read"] }`))
	require.NoError(s.t, k.root.Sys().EnableAuthWithOptionsWithContext(ctx, name, &api.EnableAuthOptions{Type: "approle"}))
	role := "auth/" + name + "/role/worker"
	_, err := k.root.Logical().WriteWithContext(ctx, role, map[string]any{"token_policies": name, "token_ttl": "20m"})
	require.NoError(s.t, err)
	id, err := k.root.Logical().ReadWithContext(ctx, role+"/role-id")
	require.NoError(s.t, err)
	secret, err := k.root.Logical().WriteWithContext(ctx, role+"/secret-id", nil)
	require.NoError(s.t, err)
	for _, who := range stakeholders {
		delete(s.env, "TEAMS_WEBHOOK_"+who)
	}
	maps.Copy(s.env, map[string]string{
		"VAULT_ADDR": v.Addr, "VAULT_APPROLE_MOUNT": name, "VAULT_ROLE_ID": id.Data["role_id"].(string), "VAULT_SECRET_ID": secret.Data["secret_id"].(string),
		"TEAMS_WEBHOOK_VAULT_PATH": "secret/" + k.path, "TEAMS_WEBHOOK_RELOAD": "0.2",
	})
	return k
}

func (k *kept) put(values map[string]any) {
	k.s.t.Helper()
	_, err := k.root.KVv2("secret").Put(k.s.t.Context(), k.path, values)
	require.NoError(k.s.t, err)
}

// patch is vault kv patch.
func (k *kept) patch(values map[string]any) {
	k.s.t.Helper()
	_, err := k.root.KVv2("secret").Patch(k.s.t.Context(), k.path, values)
	require.NoError(k.s.t, err)
}

// arrived counts the cards at a webhook.
func (s *site) arrived(channel string) int {
	n := 0
	for _, c := range s.sim.Cards() {
		if c.Channel == channel {
			n++
		}
	}
	return n
}

// submit sends the example claim under another number and waits for its outcome.
func (s *site) submit(number string) {
	s.t.Helper()
	body, err := os.ReadFile("../../examples/claims/01-professional-approved.json")
	require.NoError(s.t, err)
	file := filepath.Join(s.t.TempDir(), number+".json")
	require.NoError(s.t, os.WriteFile(file, []byte(strings.ReplaceAll(string(body), "CLM-DEMO-0001", number)), 0o600))
	s.enqueue("submit", "--wait", file)
}

// TestWebhooksInVault: the workers take what vault kv patch says without a restart, and a wrong webhook stops nobody else.
func TestWebhooksInVault(t *testing.T) {
	s := newSite(t)
	k := s.useVault()
	k.put(map[string]any{
		"sre": k.hook("sre"), "pmo": k.hook("shared"), "compliance": k.hook("shared"), "nphies_integration": k.hook("before"),
		"devops": "https://evil.example/workflows?sig=s3cr3tsig",
	})
	w, second := s.worker(), s.worker()
	s.submit("CLM-DEMO-0701")
	testenv.Eventually(t, func() bool { return s.arrived("before") == 2 && s.arrived("shared") == 2 }, "the cards: two for each webhook, for PMO and COMPLIANCE share one")
	testenv.Eventually(t, func() bool { return s.arrived("sre") == 1 }, "one card tells of the wrong webhook, whichever of the workers found it")
	require.Contains(t, s.text(`SELECT card_payload::text FROM teams_notifications WHERE event_type = 'teams.channel.failing'`), "DEVOPS")

	k.patch(map[string]any{"nphies_integration": k.hook("after")})
	for _, each := range []*running{w, second} {
		testenv.Eventually(t, func() bool {
			return strings.Count(each.log.String(), `"stakeholder":"NPHIES_INTEGRATION","webhook"`) == 2
		}, "the new address is in use")
	}
	s.submit("CLM-DEMO-0702")
	testenv.Eventually(t, func() bool { return s.arrived("after") == 2 }, "the next cards go to the new address")
	require.Equal(t, 2, s.arrived("before"))

	_, metrics := w.get("/metrics")
	for _, m := range []string{
		`teams_webhook_configured{stakeholder="SRE"} 1`, `teams_webhook_configured{stakeholder="CLOUDOPS"} 0`, `teams_webhook_unusable{stakeholder="DEVOPS"} 1`,
		`teams_webhook_problems_total{stakeholder="DEVOPS"} 1`, `teams_circuit_state{channel="SRE"} 0`, `teams_webhook_reads_total{outcome="ok"}`,
	} {
		require.Contains(t, metrics, m)
	}
	require.Contains(t, w.log.String(), "no webhook for CLOUDOPS", "a channel that is missing is told at start")
	testenv.Eventually(t, func() bool { return s.arrived("sre") == 2 }, "and one tells that the change is in use")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM teams_notifications WHERE event_type = 'vault.secret.rotation.complete' AND channel = 'SRE'`))
	s.noSecrets(w, "s3cr3tsig", s.env["VAULT_SECRET_ID"])
	w.stop(t)
	second.stop(t)
}

// TestVaultAwayStopsNoClaim: the worker starts, claims go on, notifications wait and use up nothing.
func TestVaultAwayStopsNoClaim(t *testing.T) {
	s := newSite(t)
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	t.Cleanup(away.Close)
	for _, who := range stakeholders {
		delete(s.env, "TEAMS_WEBHOOK_"+who)
	}
	s.env["VAULT_ADDR"], s.env["VAULT_TOKEN"] = away.URL, "hvs.s3cr3ttoken"
	w := s.worker()
	s.submit("CLM-DEMO-0703")
	testenv.Eventually(t, func() bool {
		_, metrics := w.get("/metrics")
		return strings.Contains(metrics, `window="webhook"`)
	}, "the drains wait")
	require.Zero(t, s.count(`SELECT count(*) FROM teams_notifications WHERE retry_count > 0 OR dead_at IS NOT NULL`))
	require.Positive(t, s.count(`SELECT count(*) FROM teams_notifications`))
	require.Contains(t, w.log.String(), "webhooks cannot be read from Vault")
	s.noSecrets(w, "hvs.s3cr3ttoken")
	w.stop(t)
}

// text returns the one column of a query as lines.
func (s *site) text(sql string) string {
	s.t.Helper()
	rows, err := s.db.Query(s.t.Context(), sql)
	require.NoError(s.t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(s.t, err)
	return strings.Join(lines, "\n")
}

// noSecrets looks for secrets everywhere that something is written to: the log, the metrics, all of Redis, all of the database.
func (s *site) noSecrets(w *running, secrets ...string) {
	s.t.Helper()
	_, metrics := w.get("/metrics")
	places := map[string]string{"the log": w.log.String(), "the metrics": metrics}
	rc, err := broker.Connect(s.env["REDIS_URL"])
	require.NoError(s.t, err)
	defer rc.Close()
	ctx := s.t.Context()
	keys, err := rc.Keys(ctx, "*").Result()
	require.NoError(s.t, err)
	require.NotEmpty(s.t, keys)
	for _, key := range keys {
		value := ""
		switch rc.Type(ctx, key).Val() {
		case "string":
			value = rc.Get(ctx, key).Val()
		case "hash":
			value = fmt.Sprint(rc.HGetAll(ctx, key).Val())
		case "zset":
			value = fmt.Sprint(rc.ZRange(ctx, key, 0, -1).Val())
		case "set":
			value = fmt.Sprint(rc.SMembers(ctx, key).Val())
		case "list":
			value = fmt.Sprint(rc.LRange(ctx, key, 0, -1).Val())
		}
		places["Redis"] += key + " " + value + "\n"
	}
	tables := strings.Fields(s.text(`SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'`))
	require.Contains(s.t, tables, "teams_notifications")
	for _, table := range tables {
		places["table "+table] = s.text(`SELECT to_jsonb(x)::text FROM ` + table + ` x`)
	}
	for place, text := range places {
		for _, secret := range secrets {
			require.NotContains(s.t, text, secret, place)
			require.NotContains(s.t, text, hex.EncodeToString([]byte(secret)), place)
		}
	}
}

// TestNoAddressIsSeenAnywhere lets posts fail in every way, at log level debug, and ends the worker with a dump of its goroutines.
func TestNoAddressIsSeenAnywhere(t *testing.T) {
	s := newSite(t)
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprintf(w, `{"error":"invalid_client","error_description":"%s"}`, r.PostFormValue("client_secret"))
	}))
	t.Cleanup(tokens.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	redirect := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://127.0.0.1:1"+r.RequestURI)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	t.Cleanup(redirect.Close)
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"error":{"code":"Bad","message":"no workflow at %s"}}`, r.RequestURI)
	}))
	t.Cleanup(echo.Close)
	s.env["LOG_LEVEL"] = "debug"
	s.env["TEAMS_WEBHOOK_NPHIES_INTEGRATION"] = gone.URL + "/?sig=s3cr3tsig " + redirect.URL + "/?sig=s3cr3tsig2"
	s.env["TEAMS_WEBHOOK_COMPLIANCE"] = redirect.URL + "/?sig=s3cr3tsig"
	s.env["TEAMS_WEBHOOK_PMO"] = echo.URL + "/?sp=%2Ftriggers&sig=s3cr3tsig"
	s.env["TEAMS_OAUTH_CHANNELS"], s.env["TEAMS_OAUTH_TENANT"], s.env["TEAMS_OAUTH_CLIENT_ID"] = "runtime_eng", "tenant", "client"
	s.env["TEAMS_OAUTH_CLIENT_SECRET"], s.env["TEAMS_OAUTH_TOKEN_URL"] = "s3cr3tclient", tokens.URL+"/<tenant>/token"
	s.sim.SetFaults(nphiessim.Fault{Match: "claim-request", Kind: nphiessim.Fault401}, nphiessim.Fault{Match: "teams:sre", Kind: nphiessim.Fault401})
	w := s.worker()
	s.enqueue("submit", "../../examples/claims/01-professional-approved.json")
	s.sim.SetFaults(nphiessim.Fault{Match: "teams:sre", Kind: nphiessim.Fault401})
	s.submit("CLM-DEMO-0704")
	_, err := s.db.Exec(t.Context(), `UPDATE teams_notifications SET next_attempt_at = now()`)
	require.NoError(t, err)
	testenv.Eventually(t, func() bool {
		return s.count(`SELECT count(DISTINCT channel) FROM teams_notifications WHERE retry_count > 0 AND channel IN ('NPHIES_INTEGRATION', 'COMPLIANCE', 'PMO')`) == 3
	}, "posts fail in three ways")
	secrets := []string{"s3cr3tsig", "s3cr3tclient", strings.TrimPrefix(signingKey, "whsec_"), "0123456789abcdef0123456789abcdef"}
	s.noSecrets(w, secrets...)
	require.NoError(t, w.cmd.Process.Signal(syscall.SIGQUIT))
	<-w.done
	require.Contains(t, w.log.String(), "goroutine ")
	for _, secret := range secrets {
		require.NotContains(t, w.log.String(), secret)
	}
}
