package cards

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		name   string
		event  Event
		want   Priority
		groups []Stakeholder
	}{
		{"approved", Event{Type: ClaimApprovedEvent, Details: ClaimApproved{Outcome: Partial}}, Info, []Stakeholder{NPHIESIntegration, PMO, Compliance}},
		{"rejected", Event{Type: ClaimRejectedEvent, Details: ClaimRejected{}}, High, []Stakeholder{NPHIESIntegration, PMO, Compliance}},
		{"denied", Event{Type: EligibilityDeniedEvent, Details: EligibilityDenied{}}, Medium, []Stakeholder{NPHIESIntegration, Compliance}},
		{
			"poll over the network",
			Event{Type: APIErrorEvent, Details: APIError{Operation: OperationPoll, ErrorType: ErrorNetwork}},
			Medium,
			[]Stakeholder{NPHIESIntegration, SRE},
		},
		{
			"eligibility",
			Event{Type: APIErrorEvent, Details: APIError{Operation: OperationEligibility, ErrorType: ErrorNetwork}},
			High,
			[]Stakeholder{NPHIESIntegration, SRE},
		},
		{
			"certificate",
			Event{Type: APIErrorEvent, Details: APIError{Operation: OperationPoll, ErrorType: ErrorCertificate}},
			High,
			[]Stakeholder{NPHIESIntegration, SRE, SecurityEng},
		},
		{
			"dead nphies task",
			Event{Type: TaskDLQEvent, Details: DeadLetter{TaskType: "nphies:submit"}},
			High,
			[]Stakeholder{RuntimeEng, SRE, NPHIESIntegration},
		},
		{"dead teams task", Event{Type: TaskDLQEvent, Details: DeadLetter{TaskType: "teams:notify"}}, High, []Stakeholder{RuntimeEng, SRE}},
		{
			"retry",
			Event{Type: TaskRetryEvent, Details: TaskFailure{TaskType: "nphies:poll"}},
			Low,
			[]Stakeholder{RuntimeEng, SRE, NPHIESIntegration},
		},
		{"timeout", Event{Type: TaskTimeoutEvent, Details: TaskFailure{}}, Medium, []Stakeholder{RuntimeEng, SRE}},
		{"override", Event{Type: TaskTimeoutEvent, Priority: Critical, Details: TaskFailure{}}, Critical, []Stakeholder{RuntimeEng, SRE}},
		{
			"certificate in a week",
			Event{Type: VaultCertificateEvent, Details: Certificate{DaysLeft: 7}},
			High,
			[]Stakeholder{SecurityEng, SRE, NPHIESIntegration},
		},
		{
			"certificate tomorrow",
			Event{Type: VaultCertificateEvent, Details: Certificate{DaysLeft: 1}},
			Critical,
			[]Stakeholder{SecurityEng, SRE, NPHIESIntegration},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, groups, err := c.event.Resolve()
			require.NoError(t, err)
			require.Equal(t, c.want, p)
			require.Equal(t, c.groups, groups)
		})
	}
}

func TestResolveDoesNotShareTheTable(t *testing.T) {
	e := Event{ID: "a", Type: ClaimApprovedEvent, At: time.Unix(1, 0), Details: ClaimApproved{}}
	_, groups, err := e.Resolve()
	require.NoError(t, err)
	groups[0] = "X"
	_, again, err := e.Resolve()
	require.NoError(t, err)
	require.Equal(t, NPHIESIntegration, again[0])
}

func TestUnusableEvents(t *testing.T) {
	good := Event{ID: "a", Type: ClaimSubmittedEvent, At: time.Unix(1, 0), Details: ClaimSubmitted{}}
	_, err := Render(good, Links{})
	require.NoError(t, err)
	for name, change := range map[string]func(*Event){
		"type":     func(e *Event) { e.Type = "nphies.claim" },
		"details":  func(e *Event) { e.Details = ClaimApproved{} },
		"pointer":  func(e *Event) { e.Details = &ClaimSubmitted{} },
		"nil":      func(e *Event) { e.Details = nil },
		"priority": func(e *Event) { e.Priority = "high" },
		"id":       func(e *Event) { e.ID = "" },
		"odd id":   func(e *Event) { e.ID = "a b" },
		"time":     func(e *Event) { e.At = time.Time{} },
	} {
		t.Run(name, func(t *testing.T) {
			e := good
			change(&e)
			_, err := Render(e, Links{})
			require.ErrorIs(t, err, ErrEvent)
		})
	}
	var e Event
	require.ErrorIs(t, json.Unmarshal([]byte(`{"type":"x"}`), &e), ErrEvent)
}

