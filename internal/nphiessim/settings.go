package nphiessim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Spelling is a way of writing answers where sources of the protocol differ (its section 15).
type Spelling string

// The spellings.
const (
	// SpellingGuide is what the tables of the guide say.
	SpellingGuide Spelling = "guide"
	// SpellingOBA is what captures of the conformance environment show: tags without a system, error paths that begin with
	// "bundle.", polled answers that name their request, created in UTC, authorizations with the profile claim-response.
	SpellingOBA Spelling = "oba"
	// SpellingSamples is what the official samples have: coPay, error paths on the error itself, polled answers that do not
	// name their request, a focus in other letter case, relative references, paymentIdentifier as a list, quantities as
	// text.
	SpellingSamples Spelling = "samples"
)

// Spellings lists them.
func Spellings() []Spelling { return []Spelling{SpellingGuide, SpellingOBA, SpellingSamples} }

// Settings are how answers are written. They may be changed while the simulator runs.
type Settings struct {
	// Spelling is "guide" when empty.
	Spelling Spelling `json:"spelling"`
	// StatusConcept writes the state in a status-response as valueCodeableConcept instead of valueCode.
	StatusConcept bool `json:"status_concept"`
}

// ErrSpelling means that the spelling is not one of Spellings.
var ErrSpelling = errors.New("spelling must be guide, oba or samples")

func (s Settings) orGuide() Settings {
	if !slices.Contains(Spellings(), s.Spelling) {
		s.Spelling = SpellingGuide
	}
	return s
}

// Configure changes how answers are written from now on. An empty spelling is "guide".
//
// Errors: ErrSpelling.
func (s *Sim) Configure(set Settings) error {
	if set.Spelling != "" && !slices.Contains(Spellings(), set.Spelling) {
		return fmt.Errorf("%w: %q", ErrSpelling, set.Spelling)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set = set.orGuide()
	return nil
}

// CurrentSettings tells how answers are written.
func (s *Sim) CurrentSettings() Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set
}

// written is an answer's body in the spelling of the settings.
func (s *Sim) written(body map[string]any) ([]byte, error) {
	raw, err := encode(body)
	spelling := s.CurrentSettings().Spelling
	if err != nil || spelling == SpellingGuide {
		return raw, err
	}
	v, err := parseJSON(bytes.TrimSpace(raw)) // a copy: answers share parts with requests and with what is on file
	if err != nil {
		return nil, err
	}
	respell := respellOBA
	if spelling == SpellingSamples {
		respell = respellSamples
	}
	rooted(v, "Bundle").walk(func(n node) {
		if m, ok := n.v.(map[string]any); ok {
			respell(m)
		}
	})
	return encode(v)
}

func respellOBA(m map[string]any) {
	n := rooted(m, "")
	switch {
	case m["resourceType"] == "MessageHeader":
		for _, tag := range n.get("meta.tag").list() {
			delete(tag.v.(map[string]any), "system")
		}
	case m["resourceType"] == "ClaimResponse":
		if profileName(n) == "prior-auth-response" {
			m["meta"].(map[string]any)["profile"] = []any{profileURL("claim-response")}
		}
		if t, dateOnly, ok := parseDate(n.get("created").str()); ok && !dateOnly {
			m["created"] = utc(t)
		}
	case m["url"] == extensionURL("error-expression"):
		if path, ok := m["valueString"].(string); ok {
			m["valueString"] = strings.Replace(path, "Bundle.", "bundle.", 1)
		}
	}
}

func respellSamples(m map[string]any) {
	n := rooted(m, "")
	switch m["resourceType"] {
	case "MessageHeader":
		for _, f := range n.get("focus").list() {
			if ref := f.get("reference").str(); strings.Contains(ref, "ClaimResponse/") {
				f.v.(map[string]any)["reference"] = strings.Replace(ref, "ClaimResponse/", "Claimresponse/", 1)
			}
		}
	case "PaymentReconciliation":
		if id, ok := m["paymentIdentifier"].(map[string]any); ok {
			m["paymentIdentifier"] = []any{id}
		}
	case "ClaimResponse", "CoverageEligibilityResponse":
		for _, name := range []string{"patient", "insurer", "requestor"} {
			ref, _ := m[name].(map[string]any)
			if parts := strings.Split(rooted(ref, "").get("reference").str(), "/"); len(parts) > 2 {
				m[name] = map[string]any{"reference": strings.ToLower(parts[len(parts)-2]) + "/" + parts[len(parts)-1]}
			}
		}
		for _, e := range n.get("error").list() {
			coding := e.get("code.coding").at(0)
			if ext := coding.get("extension"); ext.exists() {
				e.v.(map[string]any)["extension"] = ext.v
				delete(coding.v.(map[string]any), "extension")
			}
		}
	}
	if n.get("code").str() == "copay" && n.get("system").str() == systemAdjudication {
		m["code"] = "coPay"
	}
	if n.get("category").code(systemKSA) == "approved-quantity" {
		if num, ok := m["value"].(json.Number); ok {
			m["value"] = num.String()
		}
	}
}
