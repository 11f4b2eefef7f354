// Package bot is the Microsoft side of acting on alerts: it checks the tokens with which the Bot Framework and Entra sign what they send,
// answers the bot's messages, and posts and changes its cards.
package bot

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Errors of the validators. What they wrap is for the log; the sender hears nothing of it. ErrToken is answered with 401, ErrPolicy
// with 403, ErrKeys with 503.
var (
	// ErrToken: the token proves nothing.
	ErrToken = errors.New("bot: not a valid token")
	// ErrPolicy: the token is good, but what it came with is not for us.
	ErrPolicy = errors.New("bot: not permitted")
	// ErrKeys: the signing keys cannot be had now, so nothing can be checked.
	ErrKeys = errors.New("bot: the signing keys cannot be had")
)

// RefusalError is an error of a validator with the word that metrics count it by.
type RefusalError struct {
	// Reason is from a closed set.
	Reason string
	// Signed is true when the token was signed by a key that we trust: then the address it came from is Microsoft's, and must not
	// be blamed.
	Signed bool
	err    error
}

func (r *RefusalError) Error() string { return r.err.Error() + ": " + r.Reason }

// Unwrap returns ErrToken, ErrPolicy or ErrKeys.
func (r *RefusalError) Unwrap() error { return r.err }

func refuse(err error, reason string, signed bool) error {
	return &RefusalError{Reason: reason, Signed: signed, err: err}
}

// Times of the keys.
const (
	// keysLast is how long keys are used without having been read again.
	keysLast = 24 * time.Hour
	// keysRenew is after how long it is tried to read them again.
	keysRenew = 12 * time.Hour
	// keysPause is the least time between two reads that an unknown key asks for.
	keysPause = 5 * time.Minute
	// keysRetry is the least time between two reads after one that failed.
	keysRetry = 10 * time.Second
	// keysTimeout bounds a read: Teams wants its answer within 5 s.
	keysTimeout = 3 * time.Second
	// maxKeysBytes is the most that is read of metadata and keys.
	maxKeysBytes = 1 << 20
	// minKeyBits is the smallest RSA key taken.
	minKeyBits = 2048
)

// Keys are the public keys of an issuer, found through its metadata. They are read when first needed, again after 12 hours and when a
// token names an unknown one, then at most once in 5 minutes; older than 24 hours they are not used. Safe for concurrent use.
type Keys struct {
	address  string
	insecure bool
	client   *http.Client
	now      func() time.Time

	mu    sync.Mutex
	known map[string]key
	read  time.Time // when they were read
	tried time.Time // when that was last tried
}

// key is one of them.
type key struct {
	public       *rsa.PublicKey
	endorsements []string
}

// NewKeys returns the keys that the OpenID Connect metadata at an address leads to. It does not connect. The address, and that of the keys,
// are https; insecure also permits http on loopback hosts, for tests. now may be nil.
func NewKeys(metadata string, insecure bool, now func() time.Time) (*Keys, error) {
	if _, err := secure(metadata, insecure); err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	return &Keys{address: metadata, insecure: insecure, now: now, client: &http.Client{
		Timeout: keysTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// secure refuses addresses that keys may not come from.
func secure(address string, insecure bool) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("it is not an address")
	}
	if u.Scheme != "https" && (!insecure || u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, errors.New("it must begin with https://")
	}
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// find returns the key with an id; ok is false when there is none. The error wraps ErrKeys.
func (k *Keys) find(ctx context.Context, id string) (found key, ok bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	age := now.Sub(k.read)
	found, ok = k.known[id]
	var wait time.Duration
	switch {
	case len(k.known) == 0 || age >= keysLast:
		wait = keysRetry
	case age >= keysRenew || age < 0:
		wait = keysPause
	case !ok:
		wait = keysPause
	default:
		return found, true, nil
	}
	if since := now.Sub(k.tried); k.tried.IsZero() || since < 0 || since >= wait {
		k.tried = now
		// Whoever asked may go away; the keys are for all.
		if known, e := k.fetch(context.WithoutCancel(ctx)); e == nil {
			k.known, k.read = known, now
			found, ok = known[id]
			return found, ok, nil
		} else { //nolint:revive // e belongs to this branch
			err = e
		}
	}
	if len(k.known) == 0 || age >= keysLast {
		if err == nil {
			err = errors.New("they could not be read a moment ago")
		}
		return key{}, false, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	return found, ok, nil
}

// fetch reads the metadata and the keys.
func (k *Keys) fetch(ctx context.Context) (map[string]key, error) {
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	var metadata struct {
		Keys string `json:"jwks_uri"`
	}
	if err := k.get(ctx, k.address, &metadata); err != nil {
		return nil, err
	}
	from, err := secure(metadata.Keys, k.insecure)
	if err != nil {
		return nil, fmt.Errorf("the address of the keys: %w", err)
	}
	if own, err := url.Parse(k.address); err != nil || own.Host != from.Host {
		return nil, errors.New("the keys are said to be at another host than the metadata")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := k.get(ctx, metadata.Keys, &set); err != nil {
		return nil, err
	}
	out := map[string]key{}
	for _, raw := range set.Keys {
		var more struct {
			Endorsements []string `json:"endorsements"`
		}
		var one jose.JSONWebKey
		if json.Unmarshal(raw, &one) != nil || json.Unmarshal(raw, &more) != nil { // a key of a kind that we don't know is none of ours
			continue
		}
		public, isRSA := one.Key.(*rsa.PublicKey)
		if !isRSA || one.KeyID == "" || (one.Use != "" && one.Use != "sig") || public.N.BitLen() < minKeyBits {
			continue
		}
		out[one.KeyID] = key{public, more.Endorsements}
	}
	if len(out) == 0 {
		return nil, errors.New("there are none that can be used")
	}
	return out, nil
}

func (k *Keys) get(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	res, err := k.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP %d", res.StatusCode)
	}
	return json.NewDecoder(io.LimitReader(res.Body, maxKeysBytes)).Decode(into)
}
