package nphiessim

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMailboxOrderAndEmptiness(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{MailboxDelay: time.Minute})
	var want []string
	for i := range 25 {
		id := fmt.Sprintf("CLM-%02d-SIM-PEND", i)
		want = append(want, id)
		_, a := b.send(t, claimMessage(t, id))
		require.Empty(t, tagsOf(a), "nothing waits yet")
		b.clock.add(time.Second)
	}
	_, a := b.send(t, pollMessage(t))
	require.Empty(t, nestedIn(a), "the delay has not passed")
	b.clock.add(time.Minute)
	var got []string
	for {
		_, a := b.send(t, pollMessage(t))
		nested := nestedIn(a)
		require.LessOrEqual(t, len(nested), 10)
		for _, n := range nested {
			got = append(got, mainOf(n).get("request").identifier().Value)
			require.True(t, guidPattern.MatchString(n.get("id").str()))
		}
		if len(got) < len(want) {
			require.Equal(t, []string{"queued-messages"}, tagsOf(a))
			continue
		}
		require.Empty(t, tagsOf(a))
		break
	}
	require.Equal(t, want, got)
	_, a = b.send(t, pollMessage(t))
	require.Equal(t, "completed", mainOf(a).get("status").str())
	require.False(t, mainOf(a).get("output").exists())
	require.False(t, headerOf(a).get("focus").exists())
}

func TestPollFilters(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.send(t, claimMessage(t, "CLM-1-SIM-PEND"))
	b.send(t, claimMessage(t, "CLM-2-SIM-PEND"))
	for _, k := range PushKinds() {
		require.NoError(t, b.Push("DEMO-PR-0001", k))
	}
	require.ErrorIs(t, b.Push("DEMO-PR-0001", "letter"), ErrUnknownKind)
	require.NoError(t, b.Push("ELSEWHERE", "communication-request"))

	ask := func(input ...string) []string {
		v, err := parseJSON(pollMessage(t))
		require.NoError(t, err)
		m := v.(map[string]any)
		rooted(m, "").get("entry").at(1).get("resource").v.(map[string]any)["input"] = jsonList(t, input...)
		return eventsIn(nestedIn(second(b.send(t, renew(t, m)))))
	}
	require.Equal(t, []string{"communication-request"}, ask(input("include-message-type", "valueCode", `"communication-request"`)))
	require.Equal(t, []string{"payment-reconciliation", "advanced-authorization", "simulated-event", ""},
		ask(input("exclude-message-type", "valueCode", `"claim-response"`), input("count", "valuePositiveInt", "100")))
	require.Equal(t, []string{"claim-response"}, ask(input("exclude-message-type", "valueCode", `"batch-response"`)), "count is 1 by default")
	require.Equal(t, 2, b.Stats().Waiting, "one claim-response here and one message for the other license")
}

func second[A, B any](_ A, b B) B { return b }

func input(kind, element, value string) string {
	return fmt.Sprintf(`{"type":{"coding":[{"system":%q,"code":%q}]},%q:%s}`, systemTaskInput, kind, element, value)
}

func jsonList(t *testing.T, members ...string) any {
	t.Helper()
	v, err := parseJSON([]byte("[" + strings.Join(members, ",") + "]"))
	require.NoError(t, err)
	return v
}

// renew gives a message new ids.
func renew(t *testing.T, m map[string]any) []byte {
	t.Helper()
	s := New(Options{Seed: time.Now().UnixNano()})
	header := rooted(m, "").get("entry").at(0)
	header.get("resource").v.(map[string]any)["id"] = s.guid("x")
	header.v.(map[string]any)["fullUrl"] = "urn:uuid:" + header.get("resource.id").str()
	m["id"] = s.guid("x")
	return raw(t, m)
}

func eventsIn(messages []node) []string {
	var out []string
	for _, m := range messages {
		out = append(out, headerOf(m).get("eventCoding.code").str())
	}
	return out
}

