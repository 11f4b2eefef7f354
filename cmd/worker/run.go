package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/claimlinc/nphiesq/internal/app"
	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/certwatch"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/escalation"
	"github.com/claimlinc/nphiesq/internal/metric"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/reconcile"
	"github.com/claimlinc/nphiesq/internal/secrets"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/telemetry"
	"github.com/claimlinc/nphiesq/internal/upkeep"
	"github.com/claimlinc/nphiesq/internal/watch"
	"github.com/claimlinc/nphiesq/nphiesclient"
	"github.com/claimlinc/nphiesq/tasks"
	"github.com/claimlinc/nphiesq/tasks/nphies"
)

// program is a worker.
type program struct {
	cfg        *config.Config
	app        *app.App // nil until its servers are there
	log        *slog.Logger
	specs      []tasks.Spec
	conns      int32
	metrics    *telemetry.Tasks
	opened     atomic.Pointer[app.App] // app, for those who ask meanwhile
	router     *tasks.Router
	letters    *reconcile.Letters
	reconciler *reconcile.Reconciler
	vault      *secrets.Vault // nil without Vault
	webhooks   *notify.Watch  // nil without Vault
	clients    *nphiesclient.Clients
	certs      *certwatch.Watch
	upkeep     *upkeep.Upkeep
	watch      *watch.Watch
	escalation *escalation.Escalation
	registry   *prometheus.Registry
	http       *http.Server
	listener   net.Listener
	// state is why the worker does not work: "" while it does.
	state atomic.Pointer[string]
	ready atomic.Pointer[app.App]
}

// settle is how long a row is left to those who just touched it before the reconciler takes it for lost.
const settle = 10 * time.Second

// scrapeWithin is the longest that a scrape may take; Prometheus waits for ten seconds.
const scrapeWithin = 9 * time.Second

// recordFresh is how long figures that metrics show are kept: two scrapes of the usual length.
const recordFresh = 15 * time.Second

// newMain checks the settings and listens on HTTP_ADDR. It connects to nothing.
func newMain(ctx context.Context, cfg *config.Config, log *slog.Logger, specs []tasks.Spec) (*program, error) {
	if err := cfg.Require("DATABASE_URL", "REDIS_URL"); err != nil {
		return nil, err
	}
	p := &program{cfg: cfg, log: log, specs: specs, registry: telemetry.Registry(metric.Worker, app.Version())}
	p.say("starting")
	var err error
	if p.vault, err = app.Vault(cfg); err != nil {
		return nil, err
	}
	if p.clients, err = app.NPHIES(cfg, app.Version(), p.vault); err != nil {
		return nil, err
	}
	// A handler holds a connection only while it asks the record something; most of the time it waits for NPHIES or Teams.
	p.conns = 8
	for i := range specs {
		if specs[i].Queue == tasks.QueueSubmit {
			specs[i].Concurrency = cfg.Concurrency
		}
		p.conns += int32((specs[i].Concurrency + 1) / 2) //nolint:gosec // at most 100
	}
	groups, err := telemetry.ParsePayerGroups(cfg.PayerGroups)
	if err != nil {
		return nil, &config.SettingError{Name: "METRICS_PAYER_GROUPS", Problem: err.Error()}
	}
	p.metrics = telemetry.NewTasks(p.registry, groups)
	p.registry.MustRegister(app.Dependencies(cfg, p.vault, p.opened.Load))
	if p.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.HTTPAddr); err != nil {
		return nil, &config.SettingError{Name: "HTTP_ADDR", Problem: err.Error()}
	}
	p.http = &http.Server{Handler: p.routes(), ReadHeaderTimeout: 5 * time.Second}
	return p, nil
}

