// Package app opens what the programs have in common: the record, the schedule, the way to NPHIES and the directory of
// channels, all from the settings.
package app

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/build"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/sabotage"
	"github.com/claimlinc/nphiesq/internal/secrets"
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
	// Clock is the database's, see Now.
	Clock *store.Clock
	// RedisAway is why Redis could not be reached; nil when it was.
	RedisAway error
	// Missing tells of stakeholders without a webhook in the settings, for those who notify. With Vault there may be more there:
	// see WatchWebhooks.
	Missing []notify.Warning

	hooks  map[cards.Stakeholder]notify.Hook // of the settings
	router *router                           // nil when nobody is to be notified
}

// Open connects to the record and the schedule and refuses those that cannot be trusted: a database that is not migrated, a
// Redis that is too old or evicts. maxConns bounds the connections to PostgreSQL, 0 leaves the default.
func Open(ctx context.Context, cfg *config.Config, log *slog.Logger, maxConns int32) (*App, error) {
	a, err := open(ctx, cfg, log, maxConns)
	if err == nil && a.RedisAway != nil {
		a.Close()
		return nil, a.RedisAway
	}
	return a, err
}

// OpenRecord is Open for programs that can do without the schedule for a while: with Redis away it succeeds and sets RedisAway. What
// they wish for is in the record, where the workers find it.
func OpenRecord(ctx context.Context, cfg *config.Config, log *slog.Logger, maxConns int32) (*App, error) {
	a, err := open(ctx, cfg, log, maxConns)
	if err == nil {
		a.readChannels(ctx)
	}
	return a, err
}

func open(ctx context.Context, cfg *config.Config, log *slog.Logger, maxConns int32) (*App, error) {
	if err := cfg.Require("DATABASE_URL", "REDIS_URL"); err != nil {
		return nil, err
	}
	a := &App{Config: cfg, Log: log}
	var err error
	if a.Directory, a.hooks, a.Missing, err = directory(cfg); err != nil {
		return nil, err
	}
	if a.Redis, err = Redis(cfg); err != nil {
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
	if fault.Is(err, fault.Unavailable) {
		a.RedisAway, err = err, nil
	}
	if err != nil {
		a.Close()
		return nil, err
	}
	for _, w := range warnings {
		log.DebugContext(ctx, "Redis could be safer", slog.String("warning", w))
	}
	if a.Clock, err = store.NewClock(ctx, a.Pool); err != nil {
		a.Close()
		return nil, err
	}
	o := store.Options{Links: Links(cfg), Environment: cfg.Environment, Now: a.Now}
	if cfg.Enabled {
		a.router = &router{d: a.Directory}
		o.Router = a.router
	}
	a.Store, a.Queue = store.New(a.Pool, o), broker.New(a.Redis)
	return a, nil
}

// Await opens for programs that run for long: while what open connects to is not there yet (PostgreSQL, its schema, Redis), it tries
// again, for at most patience, and tells waiting why. Wrong settings end it at once.
func Await(ctx context.Context, log *slog.Logger, patience time.Duration, open func(context.Context) (*App, error), waiting func(why error)) (*App, error) {
	wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(200*time.Millisecond), backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(patience))
	var last error // when patience or ctx ends, the reason is wanted
	told := ""
	a, err := backoff.RetryWithData(func() (*App, error) {
		tctx, cancel := context.WithTimeout(ctx, 15*time.Second) // a server that hangs is tried again, too
		defer cancel()
		var a *App
		if a, last = open(tctx); last == nil {
			return a, nil
		}
		if !fault.Is(last, fault.Unavailable) && !errors.Is(last, migrations.ErrNotMigrated) {
			return nil, backoff.Permanent(last)
		}
		if waiting(last); last.Error() != told && patience > 0 {
			told = last.Error()
			log.WarnContext(ctx, "start waits", slog.String("reason", told))
		}
		return nil, last
	}, backoff.WithContext(patient{wait, patience}, ctx))
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, last
	}
	return a, nil
}

// patient is a policy that with no patience does not wait at all (0 means for ever to the library).
type patient struct {
	backoff.BackOff
	patience time.Duration
}

func (p patient) NextBackOff() time.Duration {
	if p.patience <= 0 {
		return backoff.Stop
	}
	return p.BackOff.NextBackOff()
}

// Redis makes the client of the schedule. It does not dial. The caller closes it.
func Redis(c *config.Config) (redis.UniversalClient, error) {
	return broker.Connect(c.RedisURL.Reveal(), broker.TLSFiles(c.RedisCAFile, c.RedisCertFile, c.RedisKeyFile),
		broker.SentinelLogin(c.SentinelUsername, c.SentinelPassword.Reveal()))
}

