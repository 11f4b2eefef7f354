package secrets

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"
	"github.com/hashicorp/vault/api/auth/kubernetes"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// Login gets a token from Vault. It is called again whenever the token before has ended; files are then read anew. The values
// it holds do not print.
type Login func(ctx context.Context, c *api.Client) (*api.Secret, error)

// Token uses a token as it is.
func Token(token string) Login {
	return func(ctx context.Context, c *api.Client) (*api.Secret, error) { return adopt(ctx, c, token) }
}

// TokenFile uses the token in a file, as Vault Agent keeps it. Blanks around it do not count.
func TokenFile(path string) Login {
	return func(ctx context.Context, c *api.Client) (*api.Secret, error) {
		token, err := readFile(path)
		if err != nil {
			return nil, err
		}
		return adopt(ctx, c, token)
	}
}

// AppRole logs in with a role id and a secret id, which is in a file when file is not "".
func AppRole(mount, roleID, secretID, file string) Login {
	return func(ctx context.Context, c *api.Client) (*api.Secret, error) {
		id := secretID
		if file != "" {
			var err error
			if id, err = readFile(file); err != nil {
				return nil, err
			}
		}
		a, err := approle.NewAppRoleAuth(roleID, &approle.SecretID{FromString: id}, approle.WithMountPath(mount))
		if err != nil {
			return nil, loginFault("the AppRole login is not complete", err)
		}
		return a.Login(ctx, c)
	}
}

// Kubernetes logs in with the service account token in a file, which Kubernetes renews.
func Kubernetes(mount, role, file string) Login {
	return func(ctx context.Context, c *api.Client) (*api.Secret, error) {
		jwt, err := readFile(file)
		if err != nil {
			return nil, err
		}
		a, err := kubernetes.NewKubernetesAuth(role, kubernetes.WithMountPath(mount), kubernetes.WithServiceAccountToken(jwt))
		if err != nil {
			return nil, loginFault("the Kubernetes login is not complete", err)
		}
		return a.Login(ctx, c)
	}
}

// adopt asks Vault about a token that was given to us: how long it lives, and whether it can be renewed.
func adopt(ctx context.Context, c *api.Client, token string) (*api.Secret, error) {
	c.SetToken(token)
	s, err := c.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return nil, err
	}
	if s == nil { // an empty answer
		return nil, errNoVault(nil)
	}
	ttl, _ := s.Data["ttl"].(json.Number)
	seconds, err := ttl.Int64()
	if err != nil {
		return nil, errNoVault(err)
	}
	renewable, _ := s.Data["renewable"].(bool)
	return &api.Secret{Auth: &api.SecretAuth{ClientToken: token, LeaseDuration: int(seconds), Renewable: renewable}}, nil
}

func readFile(path string) (string, error) {
	body, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		why := "unreadable"
		if pe, ok := errors.AsType[*os.PathError](err); ok {
			why = pe.Err.Error()
		}
		return "", loginFault("cannot read "+path+": "+why, err)
	}
	text := strings.TrimSpace(string(body))
	if text == "" {
		return "", loginFault(path+" is empty", nil)
	}
	return text, nil
}

// errNoVault is about an answer that Vault does not give.
func errNoVault(err error) error { return loginFault("what answers is not Vault: see VAULT_ADDR", err) }

func loginFault(safe string, err error) error {
	return &fault.Error{Op: "log in to Vault", Kind: fault.Config, Safe: safe, Err: err}
}
