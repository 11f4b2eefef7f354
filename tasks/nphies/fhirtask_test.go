package nphies_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/nphiesclient"
	"github.com/claimlinc/nphiesq/tasks"
)

// ask keeps a status-check or cancel-request about a claim.
func (b *bench) ask(id uuid.UUID, code, reason string) store.FHIRTask {
	b.t.Helper()
	c := b.get(id)
	ref := nphiesclient.ClaimRef{Identifier: nphiesclient.Identifier(c.Identifier), Payer: c.Payer}
	o := nphiesclient.TaskOptions{License: c.License, IdentifierSystem: "http://nphiesq.example/task", Now: b.now()}
	req, err := nphiesclient.BuildStatusCheck(ref, o)
	if code == store.TaskCancel {
		req, err = nphiesclient.BuildCancel(ref, reason, o)
	}
	require.NoError(b.t, err)
	t, _, err := b.store.CreateFHIRTask(b.t.Context(), store.NewFHIRTask{
		ClaimID: id, Code: code, Reason: reason, License: c.License, Payer: c.Payer, Identifier: c.Identifier, Event: req.Event, BundleID: req.BundleID,
		HeaderID: req.HeaderID, Body: req.Body, By: store.Decision{Actor: "amal", Source: "cli", Reason: "entered twice"},
	})
	require.NoError(b.t, err)
	return t
}

func (b *bench) run(t store.FHIRTask) (store.FHIRTask, error) {
	b.t.Helper()
	err := b.FHIRTask(b.t.Context(), tasks.NewStatus(t.ID, 1).Task)
	got, readErr := b.store.FHIRTask(b.t.Context(), t.ID)
	require.NoError(b.t, readErr)
	return got, err
}

func TestStatusCheck(t *testing.T) {
	b := newBench(t)
	id := b.claim("NEVER")
	require.NoError(t, b.submit(id))
	got, err := b.run(b.ask(id, store.TaskStatus, ""))
	require.NoError(t, err)
	require.Equal(t, store.FHIRTaskCompleted, got.State)
	require.Equal(t, "queued", got.Result)
	require.Equal(t, store.Pending, b.get(id).State)
	due, err := b.store.OverdueClaims(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, due, "queued: there is nothing to fetch")

	// The payer has answered and the answer waits, or was lost: the claim is due to ask for it.
	id = b.claim("PEND")
	require.NoError(t, b.submit(id))
	got, err = b.run(b.ask(id, store.TaskStatus, ""))
	require.NoError(t, err)
	require.Equal(t, "complete", got.Result)
	due, err = b.store.OverdueClaims(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, due, 1)
	require.NoError(t, b.submit(id))
	require.Equal(t, store.Approved, b.get(id).State)

	// NPHIES does not know the claim any more: the same bytes tell it again.
	id = b.claim("NEVER")
	require.NoError(t, b.submit(id))
	b.answer("BV-00459", 1)
	got, err = b.run(b.ask(id, store.TaskStatus, ""))
	require.NoError(t, err)
	require.Equal(t, store.FHIRTaskError, got.State)
	require.Equal(t, "BV-00459", got.ErrorCode)
	due, err = b.store.OverdueClaims(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []store.Overdue{{Wish: store.Wish{ID: id, Episode: 1, Kind: store.UseClaim}, License: license, Step: store.StepBytes}}, due)
}

func TestOneStatusCheckAtATime(t *testing.T) {
	b := newBench(t)
	id := b.claim("NEVER")
	require.NoError(t, b.submit(id))
	one, two := b.ask(id, store.TaskStatus, ""), b.ask(id, store.TaskStatus, "")
	require.Equal(t, one.ID, two.ID)
	_, err := b.run(one)
	require.NoError(t, err)
	require.NotEqual(t, one.ID, b.ask(id, store.TaskStatus, "").ID, "answered: a new one may be asked")
}

