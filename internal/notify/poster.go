package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/signing"
)

// Options of a Poster. Zero values take the defaults named here.
type Options struct {
	// Timeout bounds a whole post, from dialling to the answer's last byte: 30 s.
	Timeout time.Duration
	// TotalConnections is the most posts at a time: 100. PerHost is the most connections to one host: 10.
	TotalConnections, PerHost int
	// AllowInsecure permits loopback addresses: for tests and demonstrations.
	AllowInsecure bool
	// Keys sign each post. Without keys there is no signature.
	Keys []signing.Key
	// UserAgent is sent with each post: "nphiesq".
	UserAgent string
	// Now is the clock: time.Now.
	Now func() time.Time
	// RootCAs verify the servers: the system's.
	RootCAs *x509.CertPool
	// MinTLS is the lowest version of TLS taken: tls.VersionTLS12. The highest that both sides know is used.
	MinTLS uint16
}

// Poster posts messages to webhooks. It is safe for concurrent use.
type Poster struct {
	client    *http.Client
	transport *http.Transport
	slots     chan struct{}
	keys      []signing.Key
	userAgent string
	now       func() time.Time
	tokens    tokens
}

// dialTimeout bounds the connection alone: a host that does not answer is known sooner than one that thinks.
const dialTimeout = 5 * time.Second

// maxAnswer is how much of an answer is read.
const maxAnswer = 4 << 10

// NewPoster returns a Poster. Close it to let go of idle connections.
func NewPoster(o Options) *Poster {
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.TotalConnections <= 0 {
		o.TotalConnections = 100
	}
	if o.PerHost <= 0 {
		o.PerHost = 10
	}
	if o.UserAgent == "" {
		o.UserAgent = "nphiesq"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MinTLS < tls.VersionTLS12 {
		o.MinTLS = tls.VersionTLS12
	}
	dialer := &net.Dialer{Timeout: min(dialTimeout, o.Timeout), Control: guard(o.AllowInsecure)}
	transport := &http.Transport{
		DialContext:         dialer.DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: o.MinTLS, RootCAs: o.RootCAs},
		TLSHandshakeTimeout: min(dialTimeout, o.Timeout),
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        o.TotalConnections,
		MaxIdleConnsPerHost: o.PerHost,
		MaxConnsPerHost:     o.PerHost,
		IdleConnTimeout:     90 * time.Second,
	}
	return &Poster{
		client: &http.Client{
			Transport: transport, Timeout: o.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		transport: transport, slots: make(chan struct{}, o.TotalConnections),
		keys: o.Keys, userAgent: o.UserAgent, now: o.Now,
	}
}

// Close lets go of idle connections.
func (p *Poster) Close() { p.transport.CloseIdleConnections() }

// errForbiddenAddress: a webhook's name led to an address inside our own network.
var errForbiddenAddress = errors.New("notify: the webhook's name leads to an address that is not public")

// reserved are the prefixes beyond the private ones that lead to no server of others: of carriers, for protocols, for
// measurements and documentation, and those that hold an IPv4 address behind a translation.
var reserved = func() []netip.Prefix {
	var out []netip.Prefix
	for _, p := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fec0::/10",
	} {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}()

// guard refuses, after name resolution, addresses that no webhook can have.
func guard(allowLoopback bool) func(network, address string, c syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return errForbiddenAddress
		}
		ip := ap.Addr().Unmap().WithZone("")
		if ip.IsLoopback() && allowLoopback {
			return nil
		}
		if !ip.IsGlobalUnicast() || ip.IsPrivate() || slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(ip) }) {
			return errForbiddenAddress
		}
		return nil
	}
}

// Post is one message to one webhook.
type Post struct {
	URL WebhookURL
	// WebhookID is the same in every attempt of the same message. It is 1 to 128 of A-Z, a-z, 0-9, "_" and "-".
	WebhookID     string
	CorrelationID string
	Priority      cards.Priority
	// Body is the whole request: what cards.Envelope made.
	Body []byte
	// Login is for a trigger that demands one. The token it brings is kept until 5 minutes before its end.
	Login Login
}

