// Package conformance writes docs/conformance.md: which elements and rules of the guide are built, parsed, checked and simulated.
// Every yes in it is found by trying: an element is built if a message of the golden corpus has it, parsed if an answer
// without it reads differently, and checked by the rules that a request without it breaks.
package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/claimlinc/nphiesq/nphiesclient"
)

//go:generate go run ./gen

// SimulatedRule is a rule the simulator judges requests by.
type SimulatedRule struct {
	// ID is the rule, Where the FHIRPath it is about ("Claim.total"), Text what it asks for.
	ID, Where, Text string
	// Events are the messages it applies to.
	Events []string
}

// Corpus are messages by name: what our builders made, and answers as NPHIES and payers write them.
type Corpus struct{ Requests, Answers map[string][]byte }

// guide lists elements of the guide's pages that no message of the corpus may have; those that one has need no mention.
var guide = []string{
	"Claim.accident", "Claim.extension(authorization-offline-date)", "Claim.extension(batch-identifier)", "Claim.extension(batch-number)",
	"Claim.extension(batch-period)", "Claim.extension(newborn)", "Claim.item.extension(payer-share)", "Claim.item.extension(pharmacist-substitute)",
	"Claim.payee.party", "Claim.supportingInfo.reason", "Claim.supportingInfo.valueAttachment", "ClaimResponse.addItem", "ClaimResponse.communicationRequest",
	"ClaimResponse.extension(adjudication-reissue)", "ClaimResponse.extension(batch-identifier)", "ClaimResponse.extension(batch-number)",
	"ClaimResponse.preAuthPeriod", "ClaimResponse.preAuthRef", "CoverageEligibilityRequest.extension(newborn)",
	"CoverageEligibilityRequest.extension(transfer)", "CoverageEligibilityRequest.facility", "CoverageEligibilityRequest.servicedPeriod",
	"MedicationRequest", "PractitionerRole", "Task.focus", "Task.input", "Task.reasonCode", "VisionPrescription",
}

// row is what was found out about one element.
type row struct {
	built, parsed bool
	rules         map[string]bool
}

// Markdown writes the page. simulated may be empty: then its columns say so.
//
// Errors: a message of the corpus that is no JSON, or a request that breaks a rule as it is.
func Markdown(c Corpus, simulated []SimulatedRule) (string, error) {
	rows := map[string]*row{}
	at := func(path string) *row {
		if rows[path] == nil {
			rows[path] = &row{rules: map[string]bool{}}
		}
		return rows[path]
	}
	for _, path := range guide {
		at(path)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Requests)) {
		var made struct{ Timestamp time.Time }
		if err := json.Unmarshal(c.Requests[name], &made); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		if before := findings(c.Requests[name], made.Timestamp); len(before) > 0 {
			return "", fmt.Errorf("%s breaks %v as it is", name, slices.Sorted(maps.Keys(before)))
		}
		err := without(c.Requests[name], func(path string, body []byte) {
			r := at(path)
			r.built = true
			maps.Copy(r.rules, findings(body, made.Timestamp))
		})
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Answers)) {
		whole := read(c.Answers[name])
		err := without(c.Answers[name], func(path string, body []byte) {
			r := at(path)
			r.parsed = r.parsed || !reflect.DeepEqual(whole, read(body))
		})
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	return page(rows, simulated), nil
}

func page(rows map[string]*row, simulated []SimulatedRule) string {
	var b strings.Builder
	b.WriteString(`# Conformance

Made by ` + "`make generate`" + ` from the code; do not edit. Elements and rules of the financial messages of NPHIES (Implementation Guide and rule workbook 2.8), from the envelope to
the mailbox. Every yes is found by trying: an element is *built* if a message of ` + "`nphiesclient/testdata/golden`" + ` has it, *parsed* if an
answer of ` + "`nphiesclient/testdata/messages`" + ` reads differently without it, *checked* by the rules that a request without it breaks.

## Elements

| element | built | parsed | checked | simulated |
|---|---|---|---|---|
`)
	for _, path := range slices.Sorted(maps.Keys(rows)) {
		r := rows[path]
		var judged []string
		for _, s := range simulated {
			if s.Where == path {
				judged = append(judged, s.ID)
			}
		}
		slices.Sort(judged)
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", path, yes(r.built), yes(r.parsed), strings.Join(slices.Sorted(maps.Keys(r.rules)), ", "),
			strings.Join(slices.Compact(judged), ", "))
	}
	b.WriteString(`
## Rules checked before sending

` + "`enqueue validate`" + ` and ` + "`enqueue submit`" + ` look for these; ` + "`NPHIES_RULES`" + ` switches them. The builders obey all of them: the corpus passes.
Where the guide names a range of rules for several elements, the order of both decides, here and in the simulator; a test damages
messages rule by rule and compares the rules that both name.

| rule | element | what it asks | since | breach is | simulated |
|---|---|---|---|---|---|
`)
	knows := func(id string) bool {
		return slices.ContainsFunc(simulated, func(s SimulatedRule) bool { return s.ID == id })
	}
	known := map[string]bool{}
	for _, r := range nphiesclient.Rules() {
		known[r.ID] = true
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.ID, r.Where, r.Text, r.Since, r.Severity, yes(knows(r.ID)))
	}
	b.WriteString("\n## Rules not checked before sending\n\n| rule | what it asks | why not |\n|---|---|---|\n")
	for _, r := range nphiesclient.UncheckedRules() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.ID, r.Text, r.Why)
	}
	var only []string
	for _, s := range simulated {
		if !known[s.ID] {
			only = append(only, fmt.Sprintf("| %s | %s | %s |\n", s.ID, s.Where, s.Text))
		}
	}
	if len(only) > 0 {
		slices.Sort(only)
		b.WriteString("\n## Rules the simulator alone judges by\n\n| rule | element | what it asks |\n|---|---|---|\n" + strings.Join(slices.Compact(only), ""))
	}
	return b.String()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// findings are the rules a request breaks at the time it was made.
