package signing

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The published vectors; the first was checked against the Go reference library of Standard Webhooks.
const (
	vectorID   = "act_01JH8W9V3T0000000000000001"
	vectorTime = 1767225600
	vectorBody = `{"type":"alert.acknowledge","alert_id":"alr_01JH8W9V3T0000000000000000","actor":{"id":"a.user@example.com"}}`
	vectorKey1 = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	vectorKey2 = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
	vectorSig1 = "v1,H38HfWFZt2Bs4f6fyin+XzUozfilVMmn7YooFyalFhM="
	vectorSig2 = "v1,B7Suyy+Zqi90lOw7XZnJaKCLtOYdQaoizLzBp57Rmn8="
)

func keys(tb testing.TB, s string) []Key {
	tb.Helper()
	k, err := ParseKeys(s)
	require.NoError(tb, err)
	return k
}

func signed(sig string) http.Header {
	h := http.Header{}
	h.Set(HeaderID, vectorID)
	h.Set(HeaderTimestamp, strconv.Itoa(vectorTime))
	h.Set(HeaderSignature, sig)
	return h
}

func TestSignVectors(t *testing.T) {
	at := time.Unix(vectorTime, 0)
	require.Equal(t, vectorSig1, Sign(keys(t, vectorKey1), vectorID, at, []byte(vectorBody)))
	require.Equal(t, vectorSig1, Sign(keys(t, "0123456789abcdef0123456789abcdef"), vectorID, at, []byte(vectorBody)), "plain text")
	require.Equal(t, vectorSig2+" "+vectorSig1, Sign(keys(t, vectorKey2+","+vectorKey1), vectorID, at, []byte(vectorBody)))
	require.Empty(t, Sign(nil, vectorID, at, nil))
	ending := keys(t, vectorKey2+" "+vectorKey1+"@2026-01-01T00:00:01Z")
	require.Equal(t, vectorSig2+" "+vectorSig1, Sign(ending, vectorID, at, []byte(vectorBody)))
	require.Equal(t, 1, strings.Count(Sign(ending, vectorID, at.Add(time.Second), []byte(vectorBody)), "v1,"))
}