// Post sends m once and says what became of it; it never retries. An ended ctx ends the post: then the class is Temporary or
// Ambiguous and the caller should not count it as Teams' failure.
func (p *Poster) Post(ctx context.Context, m Post) Result {
	if m.URL.IsZero() {
		return Result{Class: Config, Safe: "no webhook is set for this channel"}
	}
	if !signing.ValidID(m.WebhookID) {
		return Result{Class: Permanent, Safe: "the webhook id is malformed"}
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return Result{Class: Temporary, Safe: "gave up waiting for a connection"}
	}

	bearer := ""
	if !m.Login.IsZero() {
		var r *Result
		if bearer, r = p.token(ctx, m.Login); r != nil {
			return *r
		}
	}
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	req, err := http.NewRequestWithContext(traced, http.MethodPost, m.URL.Reveal(), bytes.NewReader(m.Body))
	if err != nil {
		return Result{Class: Config, Safe: "the webhook address cannot be used"} // err shows it
	}
	now := p.now()
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", p.userAgent)
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	req.Header.Set(signing.HeaderID, m.WebhookID)
	req.Header.Set(signing.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	if len(p.keys) > 0 {
		req.Header.Set(signing.HeaderSignature, signing.Sign(p.keys, m.WebhookID, now, m.Body))
	}
	req.Header.Set("X-Correlation-ID", headerValue(m.CorrelationID))
	req.Header.Set("X-Priority", headerValue(string(m.Priority)))

	res, err := p.client.Do(req)
	if err != nil {
		return failed(err, connected.Load(), "Teams")
	}
	defer res.Body.Close()
	// A body that breaks off changes nothing: the status has said what happened.
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if bearer != "" && res.StatusCode == http.StatusUnauthorized {
		p.tokens.forget(m.Login, bearer) // it may have been revoked: the next attempt brings another one
	}
	return Classify(m.URL.Host(), res.StatusCode, res.Header, body, p.now())
}

// headerValue keeps printable ASCII only: net/http would refuse the whole request otherwise.
func headerValue(s string) string { return headerText(s, 255) }

func headerText(s string, most int) string {
	b := make([]byte, 0, min(len(s), most))
	for _, c := range []byte(s) {
		if c >= ' ' && c < 0x7f && len(b) < most {
			b = append(b, c)
		}
	}
	return string(b)
}

// failed classifies a request to other ("Teams") without an answer. Its texts are a fixed set: those of errors show the address.
func failed(err error, connected bool, other string) Result {
	r := Result{Class: Temporary, Safe: "connection to " + other + " failed"}
	if connected {
		r = Result{Class: Ambiguous, Safe: "connection to " + other + " broke before it answered"}
	}
	var (
		netErr  net.Error
		dns     *net.DNSError
		op      *net.OpError
		trust   *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		notTLS  tls.RecordHeaderError
	)
	switch {
	case errors.Is(err, errForbiddenAddress):
		return Result{Class: Config, Safe: "the name of " + other + " leads to an address that is not public"}
	case errors.As(err, &trust), errors.As(err, &unknown), errors.As(err, &name):
		return Result{Class: Config, Safe: "the TLS certificate of " + other + " is not trusted"}
	case errors.As(err, &notTLS), errors.Is(err, http.ErrSchemeMismatch):
		return Result{Class: Config, Safe: other + " does not speak TLS"}
	case errors.As(err, &op) && op.Op == "remote error" && strings.HasSuffix(op.Err.Error(), "protocol version not supported"),
		strings.HasSuffix(err.Error(), "tls: server selected unsupported protocol version"): // crypto/tls has no values for these
		return Result{Class: Config, Safe: other + " speaks only versions of TLS that are not allowed"}
	case errors.As(err, &dns):
		r.Safe = "the host name of " + other + " was not resolved"
	case errors.Is(err, syscall.ECONNREFUSED):
		r.Safe = other + " refused the connection"
	case errors.Is(err, context.Canceled):
		r.Safe = "the post was stopped"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		r.Safe = other + " did not answer in time"
	}
	return r
}
