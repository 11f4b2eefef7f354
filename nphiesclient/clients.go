package nphiesclient

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// ClientsConfig says how to reach NPHIES and where the certificates of the licences are.
type ClientsConfig struct {
	// Config is that of each client. Its Identity is not used.
	Config Config
	// Default is the certificate of licences that have none of their own; nil: none.
	Default Source
	// Own says where a licence's own certificate would be; nil: nowhere. The licence is fit for a file name.
	Own func(license string) Source
}

// Clients sends each message with the client, and so the certificate, of the provider licence it comes from. It is safe for
// concurrent use.
//
// Files are looked at whenever a message is sent, Vault at Refresh. A certificate that cannot be read leaves the one before in
// use. A new one is in use at once: no further message travels on a connection made with the old one.
type Clients struct {
	cfg      ClientsConfig
	required bool
	fallback *Client
	def      *holder // nil without a default certificate

	mu  sync.Mutex
	own map[string]*licensee
}

// licensee is a licence with a certificate of its own, or with a place for one.
type licensee struct {
	holder *holder
	client *Client
}

// NewClients checks the configuration. It reads no certificate yet, see Load.
//
// Errors: a fault of Kind Config.
func NewClients(cfg ClientsConfig) (*Clients, error) {
	c := &Clients{cfg: cfg, own: map[string]*licensee{}}
	c.required = strings.HasPrefix(strings.ToLower(strings.TrimSpace(cfg.Config.BaseURL)), "https:") && (cfg.Default != nil || cfg.Own != nil)
	fallback := cfg.Config
	if cfg.Default != nil {
		c.def = &holder{license: "default", source: cfg.Default}
		fallback.Identity = c.def.current
	}
	var err error
	c.fallback, err = New(fallback)
	return c, err
}

// OneClient uses c for every licence.
func OneClient(c *Client) *Clients { return &Clients{fallback: c} }

// Send posts body with the client of license. See Client.Send; besides, when there is no certificate for the licence:
//
//	certificate  there is none, or it cannot be read; not sent
//	unavailable  it cannot be told, Vault is away; not sent
func (c *Clients) Send(ctx context.Context, license string, body []byte) (*RawAnswer, error) {
	client, err := c.client(ctx, license)
	if err != nil {
		f := &fault.Error{Op: "send message", Kind: fault.Certificate, Safe: safeText(err), Err: &SendError{Delivery: DeliveryNotSent, Err: err}}
		if fault.Is(err, fault.Unavailable) {
			f.Kind = fault.Unavailable
		}
		return nil, f
	}
	return client.Send(ctx, body)
}

// Load makes sure that there is a certificate for license, its own or the default one, as far as one is needed: NPHIES is
// reached by https and certificates are configured. It may be repeated.
//
// Errors: a fault of Kind NotFound, there is none; Config, it cannot be used; Unavailable, try again.
func (c *Clients) Load(ctx context.Context, license string) error {
	client, err := c.client(ctx, license)
	if err != nil || client.identity == nil {
		return err
	}
	_, err = client.identity(ctx)
	return err
}

// LoadDefault makes sure that the default certificate can be used, if there is to be one. Errors as Load.
func (c *Clients) LoadDefault(ctx context.Context) error {
	if c.def == nil {
		return nil
	}
	_, err := c.def.current(ctx)
	return err
}

// client returns the client for a licence.
func (c *Clients) client(ctx context.Context, license string) (*Client, error) {
	if c.cfg.Own == nil {
		return c.fallback, nil
	}
	m, err := c.member(license)
	if err == nil {
		_, err = m.holder.current(ctx)
	}
	switch {
	case err == nil:
		return m.client, nil
	case fault.Is(err, fault.NotFound) && (c.def != nil || !c.required):
		return c.fallback, nil
	case fault.Is(err, fault.NotFound):
		return nil, &fault.Error{
			Op: "load certificate", Kind: fault.NotFound, Permanent: true, Err: err, Safe: "no client certificate for licence " + license + ": " + safeText(err),
		}
	}
	return nil, err
}

// fileName is what a licence must look like to be part of a path.
var fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// member returns the place of a licence's own certificate. A licence that is no file name has none: a fault of Kind NotFound.
func (c *Clients) member(license string) (*licensee, error) {
	if !fileName.MatchString(license) {
		return nil, &fault.Error{
			Op: "load certificate", Kind: fault.NotFound, Permanent: true, Safe: "one is kept only for a licence of letters, digits and . _ -, at most 64",
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.own[license]; m != nil {
		return m, nil
	}
	m := &licensee{holder: &holder{license: license, source: c.cfg.Own(license)}}
	cfg := c.cfg.Config
	cfg.Identity = m.holder.current
	var err error
	if m.client, err = New(cfg); err != nil {
		return nil, err
	}
	c.own[license] = m
	return m, nil
}

// members lists the licences seen so far, in order.
func (c *Clients) members() []*licensee {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*licensee
	for _, license := range slices.Sorted(maps.Keys(c.own)) {
		out = append(out, c.own[license])
	}
	return out
}

// Refresh looks at the source of every certificate, and closes idle connections made with one that is not in use any more. What
// is wrong shows in Certificates.
func (c *Clients) Refresh(ctx context.Context) {
	if c.def != nil {
		_ = c.def.look(ctx) // kept as its Problem
		c.fallback.renew(ctx)
	}
	for _, m := range c.members() {
		_ = m.holder.look(ctx)
		m.client.renew(ctx)
	}
}

// Certificates says how the certificates stand: the default one first, then those of the licences that have been looked for and
// have, or had, something of their own.
func (c *Clients) Certificates() []CertificateState {
	var out []CertificateState
	if c.def != nil {
		out = append(out, c.def.state())
	}
	for _, m := range c.members() {
		if s := m.holder.state(); s.Fingerprint != "" || (s.Problem != nil && !fault.Is(s.Problem, fault.NotFound)) {
			out = append(out, s)
		}
	}
	return out
}
