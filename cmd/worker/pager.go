package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/app"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/escalation"
	"github.com/claimlinc/nphiesq/internal/pagerduty"
)

// registerPager adds the handler that tells PagerDuty, and what escalates by itself.
func registerPager(p *program, registry *prometheus.Registry) error {
	c := p.app.Config
	keys, err := app.PagerKeys(c)
	if err != nil {
		return err
	}
	client, err := pagerduty.NewClient(pagerduty.Options{BaseURL: c.PagerURL, Timeout: c.PagerTimeout.D(), UserAgent: "nphiesq/" + app.Version(), Now: p.app.Now})
	if err != nil {
		return &config.SettingError{Name: "PAGERDUTY_URL", Problem: err.Error()}
	}
	registry.MustRegister(pagerduty.Collector(p.app.Store))
	(&pagerduty.Handler{
		Store: p.app.Store, Sender: client, Keys: keys, Schedule: p.app.Queue, Metrics: pagerduty.NewMetrics(registry), Log: p.log, Now: p.app.Now,
	}).Register(p.router)
	core, err := p.app.Core()
	if err != nil {
		return err
	}
	core.Metrics = actions.NewCounts(registry)
	p.escalation = escalation.New(p.app.Store, core, registry, p.log, escalation.Options{Critical: c.EscalateCritical.D(), High: c.EscalateHigh.D(), Now: p.app.Now})
	return nil
}
