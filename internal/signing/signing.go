// Package signing signs machine calls and checks signed ones, as Standard Webhooks 1.0 (https://www.standardwebhooks.com) says:
// three headers, HMAC-SHA256 over id, time and body. Sign is for those who send. Verify is the bare check; a Receiver is the whole
// one, for our own receivers: the size of the body, the signature, and that nothing is taken twice.
package signing

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The three headers.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

// Tolerance is how far a signed timestamp may lie from now, in either direction.
const Tolerance = 300 * time.Second

// maxKeys is how many keys may be active at a time, maxSignatures how many a header may carry.
const (
	maxKeys       = 3
	maxSignatures = 8
)

// Key is a signing key. It cannot be printed.
type Key struct {
	reveal func() []byte
	// end is when it stops to count, zero: never.
	end time.Time
}

// activeAt reports whether the key counts at a time.
func (k Key) activeAt(t time.Time) bool { return k.end.IsZero() || t.Before(k.end) }

// String hides the key.
func (Key) String() string { return "<secret>" }

// GoString hides the key.
func (Key) GoString() string { return "<secret>" }

// Format hides the key whatever the verb.
func (Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "<secret>") }

// MarshalText hides the key.
func (Key) MarshalText() ([]byte, error) { return []byte("<secret>"), nil }

// LogValue hides the key from slog.
func (Key) LogValue() slog.Value { return slog.StringValue("<secret>") }

// ErrKey says that a signing key is malformed. The text never shows it.
var ErrKey = errors.New("signing: unusable signing key")

// ParseKeys reads one to three signing keys, separated by spaces or commas; the first one is the newest. A key is "whsec_" and
// base64 of 24 to 64 bytes, or else plain text of at least 16 characters, whose bytes are the key. "@" and a time behind the base64
// ("whsec_…@2027-01-31T00:00:00Z") is when the key stops to count: it neither signs nor verifies from then on. An empty string
// gives none.
//
// Errors wrap ErrKey.
func ParseKeys(s string) ([]Key, error) {
	var keys []Key
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' }) {
		raw, end := []byte(f), time.Time{}
		if encoded, ok := strings.CutPrefix(f, "whsec_"); ok {
			var err error
			if value, at, ending := strings.Cut(encoded, "@"); ending {
				encoded = value
				if end, err = time.Parse(time.RFC3339, at); err != nil {
					return nil, fmt.Errorf("%w: what follows @ is not a time like 2027-01-31T00:00:00Z", ErrKey)
				}
			}
			if raw, err = base64.StdEncoding.Strict().DecodeString(encoded); err != nil {
				return nil, fmt.Errorf("%w: what follows whsec_ is not base64", ErrKey)
			}
			if len(raw) < 24 || len(raw) > 64 {
				return nil, fmt.Errorf("%w: it must have 24 to 64 bytes", ErrKey)
			}
		} else if len(raw) < 16 {
			return nil, fmt.Errorf("%w: it must have at least 16 characters", ErrKey)
		}
		keys = append(keys, Key{reveal: func() []byte { return raw }, end: end})
	}
	if len(keys) > maxKeys {
		return nil, fmt.Errorf("%w: more than %d keys", ErrKey, maxKeys)
	}
	return keys, nil
}

// mac signs id, timestamp and body.
func (k Key) mac(id, timestamp string, body []byte) []byte {
	h := hmac.New(sha256.New, k.reveal())
	h.Write([]byte(id + "." + timestamp + "."))
	h.Write(body)
	return h.Sum(nil)
}

// Sign returns the value of the signature header: one signature per key that counts at that time, so that a receiver can change
// keys in its own time.
func Sign(keys []Key, id string, at time.Time, body []byte) string {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	out := make([]string, 0, len(keys))
	for _, k := range keys {
		if !k.activeAt(at) {
			continue
		}
		out = append(out, "v1,"+base64.StdEncoding.EncodeToString(k.mac(id, timestamp, body)))
	}
	return strings.Join(out, " ")
}

// ErrSignature says that a signed request is not what it claims to be. Its text has the reason for the log; the caller's answer is the
// same for all reasons.
var ErrSignature = errors.New("signing: signature refused")

// ValidID reports whether id may be a webhook-id: 1 to 128 of A-Z, a-z, 0-9, "_" and "-".
func ValidID(id string) bool { return webhookID.MatchString(id) }

var (
	webhookID        = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
	webhookTimestamp = regexp.MustCompile(`^[0-9]{1,12}$`)
)

// Verify checks a signed request and returns its webhook-id. Whether the id was used before is the caller's next question.
//
// Errors wrap ErrSignature.
//
// Source: section 3.2 of the protocol, steps 2 to 4.
func Verify(keys []Key, h http.Header, body []byte, now time.Time) (string, error) {
	id, _, err := verify(keys, h, body, now)
	return id, err
}

// ID tells a key from others without saying anything about it: the first eight hex digits of the SHA-256 of its SHA-256.
func (k Key) ID() string {
	once := sha256.Sum256(k.reveal())
	twice := sha256.Sum256(once[:])
	return hex.EncodeToString(twice[:4])
}

// verify is Verify and returns the ID of the key that fits, too.
func verify(keys []Key, h http.Header, body []byte, now time.Time) (id, key string, err error) {
	refuse := func(why string) (string, string, error) { return "", "", fmt.Errorf("%w: %s", ErrSignature, why) }
	var values [3]string
	for i, name := range []string{HeaderID, HeaderTimestamp, HeaderSignature} {
		all := h.Values(name)
		if len(all) != 1 {
			return refuse(name + " must be there exactly once")
		}
		values[i] = all[0]
	}
	webhook, timestamp, signatures := values[0], values[1], values[2]
	if !webhookID.MatchString(webhook) {
		return refuse("malformed id")
	}
	if !webhookTimestamp.MatchString(timestamp) {
		return refuse("malformed timestamp")
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return refuse("malformed timestamp")
	}
	if now.Sub(time.Unix(seconds, 0)).Abs() > Tolerance {
		return refuse("timestamp too far from now")
	}
	entries := strings.Split(signatures, " ")
	if len(entries) > maxSignatures {
		return refuse("too many signatures")
	}
	for _, e := range entries {
		encoded, ok := strings.CutPrefix(e, "v1,")
		if !ok {
			continue
		}
		got, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err != nil {
			continue
		}
		for _, k := range keys { // every key against every entry, whatever was found before
			if hmac.Equal(got, k.mac(webhook, timestamp, body)) && k.activeAt(now) {
				key = k.ID()
			}
		}
	}
	if key == "" {
		return refuse("no signature fits")
	}
	return webhook, key, nil
}
