// Package pagerduty tells PagerDuty of alerts: the client of its Events API v2, the pages of escalations, and the drain of the outbox
// in which they wait. The integration keys are secrets: the record holds their names only.
//
// Source: PagerDuty, Events API v2 (send an event, limits and retries).
package pagerduty

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/config"
)

// Limits of an event.
const (
	maxDedupKey = 255     // bytes
	maxSummary  = 1024    // runes
	maxEvent    = 512_000 // bytes, of the whole event; PagerDuty says 512 KB
)

// Payload is what a trigger says, apart from the integration key. It is kept in the record.
type Payload struct {
	Client    string  `json:"client,omitempty"`
	ClientURL string  `json:"client_url,omitempty"`
	Links     []Link  `json:"links,omitempty"`
	Payload   Details `json:"payload"`
}

// Link is a page that a responder may want to see.
type Link struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

// Details are what a trigger is about. Summary, Source and Severity are required.
type Details struct {
	Summary   string `json:"summary"`
	Source    string `json:"source"`
	Severity  string `json:"severity"`
	Timestamp string `json:"timestamp,omitempty"`
	Component string `json:"component,omitempty"`
	Group     string `json:"group,omitempty"`
	Class     string `json:"class,omitempty"`
	// Custom is left out of an event that would be too large.
	Custom any `json:"custom_details,omitempty"`
}

// Event is one thing to tell.
type Event struct {
	Action   string // trigger, acknowledge or resolve
	DedupKey string
	// Payload is needed for a trigger and left out of the others.
	Payload json.RawMessage
}

// Class says what to do after an event was sent. It is a closed set.
type Class string

// The classes.
const (
	// Accepted: PagerDuty will process it.
	Accepted Class = "accepted"
	// Temporary: not taken; the same event can be sent again, at the latest then.
	Temporary Class = "temporary"
	// Throttled: not taken, for there were too many; it should be left alone for minutes.
	Throttled Class = "throttled"
	// Invalid: this event will never be taken.
	Invalid Class = "invalid"
	// Misdirected: the answer is none of PagerDuty's: a person must mend the address. The event can be sent again.
	Misdirected Class = "misdirected"
)

// Result is what became of one event.
type Result struct {
	Class Class
	// Status is the HTTP status, 0 without an answer.
	Status int
	// RetryAfter is how long PagerDuty asks to be left alone; 0 if it did not say.
	RetryAfter time.Duration
	// Safe says what happened, without the key, in at most 300 runes. It is empty when the event was accepted.
	Safe string
}

// Options of a Client. Zero values take the defaults named here.
type Options struct {
	// BaseURL is where the API is: https://events.pagerduty.com. http is for loopback hosts.
	BaseURL string
	// Timeout bounds an event, from dialling to the answer's last byte: 15 s.
	Timeout time.Duration
	// UserAgent is sent with each event: "nphiesq".
	UserAgent string
	// RootCAs verify the server: the system's.
	RootCAs *x509.CertPool
	// Now is the clock, for dates in Retry-After: time.Now.
	Now func() time.Time
}

// Client sends events. It is safe for concurrent use.
type Client struct {
	http      *http.Client
	transport *http.Transport
	url       string
	userAgent string
	now       func() time.Time
}

const (
	dialTimeout = 5 * time.Second
	maxAnswer   = 8 << 10
	maxSafe     = 300
)

