package conformance

import "slices"

// Guide lists the rules and the elements of the guide that the page must have.
func Guide() (rules, elements []string) { return slices.Clone(guideRules), slices.Clone(guideElements) }

// guideElements are elements of the guide's pages that walking through the corpus may miss: no message of it may have them, or they are
// parts of a data type. Each has a row.
var guideElements = []string{
	"Bundle.entry.fullUrl", "Bundle.id", "Bundle.meta.profile", "Claim.accident", "Claim.diagnosis.extension(condition-onset)",
	"Claim.diagnosis.onAdmission", "Claim.extension(authorization-offline-date)", "Claim.extension(batch-identifier)",
	"Claim.extension(batch-number)", "Claim.extension(batch-period)", "Claim.extension(newborn)", "Claim.item.extension(payer-share)",
	"Claim.item.extension(pharmacist-substitute)", "Claim.payee.party", "Claim.related.claim.identifier", "Claim.supportingInfo.reason",
	"Claim.supportingInfo.valueAttachment", "Claim.supportingInfo.valueQuantity", "Claim.supportingInfo.valueString", "ClaimResponse.addItem",
	"ClaimResponse.communicationRequest", "ClaimResponse.error.code.coding.extension(error-expression)", "ClaimResponse.error.detailSequence",
	"ClaimResponse.error.extension(error-expression)", "ClaimResponse.error.itemSequence", "ClaimResponse.error.subDetailSequence",
	"ClaimResponse.extension(adjudication-reissue)", "ClaimResponse.extension(batch-identifier)", "ClaimResponse.extension(batch-number)",
	"ClaimResponse.extension(batch-period)", "ClaimResponse.item.adjudication.value", "ClaimResponse.preAuthPeriod", "ClaimResponse.preAuthRef",
	"Coverage.class.type", "Coverage.class.value", "Coverage.dependent", "CoverageEligibilityRequest.extension(newborn)",
	"CoverageEligibilityRequest.extension(transfer)", "CoverageEligibilityRequest.facility", "CoverageEligibilityRequest.servicedPeriod",
	"CoverageEligibilityResponse.insurance.item.benefit.allowedString", "CoverageEligibilityResponse.insurance.item.benefit.usedString",
	"CoverageEligibilityResponse.insurance.item.benefit.usedUnsignedInt", "CoverageEligibilityResponse.servicedDate", "Encounter.period.end",
	"Encounter.period.start", "MedicationRequest", "MessageHeader.destination.endpoint", "MessageHeader.destination.receiver",
	"MessageHeader.focus.reference", "MessageHeader.id", "MessageHeader.meta.tag", "MessageHeader.response.code",
	"MessageHeader.response.details", "MessageHeader.response.identifier", "MessageHeader.source.endpoint", "Patient.address",
	"Patient.extension(religion)", "Patient.identifier.extension(identifier-country)", "Patient.identifier.type", "PractitionerRole",
	"Task.focus", "Task.input", "Task.input.valueCode", "Task.input.valuePeriod", "Task.input.valuePositiveInt", "Task.output.valueCode",
	"Task.output.valueCodeableConcept", "Task.output.valueReference", "Task.reasonCode", "VisionPrescription",
}

