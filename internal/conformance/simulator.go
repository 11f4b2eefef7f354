package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/claimlinc/nphiesq/internal/nphiessim"
	"github.com/claimlinc/nphiesq/nphiesclient"
)

// Pages are all pages by file name.
//
// Errors: those of Markdown, and a request that cannot be read.
func Pages(c Corpus) (map[string]string, error) {
	s, err := simulator(c)
	if err != nil {
		return nil, err
	}
	page, err := Markdown(c, s)
	return map[string]string{"conformance.md": page, "errors.md": Errors(), "nphiessim-rules.md": SimulatorRules(s)}, err
}

// simulator asks the simulator for all that the page tells of it.
func simulator(c Corpus) (Simulator, error) {
	earlier, err := earlierClaim(c)
	if err != nil {
		return Simulator{}, err
	}
	s := Simulator{Judge: func(body []byte, at time.Time) []string { return judge(body, at, earlier) }}
	for _, r := range nphiessim.Rules() {
		s.Rules = append(s.Rules, SimulatedRule(r))
	}
	for _, r := range nphiessim.AnswerRules() {
		s.AnswerRules = append(s.AnswerRules, SimulatedRule(r))
	}
	if s.Requests, err = unbuilt(c); err != nil {
		return Simulator{}, err
	}
	s.Answers, err = written(c, s.Requests)
	return s, err
}

// ask gives the answer of a simulator to a message.
func ask(sim *nphiessim.Sim, body []byte) []byte {
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/$process-message", bytes.NewReader(body))
	sim.NPHIES().ServeHTTP(w, r)
	return w.Body.Bytes()
}

func simulatorAt(at time.Time) *nphiessim.Sim {
	return nphiessim.New(nphiessim.Options{Now: func() time.Time { return at }})
}

// The corpus's claim that stands for the earlier one, and the message whose related element names it.
const (
	anEarlierClaim = "claims-01-professional-approved.json"
	aLaterMessage  = "priorauth-06-professional-changed.json"
)

// earlierClaim is the claim that a later message of the corpus is related to.
func earlierClaim(c Corpus) ([]byte, error) {
	m, err := decode(c.Requests[aLaterMessage])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", aLaterMessage, err)
	}
	claim, err := decode(c.Requests[anEarlierClaim])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", anEarlierClaim, err)
	}
	var id any
	alter(m, "Claim.related.claim.identifier", func(old any) any { id = old; return old })
	alter(claim, "Claim.identifier", func(any) any { return []any{id} })
	alter(claim, "Bundle.id", garbled)
	alter(claim, "MessageHeader.id", garbled)
	return json.Marshal(claim)
}

