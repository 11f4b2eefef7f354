package nphiesclient_test

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/nphiesclient"
)

func TestAmount(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"230": "230.00", "230.5": "230.50", "1.455": "1.46", "-1.455": "-1.46", "1.454999": "1.45", "0": "0.00", "1e3": "1000.00",
		" 7 ": "7.00", "0.1": "0.10", "99999999999.99": "99999999999.99",
	} {
		a, err := nphiesclient.ParseAmount(in)
		require.NoError(t, err, in)
		require.Equal(t, want, a.String(), in)
		require.Equal(t, strings.TrimSpace(in), a.Sent())
	}
	for _, in := range []string{
		"", "x", "1,5", "0x10", "1e999999999", "1e-999999999", "1e25", strings.Repeat("9", 65), "NaN", "Inf", "1 2", "--1", "e5", ".",
	} {
		_, err := nphiesclient.ParseAmount(in)
		require.Error(t, err, in)
	}
	sum := nphiesclient.MustAmount("0.1").Add(nphiesclient.MustAmount("0.2"))
	require.True(t, sum.Equal(nphiesclient.MustAmount("0.30")))
	require.Equal(t, "0.30", sum.Sent())
	require.Equal(t, "12.34", nphiesclient.Halalas(1234).String())
	require.Equal(t, "0.00", nphiesclient.Amount{}.String())
	require.Equal(t, -1, nphiesclient.Amount{}.Cmp(sum))
	require.Equal(t, "0.10", sum.Sub(nphiesclient.MustAmount("0.2")).Round().String())
}

func TestNumbersInJSON(t *testing.T) {
	t.Parallel()
	var v struct {
		A, B nphiesclient.Amount
		N, M nphiesclient.Number
	}
	require.NoError(t, json.Unmarshal([]byte(`{"A":230,"B":"1.505","N":36.80,"M":1e2}`), &v))
	b, err := json.Marshal(v)
	require.NoError(t, err)
	require.Equal(t, `{"A":230.00,"B":1.505,"N":36.80,"M":100}`, string(b))
	require.Error(t, json.Unmarshal([]byte(`{"A":true}`), &v))
}

// TestLineNetAgainstRat compares the computed net with big.Rat for awkward factors and prices.
func TestLineNetAgainstRat(t *testing.T) {
	t.Parallel()
	d := example(t, "claims/01-professional-approved.json").Claim
	d.Items, d.Total = d.Items[:1], nil
	for _, c := range [][4]string{
		{"1", "0.005", "1", "0"},
		{"3", "33.33", "0.333", "4.99"},
		{"0.5", "0.01", "1", "0"},
		{"7", "12.35", "0.85", "11.02"},
		{"2.25", "10.10", "0.1", "0"},
		{"1", "1.45", "1.0034482758620689", "0"},
		{"1000", "999999.99", "0.9999", "0.01"},
	} {
		it := &d.Items[0]
		price, tax, factor := nphiesclient.MustAmount(c[1]).Round(), nphiesclient.MustAmount(c[3]), nphiesclient.MustNumber(c[2])
		it.Quantity, it.UnitPrice, it.Factor, it.Tax = nphiesclient.MustNumber(c[0]), &price, &factor, &tax
		r, err := nphiesclient.BuildClaim(d, buildOptions())
		require.NoError(t, err, c)
		want := new(big.Rat)
		for i, s := range []string{c[0], price.String(), c[2]} {
			x, ok := new(big.Rat).SetString(s)
			require.True(t, ok)
			if i == 0 {
				want.Set(x)
			} else {
				want.Mul(want, x)
			}
		}
		x, ok := new(big.Rat).SetString(c[3])
		require.True(t, ok)
		require.Equal(t, halfUp(want.Add(want, x)).FloatString(2), r.Total.String(), c)
	}
}
