package nphiesclient_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/nphiesclient"
)

// split lists the values of a text as "line:value", damaged ones as "line:!".
func split(text string) []string {
	var out []string
	for v, err := range nphiesclient.SplitInputs(iotest.OneByteReader(strings.NewReader(text)), "f") {
		if err != nil {
			out = append(out, fmt.Sprintf("%d:!", v.Line))
			continue
		}
		out = append(out, fmt.Sprintf("%d:%s", v.Line, v.Data))
	}
	return out
}

func TestSplitInputs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"one line":                {`{"a":1}`, []string{`1:{"a":1}`}},
		"ndjson":                  {"{\"a\":1}\n{\"b\":2}\r\n\n{\"c\":3}\n", []string{`1:{"a":1}`, `2:{"b":2}`, `4:{"c":3}`}},
		"ndjson, bad in between":  {"{\"a\":1}\n{\"b\":\n{\"c\":3}\n", []string{`1:{"a":1}`, `2:!`, `3:{"c":3}`}},
		"ndjson, bad at first":    {"{\"a\":\n{\"b\":2}\nxx\n{\"c\":3}", []string{`1:!`, `2:{"b":2}`, `3:!`, `4:{"c":3}`}},
		"pretty":                  {"\n{\n \"a\": 1\n}\n", []string{"2:{\n \"a\": 1\n}"}},
		"several pretty":          {"{\n\"a\":1\n}\n{\n\"b\":2\n}", []string{"1:{\n\"a\":1\n}", "4:{\n\"b\":2\n}"}},
		"pretty, bad first":       {"{\n\"a\":\n}\n{\n\"b\":2\n}", []string{"3:!", "4:{\n\"b\":2\n}"}},
		"pretty, bad quotes":      {"{\n\"a:1\n}\n{\n\"b\":2\n}", []string{"2:!", "4:{\n\"b\":2\n}"}},
		"array":                   {"[{\"a\":\"]},[\"}, {\"b\":2}\n,{\"c\":3}]", []string{`1:{"a":"]},["}`, `1:{"b":2}`, `2:{"c":3}`}},
		"array, bad in between":   {"[\n{\"a\":1},\n{\"b\":},\n{\"c\":3}\n]\n", []string{`2:{"a":1}`, `3:!`, `4:{"c":3}`}},
		"array, of other things":  {`[1, "x", null]`, []string{"1:1", `1:"x"`, "1:null"}},
		"array without end":       {"[{\"a\":1},", []string{`1:{"a":1}`, "1:!"}},
		"array and more":          {"[{\"a\":1}]\n{}", []string{`1:{"a":1}`, "2:!"}},
		"empty array":             {"[]", []string{"1:!"}},
		"empty":                   {"", []string{"1:!"}},
		"blank":                   {" \n\n", []string{"1:!"}},
		"text":                    {"hello", []string{"1:!"}},
		"byte order mark":         {"\xef\xbb\xbf{\"a\":1}", []string{`1:{"a":1}`}},
		"byte order mark, array":  {"\xef\xbb\xbf[{\"a\":1}]", []string{`1:{"a":1}`}},
		"byte order mark, pretty": {"\xef\xbb\xbf{\n\"a\":1}", []string{"1:{\n\"a\":1}"}},
		"escaped quotes":          {"[{\"a\":\"\\\"}\"},{\"b\":2}]", []string{`1:{"a":"\"}"}`, `1:{"b":2}`}},
	} {
		require.Equal(t, c.want, split(c.text), name)
	}
}

func TestSplitStopsWhenAsked(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"{}\n{}\n{}\n", "[{},{},{}]", "{\n}\n{\n}\n", "x\ny\n", "[{]"} {
		n := 0
		nphiesclient.SplitInputs(strings.NewReader(text), "f")(func(nphiesclient.RawInput, error) bool {
			n++
			return false
		})
		require.Equal(t, 1, n, text)
	}
}

func TestSplitLongLines(t *testing.T) {
	t.Parallel()
	long := `{"a":"` + strings.Repeat("x", 12<<20) + `"}`
	got := []string{}
	for v, err := range nphiesclient.SplitInputs(strings.NewReader("{\"a\":1}\n"+long+"\n{\"b\":2}\n"), "f") {
		got = append(got, fmt.Sprint(v.Line, err == nil))
	}
	require.Equal(t, []string{"1 true", "2 false", "3 true"}, got)
	n := 0
	for _, err := range nphiesclient.SplitInputs(strings.NewReader("["+strings.TrimSuffix(strings.Repeat(`{"a":"`+strings.Repeat("x", 1000)+`"},`, 12<<10), ",")+"]"), "f") {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 12<<10, n, "an array may be one line of any length")
}

func TestSplitPassesReadErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk on fire")
	for _, text := range []string{"", "{}\n", "[{}", "{\n"} {
		var last error
		for _, err := range nphiesclient.SplitInputs(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)), "f") {
			last = err
		}
		require.ErrorIs(t, last, broken, "%q", text)
	}
}

