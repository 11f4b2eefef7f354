// Package notify knows where the stakeholders' channels are and posts cards to them: webhook addresses that cannot be printed,
// signatures, the post itself, and what Teams' answer means. It keeps no state beyond its connections.
package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
)

// Errors of ParseWebhookURL. None of them shows the address.
var (
	// ErrWebhookURL: the address is not one of a Workflows webhook.
	ErrWebhookURL = errors.New("notify: unusable webhook address")
	// ErrRetiredConnector: the address belongs to an Office 365 connector, which Microsoft has retired.
	ErrRetiredConnector = errors.New("notify: Office 365 connectors are retired: make a Workflows webhook " +
		"(\"When a Teams webhook request is received\") and use its address")
)

// workflowHosts are the domains of Workflows webhooks.
var workflowHosts = []string{"logic.azure.com", "environment.api.powerplatform.com"}

// WebhookURL is the address of a webhook. It is a credential, so every way of printing it (fmt, JSON, slog) gives
// "https://<host>/…#<first 8 hex digits of its SHA-256>". The zero value is no address.
type WebhookURL struct {
	// reveal is a function because fmt prints unexported fields of others without asking their methods, and follows pointers.
	reveal func() string
	host   string
}

// ParseWebhookURL checks an address and keeps it byte for byte, for its signature covers the query as it stands.
//
// It must be https on port 443 at a host of Workflows or of extraHosts (domains of sovereign clouds), without user and fragment.
// allowInsecure also permits http and any port, on loopback hosts only; it is for tests and demonstrations.
//
// Errors wrap ErrWebhookURL or are ErrRetiredConnector.
func ParseWebhookURL(raw string, allowInsecure bool, extraHosts ...string) (WebhookURL, error) {
	raw = strings.TrimSpace(raw)
	bad := func(why string) (WebhookURL, error) { return WebhookURL{}, fmt.Errorf("%w: %s", ErrWebhookURL, why) }
	for _, c := range []byte(raw) {
		if c <= ' ' || c >= 0x7f {
			return bad("it holds spaces, control or non-ASCII characters")
		}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return bad("it cannot be parsed") // err shows the address
	}
	host := strings.ToLower(u.Hostname())
	switch {
	case u.Opaque != "" || host == "":
		return bad("it has no host")
	case u.User != nil:
		return bad("it holds a user name")
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return bad("it holds a fragment")
	}
	w := WebhookURL{reveal: func() string { return raw }, host: host}
	if allowInsecure && loopback(host) && (u.Scheme == "http" || u.Scheme == "https") {
		return w, nil
	}
	if within(host, "webhook.office.com") || within(host, "outlook.office.com") || within(host, "outlook.office365.com") {
		return WebhookURL{}, ErrRetiredConnector
	}
	switch {
	case u.Scheme != "https":
		return bad("it must begin with https://")
	case u.Port() != "" && u.Port() != "443":
		return bad("its port must be 443")
	case !slices.ContainsFunc(slices.Concat(workflowHosts, extraHosts), func(d string) bool { return within(host, d) }):
		return bad("its host is none of " + strings.Join(slices.Concat(workflowHosts, extraHosts), ", "))
	}
	return w, nil
}

// within reports whether host is domain or lies below it.
func within(host, domain string) bool {
	domain = strings.ToLower(strings.TrimPrefix(domain, "."))
	return domain != "" && (host == domain || strings.HasSuffix(host, "."+domain))
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// IsZero reports whether w is no address.
func (w WebhookURL) IsZero() bool { return w.reveal == nil }

// Reveal returns the address itself. Only the request that is sent to it may see it.
func (w WebhookURL) Reveal() string {
	if w.IsZero() {
		return ""
	}
	return w.reveal()
}

// Host returns the host's name in lower case, "" for the zero value.
func (w WebhookURL) Host() string { return w.host }

// Fingerprint returns the first 8 hex digits of the address's SHA-256: the same for the same address, "" for the zero value.
func (w WebhookURL) Fingerprint() string {
	if w.IsZero() {
		return ""
	}
	sum := sha256.Sum256([]byte(w.reveal()))
	return hex.EncodeToString(sum[:4])
}

// Key returns a name for the webhook that is safe in Redis and the same in every worker: for the limiter.
func (w WebhookURL) Key() string {
	if w.IsZero() {
		return ""
	}
	sum := sha256.Sum256([]byte(w.reveal()))
	return hex.EncodeToString(sum[:12])
}

// String returns the redacted form, "" for the zero value.
func (w WebhookURL) String() string {
	if w.IsZero() {
		return ""
	}
	scheme, _, _ := strings.Cut(w.reveal(), ":")
	return strings.ToLower(scheme) + "://" + w.host + "/…#" + w.Fingerprint()
}

// GoString returns the redacted form.
func (w WebhookURL) GoString() string { return "notify.WebhookURL(" + w.String() + ")" }

// Format prints the redacted form whatever the verb.
func (w WebhookURL) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, w.String()) }

// MarshalText gives the redacted form, to JSON too.
func (w WebhookURL) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// MarshalJSON gives the redacted form as a JSON string.
func (w WebhookURL) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%q", w.String()), nil }

// LogValue gives the redacted form to slog.
func (w WebhookURL) LogValue() slog.Value { return slog.StringValue(w.String()) }
