package nphiesclient_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/nphiesclient"
)

const docsFile = "../docs/claim-document.md"

// orderedKeys returns the members of an object in the order of the text.
func orderedKeys(t *testing.T, raw json.RawMessage) ([]string, map[string]json.RawMessage) {
	t.Helper()
	var m map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &m))
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, err := dec.Token()
	require.NoError(t, err)
	var keys []string
	for dec.More() {
		k, err := dec.Token()
		require.NoError(t, err)
		keys = append(keys, fmt.Sprint(k))
		var skip json.RawMessage
		require.NoError(t, dec.Decode(&skip))
	}
	return keys, m
}

type schemaObject struct {
	Description string          `json:"description"`
	Required    []string        `json:"required"`
	Properties  json.RawMessage `json:"properties"`
	Defs        json.RawMessage `json:"$defs"`
}

func fieldTable(t *testing.T, b *strings.Builder, title string, o schemaObject) {
	t.Helper()
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n| field | kind | meaning |\n|---|---|---|\n", title, o.Description)
	keys, props := orderedKeys(t, o.Properties)
	for _, k := range keys {
		var p struct {
			Ref         string   `json:"$ref"`
			Type        string   `json:"type"`
			Description string   `json:"description"`
			Enum        []string `json:"enum"`
			Items       struct {
				Ref  string `json:"$ref"`
				Type string `json:"type"`
			} `json:"items"`
		}
		require.NoError(t, json.Unmarshal(props[k], &p))
		short := func(ref, typ string) string {
			if ref != "" {
				return strings.ReplaceAll(strings.TrimPrefix(ref, "#/$defs/"), "_", " ")
			}
			return map[string]string{"string": "text", "boolean": "true or false", "integer": "whole number"}[typ]
		}
		kind := short(p.Ref, p.Type)
		if p.Type == "array" {
			kind = "list of " + short(p.Items.Ref, p.Items.Type)
		}
		if len(p.Enum) > 0 {
			kind = "`" + strings.Join(p.Enum, "`, `") + "`"
		}
		name := "`" + k + "`"
		if slices.Contains(o.Required, k) {
			name = "**" + name + "**"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", name, kind, p.Description)
	}
}

func TestDocsListEveryField(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	done := map[string]bool{}
	for _, s := range []struct {
		title  string
		schema []byte
	}{{"claim document", nphiesclient.ClaimSchema()}, {"eligibility document", nphiesclient.EligibilitySchema()}} {
		var root schemaObject
		require.NoError(t, json.Unmarshal(s.schema, &root))
		fieldTable(t, &b, s.title, root)
		names, defs := orderedKeys(t, root.Defs)
		for _, n := range names {
			var o schemaObject
			require.NoError(t, json.Unmarshal(defs[n], &o))
			if len(o.Properties) == 0 || done[n] {
				continue
			}
			done[n] = true
			fieldTable(t, &b, strings.ReplaceAll(n, "_", " "), o)
		}
	}
	docs, err := os.ReadFile(docsFile)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(docs), "<!-- fields -->\n")
	require.True(t, ok)
	_, after, ok := strings.Cut(rest, "<!-- end of fields -->")
	require.True(t, ok)
	want := before + "<!-- fields -->\n" + b.String() + "\n<!-- end of fields -->" + after
	if *update {
		require.NoError(t, os.WriteFile(docsFile, []byte(want), 0o600))
		docs = []byte(want)
	}
	require.Equal(t, want, string(docs), "run the test with -update")
}

func TestDocsExamplesAreValid(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile(docsFile)
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(docs, -1)
	require.Len(t, blocks, 2)
	for _, m := range blocks {
		in, err := nphiesclient.ParseInput(m[1])
		require.NoError(t, err)
		r, err := in.Request(buildOptions())
		require.NoError(t, err)
		require.Empty(t, independentCheck(r.Body))
	}
}
