// Package conformance writes docs/conformance.md: which elements and rules of the guide are built, parsed, checked and simulated.
// Every yes in it is found by trying: an element is built if a message of the golden corpus has it, parsed if an answer
// without it, or with something else in it, reads differently, and checked by the rules that such a request breaks.
package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claimlinc/nphiesq/nphiesclient"
)

//go:generate go run ./gen

// SimulatedRule is a rule the simulator judges requests by, or one of the guide's about answers that it keeps.
type SimulatedRule struct {
	// ID is the rule, of answers perhaps several, Where the FHIRPath it is about ("Claim.total"), Text what it asks for.
	ID, Where, Text string
	// Events are the messages it applies to.
	Events []string
}

// Simulator is what the page tells of the simulator. The zero value leaves its columns empty.
type Simulator struct {
	Rules, AnswerRules []SimulatedRule
	// Judge names the rules by which it refuses a request that arrives at a time; nil for a simulator that cannot be asked.
	Judge func(body []byte, at time.Time) []string
	// Requests are messages that our builders do not make and the simulator takes, by name.
	Requests map[string][]byte
	// Answers are messages it wrote, by name.
	Answers map[string][]byte
}

// Corpus are messages by name: what our builders made, and answers as NPHIES and payers write them.
type Corpus struct{ Requests, Answers map[string][]byte }

// row is what was found out about one element.
type row struct {
	built, parsed, written bool
	checked, simulated     map[string]bool
}

// table are the rows by element.
type table map[string]*row

func (t table) at(path string) *row {
	if t[path] == nil {
		t[path] = &row{checked: map[string]bool{}, simulated: map[string]bool{}}
	}
	return t[path]
}

// Markdown writes the page.
//
// Errors: a message of the corpus that is no JSON, or a request that breaks a rule as it is.
func Markdown(c Corpus, s Simulator) (string, error) {
	rows := table{}
	for _, path := range guideElements {
		rows.at(path)
	}
	tried := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(c.Requests)) {
		if err := rows.request(c.Requests[name], s.Judge, tried); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Requests)) {
		if err := rows.unbuilt(s.Requests[name], s.Judge); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Answers)) {
		if err := rows.answer(c.Answers[name]); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, body := range s.Answers {
		m, err := decode(body)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		for _, path := range pathsOf(m) {
			rows.at(path).written = true
		}
	}
	return page(rows, s), nil
}

// answer tries whether an answer reads differently without each of its elements, and with something else in it.
func (t table) answer(body []byte) error {
	whole := read(body)
	return changed(body, all, func(path string, body []byte) {
		r := t.at(path)
		r.parsed = r.parsed || !reflect.DeepEqual(whole, read(body))
	})
}

// all is for trying every element.
func all(string, map[string]any) bool { return true }

// request tries what becomes of a request without each of its elements, and with something else in it. What was tried with the same
// value in a message of the same kind is not tried again.
func (t table) request(body []byte, judge func([]byte, time.Time) []string, tried map[string]bool) error {
	made, err := timestamp(body)
	if err != nil {
		return err
	}
	if before := findings(body, made); len(before) > 0 {
		return fmt.Errorf("breaks %v as it is", slices.Sorted(maps.Keys(before)))
	}
	simulated := t.simulated(body, made, judge)
	return changed(body, func(path string, m map[string]any) bool {
		t.at(path).built = true
		var key strings.Builder
		for _, of := range []string{"MessageHeader.eventCoding", "Claim.type", path} {
			alter(m, of, func(v any) any { _, _ = fmt.Fprint(&key, path, v); return v })
		}
		again := tried[key.String()]
		tried[key.String()] = true
		return !again
	}, func(path string, body []byte) {
		maps.Copy(t.at(path).checked, findings(body, made))
		simulated(path, body)
	})
}

// unbuilt tries those elements of a request that our builders do not make.
func (t table) unbuilt(body []byte, judge func([]byte, time.Time) []string) error {
	made, err := timestamp(body)
	if err != nil {
		return err
	}
	return changed(body, func(path string, _ map[string]any) bool { return !t.at(path).built }, t.simulated(body, made, judge))
}

func timestamp(body []byte) (time.Time, error) {
	var made struct{ Timestamp time.Time }
	err := json.Unmarshal(body, &made)
	return made.Timestamp, err
}

