package nphiessim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/shopspring/decimal"
)

// Small builders of FHIR JSON.

func number(i int) json.Number { return json.Number(strconv.Itoa(i)) }

func plain(d decimal.Decimal) json.Number { return json.Number(d.String()) }

func money(d decimal.Decimal) map[string]any {
	return map[string]any{"value": plain(d), "currency": "SAR"}
}

func concept(system, code string) map[string]any {
	return map[string]any{"coding": []any{map[string]any{"system": system, "code": code}}}
}

func conceptExtension(name, system, code string) map[string]any {
	return map[string]any{"url": extensionURL(name), "valueCodeableConcept": concept(system, code)}
}

func identifierJSON(i Identifier) map[string]any {
	return map[string]any{"system": i.System, "value": i.Value}
}

func meta(profile string) map[string]any {
	return map[string]any{"profile": []any{profileURL(profile)}}
}

func generatedMeta(profile string) map[string]any {
	m := meta(profile)
	m["tag"] = []any{map[string]any{"code": "NPHIES generated", "display": "NPHIES generated"}}
	return m
}

func entryJSON(fullURL string, resource any) map[string]any {
	return map[string]any{"fullUrl": fullURL, "resource": resource}
}

// errorCoding is a finding as NPHIES writes it: the path sits in an extension of the coding.
func errorCoding(f Finding) map[string]any {
	coding := map[string]any{"system": systemErrors, "code": f.Code, "display": f.Text}
	if f.Path != "" {
		coding["extension"] = []any{map[string]any{"url": extensionURL("error-expression"), "valueString": f.Path}}
	}
	return map[string]any{"coding": []any{coding}}
}

func errorList(findings []Finding) []any {
	out := make([]any, 0, len(findings))
	for _, f := range findings {
		out = append(out, map[string]any{"code": errorCoding(f)})
	}
	return out
}

// operationOutcome is the bare answer to a message that cannot be treated as a message, or what response.details names.
func operationOutcome(id, diagnostics string, findings ...Finding) map[string]any {
	var issues []any
	for _, f := range findings {
		issue := map[string]any{"severity": "fatal", "code": "structure", "details": errorCoding(Finding{Code: f.Code, Text: f.Text})}
		if diagnostics != "" {
			issue["diagnostics"] = diagnostics
		}
		if f.Path != "" {
			issue["expression"] = []any{f.Path}
		}
		issues = append(issues, issue)
	}
	return map[string]any{"resourceType": "OperationOutcome", "id": id, "meta": meta("operationoutcome"), "issue": issues}
}

// reply describes an answer message.
type reply struct {
	event     string
	from      Identifier // NPHIES or the payer
	to        string     // provider license
	answers   string     // MessageHeader.id of the request, "" to leave the response element out
	status    string     // response.code, "" is ok
	tags      []string
	focus     string // fullUrl, "" for none
	foci      []any  // references, for a batch-response
	details   string // fullUrl of an OperationOutcome, "" for none
	resources []any  // entries behind the header
}

// bundle wraps a reply. The caller holds the lock.
func (s *Sim) bundle(r reply, now time.Time) map[string]any {
	headerMeta := meta("message-header")
	if len(r.tags) > 0 {
		var tags []any
		for _, t := range r.tags {
			tags = append(tags, map[string]any{"system": systemTags, "code": t})
		}
		headerMeta["tag"] = tags
	}
	id := s.guid("header")
	header := map[string]any{
		"resourceType": "MessageHeader", "id": id, "meta": headerMeta,
		"eventCoding": map[string]any{"system": systemEvents, "code": r.event},
		"destination": []any{map[string]any{
			"endpoint": providerLicense + "/" + r.to,
			"receiver": map[string]any{"type": "Organization", "identifier": identifierJSON(Identifier{providerLicense, r.to})},
		}},
		"sender": map[string]any{"type": "Organization", "identifier": identifierJSON(r.from)},
		"source": map[string]any{"endpoint": endpointOf(r.from)},
	}
	if r.answers != "" {
		status := r.status
		if status == "" {
			status = "ok"
		}
		response := map[string]any{"identifier": r.answers, "code": status}
		if r.details != "" {
			response["details"] = map[string]any{"reference": r.details}
		}
		header["response"] = response
	}
	if r.focus != "" {
		header["focus"] = []any{map[string]any{"reference": r.focus}}
	}
	if len(r.foci) > 0 {
		header["focus"] = r.foci
	}
	url := "urn:uuid:" + id
	if r.from == nphiesParty {
		url = nphiesBase + "MessageHeader/" + id
	}
	return map[string]any{
		"resourceType": "Bundle", "id": s.guid("bundle"), "meta": meta("bundle"), "type": "message",
		"timestamp": instant(now), "entry": append([]any{entryJSON(url, header)}, r.resources...),
	}
}

var nphiesParty = Identifier{nphiesLicense, nphiesValue}

func endpointOf(i Identifier) string {
	if i == nphiesParty {
		return nphiesBase
	}
	return i.System + "/" + i.Value
}

func instant(t time.Time) string { return t.In(riyadh).Format("2006-01-02T15:04:05.000-07:00") }

// How much of a request goes back in its answer, in bytes: one element, and all resources together. A hospital's are far smaller.
const (
	maxEchoElement = 4 << 10
	maxEcho        = 32 << 10
)

func sizeOf(v any) int {
	raw, err := encode(v)
	if err != nil {
		return maxMessage // cannot happen: the value came out of a JSON parser or of our own hands
	}
	return len(raw)
}

// entriesOf copies the request's entries of the given types into an answer, as far as they fit.
func entriesOf(m *message, kinds ...string) []any {
	var out []any
	total := 0
	for _, e := range m.entries {
		if !slices.Contains(kinds, e.get("resource.resourceType").str()) {
			continue
		}
		if total += sizeOf(e.v); total > maxEcho {
			break
		}
		out = append(out, e.v)
	}
	return out
}

// answer is what goes back over the wire.
type answer struct {
	status int
	body   map[string]any
}

func ok(body map[string]any) answer { return answer{http.StatusOK, body} }
