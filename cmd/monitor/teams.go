package main

import (
	"log/slog"
	"net/http"

	"github.com/claimlinc/nphiesq/internal/actionlink"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/actionweb"
	"github.com/claimlinc/nphiesq/internal/bot"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/signing"
)

// teamsRoutes adds the ways to act from within Teams that the settings switch on: the bot, an outgoing webhook, flows.
func (p *program) teamsRoutes(mux *http.ServeMux, cfg *config.Config, core *actions.Core, counts *actions.Counts, log *slog.Logger) error {
	if cfg.BotAppID == "" && cfg.OutgoingToken == "" && cfg.FlowAudience == "" {
		return nil
	}
	limited := func(what string) *ratelimit.Failures { return ratelimit.NewFailures(p.app.Redis, what, failures) }
	needs, err := permissions(cfg)
	if err != nil {
		return err
	}
	operators, err := bot.ParseOperators(cfg.BotOperators, needs)
	if err != nil {
		return &config.SettingError{Name: "BOT_OPERATORS", Problem: err.Error()}
	}
	keys, err := actionlink.ParseKeys(cfg.LinkKeys.Reveal())
	if err != nil {
		return &config.SettingError{Name: "ACTION_LINK_KEYS", Problem: err.Error()}
	}
	if cfg.BotAppID != "" {
		serves, err := notify.ParseBotChannels(cfg.BotChannels)
		if err != nil {
			return &config.SettingError{Name: "TEAMS_BOT_CHANNELS", Problem: err.Error()}
		}
		framework, err := bot.NewFramework(bot.FrameworkSettings{
			Metadata: cfg.BotMetadata, Issuer: cfg.BotIssuer, AppID: cfg.BotAppID, Tenants: cfg.ActingTenants(), Teams: config.List(cfg.BotTeams),
			Hosts: config.List(cfg.BotHosts), Insecure: cfg.AllowInsecure, Now: p.app.Now,
		})
		if err != nil {
			return &config.SettingError{Name: "TEAMS_BOT_APP_ID", Problem: err.Error()}
		}
		mux.Handle(bot.Path, &bot.Messages{
			Framework: framework, Core: core, Record: p.app.Store, Keys: keys, Operators: operators, Serves: serves,
			Painter:  bot.Painter{Record: p.app.Store, Buttons: actionlink.Buttons{Keys: keys, Now: p.app.Now}},
			Failures: limited("bot"), Metrics: counts, Log: log, Now: p.app.Now,
		})
	}
	if cfg.OutgoingToken != "" {
		key, err := actionweb.ParseOutgoingKey(cfg.OutgoingToken.Reveal())
		if err != nil {
			return &config.SettingError{Name: "TEAMS_OUTGOING_TOKEN", Problem: err.Error()}
		}
		mux.Handle(actionweb.OutgoingPath, &actionweb.Outgoing{
			Key: key, Core: core, Operators: operators, Tenants: cfg.ActingTenants(), Replays: signing.NewReplays(p.app.Redis),
			Failures: limited("outgoing"), Metrics: counts, Log: log, Now: p.app.Now,
		})
	}
	if cfg.FlowAudience != "" {
		entra, err := bot.NewEntra(bot.EntraSettings{
			Metadata: cfg.FlowMetadata, Issuers: config.List(cfg.FlowIssuers), Audiences: config.List(cfg.FlowAudience), Tenants: cfg.ActingTenants(), Apps: config.List(cfg.FlowApps),
			Insecure: cfg.AllowInsecure, Now: p.app.Now,
		})
		if err != nil {
			return &config.SettingError{Name: "FLOW_AUDIENCE", Problem: err.Error()}
		}
		mux.Handle(actionweb.FlowPath, &actionweb.Flow{
			Entra: entra, Keys: keys, Core: core, Record: p.app.Store, Operators: operators, Tenants: cfg.ActingTenants(),
			Failures: limited("flow"), Metrics: counts, Log: log, Now: p.app.Now,
		})
	}
	return nil
}