func TestLinksLeftOut(t *testing.T) {
	e := Event{ID: "a", Type: ClaimSubmittedEvent, At: time.Unix(1, 0), Details: ClaimSubmitted{ClaimID: "c1"}}
	card, err := Render(e, Links{Monitor: "http://127.0.0.1:8080", NPHIESPortal: "http://portal.example", ClaimLinc: "javascript:x"})
	require.NoError(t, err)
	_, s := read(t, card)
	require.Equal(t, []string{"http://127.0.0.1:8080/claims/c1"}, s.actions)
	card, err = Render(e, Links{})
	require.NoError(t, err)
	require.NotContains(t, string(card), `"actions"`)
}

func TestPartialApprovalShowsWhatWasCut(t *testing.T) {
	card, err := Render(Event{ID: "a", Type: ClaimApprovedEvent, At: time.Unix(1, 0), Details: ClaimApproved{
		ClaimRef: "C", Outcome: Partial, Claimed: "1500.00", Approved: "1310.25", ItemsApproved: 3, Items: 4,
		Cut: []CutItem{{Sequence: 2, Amount: "189.75", ReasonCodes: []string{"MN-1-1"}}},
	}}, Links{})
	require.NoError(t, err)
	_, s := read(t, card)
	require.Contains(t, s.texts, "INFO · Claim partly approved")
	require.Contains(t, s.texts, "SAR 189.75")
	require.Contains(t, s.literals, "Item 2: SAR 189.75 (MN-1-1)")
}

// TestUnknownAmounts: what an answer does not tell is said to be unknown, and nothing is reckoned with it.
func TestUnknownAmounts(t *testing.T) {
	e := Event{ID: "a", Type: ClaimApprovedEvent, At: time.Unix(1, 0), Details: ClaimApproved{
		ClaimRef: "CLM-1", Claimed: "100.00", Outcome: Partial, Items: 2, ItemsApproved: 1, Cut: []CutItem{{Sequence: 2, ReasonCodes: []string{"CV-1-1"}}},
	}}
	card, err := Render(e, Links{})
	require.NoError(t, err)
	text := string(card)
	require.Contains(t, text, "unknown of SAR 100.00")
	require.Contains(t, text, `{"title":"Cut","value":"unknown"}`)
	require.Contains(t, text, "Item 2: unknown (CV-1-1)")
	require.NotContains(t, text, "Approved share")
}

func TestEnvelope(t *testing.T) {
	request, err := Envelope("a <b> & c", json.RawMessage(`{ "type": "AdaptiveCard", "body": [ {"type":"TextBlock","text":"<x> & y"} ] }`))
	require.NoError(t, err)
	want := `{"type":"message","summary":"a <b> & c","attachments":[{"contentType":"application/vnd.microsoft.card.adaptive",` +
		`"contentUrl":null,"content":{"type":"AdaptiveCard","body":[{"type":"TextBlock","text":"<x> & y"}]}}]}`
	require.Empty(t, cmp.Diff(want, string(request)), "the very bytes")

	for card, want := range map[string]error{
		`{"type":"AdaptiveCard","actions":[{"type":"Action.Execute","url":"https://a.example"}]}`: ErrActionNotSupportedByTransport,
		``:                 ErrCard,
		`[]`:               ErrCard,
		`{"type":"Other"}`: ErrCard,
		`{"type":"AdaptiveCard","actions":[{"type":"Action.Execute","title":"x"}]}`:                                    ErrActionNotSupportedByTransport,
		`{"type":"AdaptiveCard","body":[{"type":"Container","selectAction":{"type":"Action.Submit"}}]}`:                ErrActionNotSupportedByTransport,
		`{"type":"AdaptiveCard","refresh":{"action":{"type":"Action.Execute"}}}`:                                       ErrActionNotSupportedByTransport,
		`{"type":"AdaptiveCard","actions":[{"type":"Action.OpenUrl","url":"http://evil.example"}]}`:                    ErrActionNotSupportedByTransport,
		fmt.Sprintf(`{"type":"AdaptiveCard","body":[{"type":"TextBlock","text":%q}]}`, strings.Repeat("x", HardLimit)): ErrCardTooLarge,
	} {
		_, err := Envelope("s", json.RawMessage(card))
		require.ErrorIs(t, err, want, card)
	}
}