// NewClient returns a Client. Close it to let go of idle connections.
func NewClient(o Options) (*Client, error) {
	if o.BaseURL == "" {
		o.BaseURL = "https://events.pagerduty.com"
	}
	if o.Timeout <= 0 {
		o.Timeout = 15 * time.Second
	}
	if o.UserAgent == "" {
		o.UserAgent = "nphiesq"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	u, err := url.Parse(o.BaseURL)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, errors.New("pagerduty: the address is not allowed; want https://host")
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, errors.New("pagerduty: http is for loopback hosts only; want https://host")
	}
	dialer := &net.Dialer{Timeout: min(dialTimeout, o.Timeout)}
	transport := &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs}, TLSHandshakeTimeout: min(dialTimeout, o.Timeout),
		ForceAttemptHTTP2: true, MaxConnsPerHost: width, MaxIdleConnsPerHost: width, IdleConnTimeout: 90 * time.Second,
	}
	return &Client{
		http: &http.Client{
			Transport: transport, Timeout: o.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		transport: transport, url: u.JoinPath("v2", "enqueue").String(), userAgent: o.UserAgent, now: o.Now,
	}, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Send sends one event with an integration key, once, and says what became of it.
func (c *Client) Send(ctx context.Context, key config.Secret, e Event) Result {
	body, err := encode(key, e)
	if err != nil {
		return Result{Class: Invalid, Safe: cards.SafeLine(err.Error(), maxSafe)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return Result{Class: Misdirected, Safe: "the address of PagerDuty cannot be used"}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	res, err := c.http.Do(req)
	if err != nil {
		return failed(err)
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer)) // a body that breaks off changes nothing: the status has said what happened
	return classify(res.StatusCode, res.Header, answer, key, c.now())
}

// encode makes the request. Its errors show no key.
func encode(key config.Secret, e Event) ([]byte, error) {
	if e.DedupKey == "" || len(e.DedupKey) > maxDedupKey {
		return nil, fmt.Errorf("the dedup_key has %d bytes; want 1 to %d", len(e.DedupKey), maxDedupKey)
	}
	request := struct {
		RoutingKey  string `json:"routing_key"`
		EventAction string `json:"event_action"`
		DedupKey    string `json:"dedup_key"`
		*Payload
	}{key.Reveal(), e.Action, e.DedupKey, nil}
	switch e.Action {
	case "acknowledge", "resolve":
		return json.Marshal(request)
	case "trigger":
	default:
		return nil, errors.New("the action is not allowed; want trigger, acknowledge or resolve")
	}
	request.Payload = &Payload{}
	if err := json.Unmarshal(e.Payload, request.Payload); err != nil {
		return nil, errors.New("the payload is not one of ours")
	}
	d := &request.Payload.Payload
	d.Summary = cut(d.Summary, maxSummary)
	if d.Summary == "" || d.Source == "" || d.Severity == "" {
		return nil, errors.New("summary, source and severity are needed")
	}
	body, err := json.Marshal(request)
	if err == nil && len(body) > maxEvent {
		d.Custom = nil
		body, err = json.Marshal(request)
	}
	if err == nil && len(body) > maxEvent {
		request.Links = nil
		body, err = json.Marshal(request)
	}
	if err == nil && len(body) > maxEvent {
		return nil, fmt.Errorf("the event has %d bytes without details; at most %d are allowed", len(body), maxEvent)
	}
	return body, err
}

// cut takes at most n runes.
func cut(s string, n int) string {
	r := []rune(strings.ToValidUTF8(s, "\uFFFD"))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n-1]) + "…"
}

// classify says what an answer means.
func classify(status int, header http.Header, body []byte, key config.Secret, now time.Time) Result {
	r := Result{Status: status}
	switch {
	case status == http.StatusAccepted:
		return Result{Class: Accepted, Status: status}
	case status == http.StatusTooManyRequests:
		r.Class = Throttled
	case status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge:
		r.Class = Invalid
	case status >= 500, status == http.StatusRequestTimeout:
		r.Class = Temporary
	default: // 200 too: PagerDuty answers 202
		r.Class = Misdirected
	}
	if r.Class == Throttled || r.Class == Temporary {
		r.RetryAfter = retryAfter(header.Get("Retry-After"), now)
	}
	var answer struct {
		Message string   `json:"message"`
		Errors  []string `json:"errors"`
	}
	text := fmt.Sprintf("PagerDuty answered HTTP %d", status)
	if json.Unmarshal(body, &answer) == nil && (answer.Message != "" || len(answer.Errors) > 0) {
		text += ": " + strings.Join(append([]string{answer.Message}, answer.Errors...), "; ")
	}
	if k := key.Reveal(); k != "" { // it may quote what it got
		text = strings.ReplaceAll(text, k, "<secret>")
		text = strings.ReplaceAll(text, k[:len(k)/2], "<secret>")
	}
	r.Safe = cards.SafeLine(text, maxSafe)
	return r
}

// Bounds of Retry-After.
const (
	minRetryAfter = time.Second
	maxRetryAfter = time.Hour
)

// retryAfter reads seconds or a date.
func retryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	if v == "" {
		return 0
	}
	if strings.Trim(v, "0123456789") == "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return maxRetryAfter
		}
		return max(time.Duration(min(n, 3600))*time.Second, minRetryAfter)
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), minRetryAfter), maxRetryAfter)
}

// failed classifies an event without an answer. The texts are a fixed set.
func failed(err error) Result {
	r := Result{Class: Temporary, Safe: "the connection to PagerDuty failed"}
	var (
		netErr  net.Error
		dns     *net.DNSError
		trust   *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		notTLS  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &trust), errors.As(err, &unknown), errors.As(err, &name):
		return Result{Class: Misdirected, Safe: "the TLS certificate of PagerDuty is not trusted"}
	case errors.As(err, &notTLS), errors.Is(err, http.ErrSchemeMismatch):
		return Result{Class: Misdirected, Safe: "PagerDuty's address does not speak TLS"}
	case errors.As(err, &dns):
		r.Safe = "the host name of PagerDuty was not resolved"
	case errors.Is(err, syscall.ECONNREFUSED):
		r.Safe = "PagerDuty refused the connection"
	case errors.Is(err, context.Canceled):
		r.Safe = "the event was stopped"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		r.Safe = "PagerDuty did not answer in time"
	}
	return r
}