// Now is the time by which work is due: the database's, the same for all workers.
func (a *App) Now() time.Time {
	if sabotage.On(sabotage.OwnClocks) {
		return sabotage.Now()
	}
	return a.Clock.Now()
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

// directory reads the webhooks of the settings.
func directory(cfg *config.Config) (*notify.Directory, map[cards.Stakeholder]notify.Hook, []notify.Warning, error) {
	d, _, err := notify.NewDirectory(nil, cfg.AllowInsecure, cfg.WebhookHosts()...)
	if err != nil {
		return nil, nil, nil, err
	}
	bots, err := notify.ParseBotChannels(cfg.BotChannels)
	if err != nil {
		return nil, nil, nil, &config.SettingError{Name: "TEAMS_BOT_CHANNELS", Problem: err.Error()}
	}
	d.SetBots(bots)
	who, err := notify.LoginChannels(cfg.OAuthChannels)
	if err != nil {
		return nil, nil, nil, &config.SettingError{Name: "TEAMS_OAUTH_CHANNELS", Problem: err.Error()}
	}
	var login notify.Login
	if len(who) > 0 {
		if login, err = notify.NewLogin(loginSettings(cfg)); err != nil && cfg.VaultAddr == "" { // with Vault the rest may be there
			return nil, nil, nil, &config.SettingError{Name: "TEAMS_OAUTH_CHANNELS", Problem: err.Error()}
		}
	}
	hooks := map[cards.Stakeholder]notify.Hook{}
	for name, url := range cfg.Webhooks() {
		s := cards.Stakeholder(name)
		h, err := d.Parse(s, url.Reveal())
		if err != nil {
			return nil, nil, nil, &config.SettingError{Name: "TEAMS_WEBHOOK_" + name, Problem: err.Error()}
		}
		if slices.Contains(who, s) {
			h.Login = login
		}
		hooks[s] = h
	}
	return d, hooks, d.Use(hooks), nil
}

func loginSettings(c *config.Config) notify.LoginSettings {
	return notify.LoginSettings{
		Tenant: c.OAuthTenant, ClientID: c.OAuthClientID, ClientSecret: c.OAuthSecret.Reveal(), TokenURL: c.OAuthTokenURL, Scope: c.OAuthScope,
		AllowInsecure: c.AllowInsecure,
	}
}

// firstRead is how long a start waits for the webhooks in Vault. After it notifications wait, and claims do not.
const firstRead = 10 * time.Second

// WatchWebhooks reads the webhooks from Vault and returns what reads them again while the program runs. Without Vault, or when nobody is
// to be notified, it is nil and the settings count alone. trouble is told of what cannot be used.
func (a *App) WatchWebhooks(ctx context.Context, vault notify.KV, trouble func(ctx context.Context, p notify.Problem), rotated func(ctx context.Context, version int)) *notify.Watch {
	c := a.Config
	if c.VaultAddr == "" || !c.Enabled {
		return nil
	}
	w := notify.NewWatch(notify.WatchOptions{
		Vault: vault, Path: c.VaultPath, Interval: c.VaultReload.D(), Directory: a.Directory, Environment: a.hooks,
		Login: loginSettings(c), LoginChannels: c.OAuthChannels, Log: a.Log, Trouble: trouble, Rotated: rotated,
	})
	ctx, cancel := context.WithTimeout(ctx, firstRead)
	defer cancel()
	_ = w.Refresh(ctx) // it is in the log; Run goes on
	return w
}

// Links are the language of cards and the addresses on them.
func Links(c *config.Config) cards.Links {
	return cards.Links{
		Language: cards.Language(c.CardsLanguage),
		Monitor:  c.MonitorURL, Grafana: c.GrafanaURL, Kibana: c.KibanaURL, NPHIESPortal: c.PortalURL, NPHIESStatus: c.StatusURL, NPHIESDocs: c.DocsURL,
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

// Vault makes the client of Vault, nil when none is configured. It does not connect.
func Vault(c *config.Config) (*secrets.Vault, error) {
	if c.VaultAddr == "" {
		return nil, nil //nolint:nilnil // no Vault is a common case
	}
	var login secrets.Login
	switch {
	case c.VaultToken != "":
		login = secrets.Token(c.VaultToken.Reveal())
	case c.VaultTokenFile != "":
		login = secrets.TokenFile(c.VaultTokenFile)
	case c.VaultRoleID != "":
		login = secrets.AppRole(c.VaultAppRole, c.VaultRoleID, c.VaultSecretID.Reveal(), c.VaultSecretIDF)
	default:
		login = secrets.Kubernetes(c.VaultK8sMount, c.VaultK8sRole, c.VaultK8sToken)
	}
	v, err := secrets.New(secrets.Options{Address: c.VaultAddr, Namespace: c.VaultNamespace, CACert: c.VaultCACert, Login: login})
	if err != nil {
		name := "VAULT_ADDR"
		if c.VaultCACert != "" { // the form of the address was checked before
			name = "VAULT_CACERT"
		}
		return nil, &config.SettingError{Name: name, Problem: fault.Of(err).Safe}
	}
	return v, nil
}

// NPHIES makes the clients for NPHIES, one for each licence with a certificate of its own. vault is nil without Vault. It reads
// no certificate yet, see LoadCertificates.
func NPHIES(c *config.Config, version string, vault nphiesclient.KV) (*nphiesclient.Clients, error) {
	if err := c.Require("NPHIES_BASE_URL"); err != nil {
		return nil, err
	}
	o := nphiesclient.ClientsConfig{Config: nphiesclient.Config{
		BaseURL: c.BaseURL, Timeout: c.ExchangeTimeout.D(), UserAgent: "nphiesq/" + version, MaxAnswerBytes: c.MaxAnswerBytes,
	}}
	switch {
	case c.PKCS12File != "":
		o.Default = nphiesclient.PKCS12File(c.PKCS12File, c.PKCS12Pass.Reveal())
	case c.CertFile != "":
		o.Default = nphiesclient.PEMFiles(c.CertFile, c.KeyFile)
	}
	switch {
	case c.CertDir != "":
		o.Own = func(license string) nphiesclient.Source { return nphiesclient.InDirectory(c.CertDir, license) }
	case c.CertVaultPath != "":
		path := strings.TrimRight(c.CertVaultPath, "/")
		o.Own = func(license string) nphiesclient.Source { return nphiesclient.InVault(vault, path+"/"+license) }
	}
	if c.CAFile != "" {
		body, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, &config.SettingError{Name: "NPHIES_CA_FILE", Problem: "cannot read the file: " + cause(err)}
		}
		pool, err := nphiesclient.LoadRoots(body)
		if err != nil {
			return nil, &config.SettingError{Name: "NPHIES_CA_FILE", Problem: fault.Of(err).Safe}
		}
		o.Config.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	clients, err := nphiesclient.NewClients(o)
	if err != nil {
		return nil, &config.SettingError{Name: "NPHIES_BASE_URL", Problem: fault.Of(err).Safe}
	}
	return clients, nil
}

// LoadCertificates makes sure that each configured licence has a certificate, where one is needed. While Vault is away it is
// asked again, for at most patience. Errors are *config.SettingError, or the cancellation of ctx.
func LoadCertificates(ctx context.Context, c *config.Config, clients *nphiesclient.Clients, patience time.Duration) error {
	setting := "NPHIES_CLIENT_PKCS12_FILE"
	if c.CertFile != "" {
		setting = "NPHIES_CLIENT_CERT_FILE"
	}
	if err := clients.LoadDefault(ctx); err != nil {
		return &config.SettingError{Name: setting, Problem: fault.Of(err).Safe}
	}
	switch {
	case c.CertDir != "":
		setting = "NPHIES_CLIENT_CERT_DIR"
	case c.CertVaultPath != "":
		setting = "NPHIES_CLIENT_VAULT_PATH"
	}
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, license := range c.Licenses() {
		var last error // when patience ends, the reason is wanted and not the end
		load := func() error {
			if last = clients.Load(patient, license); last != nil && !fault.Is(last, fault.Unavailable) {
				return backoff.Permanent(last)
			}
			return last
		}
		wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(200*time.Millisecond), backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
		switch err := backoff.Retry(load, backoff.WithContext(wait, patient)); {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case fault.Is(last, fault.NotFound): // it names the licence
			return &config.SettingError{Name: setting, Problem: fault.Of(last).Safe}
		default:
			return &config.SettingError{Name: setting, Problem: "licence " + license + ": " + fault.Of(last).Safe}
		}
	}
	return nil
}

func cause(err error) string {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err.Error()
	}
	return "unreadable"
}

// Version is the program's version: that of the build, else the commit, else "dev".
func Version() string { return build.Get().Version }
