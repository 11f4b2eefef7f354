package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimlinc/nphiesq/internal/app"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/signing"
	"github.com/claimlinc/nphiesq/tasks/teams"
)

// registerTeams adds the handler that posts notifications.
func registerTeams(p *program, registry *prometheus.Registry) error {
	c := p.app.Config
	keys, err := signing.ParseKeys(c.HMACKey.Reveal())
	if err != nil {
		return &config.SettingError{Name: "TEAMS_HMAC_SECRET_KEY", Problem: err.Error()}
	}
	poster := notify.NewPoster(notify.Options{
		Timeout: c.PostTimeout.D(), TotalConnections: c.TotalConns, PerHost: c.ConnsPerHost, AllowInsecure: c.AllowInsecure, Keys: keys,
		UserAgent: "nphiesq/" + app.Version(),
	})
	limiter := ratelimit.New(p.app.Redis, "teams", ratelimit.Settings{Requests: c.RateRequests, Period: c.RatePeriod.D(), Burst: c.RateBurst})
	teams.New(p.app.Store, p.app.Directory, poster, limiter, p.app.Queue, teams.NewMetrics(registry), p.log, teams.Options{
		MaxRetries: c.MaxRetries, RetryBase: c.RetryBase.D(), RetryFactor: c.RetryFactor, MaxRetryDelay: c.MaxRetryDelay.D(), DigestAbove: c.DigestAbove,
		Environment: c.Environment, Links: app.Links(c), Now: p.app.Now,
	}).Register(p.router)
	return nil
}
