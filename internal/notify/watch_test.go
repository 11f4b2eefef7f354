package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
)

// vault answers what it is told to.
type vault struct {
	mu      sync.Mutex
	values  map[string]string
	version int
	err     error
	reads   chan struct{}
}

func (v *vault) ReadKV(context.Context, string) (map[string]string, int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.reads != nil {
		v.reads <- struct{}{}
	}
	return v.values, v.version, v.err
}

func (v *vault) set(values map[string]string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.values, v.err = values, err
	v.version++
}

// watched is a Watch with everything around it.
type watched struct {
	*Watch
	vault    *vault
	d        *Directory
	log      bytes.Buffer
	problems []Problem
	rotated  []int
}

func newWatched(t *testing.T, o WatchOptions, environment map[cards.Stakeholder]string) *watched {
	t.Helper()
	d, _, err := NewDirectory(nil, false)
	require.NoError(t, err)
	o.Environment = map[cards.Stakeholder]Hook{}
	for s, u := range environment {
		o.Environment[s], err = d.Parse(s, u)
		require.NoError(t, err)
	}
	w := &watched{vault: &vault{}, d: d}
	o.Vault, o.Path, o.Directory = w.vault, "secret/teams/webhooks", d
	o.Log = slog.New(slog.NewJSONHandler(&w.log, nil))
	o.Trouble = func(_ context.Context, p Problem) { w.problems = append(w.problems, p) }
	o.Rotated = func(_ context.Context, version int) { w.rotated = append(w.rotated, version) }
	w.Watch = NewWatch(o)
	return w
}

func (w *watched) url(who cards.Stakeholder) string {
	h, _ := w.d.Hook(string(who))
	return h.URL.Reveal()
}

var errAway = &fault.Error{Op: "read secret", Kind: fault.Unavailable, Safe: "Vault does not answer", Err: errors.New("dial")}

func TestWebhooksFromVault(t *testing.T) {
	w := newWatched(t, WatchOptions{}, map[cards.Stakeholder]string{cards.SRE: legacyURL, cards.PMO: legacyURL})
	require.False(t, w.d.Known())
	w.vault.set(nil, errAway)
	require.ErrorIs(t, w.Refresh(t.Context()), errAway)
	require.ErrorIs(t, w.Refresh(t.Context()), errAway)
	require.False(t, w.d.Known(), "notifications wait until Vault has answered")
	require.Equal(t, 1, bytes.Count(w.log.Bytes(), []byte("webhooks cannot be read from Vault")), "said once")

	w.vault.set(map[string]string{"sre": nowURL, "sre_previous": midURL, "compliance": " " + nowURL + "\n", "devops": ""}, nil)
	require.NoError(t, w.Refresh(t.Context()))
	require.True(t, w.d.Known())
	require.Equal(t, nowURL, w.url(cards.SRE), "Vault goes before the settings")
	h, _ := w.d.Hook("SRE")
	require.Equal(t, midURL, h.Previous.Reveal())
	require.Equal(t, legacyURL, w.url(cards.PMO), "the settings for those of whom Vault says nothing")
	require.Equal(t, nowURL, w.url(cards.Compliance))
	require.Empty(t, w.url(cards.DevOps))
	require.Empty(t, w.problems)
	require.Contains(t, w.log.String(), "no webhook for DEVOPS")

	w.vault.set(map[string]string{"sre": midURL}, nil)
	require.NoError(t, w.Refresh(t.Context()))
	require.Equal(t, midURL, w.url(cards.SRE))
	require.Empty(t, w.url(cards.Compliance), "taken out of Vault and not in the settings")
	require.NoError(t, w.Refresh(t.Context()))
	require.Equal(t, []int{w.vault.version}, w.rotated, "another version is in use: told once, and the first is none")

	w.vault.set(nil, errAway)
	require.Error(t, w.Refresh(t.Context()))
	require.Equal(t, midURL, w.url(cards.SRE), "what was read stays in use")
	require.True(t, w.d.Known())
	w.vault.set(nil, &fault.Error{Kind: fault.Config, Safe: "Vault does not allow to read"})
	require.Error(t, w.Refresh(t.Context()))
	require.Equal(t, midURL, w.url(cards.SRE))

	w.vault.set(nil, &fault.Error{Kind: fault.NotFound, Safe: "Vault has no secret"})
	require.NoError(t, w.Refresh(t.Context()))
	require.Equal(t, legacyURL, w.url(cards.SRE), "deleted: the settings count")
	require.NotContains(t, w.log.String(), "Secret")
}

// TestVaultRefusesFromTheStart: the settings count, and what has no webhook there fails visibly instead of waiting for ever.
func TestVaultRefusesFromTheStart(t *testing.T) {
	w := newWatched(t, WatchOptions{}, map[cards.Stakeholder]string{cards.SRE: legacyURL})
	w.vault.set(nil, &fault.Error{Kind: fault.Config, Safe: "Vault does not allow to read"})
	require.Error(t, w.Refresh(t.Context()))
	require.True(t, w.d.Known())
	require.Equal(t, legacyURL, w.url(cards.SRE))
}

