// Package alertmanager takes what Prometheus' Alertmanager sends to a webhook receiver and turns it into conditions that people hear of
// in Teams: an alert that fires, and its end.
//
// Source: Prometheus, Alertmanager configuration, webhook_config, version "4".
package alertmanager

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/store"
)

// Conditions is the record.
type Conditions interface {
	Raise(ctx context.Context, c store.Condition) (channels []string, err error)
	Clear(ctx context.Context, t cards.EventType, identity string) (channels []string, err error)
}

// Notifier wishes for channels to be drained.
type Notifier interface {
	Notify(ctx context.Context, channels ...string) error
}

// maxBody is the largest message that is read; Alertmanager's max_alerts bounds what it sends.
const maxBody = 1 << 20

// maxAlerts is how many alerts of one message are taken.
const maxAlerts = 200

// message is the webhook's body, as far as it is used.
type message struct {
	Version           string            `json:"version"`
	Receiver          string            `json:"receiver"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	Alerts            []alert           `json:"alerts"`
}

type alert struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	Fingerprint string            `json:"fingerprint"`
}

// Handler answers POSTs of Alertmanager that carry the token as "Authorization: Bearer …".
type Handler struct {
	store  Conditions
	notify Notifier
	token  string
	log    *slog.Logger
	// failures counts addresses that try out tokens.
	failures Failures
}

// Failures counts addresses that try out tokens: *ratelimit.Failures.
type Failures interface {
	Blocked(ctx context.Context, address string) (retryIn time.Duration, err error)
	Failed(ctx context.Context, address string) error
}

// New returns a Handler. An empty token refuses everything. failures may be nil: then nobody is counted.
func New(s Conditions, n Notifier, token string, failures Failures, log *slog.Logger) *Handler {
	return &Handler{store: s, notify: n, token: token, failures: failures, log: log}
}

// blocked answers an address that has tried too many tokens. With Redis away the token is guard enough: an alert that says so must come in.
func (h *Handler) blocked(w http.ResponseWriter, r *http.Request) bool {
	if h.failures == nil {
		return false
	}
	wait, err := h.failures.Blocked(r.Context(), ratelimit.Address(r.RemoteAddr))
	if err != nil || wait <= 0 {
		return false
	}
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	http.Error(w, "too many wrong tokens from this address", http.StatusTooManyRequests)
	return true
}

// ServeHTTP answers 200 when every alert is on record, 4xx when the message is not Alertmanager's, 503 when the record is away:
// Alertmanager then sends it again.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "only POST", http.StatusMethodNotAllowed)
		return
	}
	if h.blocked(w, r) {
		return
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(h.token))
	if !ok || h.token == "" || subtle.ConstantTimeCompare(a[:], b[:]) != 1 {
		if h.failures != nil {
			if err := h.failures.Failed(r.Context(), ratelimit.Address(r.RemoteAddr)); err != nil {
				h.log.WarnContext(r.Context(), "failure not counted", slog.String("error", err.Error()))
			}
		}
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "the token is missing or wrong: set http_config.authorization.credentials to ALERTMANAGER_TOKEN", http.StatusUnauthorized)
		return
	}
	var m message
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&m); err != nil {
		http.Error(w, "not a message of Alertmanager, or larger than 1 MiB", http.StatusBadRequest)
		return
	}
	if m.Version != "4" {
		http.Error(w, "version "+strconv.Quote(m.Version)+" is not known; want 4", http.StatusBadRequest)
		return
	}
	if len(m.Alerts) > maxAlerts {
		http.Error(w, fmt.Sprintf("%d alerts; at most %d: set max_alerts", len(m.Alerts), maxAlerts), http.StatusRequestEntityTooLarge)
		return
	}
	var channels []string
	again := false
	for _, x := range m.Alerts {
		to, err := h.take(r.Context(), m, x)
		if err != nil {
			h.log.WarnContext(r.Context(), "alert not kept", slog.String("error", err.Error()))
			again = true
		}
		channels = append(channels, to...)
	}
	slices.Sort(channels)
	if channels = slices.Compact(channels); len(channels) > 0 {
		if err := h.notify.Notify(r.Context(), channels...); err != nil {
			h.log.WarnContext(r.Context(), "notifications wait for the reconciler", slog.String("error", err.Error()))
		}
	}
	if again {
		http.Error(w, "cannot be kept now, send it again", http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintf(w, "%d alerts\n", len(m.Alerts))
}

// lapse is how long an alert holds of which nothing is heard: its end may have been lost. Alertmanager repeats it every repeat_interval,
// four hours unless set otherwise.
const lapse = 25 * time.Hour

func (h *Handler) take(ctx context.Context, m message, a alert) ([]string, error) {
	for _, texts := range []map[string]string{a.Labels, a.Annotations, m.CommonAnnotations} {
		for k, v := range texts {
			texts[k] = strings.ReplaceAll(v, "\x00", "") // PostgreSQL cannot keep it
		}
	}
	c := condition(m, a)
	if a.Status == "resolved" {
		return h.store.Clear(ctx, c.Type, c.Identity)
	}
	c.Lapse = lapse
	return h.store.Raise(ctx, c)
}

// condition is what an alert says. The label event_type chooses one of the event types that Prometheus can see; all others are
// prometheus.alert.firing.
func condition(m message, a alert) store.Condition {
	l := a.Labels
	c := store.Condition{Type: cards.PrometheusAlertEvent, Identity: identity(a)}
	detail := cmp.Or(a.Annotations["summary"], a.Annotations["description"], m.CommonAnnotations["summary"])
	switch cards.EventType(l["event_type"]) {
	case cards.PodCrashLoopEvent:
		c.Type, c.Details = cards.PodCrashLoopEvent, cards.Pod{
			Cluster: cmp.Or(l["cluster"], "default"), Namespace: l["namespace"], Workload: cmp.Or(l["workload"], l["deployment"], l["statefulset"], l["container"], l["pod"]), Pod: l["pod"],
			Reason: cmp.Or(l["reason"], "CrashLoopBackOff"), Node: l["node"], Since: a.StartsAt, Detail: detail,
		}
	case cards.BackupFailedEvent:
		c.Type, c.Details = cards.BackupFailedEvent, cards.Backup{
			System: cmp.Or(l["system"], "PostgreSQL"), Job: cmp.Or(l["job_name"], l["job"], l["alertname"]), Target: l["target"], Failure: l["reason"], Detail: detail,
		}
	case cards.RedisNodeDownEvent, cards.RedisReplicaLagEvent:
		state := "down"
		if l["event_type"] == string(cards.RedisReplicaLagEvent) {
			state = "lagging"
		}
		c.Type, c.Details = cards.EventType(l["event_type"]), cards.Redis{Instance: l["instance"], Role: l["role"], State: state, Since: a.StartsAt, Detail: detail}
	case cards.PostgresConnectionsEvent, cards.PostgresReplicationLagEvent:
		state := "exhausted"
		if l["event_type"] == string(cards.PostgresReplicationLagEvent) {
			state = "lagging"
		}
		c.Type, c.Details = cards.EventType(l["event_type"]), cards.Postgres{
			Instance: l["instance"], Database: cmp.Or(l["datname"], l["database"]), State: state, Since: a.StartsAt, Detail: detail,
		}
	default:
		c.Details = cards.Alert{
			Name: cmp.Or(l["alertname"], "alert"), Severity: l["severity"], Subject: cmp.Or(l["instance"], l["pod"], l["queue"], l["license"], l["channel"], l["dependency"]), Job: cmp.Or(l["job"], l["service"]),
			Namespace: l["namespace"], Since: a.StartsAt, Firing: len(m.Alerts), Value: a.Annotations["value"], Receiver: m.Receiver,
			Summary: a.Annotations["summary"], Detail: a.Annotations["description"],
			Runbook: a.Annotations["runbook_url"],
		}
		return c // its severity decides by the table
	}
	switch strings.ToLower(l["severity"]) {
	case "critical", "page":
		c.Priority = cards.Critical
	case "error", "high":
		c.Priority = cards.High
	case "warning", "medium":
		c.Priority = cards.Medium
	case "info", "none", "low":
		c.Priority = cards.Low
	}
	return c
}

// identity tells an alert from others: Alertmanager's fingerprint, else its labels.
func identity(a alert) string {
	if a.Fingerprint != "" && len(a.Fingerprint) <= 64 {
		return a.Fingerprint
	}
	keys := make([]string, 0, len(a.Labels))
	for k := range a.Labels {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	sum := sha256.New()
	for _, k := range keys {
		_, _ = fmt.Fprintf(sum, "%q=%q\n", k, a.Labels[k])
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:8])
}
