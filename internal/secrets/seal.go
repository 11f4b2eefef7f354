package secrets

import (
	"context"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// Seal is how Vault's seal stands. Anybody may ask.
type Seal struct {
	Sealed bool
	// Type is "shamir" or that of an automatic unseal.
	Type, Version, Cluster string
	// Progress of Threshold shares of the key were given towards unsealing.
	Progress, Threshold int
	// Attempt tells one attempt to unseal from the next: it changes when shares did not fit together.
	Attempt string
}

// Seal asks for the state of the seal, without a login.
//
// Errors: a fault of Kind Unavailable when Vault does not answer.
func (v *Vault) Seal(ctx context.Context) (Seal, error) {
	c, err := v.client()
	if err != nil {
		return Seal{}, err
	}
	c.SetMaxRetries(0)
	ctx, cancel := context.WithTimeout(ctx, v.opt.Timeout)
	defer cancel()
	s, err := c.Sys().SealStatusWithContext(ctx)
	if err != nil || s == nil {
		return Seal{}, &fault.Error{Op: "ask Vault for its seal", Kind: fault.Unavailable, Safe: "Vault does not answer", Err: err}
	}
	return Seal{
		Sealed: s.Sealed, Type: s.Type, Version: s.Version, Cluster: s.ClusterName, Progress: s.Progress, Threshold: s.T, Attempt: s.Nonce,
	}, nil
}

// Address is where Vault is.
func (v *Vault) Address() string { return v.opt.Address }