// simulated notes the rules by which the simulator refuses a changed message, but not what only NPHIES knows of the message as it is,
// such as whether the claim exists that it is about.
func (t table) simulated(body []byte, made time.Time, judge func([]byte, time.Time) []string) func(path string, body []byte) {
	if judge == nil {
		return func(string, []byte) {}
	}
	before := judge(body, made)
	return func(path string, body []byte) {
		for _, id := range judge(body, made) {
			if !slices.Contains(before, id) {
				t.at(path).simulated[id] = true
			}
		}
	}
}

// said is what the page tells of an element and the simulator: the rules it judges it by, or that it writes it in its answers.
func (r *row) said() string {
	if !r.built && r.written {
		return "written"
	}
	return strings.Join(slices.Sorted(maps.Keys(r.simulated)), ", ")
}

func page(rows table, s Simulator) string {
	var b strings.Builder
	b.WriteString(`# Conformance

Made by ` + "`make generate`" + ` from the code; do not edit. Elements and rules of the financial messages of NPHIES (Implementation Guide and rule workbook 2.8), from the envelope to
the mailbox. Every yes is found by trying: an element is *built* if a message of ` + "`nphiesclient/testdata/golden`" + ` has it, *parsed* if an
answer of ` + "`nphiesclient/testdata/messages`" + ` reads differently without it or with something else in it, *checked* and *simulated* by the
rules that such a request breaks before sending and in the simulator; an element of answers is *written* if the simulator's have it.

## Elements

| element | built | parsed | checked | simulated |
|---|---|---|---|---|
`)
	for _, path := range slices.Sorted(maps.Keys(rows)) {
		r := rows[path]
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", path, yes(r.built), yes(r.parsed), strings.Join(slices.Sorted(maps.Keys(r.checked)), ", "), r.said())
	}
	b.WriteString(`
## Rules checked before sending

` + "`enqueue validate`" + ` and ` + "`enqueue submit`" + ` look for these; ` + "`NPHIES_RULES`" + ` switches them. The builders obey all of them: the corpus passes.
Where the guide names a range of rules for several elements, the order of both decides, here and in the simulator; a test damages
messages rule by rule and compares the rules that both name.

| rule | element | what it asks | since | breach is | simulated |
|---|---|---|---|---|---|
`)
	judged := map[string]bool{}
	for _, r := range s.Rules {
		judged[r.ID] = true
	}
	known := map[string]bool{}
	for _, r := range nphiesclient.Rules() {
		known[r.ID] = true
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.ID, r.Where, r.Text, r.Since, r.Severity, yes(judged[r.ID]))
	}
	b.WriteString("\n## Rules not checked before sending\n\n| rule | what it asks | why not |\n|---|---|---|\n")
	for _, r := range nphiesclient.UncheckedRules() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", strings.Join(idsIn(r.ID), ", "), r.Text, r.Why)
	}
	var only []string
	for _, r := range s.Rules {
		if !known[r.ID] {
			only = append(only, fmt.Sprintf("| %s | %s | %s |\n", r.ID, r.Where, r.Text))
		}
	}
	if len(only) > 0 {
		slices.Sort(only)
		b.WriteString("\n## Rules the simulator alone judges by\n\n| rule | element | what it asks |\n|---|---|---|\n" + strings.Join(slices.Compact(only), ""))
	}
	answers(&b, s)
	return b.String()
}

// answers writes the rules about answers, and who keeps the rest of the guide's rules.
func answers(b *strings.Builder, s Simulator) {
	if len(s.AnswerRules) > 0 {
		b.WriteString(`
## Rules about answers

Payers and NPHIES keep these, not we. The simulator's answers do: its tests judge each of them by this table. A payer's answer that breaks
one is taken all the same and read as the last column says; where that is empty, it makes no difference to what is read.

| rule | element | what it asks | an answer that breaks it |
|---|---|---|---|
`)
	}
	for _, r := range s.AnswerRules {
		first := idsIn(r.ID)[0]
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", r.ID, r.Where, r.Text, brokenAnswers[first])
	}
	b.WriteString("\n## Rules kept otherwise\n\n| rule | what it asks | where |\n|---|---|---|\n")
	for _, r := range keptOtherwise {
		fmt.Fprintf(b, "| %s | %s | %s |\n", strings.Join(idsIn(r.ID), ", "), r.Text, r.Where)
	}
}

