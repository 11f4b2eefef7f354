package nphiesclient

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// object is a JSON object that keeps the order of its members, so that the bytes of a message depend on its content only.
// Members that are empty (nil, "", an empty list or object) are not written: FHIR knows no empty elements.
type object []member

type member struct {
	name  string
	value any // nil, string, bool, int, Amount, Number, object, list
}

type list []any

func (o object) empty() bool {
	for _, m := range o {
		if !isEmpty(m.value) {
			return false
		}
	}
	return true
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case object:
		return v.empty()
	case list:
		for _, x := range v {
			if !isEmpty(x) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// appendJSON writes v as compact JSON.
func appendJSON(dst []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return appendString(dst, v)
	case bool:
		return strconv.AppendBool(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case Amount:
		b, _ := v.MarshalJSON()
		return append(dst, b...)
	case Number:
		b, _ := v.MarshalJSON()
		return append(dst, b...)
	case object:
		dst = append(dst, '{')
		first := true
		for _, m := range v {
			if isEmpty(m.value) {
				continue
			}
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(appendString(dst, m.name), ':')
			dst = appendJSON(dst, m.value)
		}
		return append(dst, '}')
	case list:
		dst = append(dst, '[')
		first := true
		for _, x := range v {
			if isEmpty(x) {
				continue
			}
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = appendJSON(dst, x)
		}
		return append(dst, ']')
	default:
		panic(fmt.Sprintf("nphiesclient: cannot write %T", v)) // a mistake of a builder, found by its first test
	}
}

// appendString writes s as a JSON string, leaving <, > and & as they are.
func appendString(dst []byte, s string) []byte {
	plain := true
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			plain = false
			break
		}
	}
	if plain {
		return append(append(append(dst, '"'), s...), '"')
	}
	b, _ := json.Marshal(s)
	return append(dst, b...)
}

func strs(ss []string) list {
	var l list
	for _, s := range ss {
		l = append(l, s)
	}
	return l
}

func ints(ns []int) list {
	var l list
	for _, n := range ns {
		l = append(l, n)
	}
	return l
}

// coding is one Coding; a blank code gives an empty element, which is not written.
func coding(system, code, display string) object {
	if code == "" {
		return nil
	}
	return object{{"system", system}, {"code", code}, {"display", display}}
}

// concept is a CodeableConcept with one coding.
func concept(system, code string) object {
	return object{{"coding", list{coding(system, code, "")}}}
}

func fhirIdentifier(i Identifier) object {
	return object{{"system", i.System}, {"value", i.Value}}
}

func reference(url string) object {
	return object{{"reference", url}}
}

func money(a Amount) object {
	return object{{"value", a}, {"currency", currency}}
}

func period(p *Period) object {
	if p == nil {
		return nil
	}
	return object{{"start", p.Start}, {"end", p.End}}
}

// ext is an extension: value is the member name ("valueMoney"). One without a value is not written (BV-00389).
func ext(name, valueName string, value any) object {
	if isEmpty(value) {
		return nil
	}
	return object{{"url", extension(name)}, {valueName, value}}
}
