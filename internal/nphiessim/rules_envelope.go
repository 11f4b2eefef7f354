package nphiessim

import (
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

var (
	guidPattern    = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	idPattern      = regexp.MustCompile(`^[A-Za-z0-9.\-]{1,64}$`)
	instantPattern = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$`)
)

var atDestination = each(atHeader, "destination")

// envelopeRules are sections 2.1 and 2.2 of the protocol, Bundle and MessageHeader, as far as they hold for every message.
var envelopeRules = []rule{
	{"BV-00341", "Bundle.id SHALL be a GUID in lower case", sub(atBundle, "id"), matches(guidPattern)},
	{"BV-00225", "meta.profile SHALL be the nphies profile with its business version", atProfiled, versionedProfile},
	{ruleProfile, "Referenced SHALL point to a valid profile", atProfiled, knownProfile},
	{"BV-00130", "Bundle.type SHALL be message", sub(atBundle, "type"), oneOf("message")},
	{ruleStructure, "Bundle.timestamp SHALL be an instant with seconds and zone", sub(atBundle, "timestamp"), isInstant},
	{"BV-00207", "Each entry SHALL have a fullUrl of its own", sub(atEntry, "fullUrl"), ownFullURL},
	{"BV-00208", "entry.fullUrl SHALL contain the resource's id and type", atEntry, fullURLFits},
	{ruleStructure, "resource.id SHALL be a FHIR id", sub(atEntry, "resource.id"), matches(idPattern)},
	{"BV-00168", "MessageHeader.id SHALL be a GUID in lower case", sub(atHeader, "id"), matches(guidPattern)},
	{ruleCardinality, "MessageHeader SHALL have exactly one destination", sub(atHeader, "destination"), listOf(1)},
	{"BV-00218", "destination.endpoint SHALL be a URL", sub(atDestination, "endpoint"), isURL},
	{"BV-00177", "source.endpoint SHALL be a URL", sub(atHeader, "source.endpoint"), isURL},
	{ruleBinding, "sender and receiver SHALL be of type Organization", atPartyTypes, oneOf("Organization")},
	{"BV-00176", "The sender SHALL be a provider", sub(atHeader, "sender.identifier.system"), oneOf(providerLicense)},
	{"RE-00100", "MessageHeader.focus SHALL equal the fullUrl of an entry", sub(each(atHeader, "focus"), "reference"), focusResolves},
	{"BV-00167", "The focus SHALL fit the event", atFoci, focusFits},
	{"BV-00248", "MessageHeader.response SHALL be absent on requests", sub(atHeader, "response"), absent},
	{"BV-00126", "Only the first entry SHALL be a MessageHeader", atAll("MessageHeader"), func(m *message, n node) bool {
		return n.path() == m.header.path()
	}},
}

// oneFocusRules hold for every message but a batch.
var oneFocusRules = []rule{
	{"BV-00221", "MessageHeader SHALL have exactly one focus", sub(atHeader, "focus"), listOf(1)},
	{
		"GE-00031", "The sender's license SHALL be that of the provider Organization", sub(atHeader, "sender.identifier.value"),
		func(m *message, n node) bool { return hasOrganization(m, providerLicense, n.str()) },
	},
}

// payerRules hold for messages to a payer.
var payerRules = []rule{{
	"GE-00032", "The receiver's license SHALL be that of the insurer Organization", sub(atDestination, "receiver.identifier"),
	func(m *message, n node) bool {
		return n.get("system").str() == payerLicense && hasOrganization(m, payerLicense, n.get("value").str())
	},
}}

// exchangeRules hold for messages to NPHIES itself.
var exchangeRules = []rule{{
	"BV-00456", "The receiver of polls and payment notices SHALL be NPHIES at http://nphies.sa", atDestination,
	func(_ *message, n node) bool {
		return strings.TrimSuffix(n.get("endpoint").str(), "/") == "http://nphies.sa" && isNPHIES(n.get("receiver.identifier"))
	},
}}

// structureRules hold for everything in a message (section 2.1, last paragraph, the lengths of section 4, the dates of
// section 13).
var structureRules = []rule{
	{ruleStructure, "Elements SHALL NOT be empty or null", atEverything, notEmpty},
	{ruleStructure, "An element that may repeat SHALL be an array", where(atEverything, isRepeating), isArray},
	{ruleStructure, "A time SHALL have seconds and a zone", where(atEverything, isTimed), isInstant},
	{ruleStructure, "A date SHALL be complete", where(atEverything, isDate), wholeDate},
	{ruleStructure, "A period SHALL NOT end before it starts", where(atEverything, isPeriod), inOrder},
	{ruleReference, "A referenced resource SHALL be in the bundle", sub(where(atEverything, isReference), "reference"), refResolves},
	{"BV-00389", "An extension SHALL have a value or children", where(atEverything, isExtension), extensionFilled},
	{"BV-00526", "A CodeableConcept SHALL NOT repeat a system", where(atEverything, isConcept), systemsDistinct},
	{"BV-00275", "An identifier's value SHALL have at most 100 characters", where(atEverything, isIdentifier), shortIdentifier},
	{ruleStructure, "The text is longer than allowed", where(atEverything, hasLimit), withinLimit},
	{ruleStructure, "A CodeableConcept's text SHALL have at most 250 characters", where(atEverything, hasText), shortText},
	{"BV-00458", "Amounts SHALL be in SAR", where(atEverything, isMoney), inSAR},
	{ruleStructure, "An amount SHALL be a number, and of a size that an amount can have", sub(where(atEverything, isMoney), "value"), isAmount},
	{"GE-00028", "Amounts SHALL have at most two decimals", where(atEverything, isMoney), twoDecimals},
}

// atFoci are the resources that the header's focus names.
var atFoci = selector{"MessageHeader.focus.resolve()", func(m *message) []node {
	var out []node
	for _, f := range m.foci {
		if f.exists() {
			out = append(out, f)
		}
	}
	return out
}}

// atProfiled are the Bundle and all its resources.
var atProfiled = selector{"Bundle.(meta|entry.resource.meta).profile", func(m *message) []node {
	out := []node{m.root}
	for _, e := range m.entries {
		out = append(out, e.get("resource"))
	}
	return out
}}

var atEverything = selector{"Bundle.descendants()", func(m *message) []node { return m.all }}

var atPartyTypes = selector{"MessageHeader.(sender|destination.receiver).type", func(m *message) []node {
	return append(sub(atDestination, "receiver.type").find(m), m.header.get("sender.type"))
}}

// profiles lists the profiles a resource may claim, by resource type, where the guide's page names them. Claims have one
// per type of claim and use.
var profiles = map[string][]string{
	"Bundle":                     {"bundle"},
	"MessageHeader":              {"message-header"},
	"Patient":                    {"patient"},
	"Coverage":                   {"coverage"},
	"Organization":               {"provider-organization", "insurer-organization", "policyholder-organization", "organization"},
	"Practitioner":               {"practitioner"},
	"CoverageEligibilityRequest": {"eligibility-request"},
	"Claim": {
		"institutional-claim", "professional-claim", "oral-claim", "pharmacy-claim", "vision-claim",
		"institutional-priorauth", "professional-priorauth", "oral-priorauth", "pharmacy-priorauth", "vision-priorauth",
	},
	"Task": {"task"},
}

func versionedProfile(_ *message, n node) bool {
	p := n.get("meta.profile").at(0).str()
	return strings.HasPrefix(p, profilePrefix) && strings.HasSuffix(p, profileSuffix)
}

func knownProfile(_ *message, n node) bool {
	name := profileName(n)
	kind := n.get("resourceType").str()
	if kind == "Encounter" {
		return name == "encounter" || strings.HasPrefix(name, "encounter-claim-") || strings.HasPrefix(name, "encounter-auth-")
	}
	allowed, named := profiles[kind]
	return !named || slices.Contains(allowed, name)
}

// profileName is the short name of a resource's first profile.
func profileName(n node) string {
	return strings.TrimSuffix(strings.TrimPrefix(n.get("meta.profile").at(0).str(), profilePrefix), profileSuffix)
}

func listOf(count int) func(*message, node) bool {
	return func(_ *message, n node) bool { return len(n.list()) == count }
}

func isInstant(_ *message, n node) bool {
	_, err := time.Parse(time.RFC3339Nano, n.str())
	return err == nil && instantPattern.MatchString(n.str())
}

func isURL(_ *message, n node) bool {
	return strings.HasPrefix(n.str(), "http://") || strings.HasPrefix(n.str(), "https://")
}

func isNPHIES(identifier node) bool {
	return identifier.get("system").str() == nphiesLicense && identifier.get("value").str() == nphiesValue
}

func ownFullURL(m *message, n node) bool {
	return n.str() != "" && m.urls[n.str()] == 1
}

// fullURLFits accepts urn:uuid:<id> and URLs that end in /<type>/<id>.
func fullURLFits(_ *message, n node) bool {
	url, id := n.get("fullUrl").str(), n.get("resource.id").str()
	if id == "" {
		return false
	}
	return url == "urn:uuid:"+id || strings.HasSuffix(url, "/"+n.get("resource.resourceType").str()+"/"+id)
}

func focusResolves(m *message, n node) bool { return m.byURL[n.str()].exists() }

func focusFits(m *message, n node) bool {
	return n.get("resourceType").str() == focusTypes[m.event]
}

func hasOrganization(m *message, system, value string) bool {
	return value != "" && m.licenses[Identifier{system, value}]
}

// notEmpty refuses null, "", {} and []. In the primitive arrays of FHIR null may stand; our messages have no use for it.
func notEmpty(_ *message, n node) bool {
	switch t := n.v.(type) {
	case nil:
		return false
	case string:
		return strings.TrimSpace(t) != ""
	case map[string]any:
		return len(t) > 0
	case []any:
		return len(t) > 0
	default:
		return true
	}
}

func isReference(_ *message, n node) bool {
	return n.get("reference").str() != "" && n.lastName() != "focus"
}

func refResolves(m *message, n node) bool { return m.named(n.str()).exists() }

func isExtension(_ *message, n node) bool {
	return n.lastName() == "extension" && n.get("url").exists()
}

func extensionFilled(_ *message, n node) bool {
	m, _ := n.v.(map[string]any)
	for k := range m {
		if strings.HasPrefix(k, "value") || k == "extension" {
			return true
		}
	}
	return false
}

func isConcept(_ *message, n node) bool { return n.get("coding").exists() }

func systemsDistinct(_ *message, n node) bool {
	seen := map[string]bool{}
	for _, c := range n.get("coding").list() {
		s := c.get("system").str()
		if seen[s] {
			return false
		}
		seen[s] = true
	}
	return true
}

func isIdentifier(_ *message, n node) bool {
	name := n.lastName()
	return (name == "identifier" || name == "valueIdentifier") && n.get("value").exists()
}

func shortIdentifier(_ *message, n node) bool {
	return utf8.RuneCountInString(n.get("value").str()) <= 100
}

// length counts characters as the guide's two limits do: half as many Arabic ones as others fit.
func length(n node) int {
	total := utf8.RuneCountInString(n.str())
	for _, r := range n.str() {
		if unicode.Is(unicode.Arabic, r) {
			total++
		}
	}
	return total
}

// lengthLimits are the greatest numbers of characters by element name; "parent.name" wins over "name".
var lengthLimits = map[string]int{
	"id": 64, "code": 30, "display": 100, "reference": 250, "url": 255, "fullUrl": 255, "system": 255, "endpoint": 255,
	"family": 100, "given": 100, "supportingInfo.valueString": 250, "name.text": 250, "network": 30, "class.value": 30,
	"dependent": 10, "preAuthRef": 40, "valueAttachment.title": 250, "contentAttachment.title": 250,
}

func limitOf(n node) int {
	name := n.lastName()
	if l, ok := lengthLimits[n.owner().lastName()+"."+name]; ok {
		return l
	}
	return lengthLimits[name]
}

func hasLimit(_ *message, n node) bool { return n.str() != "" && limitOf(n) > 0 }

func withinLimit(_ *message, n node) bool { return length(n) <= limitOf(n) }

// maxConceptText is the limit of CodeableConcept.text.
const maxConceptText = 250

func hasText(_ *message, n node) bool { return isConcept(nil, n) && n.get("text").exists() }

func shortText(_ *message, n node) bool { return length(n.get("text")) <= maxConceptText }

// repeating are elements that are arrays in FHIR R4 wherever they stand with us.
var repeating = []string{
	"coding", "extension", "profile", "tag", "entry", "given", "careTeam", "supportingInfo", "diagnosis", "insurance", "item", "subDetail",
	"related", "careTeamSequence", "diagnosisSequence", "informationSequence", "preAuthRef", "payor", "input", "telecom",
}

// isRepeating also knows the identifiers of resources: a reference's identifier is single.
func isRepeating(_ *message, n node) bool {
	switch n.name {
	case "identifier", "name":
		kind := n.owner().get("resourceType").str()
		return kind == "Patient" || kind == "Practitioner" || (n.name == "identifier" && slices.Contains([]string{
			"Claim", "CoverageEligibilityRequest", "Coverage", "Organization", "Encounter", "Task", "Communication", "PaymentNotice", "Location",
		}, kind))
	default:
		return n.exists() && slices.Contains(repeating, n.name)
	}
}

func isArray(_ *message, n node) bool { _, ok := n.v.([]any); return ok }

// dateNames are the elements that hold dates and times.
var dateNames = []string{
	"created", "start", "end", "authoredOn", "lastModified", "valueDateTime", "valueDate", "servicedDate", "timingDate", "birthDate", "creation", "sent",
	"received", "paymentDate",
}

func isTimed(_ *message, n node) bool {
	return strings.Contains(n.str(), "T") && slices.Contains(dateNames, n.lastName())
}

// isDate selects the elements of FHIR's type date.
func isDate(_ *message, n node) bool {
	return n.exists() && slices.Contains([]string{"valueDate", "servicedDate", "timingDate", "birthDate", "paymentDate"}, n.lastName())
}

func wholeDate(_ *message, n node) bool {
	_, dateOnly, ok := parseDate(n.str())
	return ok && dateOnly
}

func isPeriod(_ *message, n node) bool {
	_, isMap := n.v.(map[string]any)
	return isMap && (n.lastName() == "period" || strings.HasSuffix(n.lastName(), "Period")) && n.get("start").exists() && n.get("end").exists()
}

// inOrder leaves to other rules what cannot be read. A date alone is compared by the day.
func inOrder(_ *message, n node) bool {
	start, _, ok := parseDate(n.get("start").str())
	end, dateOnly, ok2 := parseDate(n.get("end").str())
	if dateOnly {
		return !ok || !ok2 || day(start) <= day(end)
	}
	return !ok || !ok2 || !end.Before(start)
}

// isMoney finds amounts by their shape and by the names under which the protocol has them.
func isMoney(_ *message, n node) bool {
	if _, isMap := n.v.(map[string]any); !isMap {
		return false
	}
	return n.get("currency").exists() || slices.Contains([]string{"unitPrice", "net", "total", "valueMoney"}, n.lastName())
}

func inSAR(_ *message, n node) bool { return n.get("currency").str() == "SAR" }

func isAmount(_ *message, n node) bool { _, ok := n.dec(); return ok }

// twoDecimals leaves to isAmount what is no number, or none that an amount could be.
func twoDecimals(_ *message, n node) bool {
	d, ok := n.get("value").dec()
	return !ok || d.Equal(d.Truncate(2))
}
