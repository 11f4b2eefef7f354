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

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/claimlinc/nphiesq/internal/app"
	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/certwatch"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/reconcile"
	"github.com/claimlinc/nphiesq/internal/secrets"
	"github.com/claimlinc/nphiesq/internal/telemetry"
	"github.com/claimlinc/nphiesq/tasks"
	"github.com/claimlinc/nphiesq/tasks/nphies"
)

// program is a running worker.
type program struct {
	app        *app.App
	log        *slog.Logger
	specs      []tasks.Spec
	router     *tasks.Router
	letters    *reconcile.Letters
	reconciler *reconcile.Reconciler
	vault      *secrets.Vault // nil without Vault
	certs      *certwatch.Watch
	http       *http.Server
	listener   net.Listener
	ready      atomic.Bool
}

// settle is how long a row is left to those who just touched it before the reconciler takes it for lost.
const settle = 30 * time.Second

// vaultPatience is how long a worker waits for Vault at its start.
const vaultPatience = time.Minute

func newMain(ctx context.Context, cfg *config.Config, log *slog.Logger, specs []tasks.Spec) (*program, error) {
	vault, err := app.Vault(cfg)
	if err != nil {
		return nil, err
	}
	clients, err := app.NPHIES(cfg, app.Version(), vault)
	if err != nil {
		return nil, err
	}
	if err := app.LoadCertificates(ctx, cfg, clients, vaultPatience); err != nil {
		return nil, err
	}
	// A poll or drain holds a connection for its lock beside the one it works with; the others wait for NPHIES most of the time.
	conns := 6
	for i := range specs {
		switch specs[i].Queue {
		case tasks.QueueSubmit:
			specs[i].Concurrency = cfg.Concurrency
			conns += (cfg.Concurrency + 1) / 2
		case tasks.QueueEligibility, tasks.QueuePriorAuth, tasks.QueueStatus, tasks.QueueCancel:
			conns += specs[i].Concurrency / 2
		default:
			conns += 2 * specs[i].Concurrency
		}
	}
	a, err := app.Open(ctx, cfg, log, int32(conns))
	if err != nil {
		return nil, err
	}
	if cfg.Enabled {
		for _, w := range a.Missing {
			log.WarnContext(ctx, "a channel is missing", slog.String("stakeholder", string(w.Stakeholder)), slog.String("warning", w.Text))
		}
	}
	registry := telemetry.Registry(app.Version())
	metrics := telemetry.NewTasks(registry)
	registry.MustRegister(telemetry.NewQueues(a.Queue.Inspector()))
	registry.MustRegister(certwatch.Collector(clients))
	p := &program{app: a, vault: vault, log: log, specs: specs, router: tasks.NewRouter(log, metrics.Attempt)}
	p.letters = &reconcile.Letters{Store: a.Store, Notify: a.Queue, Log: log, Endpoint: app.Endpoint(cfg)}
	nphies.New(a.Store, clients, a.Queue, log, nphies.Options{
		PollInterval: cfg.PollInterval.D(), PollCount: cfg.PollCount, RecheckAfter: cfg.RecheckAfter.D(), OfflineRetry: cfg.OfflineRetry.D(),
		IdentifierBase: cfg.IdentifierURL, PollProfile: cfg.PollProfile, ProfileVersion: cfg.ProfileVersion, Endpoint: app.Endpoint(cfg), Observe: metrics.Exchange,
	}).Register(p.router)
	if err := registerTeams(p, registry); err != nil {
		a.Close()
		return nil, err
	}
	p.certs = &certwatch.Watch{
		Certificates: clients, Store: a.Store, Notify: a.Queue, Log: log, Endpoint: app.Endpoint(cfg), Interval: cfg.CertReload.D(),
	}
	p.reconciler = reconcile.New(a.Store, a.Queue, p.letters, log, reconcile.Options{
		Interval: cfg.Reconcile.D(), Settle: settle, RecheckAfter: cfg.RecheckAfter.D(), Licenses: cfg.Licenses(),
	})
	if p.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.HTTPAddr); err != nil {
		a.Close()
		return nil, &config.SettingError{Name: "HTTP_ADDR", Problem: err.Error()}
	}
	p.http = &http.Server{Handler: p.routes(registry), ReadHeaderTimeout: 5 * time.Second}
	return p, nil
}

func (p *program) close() { p.app.Close() }

// routes are for machines: the orchestrator and Prometheus.
func (p *program) routes(registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
		defer cancel()
		err := errors.Join(p.app.Store.Ping(ctx), broker.Ping(ctx, p.app.Redis))
		if !p.ready.Load() {
			err = errors.Join(err, errors.New("stopping"))
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
	var servers []*asynq.Server
	longest := time.Duration(0)
	for _, s := range p.specs {
		longest = max(longest, s.Timeout)
	}
	stop := func() {
		p.ready.Store(false)
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
			Queues: map[string]int{s.Queue: 1}, Concurrency: s.Concurrency, RetryDelayFunc: tasks.RetryDelay,
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
	failed := make(chan error, 1)
	go func() {
		if err := p.http.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	reconciling, stopReconciling := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { p.reconciler.Run(reconciling) })
	wg.Go(func() { p.certs.Run(reconciling) })
	if p.vault != nil {
		wg.Go(func() { p.vault.Run(reconciling) })
	}
	p.ready.Store(true)
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
