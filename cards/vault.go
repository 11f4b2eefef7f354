package cards

import (
	"strconv"
	"time"
)

// VaultSeal is the details of "vault.seal.detected" and "vault.unseal.failed". No key, no share of one.
type VaultSeal struct {
	Cluster  string    `json:"cluster"`
	Node     string    `json:"node"`
	SealedAt time.Time `json:"sealed_at,omitzero"` // zero: when it was seen
	SealType string    `json:"seal_type"`          // "shamir", "awskms", ...
	HAState  string    `json:"ha_state,omitempty"` // "active", "standby"
	// NodesLeft are the nodes of the cluster that still serve.
	NodesLeft int    `json:"nodes_left,omitempty"`
	Cause     string `json:"cause,omitempty"` // "manual", "restart", "auto-unseal failed", "storage"
	// Progress of Threshold key shares were given.
	Progress  int    `json:"progress,omitempty"`
	Threshold int    `json:"threshold,omitempty"`
	Actor     string `json:"actor,omitempty"` // name of the entity that sealed it
	Version   string `json:"version,omitempty"`
	Detail    string `json:"detail,omitempty"` // safe text
}

func buildVaultSeal(d VaultSeal, e Event, l Links) content {
	w := l.Language
	sealed := d.SealedAt
	if sealed.IsZero() {
		sealed = e.At
	}
	object := d.Node
	if object == "" {
		object = d.Cluster
	}
	state := w.word(d.HAState)
	if d.NodesLeft > 0 {
		state = w.say("%s, nodes left: %s", state, d.NodesLeft)
	}
	progress := of(d.Progress, d.Threshold)
	return content{
		object:  object,
		counter: plain(progress),
		facts: []fact{
			must("Cluster", d.Cluster),
			must("Node", d.Node),
			must("Sealed at", moment(sealed)),
			must("Seal type", d.SealType),
			may("HA state", state),
			may("Cause", w.word(d.Cause)),
			may("Unseal progress", progress),
			may("Actor", d.Actor),
			may("Lasting", w.span(e.At.Sub(sealed))),
			may("Version", d.Version),
		},
		detail:  []block{free("Detail", d.Detail)},
		actions: vaultActions(l),
	}
}

func vaultActions(l Links) []action {
	return []action{
		{"Vault runbook", l.VaultRunbook},
		{"Grafana", l.Grafana},
		{"Kibana", l.Kibana},
		{"Details", l.Monitor},
	}
}

// VaultToken is the details of "vault.token.renewal.failed". Never the token, nor its accessor.
type VaultToken struct {
	Cluster    string    `json:"cluster"`
	AuthMethod string    `json:"auth_method,omitempty"` // "approle", "kubernetes", "token"
	Role       string    `json:"role,omitempty"`
	Failure    string    `json:"failure"`              // a class: "permission denied", "unreachable"
	ValidUntil time.Time `json:"valid_until,omitzero"` // after that nothing of Vault can be read
	Since      time.Time `json:"since,omitzero"`
	Attempts   int       `json:"attempts,omitempty"`
	UsedBy     string    `json:"used_by,omitempty"` // which program or worker
	Detail     string    `json:"detail,omitempty"`  // safe text
}

func buildVaultToken(d VaultToken, e Event, l Links) content {
	w := l.Language
	var left said
	if !d.ValidUntil.IsZero() {
		left = w.span(d.ValidUntil.Sub(e.At))
	}
	return content{
		object:  d.Cluster,
		counter: left,
		facts: []fact{
			must("Cluster", d.Cluster),
			must("Failure", d.Failure),
			must("Valid until", moment(d.ValidUntil)),
			may("Time left", left),
			may("Login method", d.AuthMethod),
			may("Role", d.Role),
			may("Since", moment(d.Since)),
			may("Attempts", count(d.Attempts)),
			may("Used by", d.UsedBy),
		},
		detail:  []block{free("Detail", d.Detail)},
		actions: vaultActions(l),
	}
}

// SecretRotation is the details of "vault.secret.rotation.complete". It names the secret, never its value.
type SecretRotation struct {
	Cluster       string    `json:"cluster,omitempty"`
	Path          string    `json:"path"` // "secret/teams/webhooks"
	Version       int       `json:"version,omitempty"`
	UsedBy        string    `json:"used_by,omitempty"`
	OldValidUntil time.Time `json:"old_valid_until,omitzero"`
	Next          time.Time `json:"next,omitzero"`   // rotation
	Actor         string    `json:"actor,omitempty"` // name of the entity that rotated it
}

func buildSecretRotation(d SecretRotation, e Event, l Links) content {
	version := ""
	if d.Version > 0 {
		version = strconv.Itoa(d.Version)
	}
	return content{
		object: d.Path,
		facts: []fact{
			must("Secret", d.Path),
			must("Rotated at", moment(e.At)),
			may("Version", version),
			may("Used by", d.UsedBy),
			may("Old one valid until", moment(d.OldValidUntil)),
			may("Next rotation", moment(d.Next)),
			may("Actor", d.Actor),
			may("Cluster", d.Cluster),
		},
		actions: vaultActions(l),
	}
}
