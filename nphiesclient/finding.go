package nphiesclient

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// Severity says whether a Finding stops a message.
type Severity string

const (
	// SeverityError means: NPHIES would refuse the message.
	SeverityError Severity = "error"
	// SeverityWarning means: NPHIES may refuse it, or a person should look.
	SeverityWarning Severity = "warning"
)

// Finding is one thing wrong with a document or a message. Its text never holds the value of a patient field.
type Finding struct {
	// Rule is the NPHIES rule ("BV-00054"), or "document" for a rule of our own format.
	Rule string `json:"rule"`
	// Path is the place: in a document "items[0].net", in a message a FHIRPath ("Bundle.entry[1].resource.total").
	Path string `json:"path"`
	// Expression is the FHIRPath of the place in the message, as NPHIES names it in its errors; "" where a document has no
	// such place.
	Expression string `json:"expression,omitempty"`
	// Line is the line of the document, 0 if unknown.
	Line int `json:"line,omitempty"`
	// Text says what is wrong and what is asked for.
	Text string `json:"text"`
	// Fix is a sentence that tells a billing clerk what to do, "" for breaches of our own format, whose Text says it.
	Fix string `json:"fix,omitempty"`
	// Severity is error unless the rule or a setting says otherwise.
	Severity Severity `json:"severity"`

	more int // of the last finding of very many: how many it stands for
}

// maxFindings is how many findings of an input are told one by one; a damaged file can have a million.
const maxFindings = 100

// atMost keeps the first findings and puts "and N more" in the place of the rest. It is an error if one of them is.
func atMost(found []Finding) []Finding {
	if len(found) <= maxFindings {
		return found
	}
	rest := Finding{Rule: ruleDocument, Severity: SeverityWarning, more: len(found) - maxFindings}
	rest.Text = fmt.Sprintf("and %d more", rest.more)
	if slices.ContainsFunc(found[maxFindings:], func(f Finding) bool { return f.Severity == SeverityError }) {
		rest.Severity = SeverityError
	}
	return append(found[:maxFindings:maxFindings], rest)
}

// String returns "path: text (rule)".
func (f Finding) String() string {
	s := fmt.Sprintf("%s: %s (%s)", cmp.Or(f.Path, "document"), f.Text, f.Rule)
	if f.Line > 0 {
		return fmt.Sprintf("line %d: %s", f.Line, s)
	}
	return s
}

// ruleDocument marks a breach of our own document format, not of a NPHIES rule.
const ruleDocument = "document"

// NPHIES' generic codes: for a missing or repeated element, and for a code that is not of the list bound to it.
const (
	ruleCardinality = "IC-01428"
	ruleCode        = "IB-00242"
)

// InvalidError lists what is wrong with a document or a ready message. It unwraps to a permanent fault of Kind Invalid.
type InvalidError struct {
	// Findings has at least one entry of SeverityError.
	Findings []Finding
}

// Error names the first finding and how many more there are.
func (e *InvalidError) Error() string {
	if len(e.Findings) == 0 {
		return "invalid"
	}
	s := e.Findings[0].String()
	if n := len(e.Findings) - 1; n > 0 {
		s += fmt.Sprintf(" and %d more", n+max(0, e.Findings[n].more-1))
	}
	return s
}

// Unwrap returns the same as a fault, so that fault.KindOf and fault.Of see it.
func (e *InvalidError) Unwrap() error {
	code := ""
	if len(e.Findings) > 0 && e.Findings[0].Rule != ruleDocument {
		code = e.Findings[0].Rule
	}
	return &fault.Error{Op: "check input", Kind: fault.Invalid, Safe: e.Error(), Code: code, Permanent: true}
}

// findings collects while a document or message is walked.
type findings []Finding

func (f *findings) add(rule, path, format string, args ...any) {
	*f = append(*f, Finding{Rule: rule, Path: path, Text: fmt.Sprintf(format, args...), Severity: SeverityError})
}

// advise is add with advice that fits better than that of the rule.
func (f *findings) advise(fix, rule, path, format string, args ...any) {
	f.add(rule, path, format, args...)
	(*f)[len(*f)-1].Fix = fix
}

// err returns an InvalidError if any finding stops the message.
func (f findings) err() error { return invalid(RuleSettings{}.apply(f)) }

// invalid returns an InvalidError with these findings if any of them stops the message.
func invalid(f []Finding) error {
	for _, x := range f {
		if x.Severity == SeverityError {
			return &InvalidError{Findings: f}
		}
	}
	return nil
}
