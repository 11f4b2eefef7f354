package nphiesclient_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/nphiesclient"
)

// guideTable is the table of codes worth handling by name, written out once more: codes (a range with "…"), what to do, type.
const guideTable = `
GE-00009 ops api
GE-00010 ops api
GE-00012 same network
GE-00013 fix api
GE-00014 same network
GE-00015 fix api
GE-00016,GE-00017 same network
GE-00019 ops certificate
GE-00020 ops certificate
GE-00021 fix api
GE-00022,GE-00024,GE-00025 same network
GE-00023 ops api
GE-00026 same api
GE-00028 fix api
GE-00029,GE-00030 ops api
GE-00031…34 fix api
BV-00076 fix api
BV-00077,BV-00195,BV-00196 ops certificate
BV-00163,BV-00457,BV-00532,BV-00533,BV-00542 wait api
BV-00459,BV-00167,BV-00165,BV-00176,BV-00221 fix api
BV-00059,BV-00224,BV-00251,BV-00372,BV-00434,BV-00054,BV-00057,BV-00061,BV-00064,BV-00041 fix api
BV-00379,BV-00420,BV-00449,BV-00462,BV-00376,BV-00723,BV-00708,BV-00731,BV-00725,BV-00752 fix api
BV-00763…80 fix api
BV-00803…06 fix api
IC-00062,IC-00183,IC-01428,IC-01453,IC-01454,IC-01564,IC-01571,IC-01574,IC-01620 fix api
IB-00109,IB-00242,IB-00250,RE-00100,RE-00169,RE-00170,RE-00189 fix api
1657,1658,1659,1660,1661,1663,1664,1665,1666,1667,1669,1670,1672,1674,1675,1676,1677,1678 fix api
1679 ops api
1680,1681,1682 fix api`

func TestErrorTable(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for row := range strings.Lines(strings.TrimSpace(guideTable)) {
		f := strings.Fields(row)
		var codes []string
		for c := range strings.SplitSeq(f[0], ",") {
			from, to, isRange := strings.Cut(c, "…")
			if !isRange {
				codes = append(codes, c)
				continue
			}
			stem := from[:len(from)-2]
			for c := from; ; {
				codes = append(codes, c)
				if strings.HasSuffix(c, to) {
					break
				}
				var n int
				_, err := fmt.Sscanf(c[len(stem):], "%d", &n)
				require.NoError(t, err)
				c = fmt.Sprintf("%s%02d", stem, n+1)
			}
		}
		for _, c := range codes {
			e := nphiesclient.LookupError(c)
			require.Equal(t, []string{c, f[1], f[2]}, []string{e.Code, string(e.Retry), string(e.Kind)})
			require.NotEmpty(t, e.Meaning)
			require.False(t, known[c], c)
			known[c] = true
		}
	}
	table := nphiesclient.ErrorTable()
	require.Len(t, table, len(known))
	for _, e := range table {
		require.True(t, known[e.Code], "%s is not in the guide's table, or twice in ours", e.Code)
	}
}

func TestUnknownCodesGoByTheirFamily(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"GE-99999": "same api once gateway", "bv-99999": "fix api  business rule", "IC-99999": "fix api  missing or repeated element",
		"IB-99999": "fix api  code not of the list", "RE-99999": "fix api  reference or profile", "DT-00001": "fix api  data type", "FR-00001": "fix api  base FHIR",
		"transient": "same network  passing trouble of the system that answers", "Exception": "same network  passing trouble of the system that answers",
		"timeout": "same network  passing trouble of the system that answers", "throttled": "same network  passing trouble of the system that answers",
		"lock-error": "same network  passing trouble of the system that answers", "incomplete": "same network  passing trouble of the system that answers",
		"no-store": "same network  passing trouble of the system that answers", "incompletely": "fix api  unknown", "processing": "fix api  unknown",
		"4711": "fix api  payer", "XX-9": "fix api  unknown", "": "fix api  unknown", "12-4": "fix api  unknown",
	} {
		e := nphiesclient.LookupError(code)
		once := ""
		if e.Once {
			once = "once"
		}
		require.Equal(t, want, fmt.Sprintf("%s %s %s %s", e.Retry, e.Kind, once, e.Meaning), code)
	}
	require.NotEmpty(t, nphiesclient.ErrorFamilies())
}

func TestClassify(t *testing.T) {
	t.Parallel()
	for codes, want := range map[string]string{
		"GE-00012":          "network same payer",
		"GE-00014":          "network same",
		"GE-00026":          "api same once",
		"GE-00023":          "api ops continue",
		"GE-00029":          "api ops payer",
		"ge-00020":          "certificate ops",
		"BV-00163":          "api wait",
		"1658":              "api fix",
		"XX-9":              "api fix",
		"exception":         "network same",
		"exception 1658":    "api fix 1658",
		"":                  "api fix",
		"BV-00251 BV-00163": "api wait BV-00163",
		"GE-00012 BV-00251": "api fix BV-00251",
		"BV-00163 GE-00019": "certificate ops GE-00019",
		"GE-00014 GE-00012": "network same GE-00014",
		"GE-00026 GE-00014": "api same GE-00026",
		"GE-00023 GE-00030": "api ops GE-00023",
		"GE-00029 GE-00030": "api ops GE-00029",
	} {
		var errs []nphiesclient.CodedError
		for c := range strings.FieldsSeq(codes) {
			errs = append(errs, nphiesclient.CodedError{Code: c})
		}
		got := nphiesclient.Classify(errs)
		text := fmt.Sprintf("%s %s", got.Kind, got.Retry)
		for name, set := range map[string]bool{" once": got.Once, " payer": got.Payer, " continue": got.Continue} {
			if set {
				text += name
			}
		}
		if len(errs) > 1 {
			text += " " + got.Code
		} else {
			require.Equal(t, codes, got.Code)
		}
		require.Equal(t, want, text, codes)
		if codes == "" {
			require.NoError(t, got.Fault("x"))
			continue
		}
		require.Equal(t, got.Kind, fault.KindOf(got.Fault("submit")))
		require.Equal(t, got.Retry == "fix" || got.Retry == "ops", fault.Of(got.Fault("submit")).Permanent)
	}
}
