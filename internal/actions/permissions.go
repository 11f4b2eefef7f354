package actions

import (
	"fmt"
	"slices"
	"strings"
)

// Permissions say which role a verb needs. A verb that is not in them needs DefaultRole.
type Permissions map[Verb]string

// DefaultRole decides about everything unless the settings say otherwise.
const DefaultRole = "operator"

// Role is the role that a verb needs.
func (p Permissions) Role(v Verb) string {
	if r, ok := p[v]; ok {
		return r
	}
	return DefaultRole
}

// ParsePermissions reads "discard=supervisor retry=operator", separated by blanks or commas; roles are those allowed.
func ParsePermissions(text string, roles ...string) (Permissions, error) {
	out := Permissions{}
	for _, pair := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\t' }) {
		verb, role, ok := strings.Cut(pair, "=")
		switch {
		case !ok || !Verb(verb).Valid():
			return nil, fmt.Errorf("%q is not allowed; want verb=role with one of the verbs %s", pair, list(Verbs()))
		case !slices.Contains(roles, role):
			return nil, fmt.Errorf("%q: the role must be one of %s", pair, strings.Join(roles, ", "))
		}
		if _, twice := out[Verb(verb)]; twice {
			return nil, fmt.Errorf("%q: the verb was given before", pair)
		}
		out[Verb(verb)] = role
	}
	return out, nil
}

func list(verbs []Verb) string {
	out := make([]string, 0, len(verbs))
	for _, v := range verbs {
		out = append(out, string(v))
	}
	return strings.Join(out, ", ")
}
