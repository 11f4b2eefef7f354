package cards

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                         "plain",
		"[click](https://evil.example)": `\[click\]\(https://evil.example\)`,
		"a_b*c`d":                       "a\\_b\\*c\\`d",
		"- item":                        `\- item`,
		"+ item":                        `\+ item`,
		"a - b":                         "a - b",
		"1. first":                      `1\. first`,
		"SAR 1.50":                      "SAR 1.50",
		`back\slash`:                    `back\\slash`,
		"# h | t ~s~ <b>":               `\# h \| t \~s\~ \<b\>`,
	} {
		require.Equal(t, want, escape(in))
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"Authorization: Bearer abc.def-ghi":            "Authorization: Bearer [redacted]",
		"Basic dXNlcjpwYXNz rest":                      "Basic [redacted] rest",
		"jwt eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl end":   "jwt [redacted JWT] end",
		"password=hunter2 next":                        "password=[redacted] next",
		`{"client_secret": "a b", "x":1}`:              `{"client_secret": [redacted], "x":1}`,
		"token: 'abc'":                                 "token: [redacted]",
		"https://h/x?api-version=1&sp=%2F&sig=AbC-_9%": "https://h/x?api-version=1&sp=%2F&sig=[redacted]",
		"sig=abc":                      "sig=[redacted]",
		`x\u0026sig=abc","y"`:          `x\u0026sig=[redacted]","y"`,
		"x%26sig%3Dabc rest":           "x%26sig%3D[redacted] rest",
		"('sig=abc') design=1":         "('sig=[redacted]') design=1",
		"hvs.CAESIJabc and hvb.AAAA":   "[redacted Vault token] and [redacted Vault token]",
		"postgres://user:pa@db:5432/x": "postgres://[redacted]@db:5432/x",
		"whsec_MDEyMzQ=":               "[redacted key]",
		"-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nafter": "[redacted PEM]\nafter",
		"-----BEGIN PRIVATE KEY-----\ncut off":                                       "[redacted PEM]",
		"the token was refused":                                                      "the token was refused",
	} {
		require.Equal(t, want, Redact(in))
	}
}

func TestSecretsHiddenByInvisibleCharactersAreFound(t *testing.T) {
	require.NotContains(t, freeText("pass\u200bword=hunter2"), "hunter2")
	require.NotContains(t, freeText("eyJhbGci\u0000Oi.eyJzdWIiOi.c2ln"), "c2ln")
}

func TestMask(t *testing.T) {
	require.Equal(t, "id [masked], iqama [masked], call [masked] or [masked] or [masked], mail [masked]",
		freeText("id 1098765432, iqama 2098765432, call 0551234567 or +966 55 123 4567 or 966551234567, mail a.b@example.com"))
	require.Equal(t, "BV-00163 at item 12, 1234567890123", freeText("BV-00163 at item 12, 1234567890123"))
}

func TestClean(t *testing.T) {
	require.Equal(t, "a b\nc\uFFFD", clean("a\tb\r\n\u202ec\xff"))
	require.Equal(t, "one two", line("  one\n\n two \u200b"))
	require.Equal(t, "‹at>x‹/AT>", line("<at>x</AT>"))
	require.Equal(t, `‹at id="0">x <attack`, line(`<at id="0">x <attack`))
}

func TestCut(t *testing.T) {
	require.Equal(t, "abc", cut("abc", 3))
	require.Equal(t, "🏥é… (+3 bytes)", cut("🏥éabc", 2))
}

func TestMoney(t *testing.T) {
	require.EqualValues(t, "SAR 1,234,567.50", English.sar("1234567.50"))
	require.EqualValues(t, "SAR 123.00", English.sar("123.00"))
	require.EqualValues(t, "SAR -1,000.00", English.sar("-1000.00"))
	require.Empty(t, English.sar(""))
	require.EqualValues(t, "n/a", English.sar("n/a"))
	require.Equal(t, "0.10", difference("0.30", "0.20"))
	require.Equal(t, "90071992547409.93", difference("90071992547409.94", "0.01"))
	require.Empty(t, difference("1.00", ""))
	require.Equal(t, "87.4 %", share("1310.25", "1500.00"))
	require.Equal(t, "99.9 %", share("999999.99", "1000000.00"))
	require.Equal(t, "100.0 %", share("5.00", "5.00"))
	require.Empty(t, share("0.00", "0.00"))
}

func TestMomentAndSpan(t *testing.T) {
	require.EqualValues(t, "2026-03-14T21:26:53Z · 2026-03-15 00:26 Asia/Riyadh", moment(time.Date(2026, 3, 14, 21, 26, 53, 0, time.UTC)))
	require.Empty(t, moment(time.Time{}))
	for d, want := range map[time.Duration]string{
		-time.Second: "", 0: "", time.Microsecond: "1 ms", 1234 * time.Millisecond: "1.2 s", 200 * time.Second: "3 m 20 s",
		125 * time.Minute: "2 h 5 m", 120 * time.Minute: "2 h", 76 * time.Hour: "3 d 4 h",
	} {
		require.EqualValues(t, want, English.span(d))
	}
}

func TestUsableAddresses(t *testing.T) {
	for _, good := range []string{"https://a.example", "https://a.example:8443/x?y=z&a=%2F#f", "http://localhost:8080/x", "http://127.0.0.1:1", "http://[::1]/"} {
		require.True(t, usable(good), good)
	}
	for _, bad := range []string{
		"", "http://a.example", "http://localhost.evil.example", "javascript:alert(1)", "https://", "https://u:p@a.example", "https://a.example/\"x",
		"https://a.example/ x", "https://a.example/\n", "data:text/html,x", "//a.example", "file:///etc/passwd", "https://exämple.sa",
	} {
		require.False(t, usable(bad), bad)
	}
	require.Equal(t, "https://m.example/base/claims/abc", page("https://m.example/base/", "claims", "abc"))
	require.Equal(t, "https://m.example", page("https://m.example", "claims", "../../x"))
	require.Empty(t, page("", "claims", "abc"))
}
