// Package app opens what the programs have in common: the record, the schedule, the way to NPHIES and the directory of
// channels, all from the settings.
package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"runtime/debug"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/migrations"
	"github.com/claimlinc/nphiesq/nphiesclient"
)

// App is an open installation.
type App struct {
	Config    *config.Config
	Log       *slog.Logger
	Pool      *pgxpool.Pool
	Store     *store.Store
	Redis     redis.UniversalClient
	Queue     *broker.Queue
	Directory *notify.Directory
	// Missing tells of stakeholders without a webhook, for those who notify.
	Missing []notify.Warning
}

// Open connects to the record and the schedule and refuses those that cannot be trusted: a database that is not migrated, a
// Redis that is too old or evicts. maxConns bounds the connections to PostgreSQL, 0 leaves the default.
func Open(ctx context.Context, cfg *config.Config, log *slog.Logger, maxConns int32) (*App, error) {
	if err := cfg.Require("DATABASE_URL", "REDIS_URL"); err != nil {
		return nil, err
	}
	a := &App{Config: cfg, Log: log}
	var err error
	if a.Directory, a.Missing, err = directory(cfg); err != nil {
		return nil, err
	}
	if a.Redis, err = broker.Connect(cfg.RedisURL.Reveal()); err != nil {
		return nil, err
	}
	if a.Pool, err = store.Open(ctx, cfg.DatabaseURL.Reveal(), maxConns); err != nil {
		a.Close()
		return nil, err
	}
	if err := migrations.Check(ctx, cfg.DatabaseURL.Reveal()); err != nil {
		a.Close()
		return nil, err
	}
	warnings, err := broker.Check(ctx, a.Redis)
	if err != nil {
		a.Close()
		return nil, err
	}
	for _, w := range warnings {
		log.DebugContext(ctx, "Redis could be safer", slog.String("warning", w))
	}
	o := store.Options{Links: Links(cfg), Environment: cfg.Environment}
	if cfg.Enabled {
		o.Router = router{a.Directory}
	}
	a.Store, a.Queue = store.New(a.Pool, o), broker.New(a.Redis)
	return a, nil
}

// Close closes the connections.
func (a *App) Close() {
	if a.Pool != nil {
		a.Pool.Close()
	}
	if a.Redis != nil {
		_ = a.Redis.Close() // nothing of ours is buffered there
	}
}

// directory reads the webhooks.
func directory(cfg *config.Config) (*notify.Directory, []notify.Warning, error) {
	hooks := map[cards.Stakeholder]string{}
	for name, url := range cfg.Webhooks() {
		hooks[cards.Stakeholder(name)] = url.Reveal()
	}
	return notify.NewDirectory(hooks, cfg.AllowInsecure)
}

// router shows the directory to the store.
type router struct{ d *notify.Directory }

func (r router) Channels(who []cards.Stakeholder) []store.Channel {
	var out []store.Channel
	for _, c := range r.d.Channels(who) {
		out = append(out, store.Channel{Name: c.Name, Stakeholders: c.Stakeholders, Redacted: c.Redacted})
	}
	return out
}

// Links are the addresses on cards.
func Links(c *config.Config) cards.Links {
	return cards.Links{
		Monitor: c.MonitorURL, Grafana: c.GrafanaURL, Kibana: c.KibanaURL, NPHIESPortal: c.PortalURL, NPHIESStatus: c.StatusURL, NPHIESDocs: c.DocsURL,
		ClaimLinc: c.ClaimLincURL, VaultRunbook: c.VaultRunbook, QueueRunbook: c.QueueRunbook, NPHIESRunbook: c.NPHIESRunbook,
	}
}

// Endpoint is NPHIES' host.
func Endpoint(c *config.Config) string {
	u, err := url.Parse(c.BaseURL)
	if err != nil {
		return ""
	}
	return u.Host
}

// NPHIES makes the client for NPHIES, with the client certificate of the settings. A file that cannot be read or does not fit
// is a *config.SettingError.
func NPHIES(c *config.Config, version string) (*nphiesclient.Client, error) {
	if err := c.Require("NPHIES_BASE_URL"); err != nil {
		return nil, err
	}
	o := nphiesclient.Config{BaseURL: c.BaseURL, Timeout: c.ExchangeTimeout.D(), UserAgent: "nphiesq/" + version}
	load := func(name, path string) ([]byte, error) {
		body, err := os.ReadFile(path) //nolint:gosec // the operator names the file
		if err != nil {
			return nil, &config.SettingError{Name: name, Problem: "cannot read the file: " + cause(err)}
		}
		return body, nil
	}
	var cert tls.Certificate
	switch {
	case c.PKCS12File != "":
		body, err := load("NPHIES_CLIENT_PKCS12_FILE", c.PKCS12File)
		if err != nil {
			return nil, err
		}
		if cert, err = nphiesclient.LoadPKCS12(body, c.PKCS12Pass.Reveal()); err != nil {
			return nil, &config.SettingError{Name: "NPHIES_CLIENT_PKCS12_FILE", Problem: fault.Of(err).Safe}
		}
	case c.CertFile != "":
		crt, err := load("NPHIES_CLIENT_CERT_FILE", c.CertFile)
		if err != nil {
			return nil, err
		}
		key, err := load("NPHIES_CLIENT_KEY_FILE", c.KeyFile)
		if err != nil {
			return nil, err
		}
		if cert, err = nphiesclient.LoadPEM(crt, key); err != nil {
			return nil, &config.SettingError{Name: "NPHIES_CLIENT_CERT_FILE", Problem: fault.Of(err).Safe}
		}
	}
	if cert.Certificate != nil {
		o.ClientCertificate = func() (*tls.Certificate, error) { return &cert, nil }
	}
	if c.CAFile != "" {
		body, err := load("NPHIES_CA_FILE", c.CAFile)
		if err != nil {
			return nil, err
		}
		var pool *x509.CertPool
		if pool, err = nphiesclient.LoadRoots(body); err != nil {
			return nil, &config.SettingError{Name: "NPHIES_CA_FILE", Problem: fault.Of(err).Safe}
		}
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	return nphiesclient.New(o)
}

func cause(err error) string {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err.Error()
	}
	return "unreadable"
}

// version is set by the linker (make build).
var version = ""

// Version is the program's version: that of the build, else the commit, else "dev".
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return s.Value[:12]
			}
		}
	}
	return "dev"
}
