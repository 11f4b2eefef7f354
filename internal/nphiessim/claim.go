package nphiessim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// claimRecord is all the simulator knows about one claim identifier.
type claimRecord struct {
	id        Identifier
	license   string
	payer     string
	behaviour Behaviour
	message   *message // the one that was taken in
	content   string   // hash of its Claim

	received int
	bodies   map[string]bool // hashes of the whole messages
	contents map[string]bool // hashes of the Claims
	before   int             // transient answers still to give

	answers   []*claimAnswer // by the time from which they are on file
	cancelled bool
	cancelBy  string // hash of the message that cancelled it
	claimed   bool   // an authorization that a claim quotes
	informed  bool   // the information asked for has come
}

// authorization tells that the record is of a prior authorization.
func (r *claimRecord) authorization() bool { return r.message.event == eventAuth }

// claimAnswer is one version of the answer to a claim.
type claimAnswer struct {
	at       time.Time // on file from then on
	by       Identifier
	verdict  verdict
	tags     []string
	url      string
	resource map[string]any
	amounts  Amounts
	findings []Finding
	reissue  string // reason, "" if this replaces nothing
}

func (a *claimAnswer) final() bool {
	return a.verdict != queuedPayer && a.verdict != queuedNPHIES && a.verdict != queuedLarge && a.verdict != unfinished
}

// onFile is the most recent answer at a moment, nil if there is none.
func (r *claimRecord) onFile(now time.Time) *claimAnswer {
	for _, a := range slices.Backward(r.answers) {
		if !a.at.After(now) {
			return a
		}
	}
	return nil
}

// put files an answer, keeping the order of time.
func (r *claimRecord) put(a *claimAnswer) {
	i := len(r.answers)
	for i > 0 && r.answers[i-1].at.After(a.at) {
		i--
	}
	r.answers = slices.Insert(r.answers, i, a)
}

func hashOf(raw []byte) string {
	h := sha256.Sum256(raw)
	return hex.EncodeToString(h[:])
}

// contentHash identifies the content of a resource, whatever its order of elements and white space.
func contentHash(resource node) string {
	raw, err := json.Marshal(resource.v)
	if err != nil {
		return "" // cannot happen: the value came out of a JSON parser
	}
	return hashOf(raw)
}

// takeClaim answers a claim-request or priorauth-request.
func (s *Sim) takeClaim(m *message) (answer, []Finding) {
	findings := judge(m)
	s.mu.Lock()
	defer s.mu.Unlock()
	a, shown := s.answerTo(m, findings, false)
	return s.claimReply(m, a), shown
}

// answerTo decides by section 11: a known claim gets its most recent answer, a changed one is refused, a new one is judged
// and adjudicated. In a batch what is valid is only taken in. It also returns the findings to show. The caller holds the
// lock.
func (s *Sim) answerTo(m *message, findings []Finding, inBatch bool) (*claimAnswer, []Finding) {
	claim := m.focus()
	id := claim.identifier()
	content := contentHash(claim)
	repeated := s.seenIDs(m)
	if id.Value == "" || !claim.exists() {
		return s.refusal(m, append(repeated, findings...)), findings
	}
	rec := s.claims[id.key()]
	known := rec != nil
	if !known {
		rec = s.newClaim(m, id, content)
	}
	rec.received++
	rec.bodies[hashOf(m.raw)] = true
	rec.contents[content] = true
	here := claim.path() + ".identifier"
	if known && content != rec.content {
		repeated = append(repeated, ruleSameIdentifier.at(here))
	}
	a := rec.onFile(m.now)
	switch {
	case len(repeated) > 0:
		return s.refusal(m, repeated), repeated
	case rec.cancelled:
		a = s.refusal(m, []Finding{ruleCancelled.at(here)})
		return a, a.findings
	case rec.before > 0 && len(findings) == 0:
		rec.before--
		return s.transientAnswer(m, rec.behaviour.first), nil
	case a != nil && rec.behaviour.busy && (!a.final() || s.box(rec.license).holds(rec.id)):
		a = s.refusal(m, []Finding{ruleInProgress.at(here)})
	case a == nil:
		a = s.answerClaim(rec, m, findings, inBatch)
	}
	return a, a.findings
}