// open waits for the servers and builds what works with them.
func (p *program) open(ctx context.Context) error {
	cfg, log := p.cfg, p.log
	if err := app.LoadCertificates(ctx, cfg, p.clients, cfg.StartWait.D()); err != nil {
		return err
	}
	a, err := app.Await(ctx, log, cfg.StartWait.D(), func(ctx context.Context) (*app.App, error) { return app.Open(ctx, cfg, log, p.conns) },
		func(why error) { p.say("waiting: " + why.Error()) })
	if err != nil {
		return err
	}
	p.app = a
	p.opened.Store(a)
	if cfg.Enabled && p.vault == nil { // else what reads Vault says so
		for _, w := range a.Missing {
			log.WarnContext(ctx, "a channel is missing", slog.String("stakeholder", string(w.Stakeholder)), slog.String("warning", w.Text))
		}
	}
	a.Measure(p.registry)
	metrics := p.metrics
	p.registry.MustRegister(telemetry.NewQueues(a.Queue.Inspector()), telemetry.NewRecord(a.Store, log, recordFresh))
	p.registry.MustRegister(certwatch.Collector(p.clients))
	p.router = tasks.NewRouter(log, metrics.Attempt)
	p.letters = &reconcile.Letters{Store: a.Store, Notify: a.Queue, Log: log, Endpoint: app.Endpoint(cfg), Suppressed: metrics.Suppressed}
	handlers := nphies.New(a.Store, p.clients, a.Queue, log, nphies.Options{
		PollInterval: cfg.PollInterval.D(), PollCount: cfg.PollCount, RecheckAfter: cfg.RecheckAfter.D(), OfflineRetry: cfg.OfflineRetry.D(), BreakAfter: cfg.BreakAfter,
		IdentifierBase: cfg.IdentifierURL, PollProfile: cfg.PollProfile, ProfileVersion: cfg.ProfileVersion, Endpoint: app.Endpoint(cfg), Observe: metrics.Exchange, Now: a.Now,
	})
	handlers.Register(p.router)
	if err := registerTeams(ctx, p, p.registry); err != nil {
		return err
	}
	if err := registerPager(p, p.registry); err != nil {
		return err
	}
	p.certs = &certwatch.Watch{
		Certificates: p.clients, Store: a.Store, Notify: a.Queue, Log: log, Endpoint: app.Endpoint(cfg), Interval: cfg.CertReload.D(),
	}
	p.upkeep = upkeep.New(a.Store, a.Redis, a.Queue, log, upkeep.Options{
		Prefix: cfg.ChannelPrefix, TTL: cfg.EventTTL.D(), Retention: time.Duration(cfg.RetentionDays) * 24 * time.Hour, Silence: cfg.Silence.D(), Now: a.Now,
	})
	var vault watch.Vault
	if p.vault != nil {
		vault = p.vault
	}
	p.watch = watch.New(a.Store, a.Redis, a.Queue.Inspector(), vault, a.Queue, log, watch.Options{
		Interval: cfg.WatchInterval.D(), DeadLetters: cfg.DeadThreshold, BacklogSize: cfg.BacklogSize, BacklogAge: cfg.BacklogAge.D(), ReplicaLag: cfg.ReplicaLag.D(),
		Version: app.Version(), Now: a.Now,
	})
	p.reconciler = reconcile.New(a.Store, a.Queue, p.letters, handlers, log, reconcile.Options{
		Interval: cfg.Reconcile.D(), Settle: settle, RecheckAfter: cfg.RecheckAfter.D(), OverdueStep: cfg.OverdueStep.D(), Licenses: cfg.Licenses(), Found: metrics.Finding, Now: a.Now,
		Updates: cfg.BotAppID != "",
	})
	return nil
}

// say notes why the worker does not work; "" says that it does.
func (p *program) say(state string) { p.state.Store(&state) }

func (p *program) close() {
	_ = p.http.Close() // it has been shut down already, unless the start failed
	if p.app != nil {
		p.app.Close()
	}
}

// routes are for machines: the orchestrator and Prometheus. /livez says that the process lives, whatever its servers do: starting it
// again would mend none of them. /readyz says whether it does its work now, and if not, why.
func (p *program) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{Registry: p.registry, Timeout: scrapeWithin}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
		defer cancel()
		var err error
		if state := *p.state.Load(); state != "" {
			err = errors.New(state)
		} else {
			a := p.ready.Load()
			err = errors.Join(a.Store.Ping(ctx), broker.Ping(ctx, a.Redis))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
	return mux
}

