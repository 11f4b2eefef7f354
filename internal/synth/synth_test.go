package synth_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/synth"
	"github.com/claimlinc/nphiesq/nphiesclient"
)

func TestEveryClaimIsValid(t *testing.T) {
	t.Parallel()
	numbers, kinds, items := map[string]bool{}, map[string]int{}, map[int]int{}
	now := time.Date(2026, 11, 1, 8, 0, 0, 0, nphiesclient.Riyadh)
	for seed := uint64(1); seed <= 3; seed++ {
		for n, doc := range synth.Claims(seed, 300, synth.Options{}) {
			r, err := nphiesclient.BuildClaim(&doc, nphiesclient.BuildOptions{Now: now})
			require.NoError(t, err, "seed %d, claim %d", seed, n)
			require.Empty(t, nphiesclient.Check(r), "seed %d, claim %d", seed, n)
			require.NotContains(t, doc.ClaimNumber, "SIM-")
			require.False(t, numbers[doc.ClaimNumber], "claim number %s twice", doc.ClaimNumber)
			numbers[doc.ClaimNumber] = true
			kinds[doc.Type]++
			items[len(doc.Items)]++

			// The document survives being written and read, as enqueue generate | enqueue submit does.
			line, err := json.Marshal(doc)
			require.NoError(t, err)
			in, err := nphiesclient.ParseInput(line)
			require.NoError(t, err)
			again, err := nphiesclient.BuildClaim(in.Claim, nphiesclient.BuildOptions{Now: now})
			require.NoError(t, err)
			require.True(t, r.Total.Equal(again.Total))
		}
	}
	require.Len(t, kinds, 5)
	require.GreaterOrEqual(t, len(items), 4)
}

func TestSameSeedSameClaim(t *testing.T) {
	t.Parallel()
	text := func(seed uint64, n int) string {
		b, err := json.Marshal(synth.Claim(seed, n, synth.Options{}))
		require.NoError(t, err)
		return string(b)
	}
	first := text(7, 11)
	require.JSONEq(t, first, text(7, 11))
	require.NotEqual(t, text(7, 11), text(7, 12))
	require.NotEqual(t, text(7, 11), text(8, 11))
}

func TestBehaviours(t *testing.T) {
	t.Parallel()
	o := synth.Options{Behaviours: map[string]int{"": 1, "PARTIAL": 2, "PEND-PARTIAL": 1, "NEVER": 0}, Prefix: "LONGER"}
	seen := map[string]int{}
	for _, d := range synth.Claims(1<<63, 400, o) {
		_, word, _ := strings.Cut(d.ClaimNumber, "-SIM-")
		seen[word]++
		require.LessOrEqual(t, len(d.ClaimNumber), 50)
	}
	require.Len(t, seen, 3)
	require.Zero(t, seen["NEVER"])
	require.Greater(t, seen["PARTIAL"], seen["PEND-PARTIAL"])
}

func TestOptions(t *testing.T) {
	t.Parallel()
	payers := map[string]bool{}
	for _, d := range synth.Claims(5, 50, synth.Options{Kinds: []string{"pharmacy"}, License: "L-1", Payers: []string{"A", "B"}}) {
		require.Equal(t, "pharmacy", d.Type)
		require.Equal(t, "L-1", d.Provider.License)
		payers[d.Payer.License] = true
	}
	require.Len(t, payers, 2)
}