func TestVerifyMatrix(t *testing.T) {
	at := time.Unix(vectorTime, 0)
	both := keys(t, vectorKey2+" "+vectorKey1)
	ok := func(name string, k []Key, h http.Header, body string, now time.Time) {
		t.Helper()
		id, err := Verify(k, h, []byte(body), now)
		require.NoError(t, err, name)
		require.Equal(t, vectorID, id)
	}
	refused := func(name string, k []Key, h http.Header, body string, now time.Time) {
		t.Helper()
		_, err := Verify(k, h, []byte(body), now)
		require.ErrorIs(t, err, ErrSignature, name)
	}
	ok("plain", keys(t, vectorKey1), signed(vectorSig1), vectorBody, at)
	ok("old key during rotation", both, signed(vectorSig1), vectorBody, at)
	ok("new key during rotation", both, signed(vectorSig2), vectorBody, at)
	ok("sender signs with both", keys(t, vectorKey1), signed(vectorSig2+" "+vectorSig1), vectorBody, at)
	ok("unknown version beside a good one", keys(t, vectorKey1), signed("v2,AAAA "+vectorSig1), vectorBody, at)
	ok("299 s late", both, signed(vectorSig1), vectorBody, at.Add(299*time.Second))
	ok("299 s early", both, signed(vectorSig1), vectorBody, at.Add(-299*time.Second))
	ok("eight", both, signed(strings.Repeat(vectorSig2+" ", 7)+vectorSig1), vectorBody, at)

	ending := keys(t, vectorKey2+" "+vectorKey1+"@"+at.Format(time.RFC3339))
	ok("old key before its end", ending, signed(vectorSig1), vectorBody, at.Add(-time.Second))
	refused("old key at its end", ending, signed(vectorSig1), vectorBody, at)
	ok("new key after the end of the old one", ending, signed(vectorSig2), vectorBody, at)

	refused("old key after rotation", keys(t, vectorKey2), signed(vectorSig1), vectorBody, at)
	refused("no keys", nil, signed(vectorSig1), vectorBody, at)
	refused("301 s late", both, signed(vectorSig1), vectorBody, at.Add(301*time.Second))
	refused("301 s early", both, signed(vectorSig1), vectorBody, at.Add(-301*time.Second))
	refused("body", both, signed(vectorSig1), vectorBody+" ", at)
	refused("wrong version", both, signed(strings.Replace(vectorSig1, "v1", "v2", 1)), vectorBody, at)
	refused("nine", both, signed(strings.Repeat(vectorSig2+" ", 8)+vectorSig1), vectorBody, at)
	refused("not base64", both, signed("v1,%%%"), vectorBody, at)
	refused("empty", both, signed(""), vectorBody, at)
	for i := range []byte(vectorSig1)[3:] {
		b := []byte(vectorSig1)
		b[3+i] ^= 1
		refused(fmt.Sprint("bit in signature ", i), keys(t, vectorKey1), signed(string(b)), vectorBody, at)
	}
	for i := range []byte(vectorBody) {
		for bit := range 8 {
			b := []byte(vectorBody)
			b[i] ^= 1 << bit
			refused(fmt.Sprint("bit in body ", i, bit), both, signed(vectorSig1), string(b), at)
		}
	}
	for header, value := range map[string]string{HeaderID: vectorID, HeaderTimestamp: strconv.Itoa(vectorTime)} {
		for i := range []byte(value) {
			for bit := range 7 {
				b := []byte(value)
				b[i] ^= 1 << bit
				h := signed(vectorSig1)
				h.Set(header, string(b))
				refused(fmt.Sprint("bit in ", header, i, bit), both, h, vectorBody, at)
			}
		}
	}
	for header, value := range map[string]string{
		HeaderID: "act_01JH8W9V3T0000000000000002", HeaderTimestamp: strconv.Itoa(vectorTime + 1),
	} {
		h := signed(vectorSig1)
		h.Set(header, value)
		refused(header, both, h, vectorBody, at)
	}
	for header, values := range map[string][]string{
		HeaderID:        {"a.b", "", strings.Repeat("a", 129), "a b"},
		HeaderTimestamp: {"-1", "+1767225600", "1e9", "1234567890123", "", "1767225600.0"},
	} {
		for _, v := range values {
			h := signed(vectorSig1)
			h.Set(header, v)
			refused(header+" "+v, both, h, vectorBody, at)
		}
	}
	for _, header := range []string{HeaderID, HeaderTimestamp, HeaderSignature} {
		h := signed(vectorSig1)
		h.Add(header, h.Get(header))
		refused("twice "+header, both, h, vectorBody, at)
		h.Del(header)
		refused("without "+header, both, h, vectorBody, at)
	}
}

func TestParseKeys(t *testing.T) {
	for _, bad := range []string{"short", "whsec_", "whsec_%%", "whsec_QUJD", vectorKey1 + "@", vectorKey1 + "@tomorrow", strings.Repeat(vectorKey1+" ", 4)} {
		_, err := ParseKeys(bad)
		require.ErrorIs(t, err, ErrKey)
		require.NotContains(t, err.Error(), "QUJD")
	}
	require.Empty(t, keys(t, "  "))
}

func FuzzVerify(f *testing.F) {
	f.Add(vectorID, strconv.Itoa(vectorTime), vectorSig1, vectorBody)
	k := keys(f, vectorKey1)
	f.Fuzz(func(t *testing.T, id, timestamp, signature, body string) {
		h := http.Header{canonicalID: {id}, canonicalTimestamp: {timestamp}, canonicalSignature: {signature}}
		_, err := Verify(k, h, []byte(body), time.Unix(vectorTime, 0))
		if err == nil {
			require.JSONEq(t, vectorBody, body, "forgery")
			require.Equal(t, vectorID, id, "forgery")
		}
	})
}

// The headers in net/http's spelling.
var (
	canonicalID        = http.CanonicalHeaderKey(HeaderID)
	canonicalTimestamp = http.CanonicalHeaderKey(HeaderTimestamp)
	canonicalSignature = http.CanonicalHeaderKey(HeaderSignature)
)