// unbuilt are requests that no builder of ours makes: a batch of two claims, and a poll for a time.
func unbuilt(c Corpus) (map[string][]byte, error) {
	const ours = "0000000-0000-4000-8000-" // how the ids of the corpus go on
	period := map[string]any{"start": "2026-02-01", "end": "2026-02-28"}
	claim := func(number string) (map[string]any, error) {
		m, err := decode(bytes.ReplaceAll(c.Requests[anEarlierClaim], []byte("0"+ours), []byte(number+ours)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", anEarlierClaim, err)
		}
		alter(m, "Claim.identifier", func(any) any {
			return []any{map[string]any{"system": "http://alwaha-demo.example/claim", "value": "CLM-" + number}}
		})
		alter(m, "Claim.extension", func(old any) any {
			list, _ := old.([]any)
			for name, value := range map[string]map[string]any{
				"batch-identifier": {"valueIdentifier": map[string]any{"system": "http://alwaha-demo.example/batch", "value": "B-1"}},
				"batch-number":     {"valuePositiveInt": json.Number(number)},
				"batch-period":     {"valuePeriod": period},
			} {
				value["url"] = "http://nphies.sa/fhir/ksa/nphies-fs/StructureDefinition/extension-" + name
				list = append(list, value)
			}
			return list
		})
		return m, nil
	}
	first, err := claim("1")
	if err != nil {
		return nil, err
	}
	second, err := claim("2")
	if err != nil {
		return nil, err
	}
	batch, err := decode(c.Requests[anEarlierClaim])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", anEarlierClaim, err)
	}
	var foci, entries []any
	for _, nested := range []map[string]any{first, second} {
		url := fmt.Sprintf("urn:uuid:%s", nested["id"])
		foci = append(foci, map[string]any{"reference": url})
		entries = append(entries, map[string]any{"fullUrl": url, "resource": nested})
	}
	header, _ := batch["entry"].([]any)
	batch["entry"] = append(header[:1:1], entries...)
	alterIn(batch, "entry.resource.eventCoding.code", func(old any) any {
		if old == "claim-request" {
			return "batch-request"
		}
		return old
	})
	poll, err := decode(c.Requests["poll.json"])
	if err != nil {
		return nil, fmt.Errorf("poll.json: %w", err)
	}
	alter(poll, "Task.input", func(any) any {
		return []any{map[string]any{
			"type":        map[string]any{"coding": []any{map[string]any{"system": "http://nphies.sa/terminology/CodeSystem/task-input-type", "code": "period"}}},
			"valuePeriod": period,
		}}
	})
	alterIn(batch, "entry.resource.focus", func(any) any { return foci })
	out := map[string][]byte{}
	for name, m := range map[string]any{"claim of a batch": first, "batch": batch, "poll for a time": poll} {
		if out[name], err = json.Marshal(m); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// judge names the rules by which a simulator that knows no more than the earlier claim refuses a message.
func judge(body []byte, at time.Time, earlier []byte) []string {
	sim := simulatorAt(at)
	if bytes.Contains(body, []byte(`"related"`)) {
		ask(sim, earlier)
	}
	ask(sim, body)
	var out []string
	all := sim.Requests()
	for _, f := range all[len(all)-1].Findings {
		out = append(out, f.Code)
	}
	return out
}

// forEvents is how the event of a request begins that a kind of behaviour is for; faults on the way are not for any.
var forEvents = map[string]string{
	"claim": "claim-request", "authorization": "priorauth-request", "cancel": "claim-request", "eligibility": "eligibility-request", "any": "(none)",
}

// endOfTime is after all of the corpus.
var endOfTime = time.Date(2100, 1, 1, 0, 0, 0, 0, nphiesclient.Riyadh)

// written are answers of the simulator to the corpus: to each request in every way it knows, and what a poll then finds.
func written(c Corpus, unbuilt map[string][]byte) (map[string][]byte, error) {
	sim := simulatorAt(endOfTime)
	out := map[string][]byte{
		"no message":       ask(sim, []byte("{}")),
		"a broken message": ask(sim, bytes.Replace(c.Requests["poll.json"], []byte("poll-request"), []byte("payment-notice"), 1)),
	}
	for name, body := range unbuilt {
		out[name] = ask(sim, body)
	}
	for name, body := range c.Requests {
		r, err := nphiesclient.ReadRequest(body)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, behaviour := range nphiessim.Behaviours() {
			sim := simulatorAt(r.Created)
			if !strings.HasPrefix(r.Event, forEvents[behaviour.For]) || sim.Choose(nphiessim.Choice{Identifier: "*", Behaviour: behaviour.Name}) != nil {
				continue
			}
			at := strings.TrimSuffix(name, ".json") + " " + behaviour.Name
			out[at] = ask(sim, body)
			for _, kind := range nphiessim.PushKinds() {
				if err := sim.Push(r.License, kind); err != nil {
					return nil, err
				}
			}
			poll, err := nphiesclient.BuildPoll(nphiesclient.PollOptions{License: r.License, Now: r.Created, Count: 100})
			if err != nil {
				return nil, err
			}
			out[at+", poll"] = ask(sim, poll.Body)
			claim := nphiesclient.ClaimRef{Identifier: r.Identifier, Payer: r.Payer}
			for _, build := range []func() (*nphiesclient.Request, error){
				func() (*nphiesclient.Request, error) {
					return nphiesclient.BuildStatusCheck(claim, nphiesclient.TaskOptions{License: r.License, Now: r.Created})
				},
				func() (*nphiesclient.Request, error) {
					return nphiesclient.BuildCancel(claim, "WI", nphiesclient.TaskOptions{License: r.License, Now: r.Created})
				},
			} {
				about, err := build()
				if err != nil {
					continue // a request that names no payer or claim
				}
				out[at+", "+about.Event] = ask(sim, about.Body)
			}
		}
	}
	return out, nil
}
