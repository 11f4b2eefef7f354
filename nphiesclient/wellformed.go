package nphiesclient

import (
	"bytes"
	"encoding/json"
	"unicode/utf16"
	"unicode/utf8"
)

// ambiguous says what in a body other systems may read otherwise than we do, "" if there is nothing: what is not refused here might be
// one claim to us and another to NPHIES. Answers are read without it.
func ambiguous(body []byte) string {
	switch {
	case bytes.HasPrefix(body, []byte("\xef\xbb\xbf")):
		return "begins with a byte order mark"
	case !utf8.Valid(body):
		return "not UTF-8 text"
	case halfPair(body):
		return "holds half of a surrogate pair (\\ud800 to \\udfff)"
	case !json.Valid(body):
		return "" // told when the message is read
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if twice, _ := repeats(dec); twice { // there are no other errors
		return "names an element twice in one object"
	}
	return ""
}

// repeats reads one value and tells whether an object in it has a name twice.
func repeats(dec *json.Decoder) (bool, error) {
	t, err := dec.Token()
	if err != nil {
		return false, err
	}
	opening, nested := t.(json.Delim)
	if !nested || opening == '}' || opening == ']' {
		return false, nil
	}
	names := map[string]bool{}
	for dec.More() {
		if opening == '{' {
			name, err := dec.Token()
			if err != nil {
				return false, err
			}
			s, _ := name.(string)
			if names[s] {
				return true, nil
			}
			names[s] = true
		}
		if twice, err := repeats(dec); twice || err != nil {
			return twice, err
		}
	}
	_, err = dec.Token()
	return false, err
}

// halfPair reports an escaped surrogate without its other half.
func halfPair(body []byte) bool {
	for {
		i := bytes.IndexByte(body, '\\')
		if i < 0 || i+1 >= len(body) {
			return false
		}
		r := escaped(body[i:])
		switch {
		case r < 0:
			body = body[i+2:]
		case !utf16.IsSurrogate(r):
			body = body[i+6:]
		case utf16.DecodeRune(r, escaped(body[i+6:])) == utf8.RuneError:
			return true
		default:
			body = body[i+12:]
		}
	}
}

// escaped is the code unit of a \u escape at the beginning, -1 if there is none.
func escaped(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return r
}
