package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/actionlink"
	"github.com/claimlinc/nphiesq/internal/app"
	"github.com/claimlinc/nphiesq/internal/bot"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/signing"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/tasks/teams"
)

// registerTeams adds the handler that posts notifications, and reads the webhooks from Vault if there is one.
func registerTeams(ctx context.Context, p *program, registry *prometheus.Registry) error {
	c := p.app.Config
	keys, err := signing.ParseKeys(c.HMACKey.Reveal())
	if err != nil {
		return &config.SettingError{Name: "TEAMS_HMAC_SECRET_KEY", Problem: err.Error()}
	}
	o := teams.Options{
		MaxRetries: c.MaxRetries, RetryBase: c.RetryBase.D(), RetryFactor: c.RetryFactor, MaxRetryDelay: c.MaxRetryDelay.D(), DigestAbove: c.DigestAbove,
		Environment: c.Environment, Links: app.Links(c), Fallback: cards.Stakeholder(c.Fallback), Now: p.app.Now,
	}
	links, err := actionlink.ParseKeys(c.LinkKeys.Reveal())
	if err != nil {
		return &config.SettingError{Name: "ACTION_LINK_KEYS", Problem: err.Error()}
	}
	if c.ActionBaseURL != "" && len(links) > 0 {
		o.Buttons = actionlink.Buttons{Base: strings.TrimSuffix(c.ActionBaseURL, "/"), Keys: links, Now: p.app.Now}.For
	}
	version := uint16(tls.VersionTLS12)
	if c.TLSMin == "1.3" {
		version = tls.VersionTLS13
	}
	poster := notify.NewPoster(notify.Options{
		Timeout: c.PostTimeout.D(), TotalConnections: c.TotalConns, PerHost: c.ConnsPerHost, AllowInsecure: c.AllowInsecure, Keys: keys,
		UserAgent: "nphiesq/" + app.Version(), MinTLS: version,
	})
	if c.BotAppID != "" {
		login, err := notify.NewLogin(notify.LoginSettings{
			Tenant: c.BotTenant, ClientID: c.BotAppID, ClientSecret: c.BotSecret.Reveal(), TokenURL: c.BotTokenURL, Scope: c.BotScope, AllowInsecure: c.AllowInsecure,
		})
		if err != nil {
			return &config.SettingError{Name: "TEAMS_BOT_TENANT", Problem: err.Error()}
		}
		o.Bot = &bot.Transport{
			Record: p.app.Store, Painter: bot.Painter{Record: p.app.Store, Buttons: actionlink.Buttons{Keys: links, Now: p.app.Now}}, Poster: poster, Login: login,
			Channels: p.app.Directory, Hosts: config.List(c.BotHosts), Insecure: c.AllowInsecure,
		}
	}
	if p.vault != nil {
		p.webhooks = p.app.WatchWebhooks(ctx, p.vault, p.webhookTrouble, p.webhooksRotated)
	}
	if p.webhooks != nil {
		o.Refused = p.webhooks.Hurry
	}
	limiter := ratelimit.New(p.app.Redis, "teams", ratelimit.Settings{Requests: c.RateRequests, Period: c.RatePeriod.D(), Burst: c.RateBurst})
	breaker := ratelimit.NewBreaker(p.app.Redis, "teams", ratelimit.CircuitSettings{After: c.TripAfter, For: c.TripFor.D()})
	registry.MustRegister(notify.Collector(p.app.Directory, p.webhooks), teams.Circuits(p.app.Directory, breaker))
	teams.New(p.app.Store, p.app.Directory, poster, limiter, breaker, p.app.Queue, teams.NewMetrics(registry), p.log, o).Register(p.router)
	return nil
}

// webhooksRotated tells people that what they changed in Vault is in use. All workers find it; it is told once.
func (p *program) webhooksRotated(ctx context.Context, version int) {
	channels, err := p.app.Store.Tell(ctx, store.Event{
		Key: fmt.Sprintf("webhooks/%s/%d", p.cfg.VaultPath, version),
		Event: cards.Event{Type: cards.VaultSecretRotatedEvent, CorrelationID: "webhooks in Vault", Details: cards.SecretRotation{
			Path: p.cfg.VaultPath, Version: version, UsedBy: "Teams webhooks of the workers",
		}},
	})
	if err == nil && len(channels) > 0 {
		err = p.app.Queue.Notify(ctx, channels...)
	}
	if err != nil {
		p.log.WarnContext(ctx, "a change of the webhooks: not told", slog.String("error", err.Error()))
	}
}

// webhookTrouble tells people of something in Vault that cannot be used as a webhook, in a channel that works. All workers find it; the
// record keeps it from being told twice.
func (p *program) webhookTrouble(ctx context.Context, trouble notify.Problem) {
	to, ok := p.app.Directory.Fallback(string(trouble.Stakeholder), cards.Stakeholder(p.cfg.Fallback))
	if !ok {
		return // there is nobody to tell; the log has it
	}
	channel := string(trouble.Stakeholder)
	if channel == "" {
		channel = p.cfg.VaultPath
	}
	sum := sha256.Sum256([]byte(trouble.Text))
	channels, err := p.app.Store.Tell(ctx, store.Event{
		Key:          fmt.Sprintf("webhook/%s/%d", hex.EncodeToString(sum[:8]), trouble.Version),
		Stakeholders: to.Stakeholders,
		Event: cards.Event{Type: cards.ChannelFailingEvent, CorrelationID: "webhooks in Vault", Details: cards.ChannelTrouble{
			Channel: channel, Failure: trouble.Text, Effect: "the address before stays in use, if there is one",
			Remedy: fmt.Sprintf("mend %s in Vault (version %d)", p.cfg.VaultPath, trouble.Version),
		}},
	})
	if err == nil && len(channels) > 0 {
		err = p.app.Queue.Notify(ctx, channels...)
	}
	if err != nil {
		p.log.WarnContext(ctx, "trouble with a webhook: not told", slog.String("error", err.Error()))
	}
}
