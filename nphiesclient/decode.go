package nphiesclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// DecodeClaim reads a claim document strictly: a field we do not know, a repeated field, a wrong type or a null is an
// *InvalidError with path and line. It does not judge the content; BuildClaim does.
func DecodeClaim(data []byte) (*ClaimDocument, error) {
	var d ClaimDocument
	if err := decodeStrict(data, &d); err != nil {
		return nil, err
	}
	return &d, nil
}

// DecodeEligibility reads an eligibility document as DecodeClaim does.
func DecodeEligibility(data []byte) (*EligibilityDocument, error) {
	var d EligibilityDocument
	if err := decodeStrict(data, &d); err != nil {
		return nil, err
	}
	return &d, nil
}

// decodeStrict checks the shape of data against v's type, then fills v. encoding/json alone would neither say where an
// unknown field stands, nor see a field given twice, and its messages quote values.
func decodeStrict(data []byte, v any) error {
	data = trimBOM(data)
	if !utf8.Valid(data) {
		return &InvalidError{Findings: []Finding{{Rule: ruleDocument, Text: "not UTF-8 text", Severity: SeverityError}}}
	}
	w := &walker{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	w.dec.UseNumber()
	err := w.value("", reflect.TypeOf(v).Elem())
	if err == nil {
		if _, next := w.dec.Token(); !errors.Is(next, io.EOF) {
			w.fail("", "more text after the end of the document")
		}
	} else {
		w.found = append(w.found, Finding{
			Rule: ruleDocument, Line: w.line(), Text: "not well-formed JSON", Severity: SeverityError,
		})
	}
	if len(w.found) > 0 {
		return &InvalidError{Findings: atMost(w.found)}
	}
	if err := json.Unmarshal(data, v); err != nil {
		// The walk has seen all that can be wrong; this is a bug in it, and the cause may quote a value.
		return &InvalidError{Findings: []Finding{{Rule: ruleDocument, Text: "cannot be read", Severity: SeverityError}}}
	}
	trimText(reflect.ValueOf(v).Elem())
	return nil
}

// trimText takes the blanks around every text away: FHIR does not count them, so a number with a blank behind it would look
// like another number to us only.
func trimText(v reflect.Value) {
	switch v.Kind() { //nolint:exhaustive // other kinds hold no text
	case reflect.String:
		v.SetString(strings.TrimSpace(v.String()))
	case reflect.Pointer:
		if !v.IsNil() {
			trimText(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			trimText(v.Index(i))
		}
	case reflect.Struct:
		if isDecimal(v.Type()) {
			return
		}
		for _, f := range v.Fields() {
			trimText(f)
		}
	}
}

// syntaxError is the finding about text that is no JSON, with its line.
func syntaxError(data []byte) error {
	w := &walker{data: trimBOM(data)}
	w.dec = json.NewDecoder(bytes.NewReader(w.data))
	for {
		if _, err := w.dec.Token(); err != nil {
			break
		}
	}
	w.fail("", "not well-formed JSON")
	return &InvalidError{Findings: w.found}
}

// walker compares a JSON text with a Go type, token by token.
type walker struct {
	data  []byte
	dec   *json.Decoder
	found []Finding
}

var (
	typeAmount = reflect.TypeFor[Amount]()
	typeNumber = reflect.TypeFor[Number]()
)

func (w *walker) line() int {
	off := min(int(w.dec.InputOffset()), len(w.data))
	return 1 + bytes.Count(w.data[:off], []byte("\n"))
}

func (w *walker) fail(path, text string) {
	f := Finding{Rule: ruleDocument, Path: path, Text: text, Severity: SeverityError}
	if len(w.found) < maxFindings { // the others are not told, and a line is found by counting from the start
		f.Line = w.line()
	}
	w.found = append(w.found, f)
}

// value reads one value that should fit t; t nil skips. The error is of the JSON syntax only.
func (w *walker) value(path string, t reflect.Type) error {
	tok, err := w.dec.Token()
	if err != nil {
		return err
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch tok := tok.(type) {
	case json.Delim:
		if tok == '{' {
			return w.object(path, t)
		}
		return w.array(path, t)
	case nil:
		if t != nil {
			w.fail(path, "null: leave the field out instead")
		}
	case string:
		if strings.ContainsFunc(tok, strange) {
			w.fail(path, "holds control characters")
			return nil
		}
		if t == nil || t.Kind() == reflect.String || (isDecimal(t) && numberFits(tok, t)) {
			return nil
		}
		w.fail(path, "must be "+describe(t)+", not text")
	case json.Number:
		if t == nil || (isDecimal(t) && numberFits(tok.String(), t)) || (t.Kind() == reflect.Int && integer(tok.String())) {
			return nil
		}
		w.fail(path, "must be "+describe(t)+", not this number")
	case bool:
		if t != nil && t.Kind() != reflect.Bool {
			w.fail(path, "must be "+describe(t)+", not true or false")
		}
	}
	return nil
}

func (w *walker) object(path string, t reflect.Type) error {
	if t != nil && (t.Kind() != reflect.Struct || isDecimal(t)) {
		w.fail(path, "must be "+describe(t)+", not an object")
		t = nil
	}
	seen := map[string]bool{}
	for w.dec.More() {
		tok, err := w.dec.Token()
		if err != nil {
			return err
		}
		name, _ := tok.(string)
		at := name
		if path != "" {
			at = path + "." + name
		}
		var ft reflect.Type
		if t != nil {
			var ok bool
			switch ft, ok = fieldType(t, name); {
			case !ok && len(w.found) >= maxFindings:
				w.fail(path, "unknown field")
			case !ok:
				w.fail(path, "unknown field "+strconv.Quote(clip(name, 60))+suggestion(t, name))
			case seen[name]:
				w.fail(at, "given twice")
			}
		}
		seen[name] = true
		if err := w.value(at, ft); err != nil {
			return err
		}
	}
	_, err := w.dec.Token()
	return err
}

func (w *walker) array(path string, t reflect.Type) error {
	var et reflect.Type
	if t != nil {
		if t.Kind() == reflect.Slice {
			et = t.Elem()
		} else {
			w.fail(path, "must be "+describe(t)+", not a list")
		}
	}
	for i := 0; w.dec.More(); i++ {
		if err := w.value(path+"["+strconv.Itoa(i)+"]", et); err != nil {
			return err
		}
	}
	_, err := w.dec.Token()
	return err
}

func fieldType(t reflect.Type, name string) (reflect.Type, bool) {
	for f := range t.Fields() {
		if jsonName(f) == name {
			return f.Type, true
		}
	}
	return nil, false
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// suggestion names the field that differs only in case or separators, if there is one.
func suggestion(t reflect.Type, name string) string {
	plain := func(s string) string {
		return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(s))
	}
	for f := range t.Fields() {
		if n := jsonName(f); plain(n) == plain(name) {
			return ", did you mean " + strconv.Quote(n) + "?"
		}
	}
	return ""
}

func isDecimal(t reflect.Type) bool { return t == typeAmount || t == typeNumber }

func numberFits(s string, _ reflect.Type) bool {
	_, err := parseDecimal(s)
	return err == nil
}

func integer(s string) bool {
	_, err := strconv.ParseInt(s, 10, 32)
	return err == nil
}

func describe(t reflect.Type) string {
	switch t {
	case typeAmount:
		return "an amount in SAR"
	case typeNumber:
		return "a number"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	default:
		return "an object"
	}
}

func trimBOM(b []byte) []byte { return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) }

// clip shortens s to n characters at most, without cutting one in two.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
