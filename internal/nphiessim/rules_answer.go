package nphiessim

import (
	"slices"
	"strings"
)

// The main resource of an answer, by its outcome.
var (
	claimAnswers    = answersOf("ClaimResponse")
	completeAnswers = where(claimAnswers, hasOutcome("complete"))
	queuedAnswers   = where(claimAnswers, hasOutcome("queued"))
	failedAnswers   = where(claimAnswers, hasOutcome("error"))
	decidedItems    = each(completeAnswers, "item")
	adjudications   = each(each(claimAnswers, "item"), "adjudication")

	eligibilityAnswers = answersOf("CoverageEligibilityResponse")
	eligibleAnswers    = where(eligibilityAnswers, func(_ *message, n node) bool { return siteOf(n) == string(eligible) })
)

// answerRules are what the guide asks of answers (sections 2.2, 5.2, 7 and 7.1). The simulator keeps them: its tests judge every
// answer by them. Ids that the guide names together for one condition stand together.
var answerRules = []rule{
	{"BV-00247, BV-00544", "A real-time answer SHALL name the header of its request", sub(where(atHeader, isRealTime), "response.identifier"), func(m *message, n node) bool {
		return n.str() == m.asked.header.get("id").str()
	}},
	{"BV-00098", "The answer SHALL name the claim by its identifier", sub(where(claimAnswers, isIdentified), "request.identifier"), func(m *message, n node) bool {
		return Identifier{n.get("system").str(), n.get("value").str()} == m.asked.focus().identifier()
	}},
	{"BV-00020, BV-00097", "A complete answer SHALL have every item of the claim and no other", sub(completeAnswers, "item"), func(m *message, n node) bool {
		return slices.Equal(sequencesOf(n, "itemSequence"), sequencesOf(m.asked.focus().get("item"), "sequence"))
	}},
	{"BV-00022", "A complete answer SHALL have totals", sub(completeAnswers, "total"), nonEmptyList},
	{"BV-00228", "A queued answer SHALL NOT have items", sub(queuedAnswers, "item"), absent},
	{"BV-00228", "An answer with errors SHALL NOT have items", sub(failedAnswers, "item"), absent},
	{"BV-00250, BV-00463", "A complete answer SHALL be adjudicated", extOf(completeAnswers, "adjudication-outcome"), func(_ *message, n node) bool {
		return slices.Contains([]string{"approved", "rejected", "partial", "not-required"}, adjudicated(n))
	}},
	{"BV-00255", "A partial answer SHALL have items", sub(where(claimAnswers, hasOutcome("partial")), "item"), nonEmptyList},
	{"BV-00371, BV-00480", "Each item of a complete answer SHALL have its own outcome", extOf(decidedItems, "adjudication-outcome"), func(_ *message, n node) bool {
		return slices.Contains([]string{"approved", "rejected", "partial", "not-required"}, adjudicated(n))
	}},
	{"BV-00393", "A claim with all items approved SHALL be approved", extOf(where(completeAnswers, itemsAre("approved")), "adjudication-outcome"), isAdjudicated("approved")},
	{"BV-00394", "A claim with all items rejected SHALL be rejected", extOf(where(completeAnswers, itemsAre("rejected")), "adjudication-outcome"), isAdjudicated("rejected")},
	{"BV-00397", "A claim with items of several outcomes SHALL be partly approved", extOf(where(completeAnswers, itemsAre("")), "adjudication-outcome"), isAdjudicated("partial")},
	{"BV-00395", "A queued answer SHALL be pended", extOf(queuedAnswers, "adjudication-outcome"), isAdjudicated("pended")},
	{"BV-00396", "An answer with errors SHALL NOT be adjudicated", extOf(failedAnswers, "adjudication-outcome"), absent},
	{"BV-00505", "An answer with errors SHALL name them", sub(failedAnswers, "error"), nonEmptyList},
	{"BV-00387", "A granted authorization SHALL have a period", sub(where(completeAnswers, isGranted), "preAuthPeriod"), func(_ *message, n node) bool {
		return dayOf(n.get("start")) != "" && dayOf(n.get("end")) != ""
	}},
	{"BV-00853", "A complete answer SHALL name the insurance", sub(completeAnswers, "insurance"), nonEmptyList},
	{"BV-00854", "One insurance of a complete answer SHALL be focal", present(sub(completeAnswers, "insurance")), func(_ *message, n node) bool {
		return count(n.list(), func(i node) bool { return i.get("focal").isTrue() }) == 1
	}},
	{"BV-00055", "A reissued answer SHALL give the reason", present(extOf(completeAnswers, "adjudication-reissue")), func(_ *message, n node) bool {
		return slices.Contains(reissueReasons, n.get("valueCodeableConcept").code(systemPrefix+"reissue-reason"))
	}},
	{"BV-00534", "An item SHALL repeat the patient's invoice", extOf(where(decidedItems, isInvoiced), "patientInvoice"), exists},
	{"BV-00390", "An item of a complete answer SHALL tell the benefit", decidedItems, hasCategory("benefit")},
	{"BV-00497", "An item of a complete answer to a claim SHALL tell the tax", where(decidedItems, isOfClaim), hasCategory("tax")},
	{"BV-00498, BV-00499", "An item of a complete answer SHALL tell the approved quantity", decidedItems, hasCategory("approved-quantity")},
	{"BV-00391", "An item SHALL NOT repeat a category", each(claimAnswers, "item"), func(_ *message, n node) bool {
		seen := map[string]bool{}
		for _, a := range n.get("adjudication").list() {
			c := categoryOf(a)
			if seen[c] {
				return false
			}
			seen[c] = true
		}
		return true
	}},
	{"BV-00392", "An item that is not wholly approved SHALL have a reason", where(decidedItems, isCut), func(_ *message, n node) bool {
		return slices.ContainsFunc(n.get("adjudication").list(), func(a node) bool { return a.get("reason").code(systemReason) != "" })
	}},
	{"BV-00450", "What is eligible SHALL NOT be more than what was submitted", each(claimAnswers, "item"), func(_ *message, n node) bool {
		return !amount(adjudicationOf(n, "eligible").get("amount")).GreaterThan(amount(adjudicationOf(n, "submitted").get("amount")))
	}},
	{"BV-00458", "Amounts SHALL be in SAR", present(sub(adjudications, "amount")), inSAR},
	{"BV-00519", "An approved quantity SHALL have a value and no amount", where(adjudications, func(_ *message, n node) bool {
		return strings.HasPrefix(categoryOf(n), "approved-")
	}), func(_ *message, n node) bool { return n.get("value").exists() && !n.get("amount").exists() }},
	{"BV-00503", "A complete answer SHALL tell the site eligibility", extOf(where(eligibilityAnswers, hasOutcome("complete")), "siteEligibility"), exists},
	{"BV-00535, BV-00558, BV-00559, BV-00560, BV-00561", "Who is eligible SHALL have a coverage that is in force and eligible", sub(eligibleAnswers, "insurance"), func(_ *message, n node) bool {
		return slices.ContainsFunc(n.list(), func(i node) bool { return i.get("inforce").isTrue() && siteOf(i) == string(eligible) })
	}},
	{"BV-00536", "An answer with errors SHALL give their codes", where(eligibilityAnswers, hasOutcome("error")), func(_ *message, n node) bool {
		errors := n.get("error").list()
		return len(errors) > 0 && !slices.ContainsFunc(errors, func(e node) bool { return e.get("code").code(systemErrors) == "" })
	}},
}