// run works until ctx ends, then finishes what it has begun.
func (p *program) run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() {
		if err := p.http.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	if err := p.open(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // stopped before it had begun
		}
		return err
	}
	var servers []*asynq.Server
	longest := time.Duration(0)
	for _, s := range p.specs {
		longest = max(longest, s.Timeout)
	}
	stop := func() {
		p.say("stopping")
		for _, s := range servers {
			s.Stop()
		}
		var wg sync.WaitGroup
		for _, s := range servers {
			wg.Go(s.Shutdown)
		}
		wg.Wait()
	}
	for _, s := range p.specs {
		srv := asynq.NewServerFromRedisClient(p.app.Redis, asynq.Config{
			Queues: map[string]int{s.Queue: 1}, Concurrency: s.Concurrency, RetryDelayFunc: tasks.RetryDelay, IsFailure: tasks.IsFailure,
			ErrorHandler: asynq.ErrorHandlerFunc(p.letters.OnError), ShutdownTimeout: longest + 5*time.Second,
			TaskCheckInterval: 200 * time.Millisecond, DelayedTaskCheckInterval: time.Second,
			Logger: asynqLog{p.log}, LogLevel: asynq.WarnLevel,
		})
		if err := srv.Start(p.router); err != nil {
			stop()
			return fmt.Errorf("start queue %s: %w", s.Queue, err)
		}
		servers = append(servers, srv)
	}
	reconciling, stopReconciling := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { p.reconciler.Run(reconciling) })
	wg.Go(func() { p.app.Clock.Run(reconciling) })
	wg.Go(func() { p.app.ShareChannels(reconciling) })
	wg.Go(func() { p.watch.Run(reconciling) })
	wg.Go(func() { p.upkeep.Run(reconciling) })
	wg.Go(func() { p.escalation.Run(reconciling) })
	wg.Go(func() { p.beSeen(reconciling) })
	wg.Go(func() { p.certs.Run(reconciling) })
	if p.vault != nil {
		wg.Go(func() { p.vault.Run(reconciling) })
	}
	if p.webhooks != nil {
		wg.Go(func() { p.webhooks.Run(reconciling) })
	}
	p.ready.Store(p.app)
	p.say("")
	p.log.InfoContext(ctx, "worker started", slog.String("version", app.Version()), slog.String("http_addr", p.listener.Addr().String()), slog.Int("queues", len(p.specs)))

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	p.log.InfoContext(ctx, "worker stopping")
	stopReconciling()
	stop()
	wg.Wait()
	hctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, p.http.Shutdown(hctx))
}

// beSeen holds the lease by which others see that this worker runs; it is given back when ctx ends. One that does not come round any
// more is told of as offline.
func (p *program) beSeen(ctx context.Context) {
	key := uuid.NewString()
	for ctx.Err() == nil {
		held, release, ok, err := p.app.Store.Hold(ctx, store.LeaseWorker, key)
		if err != nil || !ok {
			if err != nil {
				p.log.WarnContext(ctx, "this worker is not seen by the others yet", slog.String("error", err.Error()))
			}
			select {
			case <-ctx.Done():
			case <-time.After(store.LeaseTime / 4):
			}
			continue
		}
		<-held.Done() // stopped, or lost while the database was away
		release()
	}
}

// asynqLog passes asynq's own warnings on. Its texts hold task ids, no payloads.
type asynqLog struct{ log *slog.Logger }

func (l asynqLog) put(level slog.Level, args []any) {
	l.log.Log(context.Background(), level, "asynq", slog.String("text", fmt.Sprint(args...)))
}

func (l asynqLog) Debug(args ...any) { l.put(slog.LevelDebug, args) }
func (l asynqLog) Info(args ...any)  { l.put(slog.LevelInfo, args) }
func (l asynqLog) Warn(args ...any)  { l.put(slog.LevelWarn, args) }
func (l asynqLog) Error(args ...any) { l.put(slog.LevelError, args) }
func (l asynqLog) Fatal(args ...any) { l.put(slog.LevelError, args) }
