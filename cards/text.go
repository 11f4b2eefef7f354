package cards

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Redact replaces secrets in s: bearer tokens, JWTs, PEM blocks, values of password, secret and token settings, signatures of
// shared-access addresses, Vault tokens, signing keys and credentials in addresses. It is applied to every text in a card; use
// it for any text of another party that is stored or logged.
func Redact(s string) string {
	for _, r := range secrets {
		s = r.find.ReplaceAllString(s, r.with)
	}
	return s
}

// The order matters: a PEM block may contain anything, a header value may be a JWT.
var secrets = []struct {
	find *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]+-----.*?(-----END [A-Z0-9 ]+-----|$)`), "[redacted PEM]"},
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`), "[redacted JWT]"},
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}`), "$1 [redacted]"},
	{regexp.MustCompile(`\bhv[sbr]\.[A-Za-z0-9_-]+`), "[redacted Vault token]"},
	{regexp.MustCompile(`\bwhsec_[A-Za-z0-9+/=_-]+`), "[redacted key]"},
	{regexp.MustCompile(`(?i)(^|[^a-z]|u0026|%26|%3f)(sig(?:=|%3d))[^&\s"'\\)]+`), "$1$2[redacted]"},
	{regexp.MustCompile(`(?i)\b([a-z_-]*(?:password|passwd|secret|token|api_?key))(["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s"'&,;]+)`), "$1$2[redacted]"},
	{regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/\s@]+@`), "$1[redacted]@"},
}

// Numbers that identify a person in Saudi Arabia: national id and iqama (ten digits from 1 or 2), mobile numbers. Mail
// addresses too.
var personal = []struct {
	find *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}`), "[masked]"},
	{regexp.MustCompile(`(?:\+|\b00)?\b966[ -]?5\d[ -]?\d{3}[ -]?\d{4}\b`), "[masked]"},
	{regexp.MustCompile(`\b05\d[ -]?\d{3}[ -]?\d{4}\b`), "[masked]"},
	{regexp.MustCompile(`\b[12]\d{9}\b`), "[masked]"},
	{regexp.MustCompile(`[١٢۱۲][٠-٩۰-۹]{9}`), "[masked]"},
}

// mask replaces what may identify a person in free text. The details structs have no field for such data; this is the net
// below them for texts that others wrote.
func mask(s string) string {
	for _, r := range personal {
		s = r.find.ReplaceAllString(s, r.with)
	}
	return s
}

// maxInput and maxLine bound the bytes of one text and of one line of it, far above what a card can show.
const (
	maxInput = 16 << 10
	maxLine  = 2 << 10
)

// clean makes s valid UTF-8 without control characters (newlines stay), without characters that change the direction of text
// or have no width, without mentions and without secrets.
//
// Only the first maxInput bytes are read: a card shows a small part of them, and the work grows with the text.
func clean(s string) string { return cleaned(s, false) }

// ownLine is line for a text that we wrote: what isolates pieces of it stays.
func ownLine(s string) said {
	return said(balance(strings.Join(strings.Fields(cleaned(s[:min(len(s), maxLine)], true)), " ")))
}

func cleaned(s string, isolates bool) string {
	s = s[:min(len(s), maxInput)]
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case isolates && strings.ContainsRune(isolateFirst+isolateRight+isolateEnd, r):
			return r
		case r == '\r', r == '\u2028', r == '\u2029':
			return '\n'
		case r == '\t', r == '\u00a0':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == '\u034f', r == '\u115f', r == '\u1160', r == '\u3164', r == '\uffa0':
			return -1
		}
		return r
	}, s)
	return Redact(mention.ReplaceAllString(strings.ReplaceAll(s, "{{", "{ {"), "‹$1")) // {{DATE()}} and {{TIME()}} are read even in texts
}

// line is clean on one line. It reads the first maxLine bytes.
func line(s string) string { return strings.Join(strings.Fields(clean(s[:min(len(s), maxLine)])), " ") }

// SafeLine prepares text of another party for a log or an error column: one line of at most n runes (and a note of what is
// missing), without control characters, secrets, and numbers or addresses of persons.
func SafeLine(s string, n int) string { return cut(mask(line(s)), n) }

// freeText prepares text of another party for a RichTextBlock, the only element that shows it literally.
func freeText(s string) string { return strings.TrimSpace(mask(clean(s))) }

var mention = regexp.MustCompile(`(?i)<(/?at)\b`)

var (
	listItem = regexp.MustCompile(`^(\s*)([-+])`)
	numbered = regexp.MustCompile(`^(\s*\d+)\.`)
	markdown = strings.NewReplacer(`\`, `\\`, "`", "\\`", `*`, `\*`, `_`, `\_`, `[`, `\[`, `]`, `\]`, `(`, `\(`, `)`, `\)`,
		`<`, `\<`, `>`, `\>`, `#`, `\#`, `~`, `\~`, `|`, `\|`)
)

// escape makes one line of text literal in a TextBlock or Fact, which read a subset of Markdown.
func escape(s string) string {
	s = markdown.Replace(s)
	s = listItem.ReplaceAllString(s, `$1\$2`)
	return numbered.ReplaceAllString(s, `$1\.`)
}

// cut shortens s to n runes and says how many bytes are missing.
func cut(s string, n int) string {
	head, missing := headOf(s, n)
	if missing == 0 {
		return s
	}
	return fmt.Sprintf("%s… (+%d bytes)", head, missing)
}

// headOf returns the first n runes of s and how many bytes come after them.
func headOf(s string, n int) (head string, missing int) {
	if utf8.RuneCountInString(s) <= n {
		return s, 0
	}
	at := 0
	for range n {
		_, size := utf8.DecodeRuneInString(s[at:])
		at += size
	}
	return s[:at], len(s) - at
}
