package cards

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Language is the language of a card's own words. What others wrote stays as it is.
type Language string

// The languages. The zero value is English.
const (
	English Language = "en"
	Arabic  Language = "ar"
)

// Valid reports whether l is one of the languages.
func (l Language) Valid() bool { return l == English || l == Arabic }

// phrase is a text of ours in English, the key of the table of translations (arabic.go). A test finds every constant of this
// type and fails while its translation is missing. Each %s is a piece of data.
type phrase string

// said is a text ready to be shown: our words, or a text of others made inert by plain. Where directions mix, the pieces of
// others in it are isolated.
type said string

// say gives p in l with args filled in: texts (made inert), numbers, or what was said before.
func (l Language) say(p phrase, args ...any) said {
	format := string(p)
	if l == Arabic {
		if t, ok := arabic[p]; ok {
			format = t
		}
	}
	if len(args) == 0 {
		return said(format)
	}
	pieces := make([]any, len(args))
	for i, a := range args {
		s, ok := a.(said)
		if !ok {
			s = said(line(fmt.Sprint(a)))
		}
		pieces[i] = l.isolate(s)
	}
	return said(fmt.Sprintf(format, pieces...))
}

// word gives one of the words our values are made of ("submission", "sealed") in l, and any other text as it is.
func (l Language) word(s string) said {
	if slices.Contains(words, phrase(s)) {
		return l.say(phrase(s))
	}
	return plain(s)
}

// words are values that are words of ours.
var words = []phrase{
	OperationEligibility, OperationSubmission, OperationPoll, OperationStatus, OperationCancel,
	ErrorCertificate, ErrorJWT, ErrorNetwork, ErrorAPI,
	phrase(Approved), phrase(Partial),
	phrase(Critical), phrase(High), phrase(Medium), phrase(Low), phrase(Info),
	phrase(DecisionAcknowledged), phrase(DecisionEscalated), phrase(DecisionRetried), phrase(DecisionDiscarded),
	"active", "standby", "master", "replica", "primary", "growing", "stopped", "paused", "down", "failover", "lagging", "exhausted",
	"all", "restart", "manual", "automatic", "storage", "auto-unseal failed",
}

// plain makes a text of others one inert line; what was said already stays.
func plain[T string | said](text T) said {
	if s, ok := any(text).(said); ok {
		return s
	}
	return said(line(string(text)))
}

// The marks around a piece of text that keep its direction to itself. Those of others are stripped by clean.
const (
	isolateFirst = "\u2068" // the first letter decides the direction
	isolateRight = "\u2067" // right to left
	isolateEnd   = "\u2069"
)

// isolate keeps s from changing the order of what stands around it: in English what holds letters written from right to left,
// in Arabic everything but pure Arabic, numbers and codes among it.
func (l Language) isolate(s said) said {
	apart := strings.ContainsFunc(string(s), rightToLeft)
	if l == Arabic {
		apart = strings.ContainsFunc(string(s), func(r rune) bool { return !rightToLeft(r) && !unicode.IsSpace(r) })
	}
	whole := strings.HasPrefix(string(s), isolateFirst) && strings.Index(string(s), isolateEnd) == len(s)-len(isolateEnd)
	if !apart || whole {
		return s
	}
	return isolateFirst + s + isolateEnd
}

// frame gives a text of ours that begins with data the direction of l.
func (l Language) frame(s said) said {
	if l != Arabic {
		return s
	}
	return isolateRight + s + isolateEnd
}

func rightToLeft(r rune) bool {
	return r >= 0x590 && unicode.In(r, unicode.Arabic, unicode.Hebrew, unicode.Syriac, unicode.Thaana, unicode.Nko)
}

// balance closes what was opened and drops what closes nothing, so that a text that was cut cannot reach beyond its end.
func balance(s string) string {
	if !strings.ContainsAny(s, isolateFirst+isolateRight+isolateEnd) {
		return s
	}
	depth := 0
	var b strings.Builder
	for _, r := range s {
		switch string(r) {
		case isolateFirst, isolateRight:
			depth++
		case isolateEnd:
			if depth == 0 {
				continue
			}
			depth--
		}
		b.WriteRune(r)
	}
	return b.String() + strings.Repeat(isolateEnd, depth)
}

// cut shortens s, which is one line, to n runes and says in l how many bytes are missing.
func (l Language) cut(s said, n int) said {
	head, missing := headOf(string(s), n)
	if missing == 0 {
		return s
	}
	return l.isolate(said(balance(head))) + l.say("… (+%s bytes)", missing)
}

// paragraph is cut for text of several lines, each of which keeps its direction to itself.
func (l Language) paragraph(s said, n int) string {
	head, missing := headOf(string(s), n)
	lines := strings.Split(head, "\n")
	for i, one := range lines {
		lines[i] = string(l.isolate(said(balance(one))))
	}
	text := strings.Join(lines, "\n")
	if missing > 0 {
		text += string(l.say("… (+%s bytes)", missing))
	}
	return text
}

// list joins the first limit of all, and says how many there are beside them.
func (l Language) list(all []said, limit int, separator string) said {
	shown := all[:min(len(all), limit)]
	var b strings.Builder
	for i, s := range shown {
		if i > 0 {
			b.WriteString(separator)
		}
		if separator != "\n" {
			s = l.isolate(s)
		}
		b.WriteString(string(s))
	}
	if more := len(all) - len(shown); more > 0 {
		b.WriteString(separator + string(l.say("… and %s more", more)))
	}
	return said(b.String())
}

// plains makes each of all inert and drops repetitions and empty ones.
func plains(all []string) []said {
	var out []said
	for _, s := range all {
		if p := plain(s); p != "" && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}
