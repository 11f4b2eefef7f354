package nphiesclient_test

import (
	"bytes"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/nphiessim"
)

// standIns are the rules that say no more than that something is missing, no code of the list, or of the wrong form: the guide gives
// most elements no rule of their own, and our two readings differ in which of these stands for it.
var standIns = []string{"IC-01428", "IB-00242", "GE-00013", "RE-00169", "length"}

// synonyms are rules that the guide names together for one condition.
var synonyms = map[string]string{
	"BV-00341": "BV-00127", // Bundle.id is a GUID
	"BV-00458": "BV-00096", // money is in SAR
	"BV-00485": "BV-00494", // the payee's party
	"BV-00729": "IC-01571", // one plan
}

// allowed are the messages of ruleCases that the check and the simulator answer with different rules, by rule and place: what only
// the one names, then what only the other does, and why.
var allowed = map[string][3]string{
	"GE-00013 Claim/item/0/unitPrice/value":                {"", "BV-00251", "a price in quotes is no price to the simulator, so that the net is wrong too"},
	"GE-00013 Claim/item/0/quantity/value":                 {"", "BV-00251", "as above"},
	"GE-00013 Claim/item/0/sequence":                       {"", "BV-00044", "a number in quotes is no sequence to the simulator"},
	"GE-00013 Claim/insurance/0/focal":                     {"", "BV-00400", "a text is no truth to the simulator"},
	"BV-00126 Bundle/entry/0":                              {"BV-00126", "", "NPHIES answers what has no header with a bare GE-00013"},
	"BV-00207 Bundle/entry/1/fullUrl":                      {"", "BV-00208", "a missing fullUrl holds no id"},
	"RE-00170 Patient/meta/profile/0":                      {"", "BV-00225", "another's profile is no profile with a version"},
	"GE-00015 MessageHeader/destination/0/receiver":        {"GE-00032", "", "what has no receiver gets a bare GE-00015"},
	"BV-00176 MessageHeader/sender":                        {"BV-00176 BV-00351 GE-00031", "GE-00010", "what has no sender gets a bare GE-00010"},
	"BV-00221 MessageHeader/focus/+":                       {"", "RE-00100", "the check looks for the fullUrl of the first focus only"},
	"BV-00167 MessageHeader/eventCoding/code":              {"", "BV-00437", "the check stops at a focus of the wrong type"},
	"BV-00165 Claim/use":                                   {"BV-00508 IC-01453 IC-01454 IC-01620 RE-00170", "", "the check judges by the use, the simulator by the event"},
	"BV-00812 Claim/info:temperature/valueQuantity/code":   {"BV-00812", "", "another unit: the check names the vital sign, the simulator the list of units"},
	"BV-00251 Claim/item/1/detail/0/subDetail/0/net/value": {"BV-00224", "", "the check adds sub-details up, too"},
	"BV-00224 Claim/item/1/net/value":                      {"BV-00251", "", "the check multiplies items with details, too"},
	"BV-00372 Claim/item/1/unitPrice/value":                {"BV-00251", "", "as above"},
	"BV-00459 Task/focus":                                  {"BV-00459", "", "the simulator names a missing target by its cardinality, an unknown one by BV-00459"},
	"BV-00216 Task/input":                                  {"BV-00216", "", "the simulator reads only inputs whose type has its system"},
	"IB-00294 Task/input/+":                                {"IB-00294", "", "as above"},
	"IB-00294 Task/input/0":                                {"IB-00294", "", "as above"},
}

// simulated are the rules by which the simulator refuses a message at the time the good ones were made.
func simulated(t *testing.T, body []byte) map[string]bool {
	t.Helper()
	sim := nphiessim.New(nphiessim.Options{Now: func() time.Time { return fixedNow }})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/$process-message", bytes.NewReader(body))
	sim.NPHIES().ServeHTTP(httptest.NewRecorder(), r)
	out := map[string]bool{}
	for _, f := range sim.Requests()[0].Findings {
		out[f.Code] = true
	}
	return out
}

// TestSimulatorAgrees compares our check with the simulator, which was written without it, message by broken message: both refuse
// it, and for the same rules, but for what allowed lists. An id that meant different things to them would show here.
func TestSimulatorAgrees(t *testing.T) {
	t.Parallel()
	good := goodMessages(t)
	// What only NPHIES knows: whether a claim that is referred to exists.
	unknown := map[string]string{"changed": "BV-00725", "status": "BV-00459", "cancel": "BV-00459"}
	for name, r := range good {
		refused := simulated(t, r.Body)
		delete(refused, unknown[name])
		require.Empty(t, refused, name)
	}
	used := map[string]bool{}
	for _, c := range ruleCases {
		broken := *good[c.message]
		broken.Body = damage(t, broken.Body, c.place, c.value)
		ours, theirs := map[string]bool{}, simulated(t, broken.Body)
		for _, f := range check(&broken) {
			ours[f.Rule] = true
		}
		require.NotEmpty(t, theirs, "%s %s: the simulator takes it", c.rule, c.place)
		want, key := allowed[c.rule+" "+c.place], c.rule+" "+c.place
		got := [3]string{onlyIn(ours, theirs), onlyIn(theirs, ours), want[2]}
		if c.message == "professional" && key == "BV-00165 Claim/use" {
			want[0] = "RE-00170"
		}
		require.Equal(t, want, got, key)
		if got[0]+got[1] != "" {
			used[key] = true
		}
	}
	require.Equal(t, slices.Sorted(maps.Keys(allowed)), slices.Sorted(maps.Keys(used)))
}

// onlyIn names the rules that a has and b does not, apart from stand-ins.
func onlyIn(a, b map[string]bool) string {
	named := func(ids map[string]bool) map[string]bool {
		out := map[string]bool{}
		for id := range ids {
			if other, known := synonyms[id]; known {
				id = other
			}
			out[id] = !slices.Contains(standIns, id)
		}
		return out
	}
	x, y := named(a), named(b)
	maps.DeleteFunc(x, func(id string, _ bool) bool { _, both := y[id]; return both || !x[id] })
	return strings.Join(slices.Sorted(maps.Keys(x)), " ")
}
