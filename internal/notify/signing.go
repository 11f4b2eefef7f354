package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
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

// Headers of Standard Webhooks 1.0 (https://www.standardwebhooks.com).
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
type Key struct{ reveal func() []byte }

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
var ErrKey = errors.New("notify: unusable signing key")

// ParseKeys reads one to three signing keys, separated by spaces or commas; the first one is the newest. A key is "whsec_" and
// base64 of 24 to 64 bytes, or else plain text of at least 16 characters, whose bytes are the key. An empty string gives none.
//
// Errors wrap ErrKey.
func ParseKeys(s string) ([]Key, error) {
	var keys []Key
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' }) {
		raw := []byte(f)
		if encoded, ok := strings.CutPrefix(f, "whsec_"); ok {
			var err error
			if raw, err = base64.StdEncoding.Strict().DecodeString(encoded); err != nil {
				return nil, fmt.Errorf("%w: what follows whsec_ is not base64", ErrKey)
			}
			if len(raw) < 24 || len(raw) > 64 {
				return nil, fmt.Errorf("%w: it must have 24 to 64 bytes", ErrKey)
			}
		} else if len(raw) < 16 {
			return nil, fmt.Errorf("%w: it must have at least 16 characters", ErrKey)
		}
		keys = append(keys, Key{func() []byte { return raw }})
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

// Sign returns the value of the signature header: one signature per key, so that a receiver can change keys in its own time.
func Sign(keys []Key, id string, at time.Time, body []byte) string {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	out := make([]string, 0, len(keys))
	for _, k := range keys {
		out = append(out, "v1,"+base64.StdEncoding.EncodeToString(k.mac(id, timestamp, body)))
	}
	return strings.Join(out, " ")
}

// ErrSignature says that a signed request is not what it claims to be. Its text has the reason for the log; the caller's answer is the
// same for all reasons.
var ErrSignature = errors.New("notify: signature refused")

var (
	webhookID        = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
	webhookTimestamp = regexp.MustCompile(`^[0-9]{1,12}$`)
)

// Verify checks a signed request and returns its webhook-id. Whether the id was used before is the caller's next question.
//
// Errors wrap ErrSignature.
func Verify(keys []Key, h http.Header, body []byte, now time.Time) (string, error) {
	refuse := func(why string) (string, error) { return "", fmt.Errorf("%w: %s", ErrSignature, why) }
	var values [3]string
	for i, name := range []string{HeaderID, HeaderTimestamp, HeaderSignature} {
		all := h.Values(name)
		if len(all) != 1 {
			return refuse(name + " must be there exactly once")
		}
		values[i] = all[0]
	}
	id, timestamp, signatures := values[0], values[1], values[2]
	if !webhookID.MatchString(id) {
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
	good := false
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
			if hmac.Equal(got, k.mac(id, timestamp, body)) {
				good = true
			}
		}
	}
	if !good {
		return refuse("no signature fits")
	}
	return id, nil
}
