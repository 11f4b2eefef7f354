// Package secrets reads secrets from HashiCorp Vault: it logs in, keeps its token renewed, logs in again when the token ends,
// and reads from the KV engine, version 2. Nothing it returns as an error or a status holds a secret.
package secrets

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/hashicorp/vault/api"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// Options say where Vault is and how to log in.
type Options struct {
	// Address is Vault's address ("https://vault.example:8200").
	Address string
	// Namespace is for Vault Enterprise; "" for none.
	Namespace string
	// CACert is a PEM file with the authorities that Vault's own certificate may be signed by; "" for those of the system.
	CACert string
	// Login gets a token.
	Login Login
	// Timeout bounds one request, 10 s by default.
	Timeout time.Duration
	// Retry is the first delay after a login that failed, 1 s by default; it grows to a minute.
	Retry time.Duration
}

// Vault is a client of Vault. It is safe for concurrent use. It logs in when it is first used; Run keeps it logged in.
type Vault struct {
	opt  Options
	http *http.Client

	entering sync.Mutex    // one login at a time
	changed  chan struct{} // the session is another one

	mu      sync.Mutex
	session *session
	status  Status
}

// session is one token.
type session struct {
	client *api.Client
	auth   *api.SecretAuth
}

// Status says how the login stands.
type Status struct {
	// LoggedIn is false before the first login and while the token has ended and no other was had.
	LoggedIn bool
	// LoggedInAt and RenewedAt are the times of the last success.
	LoggedInAt, RenewedAt time.Time
	// ExpiresAt is when the token ends unless it is renewed; zero: never, or there is none.
	ExpiresAt time.Time
	// Err is the last failure to log in or to renew, a fault; nil after a success. Failures counts them since that success.
	Err      error
	Failures int
}

// New checks the options. It does not connect.
//
// Errors: a fault of Kind Config.
func New(o Options) (*Vault, error) {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Retry == 0 {
		o.Retry = time.Second
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: o.Timeout, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	v := &Vault{opt: o, http: &http.Client{Transport: transport}, changed: make(chan struct{}, 1)}
	cfg := &api.Config{HttpClient: v.http}
	if o.CACert != "" {
		if err := cfg.ConfigureTLS(&api.TLSConfig{CACert: o.CACert}); err != nil {
			return nil, &fault.Error{Op: "configure Vault", Kind: fault.Config, Permanent: true, Safe: "cannot read authorities from " + o.CACert, Err: err}
		}
	}
	_, err := v.client()
	return v, err
}

// client makes a client without a token. Only the options count: the library would also take a token and a namespace from the
// environment.
func (v *Vault) client() (*api.Client, error) {
	c, err := api.NewClient(&api.Config{Address: v.opt.Address, HttpClient: v.http, Timeout: v.opt.Timeout})
	if err != nil {
		return nil, &fault.Error{Op: "configure Vault", Kind: fault.Config, Permanent: true, Safe: "the address is not valid", Err: err}
	}
	c.ClearToken()
	c.ClearNamespace()
	if v.opt.Namespace != "" {
		c.SetNamespace(v.opt.Namespace)
	}
	return c, nil
}

// Status returns how the login stands.
func (v *Vault) Status() Status {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.status
}

// ReadKV returns the values and the version of the secret at path ("secret/nphies/certificates/100": the first part is the
// mount, unless /data/ says where the mount ends). Numbers and booleans come as text.
//
// Errors, all faults:
//
//	not_found    there is no such secret, or its newest version is deleted
//	config       Vault refuses the login or the reading, or the secret holds something else than values
//	unavailable  Vault is away or sealed: try again
func (v *Vault) ReadKV(ctx context.Context, path string) (values map[string]string, version int, err error) {
	mount, name, ok := splitPath(path)
	if !ok {
		return nil, 0, &fault.Error{Op: "read secret", Kind: fault.Config, Permanent: true, Safe: "the path " + strconv.Quote(path) + " has no mount and name"}
	}
	s, err := v.enter(ctx, nil)
	if err != nil {
		return nil, 0, err
	}
	kv, err := s.client.KVv2(mount).Get(ctx, name)
	if statusOf(err) == http.StatusForbidden {
		// Either the policy does not allow it, or the token has ended. Only the second is worth a login.
		if _, lookup := s.client.Auth().Token().LookupSelfWithContext(ctx); statusOf(lookup) == http.StatusForbidden {
			if s, err = v.enter(ctx, s); err != nil {
				return nil, 0, err
			}
			kv, err = s.client.KVv2(mount).Get(ctx, name)
		}
	}
	switch {
	case statusOf(err) == http.StatusForbidden:
		return nil, 0, &fault.Error{
			Op: "read secret", Kind: fault.Config, Code: "HTTP 403", Err: err,
			Safe: "Vault does not allow to read " + path + ": the policy needs read on " + mount + "/data/" + name,
		}
	case errors.Is(err, api.ErrSecretNotFound), err == nil && kv.Data == nil:
		return nil, 0, &fault.Error{Op: "read secret", Kind: fault.NotFound, Safe: "Vault has no secret at " + path, Err: err}
	case err != nil:
		return nil, 0, vaultFault("read secret", err)
	}
	values = make(map[string]string, len(kv.Data))
	for key, value := range kv.Data {
		switch x := value.(type) {
		case string:
			values[key] = x
		case json.Number:
			values[key] = x.String()
		case bool:
			values[key] = strconv.FormatBool(x)
		default:
			return nil, 0, &fault.Error{Op: "read secret", Kind: fault.Config, Safe: "in " + path + " the value of " + key + " is not text"}
		}
	}
	if kv.VersionMetadata != nil {
		version = kv.VersionMetadata.Version
	}
	return values, version, nil
}

// splitPath takes a path apart into mount and name.
func splitPath(path string) (mount, name string, ok bool) {
	path = strings.Trim(path, "/")
	if mount, name, ok = strings.Cut(path, "/data/"); !ok {
		mount, name, ok = strings.Cut(path, "/")
	}
	return mount, name, ok && mount != "" && name != ""
}

// enter returns a session other than ended, logging in when there is none.
func (v *Vault) enter(ctx context.Context, ended *session) (*session, error) {
	v.entering.Lock()
	defer v.entering.Unlock()
	v.mu.Lock()
	s := v.session
	v.mu.Unlock()
	if s != nil && s != ended {
		return s, nil
	}
	c, err := v.client()
	if err != nil {
		return nil, err
	}
	secret, err := v.opt.Login(ctx, c)
	if err == nil && (secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "") {
		err = errNoVault(nil)
	}
	if err != nil {
		err = vaultFault("log in to Vault", err)
		v.note(func(st *Status) { st.LoggedIn, st.Err = false, err; st.Failures++ }, nil)
		return nil, err
	}
	c.SetToken(secret.Auth.ClientToken)
	s = &session{client: c, auth: secret.Auth}
	now := time.Now()
	v.note(func(st *Status) {
		*st = Status{LoggedIn: true, LoggedInAt: now, ExpiresAt: endOf(now, secret.Auth.LeaseDuration)}
	}, s)
	return s, nil
}

// note changes the status and the session together.
func (v *Vault) note(change func(*Status), s *session) {
	v.mu.Lock()
	change(&v.status)
	v.session = s
	v.mu.Unlock()
	select {
	case v.changed <- struct{}{}:
	default: // Run has not taken the last one yet
	}
}

func endOf(now time.Time, seconds int) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(seconds) * time.Second)
}