func TestParseInput(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"document":"nphiesq/claim/v1","claim_numbr":"x"}`:                         `line 1: document: unknown field "claim_numbr" (document)`,
		`{"document":"nphiesq/claim/v1","claimNumber":"x"}`:                         `line 1: document: unknown field "claimNumber", did you mean "claim_number"? (document)`,
		"{\"document\":\"nphiesq/claim/v1\",\n\"items\":[{},\n{\"price\":1}]}":      `line 3: items[1]: unknown field "price" (document)`,
		"{\"document\":\"nphiesq/claim/v1\",\n\"items\":{}}":                        `line 2: items: must be a list, not an object (document)`,
		"{\"document\":\"nphiesq/claim/v1\",\n\"total\":\"x\"}":                     `line 2: total: must be an amount in SAR, not text (document)`,
		"{\"document\":\"nphiesq/claim/v1\",\"total\":1e999999999}":                 `line 1: total: must be an amount in SAR, not this number (document)`,
		"{\"document\":\"nphiesq/claim/v1\",\"total\":null}":                        `line 1: total: null: leave the field out instead (document)`,
		"{\"document\":\"nphiesq/claim/v1\",\"newborn\":\"yes\"}":                   `line 1: newborn: must be true or false, not text (document)`,
		"{\"document\":\"nphiesq/claim/v1\",\"items\":[{\"care_team\":[1.5]}]}":     `line 1: items[0].care_team[0]: must be a whole number, not this number (document)`,
		"{\"document\":\"nphiesq/claim/v1\",\"type\":\"oral\",\n\"type\":\"oral\"}": `line 2: type: given twice (document)`,
		"{\"document\":\"nphiesq/claim/v1\",\n\"type\" \"oral\"}":                   `line 2: document: not well-formed JSON (document)`,
		`{"document":"nphiesq/claim/v2"}`:                                           `document: must be nphiesq/claim/v1 or nphiesq/eligibility/v1, or the value a FHIR message Bundle (document)`,
		`{"resourceType":"Claim"}`:                                                  `resourceType: must be Bundle: a message, not a single resource (document)`,
		`[]`:                                                                        `document: must be nphiesq/claim/v1 or nphiesq/eligibility/v1, or the value a FHIR message Bundle (document)`,
		`7`:                                                                         `document: must be nphiesq/claim/v1 or nphiesq/eligibility/v1, or the value a FHIR message Bundle (document)`,
		``:                                                                          `line 1: document: not well-formed JSON (document)`,
		"{\"document\":\"nphiesq/claim/v1\",\"type\":\"\xff\"}":                     `document: not UTF-8 text (document)`,
	} {
		_, err := nphiesclient.ParseInput([]byte(text))
		require.EqualError(t, err, want, text)
	}
	in, err := nphiesclient.ParseInput([]byte(" {\"document\":\"nphiesq/claim/v1\",\"total\":\"12.5\",\"items\":[{\"quantity\":\"2\"}]}"))
	require.NoError(t, err)
	require.Equal(t, "12.50", in.Claim.Total.String())
	require.Equal(t, "2", in.Claim.Items[0].Quantity.String())

	raw := append([]byte(" \n"), message(t, "claim-request-pharmacy.json")...)
	in, err = nphiesclient.ParseInput(raw)
	require.NoError(t, err)
	require.Equal(t, string(bytes.TrimSpace(raw)), string(in.Message))
}

func TestLinesOfFindingsAreThoseOfTheFile(t *testing.T) {
	t.Parallel()
	text := "{\"document\":\"nphiesq/claim/v1\"}\n{\"document\":\"nphiesq/claim/v1\",\"x\":1}\n"
	var got []string
	for v, err := range nphiesclient.SplitInputs(strings.NewReader(text), "day.ndjson") {
		require.NoError(t, err)
		if _, err := v.Parse(); err != nil {
			got = append(got, v.Pos()+" "+err.Error())
		}
	}
	require.Equal(t, []string{`day.ndjson:2 line 2: document: unknown field "x" (document)`}, got)
}

func TestBlanksAroundTextDoNotCount(t *testing.T) {
	t.Parallel()
	plain, spaced := example(t, "eligibility/01-eligible.json"), example(t, "eligibility/01-eligible.json")
	body, err := json.Marshal(spaced.Eligibility)
	require.NoError(t, err)
	name := plain.Eligibility.Payer.Name
	body = bytes.Replace(body, []byte(`"`+name+`"`), []byte(`" `+name+`\t\u00a0"`), 1)
	again, err := nphiesclient.ParseInput(body)
	require.NoError(t, err)
	require.Equal(t, plain.Eligibility, again.Eligibility)
	r, err := again.Request(buildOptions())
	require.NoError(t, err)
	require.Equal(t, name, r.PayerName)
	sameWhenRead(t, r)
}
