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
	"strconv"
	"strings"
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
	// ClientCertificate is asked at each handshake, so that a renewed certificate is used without a restart; see
	// LoadPKCS12 and LoadPEM. nil sends none, unless TLS does.
	ClientCertificate func() (*tls.Certificate, error)
	// UserAgent is "nphiesq" by default.
	UserAgent string
	// MaxBytes is the largest request, by default MaxMessageBytes (BV-00076).
	MaxBytes int64
	// MaxAnswerBytes is the largest answer, by default 64 MB: a poll answer holds many messages, and what it delivers has
	// left NPHIES' queue.
	MaxAnswerBytes int64
	// Transport replaces the HTTP transport, for tests and tracing; TLS and ClientCertificate are then not used.
	Transport http.RoundTripper
}

// Client posts messages to NPHIES. It is safe for concurrent use. It holds no state about messages.
type Client struct {
	url        string
	timeout    time.Duration
	userAgent  string
	maxBytes   int64
	maxAnswer  int64
	http       *http.Client
	newBackOff func() backoff.BackOff
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
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, &fault.Error{
			Op: "configure NPHIES client", Kind: fault.Config, Permanent: true, Err: err,
			Safe: "the base URL must be http:// or https:// with a host, without query",
		}
	}
	address := strings.TrimRight(u.String(), "/")
	if !strings.HasSuffix(address, operation) {
		address += operation
	}
	transport := cfg.Transport
	if transport == nil {
		transport = newTransport(cfg)
	}
	return &Client{
		url:       address,
		timeout:   cmp.Or(cfg.Timeout, 65*time.Second),
		userAgent: cmp.Or(cfg.UserAgent, "nphiesq"),
		maxBytes:  cmp.Or(cfg.MaxBytes, MaxMessageBytes),
		maxAnswer: cmp.Or(cfg.MaxAnswerBytes, 64<<20),
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		newBackOff: func() backoff.BackOff {
			return backoff.NewExponentialBackOff(
				backoff.WithInitialInterval(200*time.Millisecond), backoff.WithMaxInterval(time.Second),
				backoff.WithMaxElapsedTime(maxConnectTime))
		},
	}, nil
}

func newTransport(cfg Config) *http.Transport {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.TLS != nil {
		conf = cfg.TLS.Clone()
		conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	}
	if get := cfg.ClientCertificate; get != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c, err := get()
			if err != nil {
				return nil, &localCertificateError{err}
			}
			return c, nil
		}
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     conf,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     50 * time.Second,
		DisableCompression:  true, // the body is kept exactly as it comes
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
	var wrote atomic.Bool
	trace := &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, sendFault(ctx, err, DeliveryNotSent)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", contentType)
	req.Header.Set("User-Agent", c.userAgent)
	start := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		delivery := DeliveryNotSent
		if wrote.Load() && !refusedCertificate(err) {
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
		f.Kind, f.Safe = fault.Certificate, "our client certificate cannot be loaded"
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

// ParseHTTP judges an HTTP answer: FHIR is parsed whatever the status; all else is a fault.
//
// Errors, each with DeliveryAnswered inside and the HTTP status as Code:
//
//	network      a body that is no FHIR: HTML, other JSON, nothing. The outcome of the request is unknown
//	jwt          a gateway refused a token (401 or 407, no FHIR)
//	certificate  a gateway missed or refused the client certificate (495, 496, or 400 saying so)
func ParseHTTP(a *RawAnswer) (*Answer, error) {
	answer, err := Parse(a.Body)
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
