package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/app"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/metric"
	"github.com/claimlinc/nphiesq/internal/proxied"
	"github.com/claimlinc/nphiesq/internal/signin"
	"github.com/claimlinc/nphiesq/internal/telemetry"
	"github.com/claimlinc/nphiesq/internal/web"
)

// connections bounds those to PostgreSQL: pages are short and few.
const connections = 8

// stopWithin is how long running requests may take once the program is to end.
const stopWithin = 10 * time.Second

// program is a running monitor.
type program struct {
	log      *slog.Logger
	app      *app.App
	registry *prometheus.Registry
	// web are the pages; pages, actions and machines are the three listeners with what they serve.
	web                      *web.Server
	pages, actions, machines endpoint
}

type endpoint struct {
	server   *http.Server
	listener net.Listener
}

// newProgram opens what the pages need. Unlike the worker it starts without Redis: when that is away is when people look.
func newProgram(ctx context.Context, cfg *config.Config, log *slog.Logger) (p *program, err error) {
	if err := cfg.Require("DATABASE_URL", "REDIS_URL"); err != nil {
		return nil, err
	}
	users, provider, err := people(cfg, log)
	if err != nil {
		return nil, err
	}
	proxies, err := proxied.Parse(cfg.TrustedProxies)
	if err != nil {
		return nil, &config.SettingError{Name: "TRUSTED_PROXIES", Problem: err.Error()}
	}
	p = &program{log: log}
	opened := p // a return with an error leaves nil in p
	defer func() {
		if err != nil {
			opened.close()
		}
	}()
	p.app, err = app.Await(ctx, log, cfg.StartWait.D(), func(ctx context.Context) (*app.App, error) { return app.OpenRecord(ctx, cfg, log, connections) }, func(error) {})
	if err != nil {
		return nil, err
	}
	if p.app.RedisAway != nil {
		log.WarnContext(ctx, "started without Redis", slog.String("error", p.app.RedisAway.Error()))
	}
	registry := telemetry.Registry(metric.Monitor, app.Version())
	p.registry = registry
	requests := telemetry.NewRequests(registry)
	vault, err := app.Vault(cfg)
	if err != nil {
		return nil, err
	}
	p.app.Measure(registry)
	registry.MustRegister(app.Dependencies(cfg, vault, func() *app.App { return p.app }))
	counts := actions.NewCounts(registry)
	core, err := p.app.Core()
	if err != nil {
		return nil, err
	}
	core.Metrics = counts
	roles, err := permissions(cfg)
	if err != nil {
		return nil, err
	}
	pages, err := web.New(web.Options{
		Core: core, Roles: roles,
		Store: p.app.Store, Queue: p.app.Queue, Redis: p.app.Redis, Users: users, Provider: provider, Address: cfg.MonitorURL, Log: log,
		Environment: cfg.Environment, Version: app.Version(), InsecureCookies: cfg.MonitorInsecure, Runbook: cfg.QueueRunbook, Prometheus: cfg.PrometheusURL,
	})
	if err != nil {
		return nil, err
	}
	p.web = pages
	if p.pages, err = listen(ctx, "MONITOR_ADDR", cfg.MonitorAddr, requests.Of("pages", proxied.Trust(proxies, pages))); err != nil {
		return nil, err
	}
	p.pages.server.RegisterOnShutdown(pages.EndStreams)
	routes, err := p.actionRoutes(cfg, core, counts, users, provider, log)
	if err != nil {
		return nil, err
	}
	if p.actions, err = listen(ctx, "ACTIONS_ADDR", cfg.ActionsAddr, requests.Of("actions", proxied.Trust(proxies, routes))); err != nil {
		return nil, err
	}
	machines := http.NewServeMux()
	machines.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	machines.HandleFunc("GET /livez", web.Livez)
	if p.machines, err = listen(ctx, "MONITOR_HTTP_ADDR", cfg.MonitorHTTPAddr, machines); err != nil {
		return nil, err
	}
	if cfg.MonitorInsecure {
		log.WarnContext(ctx, "session cookies may travel over http: for loopback only")
	}
	return p, nil
}

// people are those who may sign in: users with passwords, those of a provider of single sign-on, or both.
func people(cfg *config.Config, log *slog.Logger) (users *signin.Users, provider *signin.Provider, err error) {
	text, file := cfg.MonitorUsers.Reveal(), cfg.MonitorUsersFile
	if text == "" && file == "" && cfg.OIDCIssuer == "" {
		return nil, nil, &config.SettingError{
			Name: "MONITOR_USERS", Problem: "nobody may sign in: set this or MONITOR_USERS_FILE (name:role:hash), or OIDC_ISSUER for single sign-on; see docs/sign-in.md",
		}
	}
	if text != "" || file != "" {
		if users, err = signin.LoadUsers(text, file, log); err != nil {
			return nil, nil, err
		}
	}
	if cfg.OIDCIssuer == "" {
		return users, nil, nil
	}
	roles, err := signin.ParseRoleMapping(cfg.OIDCRoles)
	if err != nil {
		return nil, nil, &config.SettingError{Name: "OIDC_ROLES", Problem: err.Error()}
	}
	provider, err = signin.NewProvider(signin.ProviderSettings{
		Issuer: cfg.OIDCIssuer, Name: cfg.OIDCName, ClientID: cfg.OIDCClientID, ClientSecret: cfg.OIDCClientSecret.Reveal(),
		Scopes: strings.Fields(cfg.OIDCScopes), Tenants: cfg.Tenants(), RoleClaim: cfg.OIDCRoleClaim, Roles: roles,
	})
	if err != nil {
		return nil, nil, &config.SettingError{Name: "OIDC_ISSUER", Problem: err.Error()}
	}
	return users, provider, nil
}

func listen(ctx context.Context, setting, address string, h http.Handler) (endpoint, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return endpoint{}, &config.SettingError{Name: setting, Problem: err.Error()}
	}
	return endpoint{&http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 60 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
	}, l}, nil
}

func (p *program) close() {
	for _, e := range []endpoint{p.pages, p.actions, p.machines} {
		if e.listener != nil {
			_ = e.listener.Close() // closed already after a run
		}
	}
	if p.app != nil {
		p.app.Close()
	}
}

// run serves until ctx ends, then finishes the requests under way.
func (p *program) run(ctx context.Context) error {
	ended := make(chan error, 3)
	for _, e := range []endpoint{p.pages, p.actions, p.machines} {
		go func() { ended <- e.server.Serve(e.listener) }()
	}
	p.log.InfoContext(ctx, "monitor started", slog.String("version", app.Version()), slog.String("addr", p.pages.listener.Addr().String()),
		slog.String("actions_addr", p.actions.listener.Addr().String()), slog.String("http_addr", p.machines.listener.Addr().String()))
	working, rest := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { p.web.Run(working) })
	work.Go(func() { p.app.FollowChannels(working) })
	defer work.Wait()
	defer rest()
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-ended:
	}
	p.log.InfoContext(ctx, "monitor stopping")
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	return errors.Join(failure, p.pages.server.Shutdown(stop), p.actions.server.Shutdown(stop), p.machines.server.Shutdown(stop))
}