func TestDuplicates(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{MailboxDelay: time.Hour})
	body := claimMessage(t, "CLM-SIM-PEND")
	_, first := b.send(t, body)
	_, again := b.send(t, body)
	require.Equal(t, "queued", mainOf(first).get("outcome").str())
	require.Equal(t, "queued", mainOf(again).get("outcome").str())
	b.clock.add(2 * time.Hour)
	_, again = b.send(t, body)
	require.Equal(t, "approved", stateOf(mainOf(again)), "the most recent answer on file")

	t.Run("same claim in a new envelope", func(t *testing.T) {
		v, err := parseJSON(body)
		require.NoError(t, err)
		_, a := b.send(t, renew(t, v.(map[string]any)))
		require.Equal(t, "approved", stateOf(mainOf(a)))
	})
	t.Run("other content under the identifier", func(t *testing.T) {
		_, a := b.send(t, bytes.ReplaceAll(claimMessage(t, "CLM-SIM-PEND"), []byte("2026-02-10T11:30:00"), []byte("2026-02-10T11:31:00")))
		require.Equal(t, []string{"BV-00163"}, codesIn(mainOf(a)))
	})
	t.Run("other content under the ids of header and Bundle", func(t *testing.T) {
		_, a := b.send(t, bytes.ReplaceAll(body, []byte("Demo Plan B"), []byte("Demo Plan C")))
		require.Equal(t, []string{"BV-00532", "BV-00533"}, codesIn(mainOf(a)))
	})
	c := b.Claims()
	require.Len(t, c, 1)
	require.Equal(t, 6, c[0].Received)
	require.Equal(t, 2, c[0].DistinctContents)
	require.Equal(t, 4, c[0].DistinctBodies)
	require.Equal(t, "approved", c[0].Final)
	require.Equal(t, 1, b.Stats().Billed)
	require.Equal(t, 1, b.Stats().Changed)
}

func codesIn(res node) []string {
	var out []string
	for _, e := range res.get("error").list() {
		out = append(out, e.get("code").code(systemErrors))
	}
	return out
}

func TestStatusAndCancel(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.clock.add(24 * time.Hour)
	about := func(name, id string) []byte {
		return bytes.ReplaceAll(fresh(t, name, "T-"+id+"-"+name+fmt.Sprint(time.Now().UnixNano())), []byte("CLM-DEMO-000201"), []byte(id))
	}
	status := func(id string) (string, node) {
		_, a := b.send(t, about("status-check-request", id))
		o := mainOf(a).get("output").at(0)
		if c := o.get("valueCode").str(); c != "" {
			return c, mainOf(a)
		}
		return o.get("valueCodeableConcept").code(""), mainOf(a)
	}
	code, task := status("CLM-9")
	require.Equal(t, "BV-00459", code)
	require.Equal(t, "failed", task.get("status").str())

	b.send(t, claimMessage(t, "CLM-SIM-NEVER"))
	code, _ = status("CLM-SIM-NEVER")
	require.Equal(t, "queued", code)
	_, a := b.send(t, about("cancel-request", "CLM-SIM-NEVER"))
	require.Equal(t, "completed", mainOf(a).get("status").str())
	code, _ = status("CLM-SIM-NEVER")
	require.Equal(t, "cancelled", code)
	require.Equal(t, "cancelled", b.Claims()[0].Final)

	b.send(t, claimMessage(t, "CLM-1"))
	_, a = b.send(t, about("cancel-request", "CLM-1"))
	require.Equal(t, "failed", mainOf(a).get("status").str())
}

func TestReissue(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.send(t, claimMessage(t, "CLM-1"))
	b.send(t, claimMessage(t, "CLM-SIM-NEVER"))
	id := b.Claims()[0].Identifier
	require.NoError(t, b.Reissue(id, "rejected"))
	require.ErrorIs(t, b.Reissue(id, "lost"), ErrUnknownOutcome)
	require.ErrorIs(t, b.Reissue(Identifier{"a", "b"}, "approved"), ErrUnknownClaim)
	require.ErrorIs(t, b.Reissue(b.Claims()[1].Identifier, "approved"), ErrNotComplete)
	_, a := b.send(t, pollMessage(t))
	require.Equal(t, "correction", mainOf(nestedIn(a)[0]).ext("adjudication-reissue").get("valueCodeableConcept").code(""))
	require.Equal(t, "rejected", b.Claims()[0].Adjudication)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		status    int  // of the first send, 0 if the connection breaks
		processed bool // by the first send
	}{
		{"HTTP503", 503, false},
		{"HTML200", 200, false},
		{"CUT-BEFORE", 0, false},
		{"CUT-AFTER", 0, true},
		{"TRUNCATE", 0, true},
		{"SLOW", 200, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, Options{SlowDelay: time.Millisecond})
			body := claimMessage(t, "CLM-SIM-PARTIAL-SIM-"+tc.name)
			status, answer, err := post(t, b.url, body)
			if tc.status == 0 {
				require.Error(t, err)
			} else {
				require.NoError(t, err)
				require.Equal(t, tc.status, status)
				require.Equal(t, tc.name != "SLOW", bytes.Contains(answer, []byte("<html>")))
			}
			received := 0
			if tc.processed {
				received = 1
				require.Equal(t, 1, b.Claims()[0].Received)
			} else {
				require.Empty(t, b.Claims())
			}
			_, a := b.send(t, body)
			require.Equal(t, "partial", stateOf(mainOf(a)))
			require.Equal(t, received+1, b.Claims()[0].Received)
			require.Equal(t, 1, b.Stats().Billed)
		})
	}
}

