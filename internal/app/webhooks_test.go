package app_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/app"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

const hookURL = "https://prod-12.westeurope.logic.azure.com/workflows/0123/triggers/manual/paths/invoke?sig=TopSecret"

func openWith(t *testing.T, env map[string]string) (*app.App, error) {
	t.Helper()
	all := map[string]string{"DATABASE_URL": testenv.DatabaseURL(t), "REDIS_URL": testenv.RedisURL(t)}
	maps.Copy(all, env)
	cfg, err := config.LoadFrom(all)
	require.NoError(t, err)
	a, err := app.Open(t.Context(), cfg, testenv.Discard(), 2)
	if err == nil {
		t.Cleanup(a.Close)
	}
	return a, err
}

func TestWebhooksOfTheSettings(t *testing.T) {
	a, err := openWith(t, map[string]string{
		"TEAMS_WEBHOOK_SRE": hookURL + " " + hookURL + "2", "TEAMS_WEBHOOK_PMO": "https://x.flow.example/y", "TEAMS_WEBHOOK_ALLOWED_HOSTS": ".flow.example",
		"TEAMS_OAUTH_CHANNELS": "pmo", "TEAMS_OAUTH_TENANT": "t", "TEAMS_OAUTH_CLIENT_ID": "c", "TEAMS_OAUTH_CLIENT_SECRET": "TopSecret",
	})
	require.NoError(t, err)
	require.Len(t, a.Missing, 6)
	h, ok := a.Directory.Hook("SRE")
	require.True(t, ok)
	require.Equal(t, hookURL+"2", h.Previous.Reveal())
	require.True(t, h.Login.IsZero())
	h, ok = a.Directory.Hook("PMO")
	require.True(t, ok)
	require.False(t, h.Login.IsZero())
	require.Nil(t, a.WatchWebhooks(t.Context(), nil, nil, nil), "without Vault")
	require.True(t, a.Directory.Known())

	for name, env := range map[string]map[string]string{
		"TEAMS_WEBHOOK_SRE":    {"TEAMS_WEBHOOK_SRE": "https://evil.example/?sig=TopSecret"},
		"TEAMS_OAUTH_CHANNELS": {"TEAMS_OAUTH_CHANNELS": "sre,nobody"},
	} {
		_, err := openWith(t, env)
		var bad *config.SettingError
		require.ErrorAs(t, err, &bad)
		require.Equal(t, name, bad.Name)
		require.NotContains(t, err.Error(), "TopSecret")
	}
	_, err = openWith(t, map[string]string{"TEAMS_OAUTH_CHANNELS": "sre", "TEAMS_OAUTH_CLIENT_SECRET": "TopSecret"})
	require.ErrorContains(t, err, "TEAMS_OAUTH_CHANNELS")
	_, err = openWith(t, map[string]string{"TEAMS_OAUTH_CHANNELS": "sre", "VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": "x"})
	require.NoError(t, err, "the rest may be in Vault")
}

type kv struct {
	values map[string]string
	err    error
}

func (v kv) ReadKV(context.Context, string) (map[string]string, int, error) {
	return v.values, 1, v.err
}

func TestWatchWebhooks(t *testing.T) {
	a, err := openWith(t, map[string]string{"VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": "x", "TEAMS_WEBHOOK_PMO": hookURL + "3"})
	require.NoError(t, err)
	var told []notify.Problem
	w := a.WatchWebhooks(t.Context(), kv{values: map[string]string{"sre": hookURL, "devops": "x"}}, func(_ context.Context, p notify.Problem) {
		_, ok := a.Directory.Fallback(string(p.Stakeholder), "SRE")
		require.True(t, ok, "what works is in use when trouble is told")
		told = append(told, p)
	}, nil)
	require.NotNil(t, w)
	require.Len(t, told, 1)
	for _, who := range []string{"SRE", "PMO"} {
		_, ok := a.Directory.Hook(who)
		require.True(t, ok, who)
	}
	away := &fault.Error{Kind: fault.Unavailable, Safe: "away", Err: errors.New("x")}
	require.NotNil(t, a.WatchWebhooks(t.Context(), kv{err: away}, nil, nil), "Vault away does not keep a program from starting")
	require.False(t, a.Directory.Known())

	off, err := openWith(t, map[string]string{"VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": "x", "TEAMS_WEBHOOK_ENABLED": "false"})
	require.NoError(t, err)
	require.Nil(t, off.WatchWebhooks(t.Context(), kv{}, nil, nil), "nobody is to be notified")
}

// TestOneCardForThoseWhoShareAWebhookInVault: the monitor reads no webhooks, and still writes one notification for two stakeholders whose
// webhook is one.
func TestOneCardForThoseWhoShareAWebhookInVault(t *testing.T) {
	servers := map[string]string{"DATABASE_URL": testenv.DatabaseURL(t), "REDIS_URL": testenv.RedisURL(t), "TEAMS_WEBHOOK_RELOAD": "1"}
	worker, err := openWith(t, with(servers, map[string]string{"VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": "x"}))
	require.NoError(t, err)
	require.NotNil(t, worker.WatchWebhooks(t.Context(), kv{values: map[string]string{"sre": hookURL, "security_eng": hookURL, "pmo": hookURL + "2"}}, nil, nil))
	rows := func(a *app.App, key string) (channels []string) {
		channels, err := a.Store.Tell(t.Context(), store.Event{Key: key, Event: cards.Event{
			Type: cards.VaultSecretRotatedEvent, CorrelationID: "x", Details: cards.SecretRotation{Path: "p", Version: 1, UsedBy: "test"},
		}})
		require.NoError(t, err)
		return channels
	}
	cfg, err := config.LoadFrom(servers)
	require.NoError(t, err)
	monitor, err := app.OpenRecord(t.Context(), cfg, testenv.Discard(), 2)
	require.NoError(t, err)
	t.Cleanup(monitor.Close)
	require.Equal(t, []string{"SECURITY_ENG", "SRE"}, rows(monitor, "before"), "nobody has said yet that they share one")

	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { worker.ShareChannels(ctx) })
	running.Go(func() { monitor.FollowChannels(ctx) })
	n := 0
	testenv.Eventually(t, func() bool {
		n++
		return len(rows(monitor, fmt.Sprintf("after %d", n))) == 1
	}, "the monitor knows what the worker found")
	cancel()
	running.Wait()
	require.Equal(t, rows(worker, "of the worker"), rows(monitor, "of the monitor"))

	later, err := app.OpenRecord(t.Context(), cfg, testenv.Discard(), 2)
	require.NoError(t, err)
	t.Cleanup(later.Close)
	require.Len(t, rows(later, "later"), 1, "enqueue knows it from its start")
}

func with(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}
