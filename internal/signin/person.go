// Package signin lets people in to the monitor: by a name and a password of MONITOR_USERS, or through a provider of single
// sign-on (OpenID Connect). Both of the monitor's listeners use it, each with a cookie of its own. Who is signed in stands in
// PostgreSQL, so that a restart ends nothing and any number of monitors may run side by side.
package signin

import (
	"fmt"
	"slices"
	"strings"
)

// Role is what a person may do. A person may have several.
type Role string

// The roles.
const (
	// Viewer looks, but not at patient data.
	Viewer Role = "viewer"
	// Operator decides, too.
	Operator Role = "operator"
	// Supervisor is an operator who may also decide what is kept from operators.
	Supervisor Role = "supervisor"
	// Privacy sees patient data. Alone it decides nothing.
	Privacy Role = "privacy"
)

// Roles lists all roles.
func Roles() []Role { return []Role{Viewer, Operator, Supervisor, Privacy} }

// Methods by which people prove who they are.
const (
	// ByPassword is a name and a password of ours.
	ByPassword = "password"
	// ByOIDC is a provider of single sign-on.
	ByOIDC = "oidc"
)

// Person is somebody who may sign in.
type Person struct {
	// ID never changes: local:<name>, or at a provider the oid, else the sub.
	ID string
	// Name is for people to read.
	Name string
	// Tenant is the directory (tid) that a provider named, "" when it named none.
	Tenant string
	Roles  []Role
	// Method is ByPassword or ByOIDC.
	Method string
}

// Has reports whether the person has a role: a supervisor is an operator, and everybody with a role is a viewer.
func (p Person) Has(r Role) bool {
	switch r {
	case Viewer:
		return len(p.Roles) > 0
	case Operator:
		return slices.Contains(p.Roles, Operator) || slices.Contains(p.Roles, Supervisor)
	case Supervisor, Privacy:
		return slices.Contains(p.Roles, r)
	default:
		return false
	}
}

// Operator reports whether the person may decide.
func (p Person) Operator() bool { return p.Has(Operator) }

// Privacy reports whether the person may see patient data.
func (p Person) Privacy() bool { return p.Has(Privacy) }

// Role is the roles in words.
func (p Person) Role() string {
	words := make([]string, len(p.Roles))
	for i, r := range p.Roles {
		words[i] = string(r)
	}
	return strings.Join(words, ", ")
}

// Actor is how the audit trail names the person: by the name, and by the id where a provider may give the name to another one.
func (p Person) Actor() string {
	if p.Method == ByPassword {
		return p.Name
	}
	return p.Name + " (" + p.ID + ")"
}

// rolesOf puts roles in order, each once. An unknown one is an error.
func rolesOf(names []string) ([]Role, error) {
	var out []Role
	for _, r := range Roles() {
		if slices.Contains(names, string(r)) {
			out = append(out, r)
		}
	}
	for _, n := range names {
		if !slices.Contains(Roles(), Role(n)) {
			return nil, fmt.Errorf("the role must be %s, or several of them joined by +", roleNames())
		}
	}
	return out, nil
}

func roleNames() string {
	var names []string
	for _, r := range Roles() {
		names = append(names, string(r))
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}