var idPattern = regexp.MustCompile(`\b([A-Z]{2})-(\d{5})(?: to (?:[A-Z]{2}-)?(\d{3,5}))?`)

// idsIn are the rules that a text names, "BV-00925 to BV-00934" one by one.
func idsIn(text string) []string {
	var out []string
	for _, m := range idPattern.FindAllStringSubmatch(text, -1) {
		first, _ := strconv.Atoi(m[2])
		last, err := strconv.Atoi(m[3])
		if err != nil {
			last = first
		}
		for i := first; i <= last; i++ {
			out = append(out, fmt.Sprintf("%s-%05d", m[1], i))
		}
	}
	if out == nil {
		out = []string{text}
	}
	return out
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

// changed calls f for every element of every resource of a message, with the message that lacks it, and for those that have no elements
// of their own also with the message that has something else there. Those that want refuses are left out.
func changed(body []byte, want func(path string, m map[string]any) bool, f func(path string, body []byte)) error {
	whole, err := decode(body)
	if err != nil {
		return err
	}
	paths := pathsOf(whole)
	for _, path := range paths {
		if !want(path, whole) {
			continue
		}
		how := []func(any) any{func(any) any { return nil }}
		if !slices.ContainsFunc(paths, func(other string) bool { return strings.HasPrefix(other, path+".") }) {
			how = append(how, garbled)
		}
		for _, to := range how {
			m, err := decode(body)
			if err != nil {
				return err
			}
			alter(m, path, to)
			other, err := json.Marshal(m)
			if err != nil {
				return err
			}
			f(path, other)
		}
	}
	return nil
}

// pathsOf are the elements of a message: those that are found by walking, and those of the guide's list.
func pathsOf(m map[string]any) []string {
	paths := map[string]bool{}
	resources(m, func(r map[string]any) {
		elements(fmt.Sprint(r["resourceType"]), r, func(path string) { paths[path] = true })
	})
	for _, path := range guideElements {
		if alter(m, path, func(old any) any { return old }) {
			paths[path] = true
		}
	}
	return slices.Sorted(maps.Keys(paths))
}

// alter changes an element wherever the path leads and tells whether it was there. What changes to nil is taken away.
func alter(m map[string]any, path string, to func(any) any) bool {
	found := false
	resources(m, func(r map[string]any) {
		kind, rest, _ := strings.Cut(path, ".")
		switch {
		case r["resourceType"] == kind && rest != "":
			found = alterIn(r, rest, to) || found
		case r["resourceType"] == kind:
			found = true
		}
	})
	return found
}

// garbled is another value of the same shape. Addresses of extensions and code systems stay, so that what is garbled is still found.
func garbled(v any) any {
	switch t := v.(type) {
	case string:
		return "garbled"
	case json.Number:
		return json.Number("-7")
	case bool:
		return !t
	case []any:
		out := make([]any, len(t))
		for i, x := range t {
			out[i] = garbled(x)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, x := range t {
			if out[k] = x; k != "url" && k != "system" {
				out[k] = garbled(x)
			}
		}
		return out
	default:
		return v
	}
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

// alterIn changes an element below v wherever the path leads.
func alterIn(v map[string]any, path string, to func(any) any) bool {
	name, rest, deeper := strings.Cut(path, ".")
	found := false
	if what, ok := strings.CutPrefix(name, "extension("); ok {
		what = strings.TrimSuffix(what, ")")
		list, _ := v["extension"].([]any)
		var kept []any
		for _, x := range list {
			e, _ := x.(map[string]any)
			url, _ := e["url"].(string)
			if extensionName(url) == what {
				found = true
				x = to(x)
			}
			if x != nil {
				kept = append(kept, x)
			}
		}
		if v["extension"] = kept; len(kept) == 0 {
			delete(v, "extension")
		}
		return found
	}
	if !deeper {
		if _, found = v[name]; found {
			if v[name] = to(v[name]); v[name] == nil {
				delete(v, name)
			}
		}
		return found
	}
	list, ok := v[name].([]any)
	if !ok {
		list = []any{v[name]}
	}
	for _, x := range list {
		if child, ok := x.(map[string]any); ok {
			found = alterIn(child, rest, to) || found
		}
	}
	return found
}