func TestAWrongWebhookStopsNoOther(t *testing.T) {
	w := newWatched(t, WatchOptions{}, map[cards.Stakeholder]string{cards.CloudOps: legacyURL})
	good := map[string]string{"sre": nowURL, "pmo": midURL}
	w.vault.set(good, nil)
	require.NoError(t, w.Refresh(t.Context()))

	w.vault.set(map[string]string{
		"sre": "https://evil.example/?sig=NowSecret", "pmo": legacyURL, "pmo_previous": "nonsense", "cloudops": "http://x.logic.azure.com/?sig=NowSecret",
		"devops_previous": nowURL, "SRE": nowURL, nowURL: "sre", "compliance": "https://org.webhook.office.com/webhookb2/a?NowSecret",
	}, nil)
	require.NoError(t, w.Refresh(t.Context()))
	require.Equal(t, nowURL, w.url(cards.SRE), "the last good one stays")
	require.Equal(t, legacyURL, w.url(cards.PMO), "the others are taken")
	require.Equal(t, legacyURL, w.url(cards.CloudOps), "never a good one: the settings count")
	var whose []string
	for _, p := range w.problems {
		whose = append(whose, string(p.Stakeholder))
		require.Equal(t, 2, p.Version)
		require.NotContains(t, p.Text, "NowSecret")
	}
	require.Equal(t, []string{"CLOUDOPS", "DEVOPS", "SRE", "COMPLIANCE", "PMO", "", ""}, whose)
	require.NoError(t, w.Refresh(t.Context()))
	require.Len(t, w.problems, 7, "each is told once")
	require.NotContains(t, w.log.String(), "NowSecret")
	require.Contains(t, w.log.String(), "connectors are retired")

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(Collector(w.d, w.Watch))
	families, err := registry.Gather()
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprint(families), "NowSecret")
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()+" "+m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"teams_webhook_configured SRE": 1, "teams_webhook_configured DEVOPS": 0, "teams_webhook_unusable SRE": 1, "teams_webhook_unusable NPHIES_INTEGRATION": 0,
		"teams_webhook_problems_total PMO": 1, "teams_webhook_problems_total none": 2, "teams_webhook_reads_total ok": 3,
	} {
		require.InDelta(t, want, got[name], 0, name)
	}

	w.vault.set(good, nil)
	require.NoError(t, w.Refresh(t.Context()))
	w.vault.set(map[string]string{"sre": "again"}, nil)
	require.NoError(t, w.Refresh(t.Context()))
	require.Len(t, w.problems, 8, "mended and broken again: told again")
}

func TestLoginFromVault(t *testing.T) {
	w := newWatched(t, WatchOptions{
		Login: LoginSettings{Tenant: "t", ClientID: "from-settings", ClientSecret: "NowSecret"}, LoginChannels: "CLOUDOPS",
	}, map[cards.Stakeholder]string{cards.CloudOps: legacyURL})
	client := func(who cards.Stakeholder) string {
		h, _ := w.d.Hook(string(who))
		if h.Login.IsZero() {
			return ""
		}
		_, form := h.Login.reveal()
		return form.Get("client_id") + " " + form.Get("client_secret")
	}
	w.vault.set(map[string]string{"sre": nowURL, "pmo": midURL}, nil)
	require.NoError(t, w.Refresh(t.Context()))
	require.Equal(t, "from-settings NowSecret", client(cards.CloudOps))
	require.Empty(t, client(cards.SRE))

	w.vault.set(map[string]string{"sre": nowURL, "pmo": midURL, "oauth_channels": "sre", "oauth_client_id": "from-vault", "oauth_client_secret": "VaultSecret"}, nil)
	require.NoError(t, w.Refresh(t.Context()))
	require.Equal(t, "from-vault VaultSecret", client(cards.SRE))
	require.Empty(t, client(cards.PMO))
	require.Empty(t, w.problems)

	w.vault.set(map[string]string{"sre": nowURL, "pmo": midURL, "oauth_channels": "all", "oauth_tenant": "a/b"}, nil)
	require.NoError(t, w.Refresh(t.Context()))
	require.Equal(t, "from-vault VaultSecret", client(cards.SRE), "the last good one stays")
	require.Equal(t, "from-vault VaultSecret", client(cards.PMO))
	require.Len(t, w.problems, 1)
	w.vault.set(map[string]string{"sre": nowURL, "oauth_channels": "nobody"}, nil)
	require.NoError(t, w.Refresh(t.Context()))
	require.Len(t, w.problems, 2)
	require.NotContains(t, w.log.String()+fmt.Sprint(w.problems), "VaultSecret")
}

func TestRunReadsAgain(t *testing.T) {
	w := newWatched(t, WatchOptions{Interval: time.Millisecond}, nil)
	w.vault.reads = make(chan struct{})
	w.vault.set(map[string]string{"sre": nowURL}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { w.Run(ctx) })
	<-w.vault.reads
	<-w.vault.reads // the first one is in use
	require.Equal(t, nowURL, w.url(cards.SRE))
	cancel()
	select {
	case <-w.vault.reads:
	default:
	}
	go func() {
		for range w.vault.reads {
			continue // one that was under way
		}
	}()
	wg.Wait()
	close(w.vault.reads)
}

func TestHurry(t *testing.T) {
	w := newWatched(t, WatchOptions{Interval: time.Hour}, nil)
	w.d.SetKnown(true)
	w.vault.reads = make(chan struct{}, 10)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.Hurry()
	w.Hurry()
	require.Len(t, w.poke, 1, "never waits")
	<-w.poke
	var wg sync.WaitGroup
	wg.Go(func() { w.Run(ctx) })
	cancel()
	wg.Wait()
	require.Empty(t, w.vault.reads)
}
