package nphiessim

// The rules that no look at a single message can check: they concern the connection, or what came before.
var (
	ruleWrongAPI         = Rule{ID: "GE-00009", Where: "(transport)", Text: "The wrong API was called"}
	ruleTooLarge         = Rule{ID: "BV-00076", Where: "(transport)", Text: "The message SHALL NOT be larger than 10 MB"}
	ruleNotReadable      = Rule{ID: ruleStructure, Where: "Bundle", Text: "Resource SHALL have a valid structure"}
	ruleTooLargeAnswer   = Rule{ID: "GE-00026", Where: "Bundle", Text: "The answer would be larger than 10 MB: the message cannot be processed"}
	ruleTooMany          = Rule{ID: ruleStructure, Where: "Bundle", Text: "Of very many errors only the first are listed"}
	ruleUnknownEvent     = Rule{ID: "IB-00250", Where: "MessageHeader.eventCoding", Text: "The provided MessageHeader eventCoding value is not from the specified valueSet"}
	ruleNoSender         = Rule{ID: "GE-00010", Where: "MessageHeader.sender", Text: "The sender organization is invalid"}
	ruleNoReceiver       = Rule{ID: "GE-00015", Where: "MessageHeader.destination", Text: "The message destination cannot be determined"}
	ruleNoCertificate    = Rule{ID: "GE-00019", Where: "(client certificate)", Text: "The organization cannot be read from the certificate"}
	ruleOtherCertificate = Rule{ID: "GE-00020", Where: "MessageHeader.sender", Text: "The credentials do not match the message sender"}

	ruleSeenHeader = Rule{ID: "BV-00532", Where: "MessageHeader.id", Text: "MessageHeader.id was used before for another message"}
	ruleSeenBundle = Rule{ID: "BV-00533", Where: "Bundle.id", Text: "Bundle.id was used before for another message"}
	ruleNewHeader  = Rule{ID: "BV-00540", Where: "MessageHeader.id", Text: "The same Bundle.id and content SHALL keep the MessageHeader.id"}

	ruleSameIdentifier = Rule{
		ID: "BV-00163", Where: focusPath + ".identifier", Text: "The identifier SHALL be unique",
		Events: []string{eventClaim, eventAuth, eventEligibility, eventBatch},
	}
	ruleInProgress = Rule{
		ID: "BV-00542", Where: focusPath + ".identifier", Text: "The message is a duplicate of one in progress",
		Events: []string{eventClaim, eventAuth, eventBatch},
	}
	ruleCancelled = Rule{
		ID: "BV-00525", Where: focusPath + ".identifier", Text: "A cancelled claim gets no further answer",
		Events: []string{eventClaim, eventAuth, eventBatch},
	}
	ruleNoTarget = Rule{
		ID: "BV-00459", Where: "Task.focus", Text: "The target of the request cannot be found", Events: []string{eventStatus, eventCancel},
	}
	ruleNotActive = Rule{
		ID: "BV-00143", Where: "Task.focus", Text: "Only a posted, active transaction SHALL be cancelled", Events: []string{eventCancel},
	}
)

// handlingRules lists them; those without events hold for all.
var handlingRules = []Rule{
	ruleWrongAPI, ruleTooLarge, ruleNotReadable, ruleTooLargeAnswer, ruleTooMany, ruleUnknownEvent, ruleNoSender, ruleNoReceiver, ruleNoCertificate, ruleOtherCertificate,
	ruleSeenHeader, ruleSeenBundle, ruleNewHeader, ruleSameIdentifier, ruleInProgress, ruleCancelled, ruleNoTarget, ruleNotActive,
}

// seenBundle is what is known of a Bundle.id.
type seenBundle struct {
	hash    string // of the whole message
	header  string // MessageHeader.id
	content string // hash of all entries behind the header
}

// seenIDs remembers the message's ids and tells those that stood on another message before.
func (s *Sim) seenIDs(m *message) []Finding {
	hash, header := hashOf(m.raw), m.header.get("id").str()
	var out []Finding
	if key := m.sender() + "|" + header; header != "" {
		if was, ok := s.headers[key]; ok && was != hash {
			out = append(out, ruleSeenHeader.at(m.header.path()+".id"))
		} else {
			s.headers[key] = hash
		}
	}
	id := m.root.get("id").str()
	if id == "" {
		return out
	}
	var rest []any
	for _, e := range m.entries[min(1, len(m.entries)):] {
		rest = append(rest, e.v)
	}
	key, now := m.sender()+"|"+id, seenBundle{hash, header, contentHash(rooted(rest, ""))}
	was, ok := s.bundles[key]
	switch {
	case !ok:
		s.bundles[key] = now
	case was.hash == hash:
	case was.content == now.content && was.header != header:
		out = append(out, ruleNewHeader.at(m.header.path()+".id"))
	default:
		out = append(out, ruleSeenBundle.at(m.root.path()+".id"))
	}
	return out
}