func findings(body []byte, made time.Time) map[string]bool {
	out := map[string]bool{}
	for _, f := range nphiesclient.CheckWith(&nphiesclient.Request{Body: body}, nphiesclient.CheckOptions{Now: made}) {
		out[f.Rule] = true
	}
	return out
}

// read is everything the parser and Inspect make of a message, as one value.
func read(body []byte) any {
	a, err := nphiesclient.Parse(body)
	if err != nil {
		return err.Error()
	}
	if a.Poll != nil {
		for i := range a.Poll.Nested {
			a.Poll.Nested[i].Raw = nil // the bytes differ always
		}
	}
	return a
}

// without calls f for every element of every resource of a message, with the message that lacks it.
func without(body []byte, f func(path string, body []byte)) error {
	paths := map[string]bool{}
	m, err := decode(body)
	if err != nil {
		return err
	}
	resources(m, func(r map[string]any) {
		elements(fmt.Sprint(r["resourceType"]), r, func(path string) { paths[path] = true })
	})
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		m, err := decode(body)
		if err != nil {
			return err
		}
		resources(m, func(r map[string]any) {
			if kind, rest, _ := strings.Cut(path, "."); r["resourceType"] == kind {
				remove(r, strings.Split(rest, "."))
			}
		})
		changed, err := json.Marshal(m)
		if err != nil {
			return err
		}
		f(path, changed)
	}
	return nil
}

func decode(body []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var m map[string]any
	err := dec.Decode(&m)
	return m, err
}

// resources calls f for a resource and all inside it, if it is a Bundle.
func resources(m map[string]any, f func(map[string]any)) {
	f(m)
	entries, _ := m["entry"].([]any)
	for _, e := range entries {
		if entry, ok := e.(map[string]any); ok {
			if r, ok := entry["resource"].(map[string]any); ok {
				resources(r, f)
			}
		}
	}
}

// simple are members that only data types have: what holds one of them is an element without elements of its own here.
var simple = []string{"coding", "reference", "identifier", "system", "value", "start", "end", "contentType", "profile", "endpoint"}

func elements(path string, v map[string]any, f func(string)) {
	for name, x := range v {
		if name == "resourceType" || name == "entry" || name == "id" || name == "meta" || name == "url" || strings.HasPrefix(name, "value") {
			continue
		}
		list, ok := x.([]any)
		if !ok {
			list = []any{x}
		}
		for _, e := range list {
			child, isObject := e.(map[string]any)
			at := path + "." + name
			if name == "extension" {
				url, _ := child["url"].(string)
				f(path + ".extension(" + extensionName(url) + ")")
				continue
			}
			f(at)
			if isObject && !slices.ContainsFunc(simple, func(s string) bool { return child[s] != nil }) {
				elements(at, child, f)
			}
		}
	}
}

// extensionName is the part of an address behind "extension-".
func extensionName(url string) string {
	_, name, _ := strings.Cut(url, "/extension-")
	return name
}

// remove takes an element away wherever the path leads.
func remove(v map[string]any, path []string) {
	name := path[0]
	if what, ok := strings.CutPrefix(name, "extension("); ok {
		what = strings.TrimSuffix(what, ")")
		list, _ := v["extension"].([]any)
		list = slices.DeleteFunc(list, func(x any) bool {
			e, _ := x.(map[string]any)
			url, _ := e["url"].(string)
			return extensionName(url) == what
		})
		if v["extension"] = list; len(list) == 0 {
			delete(v, "extension")
		}
		return
	}
	if len(path) == 1 {
		delete(v, name)
		return
	}
	list, ok := v[name].([]any)
	if !ok {
		list = []any{v[name]}
	}
	for _, x := range list {
		if child, ok := x.(map[string]any); ok {
			remove(child, path[1:])
		}
	}
}
