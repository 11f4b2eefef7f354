package conformance

import (
	"fmt"
	"strings"

	"github.com/claimlinc/nphiesq/nphiesclient"
)

// Errors is docs/errors.md: what is done about each error code.
func Errors() string {
	var b strings.Builder
	b.WriteString(`# Errors of NPHIES

Made by ` + "`make generate`" + ` from the code; do not edit. What is done when NPHIES or a payer answers with an error:

| do | means |
|---|---|
| same | the identical bytes are sent again, later and later; the claim stays *submitting*, and becomes a dead letter when the attempts are used up |
| same, once | one more try, then *error* |
| same, payer | the payer is offline: nothing is sent to it for a while that grows to half an hour, no attempt is used up; others' claims go on |
| wait | NPHIES has the message already: the claim is *pending*, the mailbox is looked into at once; never a new claim number |
| fix | the claim ends in *error*; the data must change, under a new claim number |
| ops | sending for the licence (or to the payer) is paused until a person resumes it (` + "`enqueue pauses resume`" + `, page *Pauses*); what a poll met because of the certificate goes on by itself once a poll goes well |
| ops, goes on | people are told; nothing stops |

Of several errors the gravest decides: ops, wait, fix, same. A failed TLS handshake pauses the licence like a certificate error, but
is tried again by itself: that pause ends when its time has come or an exchange goes well.

| code | meaning | do | type on cards |
|---|---|---|---|
`)
	row := func(e nphiesclient.ErrorInfo, code string) {
		do := string(e.Retry)
		switch {
		case e.Once:
			do += ", once"
		case e.Payer:
			do += ", payer"
		case e.Continue:
			do += ", goes on"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", code, e.Meaning, do, e.Kind)
	}
	for _, e := range nphiesclient.ErrorTable() {
		row(e, e.Code)
	}
	b.WriteString("\nCodes that are not listed go by their beginning:\n\n| code | meaning | do | type on cards |\n|---|---|---|---|\n")
	for _, e := range nphiesclient.ErrorFamilies() {
		switch e.Code {
		case "":
			row(e, "any other")
		case "0-9":
			row(e, "plain numbers")
		case nphiesclient.PassingIssues()[0]:
			row(e, "no code, but the FHIR issue type "+strings.Join(nphiesclient.PassingIssues(), ", "))
		default:
			row(e, e.Code+"…")
		}
	}
	return b.String()
}

// SimulatorRules is docs/nphiessim-rules.md: what the simulator refuses, and what it keeps in its answers.
func SimulatorRules(s Simulator) string {
	var b strings.Builder
	b.WriteString("# Rules of the simulator\n\nMade by `make generate` from the simulator's own tables; do not edit. Each has a message that it\n" +
		"refuses and one that it takes in `internal/nphiessim`.\n\n| rule | where | messages | what it asks for |\n|---|---|---|---|\n")
	for _, r := range s.Rules {
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", r.ID, r.Where, strings.Join(r.Events, ", "), r.Text)
	}
	b.WriteString("\nIts answers keep these:\n\n| rule | where | what it asks for |\n|---|---|---|\n")
	for _, r := range s.AnswerRules {
		fmt.Fprintf(&b, "| %s | `%s` | %s |\n", r.ID, r.Where, r.Text)
	}
	return b.String()
}