func (s *Sim) newClaim(m *message, id Identifier, content string) *claimRecord {
	kind := "claim"
	if m.event == eventAuth {
		kind = "authorization"
	}
	b, _ := s.behaviourFor(id.Value, kind)
	rec := &claimRecord{
		id: id, license: m.sender(), payer: m.receiver(), behaviour: b, message: m, content: content, before: b.before,
		bodies: map[string]bool{}, contents: map[string]bool{},
	}
	s.claims[id.key()] = rec
	s.claimOrder = append(s.claimOrder, rec)
	return rec
}

// answerClaim files the answers of a claim that has none and returns the one to give at once.
func (s *Sim) answerClaim(rec *claimRecord, m *message, findings []Finding, inBatch bool) *claimAnswer {
	b, later := rec.behaviour, m.now.Add(s.opt.MailboxDelay)
	invalid := len(findings) > 0
	if invalid && b.answer != queuedLarge {
		first := s.refusal(m, findings)
		rec.put(first)
		return first
	}
	verdict, next := b.answer, b.later
	if inBatch && verdict.settles() {
		verdict, next = queuedNPHIES, verdict
	}
	first := s.decided(m, b, verdict, "", m.now)
	rec.put(first)
	if invalid {
		a := s.refusal(m, findings)
		a.at = later
		s.mailAnswer(rec, a)
		return first
	}
	s.markAuthorization(m)
	if b.asks {
		from := s.senderOf(rec)
		s.mailUnsolicited(from, eventCommunicationAsked, s.communicationRequest, later)
	}
	if next != notAnswered {
		why := ""
		if b.reissue {
			why = "correction"
		}
		s.mailAnswer(rec, s.decided(m, b, next, why, later))
	}
	return first
}

// markAuthorization notes that a claim uses the authorizations it quotes.
func (s *Sim) markAuthorization(m *message) {
	quoted := authorization(m.focus()).get("valueReference").identifier()
	if m.event != eventClaim || quoted.Value == "" {
		return
	}
	for _, rec := range s.claimOrder {
		if rec.license == m.sender() && rec.authorization() && rec.answeredBy(quoted) {
			rec.claimed = true
		}
	}
}

// answeredBy tells that one of the claim's answers has this identifier.
func (r *claimRecord) answeredBy(id Identifier) bool {
	return slices.ContainsFunc(r.answers, func(a *claimAnswer) bool { return a.identifier() == id })
}

// identifier is that of the ClaimResponse.
func (a *claimAnswer) identifier() Identifier { return rooted(a.resource, "").built() }

// built is the identifier of a resource that the simulator made.
func (n node) built() Identifier {
	list, _ := n.get("identifier").v.([]any)
	if len(list) == 0 {
		return Identifier{}
	}
	return rooted(map[string]any{"identifier": list[0]}, "").identifier()
}

// mailAnswer files a later answer and puts it in the provider's mailbox.
func (s *Sim) mailAnswer(rec *claimRecord, a *claimAnswer) {
	rec.put(a)
	r := s.claimReplyOf(rec.message, a)
	if s.set.Spelling == SpellingSamples || (s.set.Spelling == SpellingGuide && s.coin(rec.id.key())) {
		r.answers = "" // by the rules; the live environment names the request nevertheless
	}
	s.box(rec.license).add(&mail{event: r.event, at: a.at, claim: rec.id, bundle: s.bundle(r, a.at)})
}

// decided makes an answer of a verdict.
func (s *Sim) decided(m *message, b Behaviour, v verdict, reissue string, at time.Time) *claimAnswer {
	payer := Identifier{payerLicense, m.receiver()}
	a := &claimAnswer{at: at, by: payer, verdict: v, reissue: reissue}
	switch v {
	case refused:
		a.by, a.tags, a.findings = nphiesParty, []string{"nphies-generated"}, scriptedErrors(m.focus(), b.many)
	case approved, partial, rejected, notRequired, unfinished:
	default:
		if v != queuedPayer {
			a.by = nphiesParty
			a.tags = []string{"nphies-generated"}
		}
		if v == queuedLarge {
			a.tags = append(a.tags, "large-claim")
		}
	}
	s.writeClaimResponse(m, a)
	if sizeOf(a.resource) > maxAnswer {
		return s.refusal(m, []Finding{ruleTooLargeAnswer.at(m.focus().path() + ".item")})
	}
	return a
}