func TestMinimal(t *testing.T) {
	card, err := Render(Event{ID: "a", Type: ClaimRejectedEvent, At: time.Unix(1, 0), Details: ClaimRejected{
		ClaimRef: "C1", Disposition: strings.Repeat("long ", 1000),
	}}, testLinks)
	require.NoError(t, err)
	small, err := Minimal(card)
	require.NoError(t, err)
	require.Less(t, len(small), len(card)/2)
	_, before := read(t, card)
	_, after := read(t, small)
	require.Equal(t, before.actions, after.actions)
	require.Empty(t, after.literals)
	require.Contains(t, after.texts, "C1")
	again, err := Minimal(small)
	require.NoError(t, err)
	require.JSONEq(t, string(small), string(again))
	_, err = Minimal(json.RawMessage(`{"body":3}`))
	require.ErrorIs(t, err, ErrCard)
}

func TestDigest(t *testing.T) {
	schema := cardSchema(t)
	d := Digest{ID: "d1", Channel: "NPHIES_INTEGRATION", Environment: "test", At: time.Unix(1, 0)}
	for i := range 500 {
		e := Event{ID: fmt.Sprintf("e%d", i), Type: ClaimSubmittedEvent, At: time.Unix(1, 0), Details: ClaimSubmitted{ClaimRef: fmt.Sprintf("10%08d", i)}}
		if i%100 == 7 {
			e = Event{ID: e.ID, Type: EligibilityDeniedEvent, At: e.At, Details: EligibilityDenied{CheckRef: "E" + e.ID}}
		}
		p, _, err := e.Resolve()
		require.NoError(t, err)
		card, err := Render(e, testLinks)
		require.NoError(t, err)
		d.Entries = append(d.Entries, DigestEntry{ID: e.ID, Type: e.Type, Priority: p, Card: card})
	}
	card, err := RenderDigest(d, testLinks)
	require.NoError(t, err)
	s := checkCard(t, schema, card)
	require.Contains(t, s.texts, "MEDIUM · 500 events in one card")
	require.Contains(t, s.texts, "495")
	all := strings.Join(s.literals, "\n")
	require.True(t, strings.HasPrefix(all, "MEDIUM: Eligibility denied: Ee7 (e7)"), "the worst first")
	require.Contains(t, all, "INFO: Claim submitted: 1000000000 (e0)")
	require.Contains(t, all, "… and 460 more")
	require.Equal(t, "https://monitor.example.sa/nphiesq/notifications/d1", s.actions[len(s.actions)-1])

	d.Entries = nil
	for _, r := range Table() {
		d.Entries = append(d.Entries, DigestEntry{ID: "x", Type: r.Type, Priority: Info})
	}
	card, err = RenderDigest(d, testLinks)
	require.NoError(t, err)
	s = checkCard(t, schema, card)
	require.Contains(t, s.texts, "Others")

	_, err = RenderDigest(Digest{ID: "d", At: time.Unix(1, 0)}, testLinks)
	require.ErrorIs(t, err, ErrEvent)
}

func BenchmarkRender(b *testing.B) {
	e := Event{ID: "a", Type: ClaimApprovedEvent, At: time.Unix(1, 0), Details: ClaimApproved{ClaimRef: "C", Claimed: "10.00", Approved: "9.00"}}
	for b.Loop() {
		if _, err := Render(e, testLinks); err != nil {
			b.Fatal(err)
		}
	}
}
