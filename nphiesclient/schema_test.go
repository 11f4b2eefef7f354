package nphiesclient_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/synth"
	"github.com/claimlinc/nphiesq/nphiesclient"
)

func compileSchema(t *testing.T, schema []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("schema.json", doc))
	s, err := c.Compile("schema.json")
	require.NoError(t, err)
	return s
}

func schemaError(t *testing.T, s *jsonschema.Schema, data []byte) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	require.NoError(t, err)
	return s.Validate(v)
}

// exampleValues yields every value of the files under examples/, with its place.
func exampleValues(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("../examples/*/*")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 15)
	out := map[string][]byte{}
	for _, f := range files {
		r, err := os.Open(f)
		require.NoError(t, err)
		for v, err := range nphiesclient.SplitInputs(r, f) {
			require.NoError(t, err, v.Pos())
			out[v.Pos()] = v.Data
		}
		require.NoError(t, r.Close())
	}
	return out
}

func TestDocumentsFitTheirSchema(t *testing.T) {
	t.Parallel()
	claim, eligibility := compileSchema(t, nphiesclient.ClaimSchema()), compileSchema(t, nphiesclient.EligibilitySchema())
	seen := 0
	for pos, data := range exampleValues(t) {
		in, err := nphiesclient.ParseInput(data)
		require.NoError(t, err, pos)
		switch {
		case in.Claim != nil:
			require.NoError(t, schemaError(t, claim, data), pos)
			require.Error(t, schemaError(t, eligibility, data), pos)
			seen++
		case in.Eligibility != nil:
			require.NoError(t, schemaError(t, eligibility, data), pos)
			seen++
		}
	}
	require.GreaterOrEqual(t, seen, 20)
	for n, d := range synth.Claims(11, 300, synth.Options{Use: synth.UseMixed}) {
		data, err := json.Marshal(d)
		require.NoError(t, err)
		require.NoError(t, schemaError(t, claim, data), "claim %d", n)
	}
}

// TestExpectedOutcomes: examples/expected.json names each example once, and nothing else.
func TestExpectedOutcomes(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../examples/expected.json")
	require.NoError(t, err)
	var expected map[string]string
	require.NoError(t, json.Unmarshal(b, &expected))
	readme, err := os.ReadFile("../examples/README.md")
	require.NoError(t, err)
	found := map[string]bool{}
	for pos, data := range exampleValues(t) {
		in, err := nphiesclient.ParseInput(data)
		require.NoError(t, err, pos)
		r, err := in.Request(buildOptions())
		require.NoError(t, err, pos)
		require.False(t, found[r.Identifier.Value], "%s: %s twice", pos, r.Identifier.Value)
		found[r.Identifier.Value] = true
		state := expected[r.Identifier.Value]
		require.NotEmpty(t, state, pos)
		require.Contains(t, string(readme), "`"+r.Identifier.Value+"` | "+state+" |")
	}
	require.Len(t, expected, len(found))
}

func TestSchemaRefusesWhatWeRefuse(t *testing.T) {
	t.Parallel()
	s := compileSchema(t, nphiesclient.ClaimSchema())
	good, err := os.ReadFile("../examples/claims/01-professional-approved.json")
	require.NoError(t, err)
	for name, change := range map[string][2]string{
		"unknown field":   {`"claim_number"`, `"claim_numbr"`},
		"unknown type":    {`"type": "professional"`, `"type": "dental"`},
		"three decimals":  {`"unit_price": 200.00`, `"unit_price": "200.001"`},
		"no time":         {`T09:20:00+03:00`, ``},
		"negative amount": {`"patient_share": 20.00`, `"patient_share": -1`},
		"not a list":      {`"given": ["Salma"]`, `"given": "Salma"`},
	} {
		bad := bytes.Replace(good, []byte(change[0]), []byte(change[1]), 1)
		require.NotEqual(t, good, bad, name)
		require.Error(t, schemaError(t, s, bad), name)
		in, err := nphiesclient.ParseInput(bad)
		if err == nil {
			_, err = in.Request(nphiesclient.BuildOptions{})
		}
		var invalid *nphiesclient.InvalidError
		require.ErrorAs(t, err, &invalid, name)
	}
}

// TestSchemaAndStructsAgree walks both and compares names, obligations and kinds.
func TestSchemaAndStructsAgree(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		schema []byte
		typ    reflect.Type
		// required by the schema although the Go field may be absent: absence is reported with its NPHIES rule
		also []string
	}{
		{nphiesclient.ClaimSchema(), reflect.TypeFor[nphiesclient.ClaimDocument](), []string{"coverage"}},
		{nphiesclient.EligibilitySchema(), reflect.TypeFor[nphiesclient.EligibilityDocument](), nil},
	} {
		var root map[string]any
		require.NoError(t, json.Unmarshal(c.schema, &root))
		defs, _ := root["$defs"].(map[string]any)
		used := map[string]bool{}
		compareObject(t, c.typ, root, defs, used, c.also)
		for name := range defs {
			require.True(t, used[name], "definition %s is not used", name)
		}
	}
}

func compareObject(t *testing.T, typ reflect.Type, schema, defs map[string]any, used map[string]bool, also []string) {
	t.Helper()
	props, _ := schema["properties"].(map[string]any)
	require.Equal(t, false, schema["additionalProperties"], typ.Name())
	var fields, required []string
	for f := range typ.Fields() {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields = append(fields, name)
		if !strings.Contains(opts, "omitempty") || slices.Contains(also, name) {
			required = append(required, name)
		}
		prop, ok := props[name].(map[string]any)
		require.True(t, ok, "%s.%s is not in the schema", typ.Name(), name)
		require.NotEmpty(t, prop["description"], "%s.%s", typ.Name(), name)
		compareValue(t, typ.Name()+"."+name, f.Type, prop, defs, used)
	}
	for name := range props {
		require.Contains(t, fields, name, "%s: only in the schema", typ.Name())
	}
	var got []string
	list, _ := schema["required"].([]any)
	for _, x := range list {
		s, _ := x.(string)
		got = append(got, s)
	}
	require.ElementsMatch(t, required, got, typ.Name())
}

func compareValue(t *testing.T, at string, typ reflect.Type, prop, defs map[string]any, used map[string]bool) {
	t.Helper()
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	ref, _ := prop["$ref"].(string)
	name := strings.TrimPrefix(ref, "#/$defs/")
	def, _ := defs[name].(map[string]any)
	switch {
	case typ == reflect.TypeFor[nphiesclient.Amount]():
		require.Equal(t, "amount", name, at)
		used[name] = true
	case typ == reflect.TypeFor[nphiesclient.Number]():
		require.Equal(t, "number", name, at)
		used[name] = true
	case typ.Kind() == reflect.Struct:
		require.NotNil(t, def, at)
		require.Equal(t, strings.ToLower(typ.Name()), strings.ReplaceAll(name, "_", ""), at)
		if !used[name] {
			used[name] = true
			compareObject(t, typ, def, defs, used, nil)
		}
	case typ.Kind() == reflect.Slice:
		require.Equal(t, "array", prop["type"], at)
		items, _ := prop["items"].(map[string]any)
		compareValue(t, at+"[]", typ.Elem(), items, defs, used)
	default:
		want := map[reflect.Kind]string{reflect.String: "string", reflect.Bool: "boolean", reflect.Int: "integer"}[typ.Kind()]
		require.Equal(t, want, prop["type"], at)
	}
}