// AnswerRules lists what the guide asks of answers and the simulator keeps. An ID may be several ids that the guide names together.
func AnswerRules() []Rule {
	out := make([]Rule, 0, len(answerRules))
	for _, r := range answerRules {
		out = append(out, Rule{ID: r.id, Where: r.at.path, Text: r.text})
	}
	return out
}

// judgeAnswer applies the rules of answers to one of our own. asked is the claim or other request that it answers; realTime tells
// that it is the answer on the same connection, not one that came through a mailbox.
func judgeAnswer(m, asked *message, realTime bool) []Finding {
	m.asked, m.realTime = asked, realTime
	return judgeBy(m, [][]rule{answerRules})
}

// answersOf selects the main resource if it is of the kind.
func answersOf(kind string) selector {
	return selector{kind, where(atFocus, func(_ *message, n node) bool { return n.get("resourceType").str() == kind }).find}
}

func hasOutcome(outcome string) func(*message, node) bool {
	return func(_ *message, n node) bool { return n.get("outcome").str() == outcome }
}

func isRealTime(m *message, _ node) bool { return m.realTime }

func isIdentified(m *message, _ node) bool { return m.asked.focus().identifier().Value != "" }

func isOfClaim(m *message, _ node) bool { return m.event == eventClaimResponse }

func sequencesOf(list node, name string) []int {
	var out []int
	for _, n := range list.list() {
		i, _ := n.get(name).integer()
		out = append(out, i)
	}
	slices.Sort(out)
	return out
}

// adjudicated is the code in an adjudication-outcome extension.
func adjudicated(n node) string { return n.get("valueCodeableConcept").code(systemOutcome) }

func isAdjudicated(as string) func(*message, node) bool {
	return func(_ *message, n node) bool { return adjudicated(n) == as }
}

// itemsAre selects the answers all of whose items have one outcome, or, for "", those that have several or a partly approved one.
func itemsAre(outcome string) func(*message, node) bool {
	return func(_ *message, n node) bool {
		seen := map[string]bool{}
		for _, i := range n.get("item").list() {
			seen[adjudicated(i.ext("adjudication-outcome"))] = true
		}
		if outcome == "" {
			return len(seen) > 1 || seen["partial"]
		}
		return len(seen) == 1 && seen[outcome]
	}
}

func isGranted(m *message, n node) bool {
	return m.event == eventAuthResponse && slices.Contains([]string{"approved", "partial"}, adjudicated(n.ext("adjudication-outcome")))
}

func isInvoiced(m *message, n node) bool {
	return slices.ContainsFunc(m.asked.focus().get("item").list(), func(i node) bool {
		return i.get("sequence").v == n.get("itemSequence").v && i.ext("patientInvoice").exists()
	})
}

func isCut(_ *message, n node) bool {
	return slices.Contains([]string{"rejected", "partial"}, adjudicated(n.ext("adjudication-outcome")))
}

// categoryOf is an adjudication's category, in lower case: it is spelled in two ways.
func categoryOf(n node) string { return strings.ToLower(n.get("category").code("")) }

func adjudicationOf(item node, category string) node {
	for _, a := range item.get("adjudication").list() {
		if categoryOf(a) == category {
			return a
		}
	}
	return node{}
}

func hasCategory(category string) func(*message, node) bool {
	return func(_ *message, n node) bool { return adjudicationOf(n, category).exists() }
}

func siteOf(n node) string {
	return n.ext("siteEligibility").get("valueCodeableConcept").code(systemPrefix + "siteEligibility")
}
