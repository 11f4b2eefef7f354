package nphiesclient

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// Config of a Client. BaseURL is required, all else has a default.
type Config struct {
	// BaseURL is NPHIES' address ("https://hsb.nphies.sa"); /$process-message is appended unless it is there.
	BaseURL string
	// Timeout bounds one whole exchange, retries of the connection included. 65 s by default: NPHIES answers its own
	// timeout after 60 s, and that answer should arrive.
	Timeout time.Duration
	// TLS is the base of the TLS settings; it is cloned. At least TLS 1.2 is spoken.
	TLS *tls.Config
	// Identity is asked before each message, so that a renewed certificate is used without a restart: another pointer than
	// before opens new connections, and those made before are closed as they fall idle. nil sends no certificate, unless TLS
	// does. See Clients, which keeps identities.
	Identity func(ctx context.Context) (*Identity, error)
	// UserAgent is "nphiesq" by default.
	UserAgent string
	// MaxBytes is the largest request, by default MaxMessageBytes (BV-00076).
	MaxBytes int64
	// MaxAnswerBytes is the largest answer, by default MaxMessageBytes.
	MaxAnswerBytes int64
	// Transport replaces the HTTP transport, for tests and tracing; TLS and Identity are then not used.
	Transport http.RoundTripper
}

// Client posts messages to NPHIES. It is safe for concurrent use. It holds no state about messages.
type Client struct {
	url        string
	timeout    time.Duration
	userAgent  string
	maxBytes   int64
	maxAnswer  int64
	identity   func(ctx context.Context) (*Identity, error)
	newLine    func(*Identity) *line
	newBackOff func() backoff.BackOff

	mu   sync.Mutex
	line *line
}

const (
	contentType    = "application/fhir+json"
	operation      = "/$process-message"
	maxConnectTime = 3 * time.Second
)

// New checks the configuration and makes a client. It does not connect.
//
// Errors: a fault of Kind Config.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(strings.TrimSpace(cfg.BaseURL))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, &fault.Error{
			Op: "configure NPHIES client", Kind: fault.Config, Permanent: true, Err: err,
			Safe: "the base URL must be http:// or https:// with a host, without user and query",
		}
	}
	address := strings.TrimRight(u.String(), "/")
	if !strings.HasSuffix(address, operation) {
		address += operation
	}
	newLine := func(id *Identity) *line {
		t := newTransport(cfg.TLS, id)
		return &line{id: id, rt: t, closeIdle: t.CloseIdleConnections}
	}
	if cfg.Transport != nil {
		cfg.Identity = nil
		newLine = func(*Identity) *line { return &line{rt: cfg.Transport, closeIdle: func() {}} }
	}
	return &Client{
		url:       address,
		timeout:   cmp.Or(cfg.Timeout, 65*time.Second),
		userAgent: cmp.Or(cfg.UserAgent, "nphiesq"),
		maxBytes:  cmp.Or(cfg.MaxBytes, MaxMessageBytes),
		maxAnswer: cmp.Or(cfg.MaxAnswerBytes, MaxMessageBytes),
		identity:  cfg.Identity,
		newLine:   newLine,
		newBackOff: func() backoff.BackOff {
			return backoff.NewExponentialBackOff(
				backoff.WithInitialInterval(200*time.Millisecond), backoff.WithMaxInterval(time.Second),
				backoff.WithMaxElapsedTime(maxConnectTime))
		},
	}, nil
}

// newTransport makes connections that show id and nothing else. It speaks HTTP/2 where the server offers it.
func newTransport(base *tls.Config, id *Identity) *http.Transport {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if base != nil {
		conf = base.Clone()
		conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	}
	if id != nil {
		conf.ClientSessionCache = nil // a resumed session would keep the identity it began with
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &id.Certificate, nil }
		if id.Roots != nil {
			conf.RootCAs = id.Roots
		}
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     conf,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true, // own TLS settings would switch it off
		MaxIdleConnsPerHost: 100,  // as many as NPHIES_SUBMIT_CONCURRENCY allows
		IdleConnTimeout:     50 * time.Second,
		DisableCompression:  true, // the body is kept exactly as it comes
	}
}

// line is the connections that show one identity.
type line struct {
	id        *Identity
	rt        http.RoundTripper
	closeIdle func()
	users     int  // exchanges under way, guarded by Client.mu
	retired   bool // another identity has taken over, guarded by Client.mu
}

// acquire returns the line of the identity that is in use now, and holds it until release.
func (c *Client) acquire(ctx context.Context) (*line, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var id *Identity
	if c.identity != nil {
		var err error
		if id, err = c.identity(ctx); err != nil {
			return nil, &localCertificateError{err}
		}
	}
	if old := c.line; old == nil || old.id != id {
		c.line = c.newLine(id)
		if old != nil {
			// From now on it keeps no connection that falls idle; release sees to those in use.
			old.retired = true
			old.closeIdle()
		}
	}
	c.line.users++
	return c.line, nil
}

