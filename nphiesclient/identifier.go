package nphiesclient

// Identifier is a business identifier: a namespace and a value that is unique in it. Only both together identify a claim.
type Identifier struct {
	System string `json:"system,omitempty"`
	Value  string `json:"value,omitempty"`
}

// IsZero reports whether nothing is set.
func (i Identifier) IsZero() bool { return i == Identifier{} }

// String returns "system|value", the FHIR search form.
func (i Identifier) String() string {
	if i.System == "" {
		return i.Value
	}
	return i.System + "|" + i.Value
}

// Coded is a code with the words its sender gave it.
type Coded struct {
	System  string `json:"system,omitempty"`
	Code    string `json:"code,omitempty"`
	Display string `json:"display,omitempty"`
}
