package nphiesclient

import (
	"slices"
	"strings"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// Retry says what to do about an error of NPHIES.
type Retry string

const (
	// RetrySame means: send the identical bytes again, with back-off.
	RetrySame Retry = "same"
	// RetryWait means: it is already there; leave it pending and poll or check its status. Never mint a new claim number.
	RetryWait Retry = "wait"
	// RetryFix means: no automatic retry, the data must change.
	RetryFix Retry = "fix"
	// RetryOps means: stop the queue of this licence and alert, a person must act.
	RetryOps Retry = "ops"
)

// ErrorInfo is what we know of one error code, or of a family of codes.
type ErrorInfo struct {
	// Code is the code as NPHIES writes it ("GE-00012", "1658"); of a family its prefix ("BV-").
	Code string `json:"code"`
	// Meaning is our short reading of it.
	Meaning string `json:"meaning"`
	// Retry is what to do.
	Retry Retry `json:"retry"`
	// Kind is fault.Certificate, fault.Network or fault.API; fault.JWT has no source in NPHIES itself.
	Kind fault.Kind `json:"type"`
	// Once: of RetrySame, one more try is enough (GE-00026).
	Once bool `json:"once,omitempty"`
	// Payer: the trouble is the payer's, not ours: others' claims of this licence may go on.
	Payer bool `json:"payer,omitempty"`
	// Continue: of RetryOps, alert without stopping (GE-00023, one queued message of NPHIES is lost).
	Continue bool `json:"continue,omitempty"`
}

// ErrorTable lists the codes we handle by name, in their order.
//
// Source: section on errors of the Implementation Guide and rule workbook; what to do is our own policy.
func ErrorTable() []ErrorInfo { return slices.Clone(errorTable) }

// ErrorFamilies lists what holds for codes that are not in ErrorTable, by their beginning; the last row is for all others.
func ErrorFamilies() []ErrorInfo { return slices.Clone(errorFamilies) }

// LookupError returns what is known of a code: its own row, else that of its family. Letter case and blanks do not matter.
func LookupError(code string) ErrorInfo {
	code = strings.ToUpper(strings.TrimSpace(code))
	if i, ok := errorIndex[code]; ok {
		return errorTable[i]
	}
	for _, f := range errorFamilies {
		switch f.Code {
		case familyNumber:
			if code != "" && strings.Trim(code, "0123456789") == "" {
				return f
			}
		case familyIssue:
			if slices.Contains(passingIssues, strings.ToLower(code)) {
				return f
			}
		default:
			if strings.HasPrefix(code, f.Code) {
				return f
			}
		}
	}
	return errorFamilies[len(errorFamilies)-1]
}

// familyNumber stands for codes that are plain numbers, familyIssue for passingIssues.
const (
	familyNumber = "0-9"
	familyIssue  = "transient"
)

// passingIssues are the types of an OperationOutcome's issue that FHIR calls transient: said without a code of NPHIES', they are
// a gateway's, and no word about the message.
//
// Source: FHIR R4, value set issue-type.
var passingIssues = []string{"transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"}

// PassingIssues lists the issue types of FHIR that ErrorFamilies gives one row, named by its first.
func PassingIssues() []string { return slices.Clone(passingIssues) }

// isCode reports whether an error has a code of NPHIES' or a payer's, not just a type of issue or a code of another system.
func (e CodedError) isCode() bool {
	f := LookupError(e.Code).Code
	return f != familyIssue && f != ""
}

var errorFamilies = []ErrorInfo{
	// What the gateway says and we do not know may be a passing trouble: the same bytes once more do no harm.
	{Code: "GE-", Meaning: "gateway", Retry: RetrySame, Kind: fault.API, Once: true},
	{Code: "BV-", Meaning: "business rule", Retry: RetryFix, Kind: fault.API},
	{Code: "IC-", Meaning: "missing or repeated element", Retry: RetryFix, Kind: fault.API},
	{Code: "IB-", Meaning: "code not of the list", Retry: RetryFix, Kind: fault.API},
	{Code: "RE-", Meaning: "reference or profile", Retry: RetryFix, Kind: fault.API},
	{Code: "DT-", Meaning: "data type", Retry: RetryFix, Kind: fault.API},
	{Code: "FR-", Meaning: "base FHIR", Retry: RetryFix, Kind: fault.API},
	{Code: familyNumber, Meaning: "payer", Retry: RetryFix, Kind: fault.API},
	{Code: familyIssue, Meaning: "passing trouble of the system that answers", Retry: RetrySame, Kind: fault.Network},
	{Code: "", Meaning: "unknown", Retry: RetryFix, Kind: fault.API},
}

var errorIndex = func() map[string]int {
	m := map[string]int{}
	for i, e := range errorTable {
		m[e.Code] = i
	}
	return m
}()

var errorTable = func() []ErrorInfo {
	var t []ErrorInfo
	add := func(retry Retry, kind fault.Kind, meaning string, codes ...string) {
		for _, c := range codes {
			t = append(t, ErrorInfo{Code: c, Meaning: meaning, Retry: retry, Kind: kind})
		}
	}
	row := func(e ErrorInfo) { t = append(t, e) }
	add(RetryOps, fault.API, "wrong API called", "GE-00009")
	add(RetryOps, fault.API, "sender organisation invalid", "GE-00010")
	row(ErrorInfo{Code: "GE-00012", Meaning: "payer unreachable or offline", Retry: RetrySame, Kind: fault.Network, Payer: true})
	add(RetryFix, fault.API, "body not well formed", "GE-00013")
	add(RetrySame, fault.Network, "request timed out", "GE-00014")
	add(RetryFix, fault.API, "message destination cannot be determined", "GE-00015")
	add(RetrySame, fault.Network, "gateway error", "GE-00016")
	add(RetrySame, fault.Network, "service unavailable", "GE-00017")
	add(RetryOps, fault.Certificate, "organisation not readable from the certificate", "GE-00019")
	add(RetryOps, fault.Certificate, "credentials do not match the message sender", "GE-00020")
	add(RetryFix, fault.API, "practitioner licence not valid", "GE-00021")
	add(RetrySame, fault.Network, "internal error of NPHIES", "GE-00022")
	row(ErrorInfo{Code: "GE-00023", Meaning: "queued content missing", Retry: RetryOps, Kind: fault.API, Continue: true})
	add(RetrySame, fault.Network, "internal error of NPHIES", "GE-00024", "GE-00025")
	row(ErrorInfo{Code: "GE-00026", Meaning: "payer could not process the message", Retry: RetrySame, Kind: fault.API, Once: true})
	add(RetryFix, fault.API, "more than two decimals", "GE-00028")
	row(ErrorInfo{Code: "GE-00029", Meaning: "payer account blocked", Retry: RetryOps, Kind: fault.API, Payer: true})
	add(RetryOps, fault.API, "provider account blocked", "GE-00030")
	add(RetryFix, fault.API, "licence in the header differs from the Organization", "GE-00031", "GE-00032", "GE-00033", "GE-00034")
	add(RetryFix, fault.API, "message over 10 MB", "BV-00076")
	add(RetryOps, fault.Certificate, "credentials or certificate not valid, active or authorised", "BV-00077", "BV-00195", "BV-00196")
	add(RetryWait, fault.API, "identifier not unique", "BV-00163", "BV-00457")
	add(RetryWait, fault.API, "message header id seen before", "BV-00532")
	add(RetryWait, fault.API, "bundle id seen before", "BV-00533")
	add(RetryWait, fault.API, "duplicate of a message in progress", "BV-00542")
	add(RetryFix, fault.API, "status target not found", "BV-00459")
	add(RetryFix, fault.API, "focus type does not fit the event", "BV-00167")
	add(RetryFix, fault.API, "use does not fit the event", "BV-00165")
	add(RetryFix, fault.API, "sender cannot be located", "BV-00176")
	add(RetryFix, fault.API, "more than one focus", "BV-00221")
	add(RetryFix, fault.API, "arithmetic", "BV-00059", "BV-00224", "BV-00251", "BV-00372", "BV-00434")
	add(RetryFix, fault.API, "principal or repeated diagnosis", "BV-00054", "BV-00057")
	add(RetryFix, fault.API, "order of dates", "BV-00061", "BV-00064", "BV-00041")
	add(RetryFix, fault.API, "eligibility or authorization reference", "BV-00379", "BV-00420", "BV-00449", "BV-00462")
	add(RetryFix, fault.API, "pharmacy line", "BV-00376", "BV-00723", "BV-00708")
	add(RetryFix, fault.API, "ventilation hours missing", "BV-00731")
	add(RetryFix, fault.API, "related claim unknown", "BV-00725")
	add(RetryFix, fault.API, "clinical supporting information missing", "BV-00752",
		"BV-00763", "BV-00764", "BV-00765", "BV-00766", "BV-00767", "BV-00768", "BV-00769", "BV-00770", "BV-00771",
		"BV-00772", "BV-00773", "BV-00774", "BV-00775", "BV-00776", "BV-00777", "BV-00778", "BV-00779", "BV-00780",
		"BV-00803", "BV-00804", "BV-00805", "BV-00806")
	add(RetryFix, fault.API, "total missing", "IC-00062")
	add(RetryFix, fault.API, "encounter identifier", "IC-00183")
	add(RetryFix, fault.API, "missing or repeated element", "IC-01428")
	add(RetryFix, fault.API, "episode missing", "IC-01453")
	add(RetryFix, fault.API, "patient invoice missing", "IC-01454")
	add(RetryFix, fault.API, "policy holder missing", "IC-01564")
	add(RetryFix, fault.API, "coverage class", "IC-01571")
	add(RetryFix, fault.API, "provider type missing", "IC-01574")
	add(RetryFix, fault.API, "accounting period missing", "IC-01620")
	add(RetryFix, fault.API, "coverage type not of the list", "IB-00109")
	add(RetryFix, fault.API, "code not of the list", "IB-00242")
	add(RetryFix, fault.API, "event code not of the list", "IB-00250")
	add(RetryFix, fault.API, "focus names no resource of the message", "RE-00100")
	add(RetryFix, fault.API, "reference to a resource that is not in the message", "RE-00169")
	add(RetryFix, fault.API, "unknown profile", "RE-00170")
	add(RetryFix, fault.API, "encounter reference", "RE-00189")
	add(RetryFix, fault.API, "member not found", "1657", "1658")
	add(RetryFix, fault.API, "provider not contracted", "1659")
	add(RetryFix, fault.API, "administrator does not serve this insurer", "1660")
	add(RetryFix, fault.API, "service code", "1661")
	add(RetryFix, fault.API, "member deleted", "1663")
	add(RetryFix, fault.API, "policy ended", "1664")
	add(RetryFix, fault.API, "newborn over 30 days", "1665")
	add(RetryFix, fault.API, "provider not licensed on the date", "1666")
	add(RetryFix, fault.API, "service code", "1667", "1669", "1670")
	add(RetryFix, fault.API, "outside the coverage", "1672")
	add(RetryFix, fault.API, "authorization cancelled", "1674")
	add(RetryFix, fault.API, "service code", "1675", "1676")
	add(RetryFix, fault.API, "duplicate of another claim, by service and date", "1677")
	add(RetryFix, fault.API, "duplicate of a claim outside NPHIES", "1678")
	add(RetryOps, fault.API, "test transaction on production", "1679")
	add(RetryFix, fault.API, "form of the person's id", "1680")
	add(RetryFix, fault.API, "form of the membership number", "1681")
	add(RetryFix, fault.API, "patient data do not match", "1682")
	return t
}()

// Classify reduces errors to the one that decides, its Code as it came: the gravest Retry wins, ops before wait, fix and same.
// Wait comes before fix, because a message that is already known must not be sent again under another number. Once, Payer and
// Continue hold only if they hold for all errors of that gravity. No errors at all give an empty Code.
func Classify(errs []CodedError) ErrorInfo {
	rank := map[Retry]int{RetrySame: 1, RetryFix: 2, RetryWait: 3, RetryOps: 4}
	var best ErrorInfo
	for i, e := range errs {
		c := LookupError(e.Code)
		c.Code = e.Code
		switch {
		case i == 0, rank[c.Retry] > rank[best.Retry]:
			best = c
		case c.Retry == best.Retry:
			best.Once, best.Payer, best.Continue = best.Once && c.Once, best.Payer && c.Payer, best.Continue && c.Continue
		}
	}
	if len(errs) == 0 {
		best = ErrorInfo{Kind: fault.API, Retry: RetryFix}
	}
	return best
}

// Fault returns the error as a fault to hand on, or nil if there are no errors. Its text holds codes only, not the
// sender's words.
func (e ErrorInfo) Fault(op string) error {
	if e.Code == "" {
		return nil
	}
	return &fault.Error{
		Op: op, Kind: e.Kind, Code: e.Code, Safe: "NPHIES refused the message: " + e.Meaning, Permanent: e.Retry == RetryFix || e.Retry == RetryOps,
	}
}