// release ends an exchange. The last one on a retired line closes what is left of it.
func (c *Client) release(l *line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.users--
	if l.retired && l.users == 0 {
		l.closeIdle()
	}
}

// renew makes the identity of now take over without waiting for the next message.
func (c *Client) renew(ctx context.Context) {
	c.mu.Lock()
	unused := c.line == nil
	c.mu.Unlock()
	if unused {
		return
	}
	if l, err := c.acquire(ctx); err == nil {
		c.release(l)
	}
}

// localCertificateError: our own certificate could not be had, so the handshake was given up.
type localCertificateError struct{ err error }

func (e *localCertificateError) Error() string { return "client certificate: " + e.err.Error() }
func (e *localCertificateError) Unwrap() error { return e.err }

// RawAnswer is what came back, before any judgement.
type RawAnswer struct {
	// Status is the HTTP status. It does not tell success: NPHIES answers 200 to invalid messages.
	Status int
	// ContentType is the media type without parameters.
	ContentType string
	// Body is the answer, exactly.
	Body []byte
	// Duration is the time from sending to the last byte.
	Duration time.Duration
	// Challenge is the WWW-Authenticate header, RetryAfter the Retry-After header: gateways in front of NPHIES set them.
	Challenge  string
	RetryAfter time.Duration
}

