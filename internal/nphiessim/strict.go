package nphiessim

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What JSON readers take differently, so that a message would mean different things to different systems.
var (
	errNotUTF8    = errors.New("the body is not UTF-8 text")
	errTwice      = errors.New("an object names an element twice")
	errControl    = errors.New("a text holds control characters")
	errSurrogates = errors.New("a text holds half of a surrogate pair")
)

// strict tells what is wrong with a body that parseJSON takes: nil if every reader understands it alike.
func strict(raw []byte) error {
	if !utf8.Valid(raw) {
		return errNotUTF8
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var open []map[string]bool // the names so far in each object around; nil for a list
	isName := false
	for {
		token, err := dec.Token()
		if err != nil {
			return loneSurrogate(raw) // the end
		}
		text, isText := token.(string)
		inObject := len(open) > 0 && open[len(open)-1] != nil
		switch {
		case isText && strings.ContainsFunc(text, isControl):
			return errControl
		case isText && inObject && isName && open[len(open)-1][text]:
			return errTwice
		case isText && inObject && isName:
			open[len(open)-1][text] = true
			isName = false
			continue
		case token == json.Delim('{'):
			open = append(open, map[string]bool{})
		case token == json.Delim('['):
			open = append(open, nil)
		case token == json.Delim('}'), token == json.Delim(']'):
			open = open[:len(open)-1]
		}
		isName = len(open) > 0 && open[len(open)-1] != nil
	}
}

func isControl(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' }

// loneSurrogate looks at the escapes of the texts: a reader would put U+FFFD in the place of half a pair.
func loneSurrogate(raw []byte) error {
	unit := func(at int) uint64 {
		if at+6 > len(raw) || raw[at] != '\\' || raw[at+1] != 'u' {
			return 0
		}
		u, _ := strconv.ParseUint(string(raw[at+2:at+6]), 16, 16)
		return u & 0xfc00
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		switch unit(i) {
		case 0xd800:
			if unit(i+6) != 0xdc00 {
				return errSurrogates
			}
			i += 11
		case 0xdc00:
			return errSurrogates
		default:
			i++
		}
	}
	return nil
}