func TestCancel(t *testing.T) {
	b := newBench(t)
	id := b.claim("NEVER")
	require.NoError(t, b.submit(id))
	got, err := b.run(b.ask(id, store.TaskCancel, "WI"))
	require.NoError(t, err)
	require.Equal(t, store.FHIRTaskCompleted, got.State)
	require.Equal(t, store.Cancelled, b.get(id).State)
	require.NoError(t, b.submit(id), "the task again")
	require.NoError(t, b.poll())
	require.Equal(t, store.Cancelled, b.get(id).State)
	trail, err := b.store.Actions(t.Context(), id.String(), 0)
	require.NoError(t, err)
	require.Len(t, trail, 2)
	require.Equal(t, []string{"applied", "nphiesq", "requested", "amal"}, []string{trail[0].Outcome, trail[0].Actor, trail[1].Outcome, trail[1].Actor})
	require.Equal(t, "entered twice", trail[1].Reason)
}

func TestCancelThatIsRefused(t *testing.T) {
	b := newBench(t)
	id := b.claim("APPROVE")
	require.NoError(t, b.submit(id))
	b.answer("BV-00459", 1)
	got, err := b.run(b.ask(id, store.TaskCancel, "NP"))
	require.NoError(t, err)
	require.Equal(t, store.FHIRTaskError, got.State)
	require.Equal(t, store.Approved, b.get(id).State, "a refused cancellation changes nothing")
	require.Contains(t, b.events(&id), "nphies.api.error", "told: a person asked for it")
	trail, err := b.store.Actions(t.Context(), id.String(), 0)
	require.NoError(t, err)
	require.Equal(t, "failed", trail[0].Outcome)
}

func TestCancelBeforeItWasSent(t *testing.T) {
	b := newBench(t)
	id := b.claim("APPROVE")
	done, err := b.store.CancelUnsent(t.Context(), id, store.Decision{Actor: "amal", Source: "cli", Reason: "entered twice"}, "WI")
	require.NoError(t, err)
	require.True(t, done)
	require.NoError(t, b.submit(id))
	require.Zero(t, b.sim.Stats().Requests, "nobody hears of it")
	require.Equal(t, store.Cancelled, b.get(id).State)

	sent := b.claim("NEVER")
	require.NoError(t, b.submit(sent))
	done, err = b.store.CancelUnsent(t.Context(), sent, store.Decision{Actor: "amal", Source: "cli", Reason: "entered twice"}, "WI")
	require.NoError(t, err)
	require.False(t, done)
}

func TestFHIRTaskTrouble(t *testing.T) {
	b := newBench(t)
	id := b.claim("NEVER")
	require.NoError(t, b.submit(id))
	task := b.ask(id, store.TaskStatus, "")
	b.answer("GE-00014", 1)
	got, err := b.run(task)
	require.True(t, fault.Is(err, fault.Network))
	require.Equal(t, store.FHIRTaskSubmitting, got.State)
	require.Equal(t, "GE-00014", got.ErrorCode)
	got, err = b.run(task)
	require.NoError(t, err)
	require.Equal(t, store.FHIRTaskCompleted, got.State)
	require.Equal(t, 2, got.Attempts)

	task = b.ask(id, store.TaskStatus, "")
	b.answer("GE-00030", 1)
	_, err = b.run(task)
	require.NoError(t, err)
	require.Len(t, b.pauses(), 1)
	wishes, err := b.store.FHIRTasksToSend(t.Context(), b.now().Add(time.Minute), uuid.Nil, 10)
	require.NoError(t, err)
	require.Empty(t, wishes)
	ended, err := b.store.EndPauses(t.Context(), license, "", "")
	require.NoError(t, err)
	require.Zero(t, ended, "what went well may have begun before the pause")
	_, err = b.store.Resume(t.Context(), license, "", store.Decision{Actor: "amal", Source: "cli", Reason: "account is open"})
	require.NoError(t, err)
	wishes, err = b.store.FHIRTasksToSend(t.Context(), b.now().Add(time.Minute), uuid.Nil, 10)
	require.NoError(t, err)
	require.Equal(t, []store.Wish{{ID: task.ID, Episode: 1, Kind: store.TaskStatus}}, wishes)
	require.True(t, fault.Of(b.FHIRTask(t.Context(), tasks.NewStatus(uuid.New(), 1).Task)).Permanent)
}
