package nphiesclient

import _ "embed" // the schemas

//go:embed schema/claim-document.schema.json
var claimSchema []byte

//go:embed schema/eligibility-document.schema.json
var eligibilitySchema []byte

// ClaimSchema returns the JSON Schema (draft 2020-12) of ClaimDocument. It checks the shape; the rules between fields are
// BuildClaim's.
func ClaimSchema() []byte { return append([]byte(nil), claimSchema...) }

// EligibilitySchema returns the JSON Schema (draft 2020-12) of EligibilityDocument.
func EligibilitySchema() []byte { return append([]byte(nil), eligibilitySchema...) }
