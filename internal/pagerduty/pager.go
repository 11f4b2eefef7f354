package pagerduty

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/store"
)

// Keys are the integration keys by name: stakeholders in lower case, and config.PagerDefault.
type Keys map[string]config.Secret

// For returns the name of the key for a group; ok is false when there is none.
func (k Keys) For(s cards.Stakeholder) (name string, ok bool) {
	for _, name := range []string{strings.ToLower(string(s)), config.PagerDefault} {
		if k[name] != "" {
			return name, true
		}
	}
	return "", false
}

// Names lists the names of the keys.
func (k Keys) Names() []string {
	var out []string
	for n := range k {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// Pager makes the pages of escalations.
type Pager struct {
	Keys Keys
	// Environment names this installation; it heads every dedup_key.
	Environment string
	// Monitor is the public address of the monitor; "" leaves the links out.
	Monitor string
}

// Trigger makes the page of an escalation to a group. It shows what the card shows and nothing else.
func (p *Pager) Trigger(a store.Alert, to cards.Stakeholder, priority cards.Priority, reason string) (store.Page, bool) {
	routing, ok := p.Keys.For(to)
	if !ok {
		return store.Page{}, false
	}
	details := Details{
		Summary: cut("["+string(priority)+"] "+subject(a), maxSummary), Source: p.Environment, Severity: severity(priority), Timestamp: a.Since.UTC().Format("2006-01-02T15:04:05.000Z"),
		Component: component(a.EventType), Group: "nphies", Class: string(a.EventType),
	}
	if details.Source == "" {
		details.Source = "nphiesq"
	}
	told := make([]string, 0, len(a.Told))
	for _, s := range a.Told {
		told = append(told, string(s))
	}
	custom := map[string]any{
		"alert_id": a.ID.String(), "environment": p.Environment, "priority": string(a.Priority), "told": told, "escalated_to": string(to), "reason": cards.SafeLine(reason, 500),
	}
	if a.Event != nil {
		details.Timestamp = a.Event.At.UTC().Format("2006-01-02T15:04:05.000Z")
		if facts := facts(a.Event.Details); facts != nil {
			custom["facts"] = facts
		}
	}
	details.Custom = custom
	out := Payload{Client: "nphiesq", Payload: details}
	link := func(text string, path ...string) {
		if href := p.page(path...); href != "" {
			out.Links = append(out.Links, Link{Href: href, Text: text})
		}
	}
	out.ClientURL = p.page("notifications", a.Notification.String())
	link("Notification", "notifications", a.Notification.String())
	if a.LetterID != nil {
		link("Dead letter", "dead", a.LetterID.String())
	}
	if a.ClaimID != nil {
		link("Claim", "claims", a.ClaimID.String())
	}
	return store.Page{Action: store.PageTrigger, DedupKey: p.dedupKey(a), Routing: routing, Payload: out}, true
}

// dedupKey is <environment>:<alert id>. The id is never cut.
func (p *Pager) dedupKey(a store.Alert) string {
	id := ":" + a.ID.String()
	env := strings.ToValidUTF8(p.Environment, "")
	for len(env)+len(id) > maxDedupKey {
		r := []rune(env)
		env = string(r[:len(r)-1])
	}
	return env + id
}

// page is the address of one of the monitor's pages; "" if it has none that can be opened.
func (p *Pager) page(path ...string) string {
	u, err := url.Parse(p.Monitor)
	if err != nil || p.Monitor == "" || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") {
		return ""
	}
	return u.JoinPath(path...).String()
}

// severity is PagerDuty's word for a priority.
func severity(p cards.Priority) string {
	switch p {
	case cards.Critical:
		return "critical"
	case cards.High:
		return "error"
	case cards.Medium:
		return "warning"
	default:
		return "info"
	}
}

// component is the part of the installation that an event type is about.
func component(t cards.EventType) string {
	head, _, _ := strings.Cut(strings.TrimPrefix(string(t), "system."), ".")
	switch head {
	case "task", "dlq", "queue":
		return "asynq"
	default:
		return head
	}
}

// subject is "title: object", in English.
func subject(a store.Alert) string {
	text := a.Summary
	id := ""
	if a.Event != nil {
		e := *a.Event
		e.Resolved, e.Acknowledged, e.Escalated = nil, nil, nil
		id = e.ID
		if card, err := cards.Render(e, cards.Links{}); err == nil {
			text = cards.Summary(card)
		}
	}
	for _, p := range cards.Priorities() {
		if rest, ok := strings.CutPrefix(text, string(p)+": "); ok {
			text = rest
			break
		}
	}
	if id != "" {
		text = strings.TrimSuffix(text, " ("+id+")")
	}
	if text = cards.SafeLine(text, maxSummary); text == "" {
		text = string(a.EventType)
	}
	return text
}

// facts are the details of an event with their texts made inert, as cards do it. The structs are the allow-list.
func facts(details any) any {
	raw, err := json.Marshal(details)
	if err != nil {
		return nil
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil
	}
	return inert(v)
}

func inert(v any) any {
	switch v := v.(type) {
	case string:
		return cards.SafeLine(v, 500)
	case []any:
		for i := range v {
			v[i] = inert(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = inert(v[k])
		}
	}
	return v
}