// Run keeps the login alive until ctx ends: it renews the token in good time and logs in again when that ends.
func (v *Vault) Run(ctx context.Context) {
	wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(v.opt.Retry), backoff.WithMaxInterval(time.Minute), backoff.WithMaxElapsedTime(0))
	for ctx.Err() == nil {
		s, err := v.enter(ctx, nil)
		if err == nil && v.keep(ctx, s) {
			wait.Reset()
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait.NextBackOff()):
		}
	}
}

// keep renews the token of s as long as that works and s is the session in use. lasted is false when it came to nothing.
func (v *Vault) keep(ctx context.Context, s *session) (lasted bool) {
	var renewed <-chan *api.RenewOutput
	var done <-chan error
	if s.auth.LeaseDuration > 0 { // a root token does not end
		w, err := s.client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: &api.Secret{Auth: s.auth}})
		if err != nil {
			v.leave(s, err)
			return false
		}
		go w.Start()
		defer w.Stop()
		renewed, done = w.RenewCh(), w.DoneCh()
	}
	for {
		select {
		case <-ctx.Done():
			return true
		case <-v.changed:
			v.mu.Lock()
			same := v.session == s
			v.mu.Unlock()
			if !same {
				return true
			}
		case r := <-renewed:
			lasted = true
			v.mu.Lock()
			v.status.RenewedAt, v.status.ExpiresAt, v.status.Err, v.status.Failures = r.RenewedAt, endOf(r.RenewedAt, r.Secret.Auth.LeaseDuration), nil, 0
			v.mu.Unlock()
		case err := <-done:
			v.leave(s, err)
			return lasted
		}
	}
}

// leave ends a session whose token is about to end, for a reason if it could not be renewed.
func (v *Vault) leave(s *session, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.session != s {
		return
	}
	v.session = nil
	v.status.LoggedIn, v.status.ExpiresAt = false, time.Time{}
	if err != nil {
		v.status.Err = vaultFault("renew Vault token", err)
		v.status.Failures++
	}
}

// statusOf is the HTTP status of a refusal by Vault, 0 for other errors.
func statusOf(err error) int {
	if re, ok := errors.AsType[*api.ResponseError](err); ok {
		return re.StatusCode
	}
	return 0
}

// vaultFault classifies an error of Vault. Vault's own texts are for logs only.
func vaultFault(op string, err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	f := &fault.Error{Op: op, Kind: fault.Unavailable, Safe: "Vault does not answer", Err: err}
	status := statusOf(err)
	if status != 0 {
		f.Code = "HTTP " + strconv.Itoa(status)
	}
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &verify):
		f.Kind, f.Safe = fault.Config, "Vault's certificate is not signed by a known authority, or is for another name: see VAULT_CACERT"
	case status == http.StatusServiceUnavailable:
		f.Safe = "Vault is sealed or not active"
	case status == http.StatusTooManyRequests || status >= 500:
		f.Safe = "Vault is not able to answer"
	case status >= 400:
		f.Kind, f.Safe = fault.Config, "Vault refuses it: wrong role, secret id or token, or one that has ended"
	}
	return f
}