// maxAnswer is the greatest main resource of an answer in bytes: it must go into a message, and that into the answer to a poll.
const maxAnswer = 4 << 20

// scriptedErrors are the errors of the behaviours ERROR and ERROR-MANY: one stands once, one several times, as captured
// answers have it.
func scriptedErrors(claim node, many bool) []Finding {
	times := 7
	if many {
		times = 43
	}
	out := []Finding{{"BV-00731", "Ventilation hours SHALL be provided for ventilation procedures", claim.path() + ".supportingInfo"}}
	for range times {
		out = append(out, Finding{"BV-00434", "The amount does not agree with the price list", claim.path() + ".item[0].net"})
	}
	if many {
		for i := range claim.get("item").list() {
			path := claim.path() + ".item[" + strconv.Itoa(i) + "].productOrService"
			out = append(out, Finding{"IB-00242", "The provided value is not from the specified value set", path}, Finding{"IB-00242", "The provided value is not from the specified value set", path})
		}
	}
	return out
}

// refusal is the answer to an invalid claim.
func (s *Sim) refusal(m *message, findings []Finding) *claimAnswer {
	a := &claimAnswer{at: m.now, by: nphiesParty, verdict: refused, tags: []string{"nphies-generated"}, findings: findings}
	s.writeClaimResponse(m, a)
	return a
}

// transientAnswer says that the payer could not be asked.
func (s *Sim) transientAnswer(m *message, v verdict) *claimAnswer {
	a := &claimAnswer{at: m.now, by: nphiesParty, verdict: v, tags: []string{"nphies-generated"}, findings: []Finding{transientError(v)}}
	s.writeClaimResponse(m, a)
	return a
}

func transientError(v verdict) Finding {
	if v == timedOut {
		return Finding{Code: "GE-00014", Text: "The request timed out"}
	}
	return Finding{Code: "GE-00012", Text: "Payer is unreachable or temporarily offline, Please try again in a moment. If issue persists please follow up with the payer contact center."}
}

// writeClaimResponse makes the ClaimResponse of an answer (section 7).
func (s *Sim) writeClaimResponse(m *message, a *claimAnswer) {
	claim := m.focus()
	id := s.guid("claim-response")
	own := Identifier{payerBase(m) + "claimresponse", "CLR-" + id[:13]}
	a.url = payerBase(m) + "ClaimResponse/" + id
	use, profile := "claim", "claim-response"
	if m.event == eventAuth {
		use, profile = "preauthorization", "prior-auth-response"
	}
	res := map[string]any{
		"resourceType": "ClaimResponse", "id": id, "meta": meta(profile), "status": "active", "use": use,
		"created": a.at.In(riyadh).Format("2006-01-02T15:04:05-07:00"),
	}
	if a.by == nphiesParty {
		own = Identifier{nphiesBase + "ClaimResponse", claim.identifier().Value}
		a.url = nphiesBase + "ClaimResponse/" + id
		res["meta"] = generatedMeta(profile)
	}
	if own.Value != "" {
		res["identifier"] = []any{identifierJSON(own)}
	}
	copyElements(res, claim, map[string]string{"type": "type", "subType": "subType", "patient": "patient", "insurer": "insurer", "provider": "requestor"})
	if i := claim.identifier(); i.Value != "" {
		res["request"] = map[string]any{"type": "Claim", "identifier": identifierJSON(i)}
	}
	if focal := focalInsurance(claim); focal != nil {
		res["insurance"] = []any{focal}
	}
	var extensions []any
	for _, name := range []string{"batch-identifier", "batch-number", "batch-period"} {
		if e := claim.ext(name); e.exists() && sizeOf(e.v) <= maxEchoElement {
			extensions = append(extensions, e.v)
		}
	}
	switch a.verdict {
	case approved, partial, rejected, notRequired:
		dec := decide(claim, a.verdict)
		a.verdict, a.amounts = dec.outcome, dec.total
		items, totals, notes := dec.render()
		res["outcome"], res["disposition"] = "complete", dispositions[a.verdict]
		res["item"], res["total"] = items, totals
		if len(notes) > 0 {
			res["processNote"] = notes
		}
		extensions = append(extensions, conceptExtension("adjudication-outcome", systemOutcome, string(a.verdict)))
		if m.event == eventAuth {
			s.authorize(res, a)
		}
		if a.reissue != "" {
			extensions = append(extensions, conceptExtension("adjudication-reissue", systemPrefix+"reissue-reason", a.reissue))
		}
	case unfinished:
		items, _, notes := decide(claim, partial).render()
		res["outcome"], res["disposition"], res["item"] = "partial", dispositions[a.verdict], items[:min(1, len(items))]
		if len(notes) > 0 {
			res["processNote"] = notes
		}
		extensions = append(extensions, conceptExtension("adjudication-outcome", systemOutcome, "pended"))
	case queuedPayer, queuedNPHIES, queuedLarge:
		res["outcome"], res["disposition"] = "queued", dispositions[a.verdict]
		extensions = append(extensions, conceptExtension("adjudication-outcome", systemOutcome, "pended"))
	default:
		res["outcome"], res["error"] = "error", errorList(a.findings)
	}
	if len(extensions) > 0 {
		res["extension"] = extensions
	}
	a.resource = res
}

