package nphies_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/nphiessim"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/synth"
	"github.com/claimlinc/nphiesq/nphiesclient"
	"github.com/claimlinc/nphiesq/tasks"
)

// authorization keeps a synthetic prior authorization whose number asks the simulator for a behaviour.
func (b *bench) authorization(behaviour string) uuid.UUID {
	b.t.Helper()
	doc := synth.Claim(7, b.n, synth.Options{Use: synth.UsePreauthorization, Behaviours: map[string]int{behaviour: 1}, Kinds: []string{"professional"}})
	b.n++
	req, err := nphiesclient.BuildClaim(&doc, nphiesclient.BuildOptions{})
	require.NoError(b.t, err)
	c, created, err := b.store.CreateClaim(b.t.Context(), store.NewClaim{
		Use: req.Use, License: req.License, Identifier: store.Identifier(req.Identifier), Payer: req.Payer, Type: req.ClaimType, SubType: req.ClaimSubType,
		Items: req.Items, Claimed: req.Total.Decimal(), HeaderID: req.HeaderID, BundleID: req.BundleID, SourceHash: "x", Event: req.Event, Body: req.Body,
	})
	require.NoError(b.t, err)
	require.True(b.t, created)
	return c.ID
}

const (
	submitted = "nphies.claim.submitted"
	approved  = "nphies.claim.approved"
	rejected  = "nphies.claim.rejected"
)

// ends says where each behaviour of the simulator leads: the last state and the cards, in order.
var ends = map[string]struct {
	state store.State
	cards []string
}{
	"APPROVE":       {store.Approved, []string{submitted, approved}},
	"PARTIAL":       {store.Partial, []string{submitted, approved}},
	"REJECT":        {store.Rejected, []string{submitted, rejected}},
	"ERROR":         {store.Failed, []string{rejected}},
	"ERROR-MANY":    {store.Failed, []string{rejected}},
	"PEND":          {store.Approved, []string{submitted, approved}},
	"PEND-PARTIAL":  {store.Partial, []string{submitted, approved}},
	"PEND-REJECT":   {store.Rejected, []string{submitted, rejected}},
	"QUEUED":        {store.Approved, []string{submitted, approved}},
	"LARGE":         {store.Failed, []string{submitted, rejected}},
	"LARGE-APPROVE": {store.Approved, []string{submitted, approved}},
	"NEVER":         {store.Pending, []string{submitted}},
	"REISSUE":       {store.Partial, []string{submitted, approved, approved}},
	"OFFLINE":       {store.Approved, []string{submitted, approved}},
	"TIMEOUT":       {store.Approved, []string{submitted, approved}},
	"BUSY":          {store.Approved, []string{submitted, approved}},
	"UNFINISHED":    {store.Partial, []string{submitted, approved}},
	"INFO":          {store.Pended, []string{submitted}},
	"EVIDENCE":      {store.Partial, []string{submitted, approved}},
	"NOT-REQUIRED":  {store.Approved, []string{submitted, approved}},
	"HTTP503":       {store.Approved, []string{submitted, approved}},
	"HTTP500":       {store.Approved, []string{submitted, approved}},
	"HTML200":       {store.Approved, []string{submitted, approved}},
	"JSON200":       {store.Approved, []string{submitted, approved}},
	"EMPTY":         {store.Approved, []string{submitted, approved}},
	"REDIRECT":      {store.Approved, []string{submitted, approved}},
	"WRONG-TYPE":    {store.Approved, []string{submitted, approved}},
	"OVERSIZED":     {store.Approved, []string{submitted, approved}},
	"HANG":          {store.Approved, []string{submitted, approved}},
	"SLOW":          {store.Approved, []string{submitted, approved}},
	"CUT-BEFORE":    {store.Approved, []string{submitted, approved}},
	"CUT-AFTER":     {store.Approved, []string{submitted, approved}},
	"TRUNCATE":      {store.Approved, []string{submitted, approved}},
}

// TestEveryBehaviourEnds follows every behaviour that the simulator knows for claims and authorizations to its end.
func TestEveryBehaviourEnds(t *testing.T) {
	t.Parallel()
	for _, behaviour := range nphiessim.Behaviours() {
		if behaviour.For == "eligibility" || behaviour.For == "cancel" {
			continue // TestEligibility, TestEveryCancelEnds
		}
		t.Run(behaviour.Name, func(t *testing.T) {
			want, ok := ends[behaviour.Name]
			require.True(t, ok, "where should it lead?")
			b := newBench(t)
			kinds := map[string]func(string) uuid.UUID{"authorization": b.authorization}
			if behaviour.For != "authorization" {
				kinds["claim"] = b.claim
			}
			for kind, keep := range kinds {
				id := keep(behaviour.Name)
				for range 4 { // the first try, and what the retries of its task would do
					if err := b.submit(id); err == nil && b.get(id).State != store.Submitting {
						break
					}
					b.pass(time.Hour)
				}
				require.NoError(t, b.poll())
				require.NoError(t, b.submit(id), "the task again")
				require.NoError(t, b.poll(), "and the poll again")
				c := b.get(id)
				require.Equal(t, want.state, c.State, kind)
				require.Equal(t, want.cards, b.events(&id), kind)
				require.Equal(t, 1, b.simClaim(c).DistinctBodies, kind)
				if kind == "authorization" && (c.State == store.Approved || c.State == store.Partial) && behaviour.Name != "NOT-REQUIRED" {
					require.NotEmpty(t, c.PreAuthRef)
					require.NotEmpty(t, c.PreAuthEnd)
				}
			}
		})
	}
}

func TestEveryCancelEnds(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]store.FHIRTask{
		"NEVER":             {State: store.FHIRTaskCompleted},
		"CANCEL-ACCEPT":     {State: store.FHIRTaskCompleted},
		"CANCEL-REJECTED":   {State: store.FHIRTaskFailed, StatusReason: "rejected"},
		"CANCEL-IN-PROCESS": {State: store.FHIRTaskFailed, StatusReason: "in-process"},
		"CANCEL-CLAIMED":    {State: store.FHIRTaskFailed, StatusReason: "claimed"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			id := b.claim(name)
			require.NoError(t, b.submit(id))
			before := b.get(id).State
			task := b.ask(id, store.TaskCancel, "NP")
			require.NoError(t, b.FHIRTask(t.Context(), tasks.NewCancel(task.ID, 1).Task))
			got, err := b.store.FHIRTask(t.Context(), task.ID)
			require.NoError(t, err)
			require.Equal(t, []any{want.State, want.StatusReason}, []any{got.State, got.StatusReason})
			if want.State == store.FHIRTaskCompleted {
				before = store.Cancelled
			}
			require.Equal(t, before, b.get(id).State)
		})
	}
	for _, behaviour := range nphiessim.Behaviours() {
		if behaviour.For == "cancel" {
			require.Contains(t, "CANCEL-ACCEPT CANCEL-REJECTED CANCEL-IN-PROCESS CANCEL-CLAIMED", behaviour.Name)
		}
	}
}