// Send posts body, exactly these bytes, and returns whatever answers; ParseHTTP judges it. Redirects are not followed.
// A connection that cannot be made is tried again for about three seconds; anything later is the caller's decision.
//
// Errors are *fault.Error with a SendError inside, see DeliveryOf:
//
//	certificate  the TLS handshake failed, on either side; not sent
//	network      refused, reset, timeout, cut off: not sent, or sent with unknown outcome
//	invalid      body is larger than MaxBytes (BV-00076); not sent
//
// When an answer began and was cut off or too large, the part that came is returned together with the error: store it.
func (c *Client) Send(ctx context.Context, body []byte) (*RawAnswer, error) {
	if int64(len(body)) > c.maxBytes {
		return nil, &fault.Error{
			Op: "send message", Kind: fault.Invalid, Code: "BV-00076", Safe: "the message is larger than NPHIES takes",
			Permanent: true, Err: &SendError{Delivery: DeliveryNotSent},
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var answer *RawAnswer
	try := func() error {
		var err error
		answer, err = c.once(ctx, body)
		if err != nil && (DeliveryOf(err) != DeliveryNotSent || !fault.Is(err, fault.Network)) {
			return backoff.Permanent(err)
		}
		return err
	}
	err := backoff.Retry(try, backoff.WithContext(c.newBackOff(), ctx))
	if err != nil && fault.KindOf(err) == fault.Internal { // the context ended between two tries
		err = sendFault(ctx, err, DeliveryNotSent)
	}
	return answer, err
}

func (c *Client) once(ctx context.Context, body []byte) (*RawAnswer, error) {
	line, err := c.acquire(ctx)
	if err != nil {
		return nil, sendFault(ctx, err, DeliveryNotSent)
	}
	defer c.release(line)
	var wrote atomic.Bool
	trace := &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, sendFault(ctx, err, DeliveryNotSent)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", contentType)
	req.Header.Set("User-Agent", c.userAgent)
	// The transport must not repeat a request by itself: with HTTP/2 it would after errors that leave open whether the server
	// has processed it. Send repeats what was certainly not processed.
	req.GetBody = nil
	start := time.Now()
	// The transport itself, not a http.Client: redirects are never followed.
	resp, err := line.rt.RoundTrip(req)
	if err != nil {
		delivery := DeliveryNotSent
		if wrote.Load() && !refusedCertificate(err) && !refusedStream(err) {
			delivery = DeliveryUnknown
		}
		return nil, sendFault(ctx, err, delivery)
	}
	defer func() { _ = resp.Body.Close() }() // the body has been read, or its rest is not wanted
	a := &RawAnswer{
		Status: resp.StatusCode, Challenge: resp.Header.Get("WWW-Authenticate"),
		RetryAfter: retryAfter(resp.Header.Get("Retry-After"), start),
	}
	a.ContentType, _, _ = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	a.Body, err = io.ReadAll(io.LimitReader(resp.Body, c.maxAnswer+1))
	a.Duration = time.Since(start)
	if err != nil {
		return a, sendFault(ctx, err, DeliveryUnknown)
	}
	if int64(len(a.Body)) > c.maxAnswer {
		a.Body = a.Body[:c.maxAnswer]
		return a, &fault.Error{
			Op: "send message", Kind: fault.Network, Code: httpCode(a.Status),
			Safe: "the answer is larger than " + strconv.FormatInt(c.maxAnswer, 10) + " bytes", Err: &SendError{Delivery: DeliveryAnswered},
		}
	}
	return a, nil
}

func httpCode(status int) string { return "HTTP " + strconv.Itoa(status) }

func retryAfter(header string, now time.Time) time.Duration {
	if s, err := strconv.Atoi(strings.TrimSpace(header)); err == nil && s > 0 && s < 1<<31 {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(header); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

// sendFault classifies a failed exchange. The texts name no addresses; the cause does, and is for logs only.
func sendFault(ctx context.Context, err error, delivery Delivery) error {
	f := &fault.Error{Op: "send message", Kind: fault.Network, Err: &SendError{Delivery: delivery, Err: err}}
	var dns *net.DNSError
	var timeout interface{ Timeout() bool }
	var local *localCertificateError
	switch {
	case errors.As(err, &local):
		f.Kind, f.Safe = fault.Certificate, "our client certificate cannot be loaded: "+safeText(local.err)
	case errors.Is(ctx.Err(), context.Canceled):
		f.Safe = "given up, the work was stopped"
	case isCertificate(err, delivery):
		f.Kind, f.Safe = fault.Certificate, "TLS handshake failed: one side does not accept the other's certificate"
	case errors.As(err, &dns):
		f.Safe = "the host name cannot be resolved"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		f.Safe = "no answer in time"
		if delivery == DeliveryNotSent {
			f.Safe = "no connection in time"
		}
	case refusedStream(err):
		f.Safe = "the server takes no request now"
	case delivery == DeliveryNotSent:
		f.Safe = "connection refused or not possible"
	case errors.Is(err, io.ErrUnexpectedEOF):
		f.Safe = "the answer was cut off"
	default:
		f.Safe = "the connection was lost after sending"
	}
	if delivery == DeliveryUnknown {
		f.Safe += "; it may have been processed"
	}
	return f
}

// isCertificate reports a failure of the TLS handshake that repeating cannot cure.
func isCertificate(err error, delivery Delivery) bool {
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	if errors.As(err, &verify) || errors.As(err, &record) || refusedCertificate(err) {
		return true
	}
	var op *net.OpError
	return delivery == DeliveryNotSent && ((errors.As(err, &op) && op.Op == "remote error") ||
		strings.Contains(err.Error(), "tls: ") || strings.Contains(err.Error(), "HTTP response to HTTPS client"))
}

// refusedCertificate reports a TLS alert of the server about our certificate. With TLS 1.3 it arrives after the request has
// left us, yet the server has not read it: the handshake is not complete on its side.
func refusedCertificate(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" &&
		(strings.Contains(op.Err.Error(), "certificate") || strings.Contains(op.Err.Error(), "access denied"))
}

// refusedStream reports that an HTTP/2 server said it has not processed the request and will not: it refused the stream, or is
// going away and has named a stream before ours as its last. The transport keeps nothing of such errors but their text.
//
// Source: RFC 9113 section 8.7.
func refusedStream(err error) bool {
	text := err.Error()
	return strings.Contains(text, "; REFUSED_STREAM") || strings.Contains(text, "graceful shutdown GOAWAY") ||
		strings.Contains(text, "received GOAWAY from server")
}

// ParseHTTP judges an HTTP answer: FHIR is parsed whatever the status; all else is a fault. So is a bare OperationOutcome that
// comes with 5xx or 429 and names no code of NPHIES': it tells no more than the status does.
//
// Errors, each with DeliveryAnswered inside and the HTTP status as Code:
//
//	network      a body that is no FHIR: HTML, other JSON, nothing; or a server's own OperationOutcome. The outcome of the
//	             request is unknown
//	jwt          a gateway refused a token (401 or 407, no FHIR)
//	certificate  a gateway missed or refused the client certificate (495, 496, or 400 saying so)
func ParseHTTP(a *RawAnswer) (*Answer, error) {
	answer, err := Parse(a.Body)
	if err == nil && answer.OperationOutcome && (a.Status >= 500 || a.Status == http.StatusTooManyRequests) &&
		!slices.ContainsFunc(answer.Errors, CodedError.isCode) {
		err = &fault.Error{Op: "read answer", Kind: fault.Network, Safe: "an OperationOutcome without a code of NPHIES'"}
	}
	if err == nil {
		return answer, nil
	}
	f := &fault.Error{
		Op: "read answer", Kind: fault.Network, Code: httpCode(a.Status), Safe: safeText(err), RetryIn: a.RetryAfter,
		Err: &SendError{Delivery: DeliveryAnswered, Err: err},
	}
	switch {
	case a.Status == http.StatusUnauthorized || a.Status == http.StatusProxyAuthRequired:
		f.Kind, f.Safe = fault.JWT, "a gateway in front of NPHIES asks for a valid token"
	case a.Status == 495 || a.Status == 496 ||
		(a.Status == http.StatusBadRequest && bytes.Contains(bytes.ToLower(a.Body), []byte("ssl certificate"))):
		f.Kind, f.Safe = fault.Certificate, "a gateway in front of NPHIES does not accept the client certificate"
	case a.Status >= 300 && a.Status < 400:
		f.Safe = "a redirect, which is never followed: the address in the settings may be wrong"
	}
	return nil, f
}
