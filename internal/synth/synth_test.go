package synth_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/nphiessim"
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

// TestGenerated: a thousand of all kinds pass our own check, and the simulator, which reads the guide on its own, takes every
// one.
func TestGenerated(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 8, 0, 0, 0, nphiesclient.Riyadh)
	sim := nphiessim.New(nphiessim.Options{Now: func() time.Time { return now }})
	t.Cleanup(sim.Close)
	server := httptest.NewServer(sim.NPHIES())
	t.Cleanup(server.Close)
	seen := map[string]int{}
	for n, doc := range synth.Claims(20261101, 1000, synth.Options{Use: synth.UseMixed, Kinds: []string{"professional", "pharmacy", "institutional", "oral", "vision"}}) {
		r, err := nphiesclient.BuildClaim(&doc, nphiesclient.BuildOptions{Now: now})
		require.NoError(t, err, "claim %d", n)
		require.Empty(t, nphiesclient.CheckWith(r, nphiesclient.CheckOptions{Now: now}), "claim %d", n)
		seen[doc.Type+" "+r.Use]++
		for what, is := range map[string]bool{
			"newborn": doc.Newborn, "emergency": doc.SubType == "emr", "transfer": doc.Transfer,
			"package":          slices.ContainsFunc(doc.Items, func(x nphiesclient.Item) bool { return x.Package }),
			"details":          slices.ContainsFunc(doc.Items, func(x nphiesclient.Item) bool { return !x.Package && len(x.Details) > 0 }),
			"parts of details": slices.ContainsFunc(doc.Items, func(x nphiesclient.Item) bool { return len(x.Details) > 0 && len(x.Details[0].SubDetails) > 0 }),
			"tax":              slices.ContainsFunc(doc.Items, func(x nphiesclient.Item) bool { return x.Tax != nil }),
			"factor":           slices.ContainsFunc(doc.Items, func(x nphiesclient.Item) bool { return x.Factor != nil }),
		} {
			if is {
				seen[what]++
			}
		}
		a := post(t, server.URL, r.Body)
		require.NotNil(t, a.Claim, "claim %d: %v", n, a.Errors)
		require.Equal(t, nphiesclient.StateApproved, a.Claim.State(), "claim %d, %s: %v", n, doc.Type, a.Errors)
	}
	require.Len(t, seen, 10+8, "%v", seen)
	for what, n := range seen {
		require.Greater(t, n, 3, what)
	}
}

func post(t *testing.T, url string, body []byte) *nphiesclient.Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/$process-message", bytes.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/fhir+json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	a, err := nphiesclient.Parse(answer)
	require.NoError(t, err)
	return a
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