func TestHangEndsWithTheSimulator(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	done := make(chan error, 1)
	body := claimMessage(t, "CLM-SIM-HANG")
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url, bytes.NewReader(body))
		if err == nil {
			var resp *http.Response
			if resp, err = http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}
		done <- err
	}()
	require.Eventually(t, func() bool { return len(b.Requests()) == 1 }, 10*time.Second, time.Millisecond)
	select {
	case err := <-done:
		require.NoError(t, err)
		require.Fail(t, "answered")
	case <-time.After(50 * time.Millisecond):
	}
	b.Close()
	require.Error(t, <-done)
}

func TestScriptedFaults(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.send(t, claimMessage(t, "CLM-SIM-PEND"))
	b.SetFaults(Fault{Match: eventPoll, Kind: FaultCutAfter, Count: 1}, Fault{Match: "*", Kind: FaultOutcome, Count: 1}, Fault{Match: eventClaim, Kind: FaultRefuse, Count: 1}, Fault{Match: "*", Kind: Fault500, Count: 1})
	_, _, err := post(t, b.url, pollMessage(t))
	require.Error(t, err)
	status, a := b.send(t, pollMessage(t))
	require.Equal(t, 500, status)
	require.Equal(t, "OperationOutcome", a.get("resourceType").str())
	_, _, err = post(t, b.url, claimMessage(t, "CLM-2"))
	require.Error(t, err)
	status, a = b.send(t, pollMessage(t))
	require.Equal(t, 500, status)
	require.Equal(t, "hsb", a.get("servlet").str())
	require.Empty(t, b.Faults())
	_, a = b.send(t, pollMessage(t))
	require.Empty(t, nestedIn(a), "the first poll took the answer out of the mailbox")
	_, a = b.send(t, claimMessage(t, "CLM-SIM-PEND"))
	require.Equal(t, "approved", stateOf(mainOf(a)), "the original message brings it back")
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	claim := string(claimMessage(t, "CLM-1"))
	for name, tc := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"no JSON":       {"{", 400, "GE-00013"},
		"two values":    {claim + "{}", 400, "GE-00013"},
		"no Bundle":     {`{"resourceType":"Patient"}`, 400, "GE-00013"},
		"list":          {`[1]`, 400, "GE-00013"},
		"null":          {`null`, 400, "GE-00013"},
		"deep":          {strings.Repeat("[", 100000) + strings.Repeat("]", 100000), 400, "GE-00013"},
		"unknown event": {strings.Replace(claim, `"claim-request"`, `"claim"`, 1), 400, "IB-00250"},
		"not played":    {strings.Replace(claim, `"claim-request"`, `"prescriber-request"`, 1), 501, "GE-00017"},
		"no sender":     {strings.Replace(claim, `"sender"`, `"sonder"`, 1), 400, "GE-00010"},
		"no receiver":   {strings.Replace(claim, `"receiver"`, `"deceiver"`, 1), 400, "GE-00015"},
		"too large":     {`"` + strings.Repeat("x", maxMessage) + `"`, 413, "BV-00076"},
	} {
		status, a := b.send(t, []byte(tc.body))
		require.Equal(t, tc.status, status, name)
		require.Equal(t, "OperationOutcome", a.get("resourceType").str(), name)
		require.Equal(t, tc.code, a.get("issue").at(0).get("details").code(""), name)
	}
	resp, err := http.Get(b.url) //nolint:noctx // a wrong call on purpose
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	require.NoError(t, resp.Body.Close())
	status, _ := func() (int, node) {
		u := *b
		u.url = strings.TrimSuffix(b.url, operation) + "/Claim"
		return u.send(t, []byte(claim))
	}()
	require.Equal(t, http.StatusNotFound, status)
}

// TestLoad sends many claims at once, each twice.
func TestLoad(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	const claims = 100
	var wg sync.WaitGroup
	for i := range claims {
		body := claimMessage(t, fmt.Sprintf("CLM-%03d-SIM-PEND", i))
		for range 2 {
			wg.Go(func() {
				if _, _, err := post(t, b.url, body); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	require.Equal(t, claims, b.Stats().Billed)
	for _, c := range b.Claims() {
		require.Equal(t, 2, c.Received)
		require.Equal(t, 1, c.DistinctBodies)
	}
	require.Equal(t, claims, b.Stats().Waiting)
}

func TestSameSeedSameAnswer(t *testing.T) {
	t.Parallel()
	body := claimMessage(t, "CLM-SIM-PARTIAL")
	var answers []string
	for _, seed := range []int64{7, 7, 8} {
		_, a := newBench(t, Options{Seed: seed}).send(t, body)
		answers = append(answers, string(raw(t, a.v)))
	}
	require.Equal(t, answers[0], answers[1])
	require.NotEqual(t, answers[0], answers[2])
}