// authorizedDays is how long an authorization holds.
const authorizedDays = 30

// authorize adds what the answer to an authorization carries (BV-00387).
func (s *Sim) authorize(res map[string]any, a *claimAnswer) {
	if a.verdict == rejected || a.verdict == notRequired {
		return
	}
	res["preAuthRef"] = "AUTH-" + s.guid("authorization")[:13]
	res["preAuthPeriod"] = map[string]any{"start": day(a.at), "end": day(a.at.AddDate(0, 0, authorizedDays))}
}

var dispositions = map[verdict]string{
	approved: "Approved", partial: "Approved in part", rejected: "Not payable",
	queuedPayer:  "Received, adjudication follows",
	queuedNPHIES: "The claim has been queued for delivery to the payer",
	queuedLarge:  "The claim is large and has been queued for validation",
	notRequired:  "No authorization is required",
	unfinished:   "Adjudication is not finished",
}

// payerBase is the namespace of the payer's own identifiers and addresses.
func payerBase(m *message) string { return "http://payer-" + slug(m.receiver()) + ".example/" }

// slug keeps what may stand in a host name.
func slug(s string) string {
	out := make([]byte, 0, len(s))
	for _, c := range []byte(s) {
		switch {
		case c >= 'A' && c <= 'Z':
			out = append(out, c+'a'-'A')
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
			out = append(out, c)
		}
	}
	return string(out)
}

func copyElements(to map[string]any, from node, names map[string]string) {
	for name, as := range names {
		if n := from.get(name); n.exists() && sizeOf(n.v) <= maxEchoElement {
			to[as] = n.v
		}
	}
}

// focalInsurance is the response's insurance element: the claim's focal one (BV-00853, BV-00854).
func focalInsurance(claim node) any {
	for _, i := range claim.get("insurance").list() {
		if i.get("focal").isTrue() && i.get("coverage").exists() && sizeOf(i.get("coverage").v) <= maxEchoElement {
			return map[string]any{"sequence": number(1), "focal": true, "coverage": i.get("coverage").v}
		}
	}
	return nil
}

func (s *Sim) claimReplyOf(m *message, a *claimAnswer) reply {
	event := eventClaimResponse
	if m.event == eventAuth {
		event = eventAuthResponse
	}
	return reply{
		event: event, from: a.by, to: m.sender(), answers: m.header.get("id").str(), tags: slices.Clone(a.tags),
		focus: a.url,
		resources: append([]any{entryJSON(a.url, a.resource)},
			entriesOf(m, "Patient", "Organization", "Coverage")...),
	}
}

func (s *Sim) claimReply(m *message, a *claimAnswer) answer {
	return s.realTime(m, s.claimReplyOf(m, a))
}

// realTime sends a reply at once; it tells when more messages wait for the provider.
func (s *Sim) realTime(m *message, r reply) answer {
	if s.box(m.sender()).waiting(m.now) > 0 {
		r.tags = append(r.tags, "queued-messages")
	}
	return ok(s.bundle(r, m.now))
}
