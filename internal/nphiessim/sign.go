package nphiessim

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// signatureWindow is how far a webhook-timestamp may be from now, either way.
const signatureWindow = 300 * time.Second

// maxSignatures is how many entries of a webhook-signature header are looked at.
const maxSignatures = 8

var (
	webhookIDPattern        = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
	webhookTimestampPattern = regexp.MustCompile(`^\d{1,12}$`)
)

var (
	errSigningKey       = errors.New("a signing key is whsec_ and base64 of 24 to 64 bytes")
	errSignatureHeaders = errors.New("webhook-id, webhook-timestamp and webhook-signature must be there, each once and well formed")
	errSignatureTime    = errors.New("webhook-timestamp is more than 300 s away")
	errSignature        = errors.New("webhook-signature does not match")
)

func parseSigningKey(secret string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(secret, "whsec_")
	if !ok {
		return nil, errSigningKey
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errSigningKey
	}
	return key, nil
}

// checkSignatureHeaders checks the form of the headers, without a key. The signature itself may be missing.
func checkSignatureHeaders(h http.Header) error {
	if len(h.Values("Webhook-Id")) != 1 || len(h.Values("Webhook-Timestamp")) != 1 || len(h.Values("Webhook-Signature")) > 1 {
		return errSignatureHeaders
	}
	if !webhookIDPattern.MatchString(h.Get("Webhook-Id")) || !webhookTimestampPattern.MatchString(h.Get("Webhook-Timestamp")) {
		return errSignatureHeaders
	}
	return nil
}

// verifySignature checks a body against Standard Webhooks 1.0: HMAC-SHA256 over id.timestamp.body. Every key is tried
// against every entry.
func verifySignature(h http.Header, body []byte, keys [][]byte, now time.Time) error {
	if err := checkSignatureHeaders(h); err != nil {
		return err
	}
	id, stamp := h.Get("Webhook-Id"), h.Get("Webhook-Timestamp")
	if h.Get("Webhook-Signature") == "" {
		return errSignatureHeaders
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return errSignatureHeaders
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > signatureWindow || age < -signatureWindow {
		return errSignatureTime
	}
	entries := strings.Split(h.Get("Webhook-Signature"), " ")
	if len(entries) > maxSignatures {
		return errSignatureHeaders
	}
	good := false
	for _, key := range keys {
		if len(key) == 0 {
			continue
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + stamp + "."))
		mac.Write(body)
		want := mac.Sum(nil)
		for _, e := range entries {
			encoded, isV1 := strings.CutPrefix(e, "v1,")
			got, err := base64.StdEncoding.Strict().DecodeString(encoded)
			if isV1 && err == nil && hmac.Equal(got, want) {
				good = true
			}
		}
	}
	if !good {
		return errSignature
	}
	return nil
}

// CheckSigningKey tells whether a "whsec_…" secret can be used in Options.SigningKeys.
func CheckSigningKey(secret string) error {
	_, err := parseSigningKey(secret)
	return err
}
