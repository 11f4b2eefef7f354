// Package actionlink makes and checks the links on cards that lead to a page where a person confirms what is to be done about an alert. A
// link says for which alert, which verb and how long; it is not a permission: the person still signs in.
package actionlink

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// MaxToken is the longest token, in bytes.
const MaxToken = 512

// Errors of Verify. Nothing but which of them it is goes to the sender.
var (
	// ErrToken: it is not one of ours, or was changed.
	ErrToken = errors.New("actionlink: not a valid token")
	// ErrExpired: it was valid.
	ErrExpired = errors.New("actionlink: the token has expired")
)

// Key signs links. They are kept apart from those of webhooks.
type Key struct {
	// ID is 1 to 8 of a-z and 0-9.
	ID     string
	secret []byte
}

// Keys are one or two: the first signs, all are accepted.
type Keys []Key

var keyID = regexp.MustCompile(`^[a-z0-9]{1,8}$`)

// ParseKeys reads "id:base64", the new key before the old one, separated by blanks. Each has 32 bytes. Errors name the position and never
// show a key.
func ParseKeys(text string) (Keys, error) {
	var out Keys
	for i, entry := range strings.Fields(text) {
		id, secret, ok := strings.Cut(entry, ":")
		if !ok || !keyID.MatchString(id) {
			return nil, fmt.Errorf("key %d: want id:base64, the id of 1 to 8 letters a-z or digits", i+1)
		}
		raw, err := base64.StdEncoding.Strict().DecodeString(secret)
		if err != nil || len(raw) != 32 {
			return nil, fmt.Errorf("key %d: want 32 bytes in base64 (openssl rand -base64 32)", i+1)
		}
		for _, k := range out {
			if k.ID == id {
				return nil, fmt.Errorf("key %d: its id was given before", i+1)
			}
		}
		out = append(out, Key{id, raw})
	}
	if len(out) > 2 {
		return nil, fmt.Errorf("%d keys; want the current one and at most one before it", len(out))
	}
	return out, nil
}

// Token is what a link says. It holds identifiers only: no names, no data.
type Token struct {
	// ID is made by Mint: two links are never the same.
	ID string
	// Alert is the id of a notification of the alert.
	Alert string
	// Verb is what is to be confirmed; Audience where the link stands: a channel or a conversation.
	Verb     string
	Audience string
	// Issued and Expires are whole seconds.
	Issued, Expires time.Time
	// KeyID is the key that signed it, filled in by Verify.
	KeyID string
}

// payload is the token's wire form.
type payload struct {
	J string `json:"j"`
	A string `json:"a"`
	V string `json:"v"`
	C string `json:"c"`
	I int64  `json:"i"`
	E int64  `json:"e"`
}

// Mint signs a token with the first key. The error is not nil without a key, or when the token would be too long.
func (k Keys) Mint(t Token) (string, error) {
	if t.ID == "" {
		t.ID = rand.Text()
	}
	return k.sign(payload{t.ID, t.Alert, t.Verb, t.Audience, t.Issued.Unix(), t.Expires.Unix()})
}

func (k Keys) sign(p payload) (string, error) {
	if len(k) == 0 {
		return "", errors.New("actionlink: no key")
	}
	raw, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	body := base64.RawURLEncoding.EncodeToString(raw)
	token := "v1." + k[0].ID + "." + body + "." + base64.RawURLEncoding.EncodeToString(k[0].mac(body))
	if len(token) > MaxToken {
		return "", fmt.Errorf("actionlink: the token would have %d bytes; at most %d", len(token), MaxToken)
	}
	return token, nil
}

// mac is over the key's id and the body, in a domain of its own.
func (k Key) mac(body string) []byte {
	h := hmac.New(sha256.New, k.secret)
	h.Write([]byte("action-link.v1." + k.ID + "." + body)) // never fails
	return h.Sum(nil)
}

// leeway is how far our clocks may be apart.
const leeway = time.Minute

// Verify checks a token at a time. An expired one comes with ErrExpired and what it says: that may be shown, not acted on.
func (k Keys) Verify(token string, now time.Time) (Token, error) {
	if len(token) > MaxToken || strings.ContainsAny(token, "\r\n") { // which the decoder would pass over
		return Token{}, ErrToken
	}
	parts := strings.Split(token, ".")
	if len(parts) != 4 || parts[0] != "v1" {
		return Token{}, ErrToken
	}
	given, err := base64.RawURLEncoding.Strict().DecodeString(parts[3])
	if err != nil {
		return Token{}, ErrToken
	}
	good := false
	for _, key := range k {
		if key.ID == parts[1] && hmac.Equal(given, key.mac(parts[2])) {
			good = true
		}
	}
	if !good {
		return Token{}, ErrToken
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil {
		return Token{}, ErrToken
	}
	var p payload
	if err := json.Unmarshal(raw, &p); err != nil || p.J == "" || p.A == "" || p.V == "" || p.E <= p.I {
		return Token{}, ErrToken
	}
	t := Token{ID: p.J, Alert: p.A, Verb: p.V, Audience: p.C, Issued: time.Unix(p.I, 0).UTC(), Expires: time.Unix(p.E, 0).UTC(), KeyID: parts[1]}
	if t.Issued.After(now.Add(leeway)) {
		return Token{}, ErrToken
	}
	if !now.Before(t.Expires) {
		return t, ErrExpired
	}
	return t, nil
}
