package main

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/claimlinc/nphiesq/internal/actionlink"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/actionweb"
	"github.com/claimlinc/nphiesq/internal/alertmanager"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/signin"
	"github.com/claimlinc/nphiesq/internal/signing"
	"github.com/claimlinc/nphiesq/internal/web"
)

// Failures of one address before it is not listened to for a while.
var failures = ratelimit.FailureSettings{Limit: 20, Window: 10 * time.Minute}

// actionRoutes are what is served on ACTIONS_ADDR: only what the settings switch on.
func (p *program) actionRoutes(cfg *config.Config, core *actions.Core, counts *actions.Counts, users *signin.Users, provider *signin.Provider, log *slog.Logger) (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", web.Livez)
	limited := func(what string) *ratelimit.Failures { return ratelimit.NewFailures(p.app.Redis, what, failures) }
	if cfg.AlertToken != "" {
		mux.Handle("/api/v1/alertmanager", alertmanager.New(p.app.Store, p.app.Queue, cfg.AlertToken.Reveal(), limited("alertmanager"), log))
	}
	roles, err := permissions(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.APIKeys != "" {
		keys, err := signing.ParseKeys(cfg.APIKeys.Reveal())
		if err != nil {
			return nil, &config.SettingError{Name: "ACTION_API_KEYS", Problem: err.Error()}
		}
		mux.Handle(actionweb.APIPath, &actionweb.API{
			Receiver: &signing.Receiver{Route: actionweb.APIRoute, Keys: keys, Replays: signing.NewReplays(p.app.Redis), Now: p.app.Now},
			Core:     core, Failures: limited("api"), Metrics: counts, Roles: roles, Log: log,
		})
	}
	if err := p.teamsRoutes(mux, cfg, core, counts, log); err != nil {
		return nil, err
	}
	if cfg.ActionBaseURL == "" {
		return mux, nil
	}
	keys, err := actionlink.ParseKeys(cfg.LinkKeys.Reveal())
	if err != nil {
		return nil, &config.SettingError{Name: "ACTION_LINK_KEYS", Problem: err.Error()}
	}
	door, err := signin.New(signin.Options{
		Record: p.app.Store, Redis: p.app.Redis, Site: "actions", Base: cfg.ActionBaseURL, Users: users, Provider: provider, InsecureCookies: cfg.MonitorInsecure, Log: log,
	})
	if err != nil {
		return nil, err
	}
	door.Mount(mux)
	if len(keys) > 0 {
		(&actionweb.Links{
			Keys: keys, Core: core, Record: p.app.Store, Door: door, Roles: roles, Failures: limited("link"), Metrics: counts,
			Monitor: strings.TrimSuffix(cfg.MonitorURL, "/"), Log: log, Now: p.app.Now,
		}).Mount(mux)
	}
	return mux, nil
}

// permissions are the roles that verbs need.
func permissions(cfg *config.Config) (actions.Permissions, error) {
	var names []string
	for _, r := range signin.Roles() {
		names = append(names, string(r))
	}
	roles, err := actions.ParsePermissions(cfg.VerbRoles, names...)
	if err != nil {
		return nil, &config.SettingError{Name: "ACTION_VERB_ROLES", Problem: err.Error()}
	}
	return roles, nil
}