// guideRules are all rules that sections 2 to 9 of our page on the protocol name, its shorthand written out. Each has a place on the page.
var guideRules = []string{
	"BV-00020", "BV-00022", "BV-00023", "BV-00036", "BV-00041", "BV-00044", "BV-00054", "BV-00055", "BV-00057", "BV-00058", "BV-00059",
	"BV-00061", "BV-00062", "BV-00064", "BV-00066", "BV-00079", "BV-00096", "BV-00097", "BV-00098", "BV-00126", "BV-00127", "BV-00130",
	"BV-00163", "BV-00165", "BV-00167", "BV-00168", "BV-00177", "BV-00207", "BV-00208", "BV-00216", "BV-00218", "BV-00221", "BV-00224",
	"BV-00225", "BV-00227", "BV-00228", "BV-00238", "BV-00247", "BV-00248", "BV-00250", "BV-00251", "BV-00255", "BV-00275", "BV-00330",
	"BV-00341", "BV-00349", "BV-00351", "BV-00364", "BV-00365", "BV-00366", "BV-00367", "BV-00368", "BV-00371", "BV-00372", "BV-00376",
	"BV-00379", "BV-00381", "BV-00383", "BV-00385", "BV-00387", "BV-00389", "BV-00390", "BV-00391", "BV-00392", "BV-00393", "BV-00394",
	"BV-00395", "BV-00396", "BV-00397", "BV-00400", "BV-00420", "BV-00421", "BV-00429", "BV-00437", "BV-00439", "BV-00442", "BV-00443",
	"BV-00444", "BV-00449", "BV-00450", "BV-00451", "BV-00452", "BV-00453", "BV-00456", "BV-00457", "BV-00458", "BV-00462", "BV-00463",
	"BV-00471", "BV-00477", "BV-00478", "BV-00480", "BV-00481", "BV-00482", "BV-00485", "BV-00492", "BV-00494", "BV-00497", "BV-00498",
	"BV-00499", "BV-00501", "BV-00502", "BV-00503", "BV-00505", "BV-00506", "BV-00507", "BV-00508", "BV-00513", "BV-00519", "BV-00525",
	"BV-00526", "BV-00527", "BV-00532", "BV-00533", "BV-00534", "BV-00535", "BV-00536", "BV-00538", "BV-00540", "BV-00541", "BV-00544",
	"BV-00557", "BV-00558", "BV-00559", "BV-00560", "BV-00561", "BV-00708", "BV-00723", "BV-00725", "BV-00727", "BV-00728", "BV-00729",
	"BV-00731", "BV-00732", "BV-00733", "BV-00734", "BV-00735", "BV-00736", "BV-00737", "BV-00744", "BV-00747", "BV-00748", "BV-00751",
	"BV-00752", "BV-00755", "BV-00756", "BV-00757", "BV-00758", "BV-00759", "BV-00763", "BV-00764", "BV-00770", "BV-00772", "BV-00773",
	"BV-00779", "BV-00797", "BV-00798", "BV-00802", "BV-00803", "BV-00804", "BV-00805", "BV-00806", "BV-00811", "BV-00812", "BV-00813",
	"BV-00814", "BV-00815", "BV-00816", "BV-00817", "BV-00818", "BV-00819", "BV-00820", "BV-00821", "BV-00822", "BV-00823", "BV-00824",
	"BV-00825", "BV-00826", "BV-00827", "BV-00846", "BV-00848", "BV-00849", "BV-00853", "BV-00854", "BV-00925", "BV-00926", "BV-00927",
	"BV-00928", "BV-00929", "BV-00930", "BV-00931", "BV-00932", "BV-00933", "BV-00934", "BV-01010",
	"GE-00020", "GE-00028", "GE-00031",
	"IB-00293", "IB-00294",
	"IC-01453", "IC-01454", "IC-01564", "IC-01571", "IC-01620",
	"RE-00100", "RE-00169", "RE-00170",
}

// brokenAnswers says what is made of an answer that breaks a rule, by the rule's first id, where that makes a difference.
var brokenAnswers = map[string]string{
	"BV-00247": "is matched by the identifier of its request alone",
	"BV-00098": "matches no claim: it is kept and told to a person",
	"BV-00020": "is taken; the items that are missing have no decision on record",
	"BV-00022": "what is paid is summed up from the items",
	"BV-00250": "the items decide; without theirs the claim stays pending",
	"BV-00371": "the item has no decision on record",
	"BV-00393": "the answer's own outcome counts",
	"BV-00394": "the answer's own outcome counts",
	"BV-00397": "the answer's own outcome counts",
	"BV-00395": "queued is pending all the same",
	"BV-00396": "error is an error all the same",
	"BV-00505": "is an error without a code",
	"BV-00055": "is taken as the newest version, without a reason",
	"BV-00390": "what is paid is unknown",
	"BV-00392": "is rejected or cut without a reason",
	"BV-00503": "the coverages' own site eligibility or flag decides",
	"BV-00535": "is read as not eligible if no coverage that it names is in force and eligible",
	"BV-00536": "is not answered, without a code",
}

// keptOtherwise are rules of the guide that are no row of another table, and why.
var keptOtherwise = []struct{ ID, Text, Where string }{
	{"BV-00023", "A queued answer has totals.", "on paper only: section 7 says not to rely on it; the simulator leaves them out, the parser does not need them"},
	{"BV-00079", "A referenced resource is in the bundle.", "RE-00169, on both sides"},
	{"BV-00507", "A newborn has a birth weight.", "BV-00506, on both sides"},
	{"BV-00513", "After a complete answer only complete ones follow.", "the simulator reissues complete claims with complete answers only; the parser takes any"},
	{"BV-00813 to BV-00827", "A vital sign that is missing has the reason of its absence.", "BV-00812, on both sides"},
}
