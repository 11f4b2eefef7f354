package nphiesclient

import (
	"slices"
	"strings"
)

// focalOf is the type of resource each event points at (BV-00167).
var focalOf = map[string]string{
	EventClaimRequest: "Claim", EventPriorAuthRequest: "Claim", EventEligibilityRequest: "CoverageEligibilityRequest",
	EventPollRequest: "Task", EventStatusCheck: "Task", EventCancelRequest: "Task",
}

func (p *preflight) eligibility(r *node, at string) {
	p.need(r.str("status") == "active", "BV-00538", at+".status", "must be active")
	p.need(codeOf(r.get("priority")) != "", ruleCardinality, at+".priority", "is missing")
	p.need(len(r.list("purpose")) > 0, ruleCardinality, at+".purpose", "is missing")
	discovery := slices.ContainsFunc(r.list("purpose"), func(n *node) bool { return n.text() == "discovery" })
	p.must(discovery || r.has("insurance"), at+".purpose", "must include discovery when no coverage is given")
	p.references(r, at)
	p.need(p.licence(r.get("provider")) == p.sender(), "BV-00541", at+".provider", "differs from the sender")
	created := parseTime(r.str("created"))
	p.need(!created.IsZero(), ruleCardinality, at+".created", "is missing")
	p.need(!p.future(created), "BV-00062", at+".created", "lies in the future")

	period, date := r.get("servicedPeriod"), r.str("servicedDate")
	first := date
	switch {
	case date != "" && r.has("servicedPeriod"):
		p.add("BV-00437", at+".servicedDate", "a date and a period exclude each other")
	case r.has("servicedPeriod"):
		first = period.str("start")
		p.need(first != "" && period.str("end") != "", "BV-00437", at+".servicedPeriod", "needs both ends")
	default:
		p.need(!parseTime(date).IsZero(), "BV-00437", at+".servicedDate", "is missing or no date")
	}
	// The day of receipt is the day it is sent: today.
	if t := parseTime(first); !t.IsZero() {
		p.need(day(t) >= day(p.now), "BV-00058", at+".serviced", "lies before today")
	}
}

// references checks the three parties every focal resource of ours names.
func (p *preflight) references(r *node, at string) {
	for _, ref := range []string{"patient", "provider", "insurer"} {
		p.need(r.get(ref).str("reference") != "", ruleCardinality, at+"."+ref, "is missing")
	}
}

func (p *preflight) task(r *node, at string) {
	p.must(r.str("status") == "requested", at+".status", "must be requested")
	p.need(codeOf(r.get("code")) != "", ruleCardinality, at+".code", "is missing")
	p.need(r.get("requester").str("reference") != "", ruleCardinality, at+".requester", "is missing")
	p.need(!p.future(parseTime(r.str("lastModified"))), "BV-00471", at+".lastModified", "lies in the future")
	event := p.m.event()
	if event == EventStatusCheck || event == EventCancelRequest {
		p.need(r.get("focus").get("identifier").str("value") != "", "BV-00459", at+".focus", "is missing")
	}
	if event == EventCancelRequest {
		p.one(codeOf(r.get("reasonCode")), "BV-00071", at+".reasonCode", "WI", "NP", "TAS")
	}
	periods, include, exclude := 0, false, false
	for _, in := range r.list("input") {
		switch code := codeOf(in.get("type")); code {
		case "period":
			periods++
		case "include-message-type":
			include = true
			p.need(in.str("valueCode") != "", "IB-00293", at+".input", "must name an event as valueCode")
		case "exclude-message-type":
			exclude = true
			p.need(in.str("valueCode") != "", "IB-00294", at+".input", "must name an event as valueCode")
		}
	}
	p.need(periods <= 1, "BV-00216", at+".input", "has more than one period")
	p.need(!include || !exclude, "IB-00294", at+".input", "include and exclude exclude each other")
}

// namesExtension reports whether any extension inside v has a name that holds all the words. The names of extensions for
// emergencies and stays are not confirmed, so that Check accepts every plausible one.
func namesExtension(v any, words ...string) bool {
	switch v := v.(type) {
	case map[string]any:
		if url, ok := v["url"].(string); ok {
			name := strings.ToLower(url[strings.LastIndexByte(url, '/')+1:])
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(name, w) }) {
				return true
			}
		}
		for _, x := range v {
			if namesExtension(x, words...) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(x any) bool { return namesExtension(x, words...) })
	}
	return false
}
