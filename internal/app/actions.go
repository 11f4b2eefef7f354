package app

import (
	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/pagerduty"
)

// PagerKeys are PagerDuty's integration keys of the settings.
func PagerKeys(c *config.Config) (pagerduty.Keys, error) {
	keys, err := c.PagerKeys()
	if err != nil {
		return nil, &config.SettingError{Name: "PAGERDUTY_ROUTING_KEYS", Problem: err.Error()}
	}
	return keys, nil
}

// Core is what carries out decisions in this installation: with its order of escalation, and with PagerDuty if there is a key.
func (a *App) Core() (*actions.Core, error) {
	core := &actions.Core{Store: a.Store, Queue: a.Queue, Log: a.Log, Now: a.Now}
	for _, s := range a.Config.Chain() {
		core.Chain = append(core.Chain, cards.Stakeholder(s))
	}
	keys, err := PagerKeys(a.Config)
	if err != nil {
		return nil, err
	}
	if len(keys) > 0 {
		core.Pager = &pagerduty.Pager{Keys: keys, Environment: a.Config.Environment, Monitor: a.Config.MonitorURL}
	}
	return core, nil
}
