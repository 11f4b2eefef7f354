package bot

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/signin"
)

// Operators say who may do what from within Teams.
type Operators struct {
	roles    map[string][]signin.Role // by object id in lower case
	everyone bool
	needs    actions.Permissions
}

// May reports whether a person may use a verb.
func (o Operators) May(id string, v actions.Verb) bool {
	have := slices.Clone(o.roles[strings.ToLower(id)])
	if o.everyone {
		have = append(have, signin.Operator)
	}
	return id != "" && signin.Person{Roles: have}.Has(signin.Role(o.needs.Role(v)))
}

var objectID = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// ParseOperators reads "<object id> <object id>=supervisor", or "*", separated by blanks or commas. Several roles are joined by "+". needs
// says which role a verb needs.
func ParseOperators(text string, needs actions.Permissions) (Operators, error) {
	o := Operators{roles: map[string][]signin.Role{}, needs: needs}
	for _, entry := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' }) {
		if entry == "*" {
			o.everyone = true
			continue
		}
		id, list, named := strings.Cut(entry, "=")
		if !objectID.MatchString(id) {
			return Operators{}, fmt.Errorf("%q is not allowed; want Entra object ids, each with =role if it is another than %s, or *", entry, actions.DefaultRole)
		}
		if !named {
			list = actions.DefaultRole
		}
		for r := range strings.SplitSeq(list, "+") {
			if !slices.Contains(signin.Roles(), signin.Role(r)) {
				return Operators{}, fmt.Errorf("%q: the role must be one of %v", entry, signin.Roles())
			}
			o.roles[strings.ToLower(id)] = append(o.roles[strings.ToLower(id)], signin.Role(r))
		}
	}
	if len(o.roles) == 0 && !o.everyone {
		return Operators{}, errors.New("names nobody; want Entra object ids, or * for everyone in the allowed directories")
	}
	return o, nil
}
