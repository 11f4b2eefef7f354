package nphiesclient_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/nphiesclient"
)

func seed(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/messages/*.json")
	require.NoError(f, err)
	for _, name := range files {
		f.Add(message(f, filepath.Base(name)))
	}
	f.Add([]byte(`{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"MessageHeader","focus":{"reference":"/"}}},{"fullUrl":"/"}]}`))
}

// FuzzParse: no input panics; what can be read gives the same answer twice, and its parts hold together.
func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := nphiesclient.Parse(raw)
		if (a == nil) == (err == nil) {
			t.Fatal("either an answer or an error")
		}
		if err != nil {
			return
		}
		again, err := nphiesclient.Parse(raw)
		if err != nil || !reflect.DeepEqual(a.Errors, again.Errors) {
			t.Fatal("the same bytes read differently")
		}
		if a.Claim != nil {
			switch a.Claim.State() {
			case "approved", "partial", "rejected", "pending", "pended", "error":
			default:
				t.Fatalf("state %q", a.Claim.State())
			}
			if paid, known := a.Claim.Paid(); !known && !paid.IsZero() {
				t.Fatal("an amount that is not known")
			}
			if a.Claim.Fingerprint() != again.Claim.Fingerprint() {
				t.Fatal("fingerprint")
			}
		}
		if a.Poll != nil {
			for i, n := range a.Poll.Nested {
				if n.Position != i || (n.Err == nil) == (n.Answer == nil) {
					t.Fatalf("nested %d", i)
				}
			}
		}
		_ = nphiesclient.Classify(a.Errors)
		if r, err := nphiesclient.ReadRequest(raw); err == nil {
			_ = check(r)
		}
	})
}

// FuzzInspect: whatever can be explained is valid JSON, and text.
func FuzzInspect(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		in, err := nphiesclient.Inspect(raw)
		if err != nil {
			return
		}
		if _, err := json.Marshal(in); err != nil {
			t.Fatal(err)
		}
		if err := in.WriteText(discard{}); err != nil {
			t.Fatal(err)
		}
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// FuzzClaimDocument: a document that builds gives a message that passes both checks and can be read back; one that does not
// gives findings.
func FuzzClaimDocument(f *testing.F) {
	files, err := filepath.Glob("../examples/*/*.json")
	require.NoError(f, err)
	for _, name := range files {
		b, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := nphiesclient.ParseInput(data)
		if err != nil || in.Message != nil {
			return
		}
		r, err := in.Request(buildOptions())
		if err != nil {
			var invalid *nphiesclient.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.NotEmpty(t, invalid.Findings)
			return
		}
		if found := check(r); len(found) > 0 {
			t.Fatalf("%v in %s", found, r.Body)
		}
		if wrong := independentCheck(r.Body); len(wrong) > 0 {
			t.Fatalf("%v in %s", wrong, r.Body)
		}
		sameWhenRead(t, r)
	})
}
