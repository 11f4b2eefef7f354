package secrets_test

import (
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/secrets"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

// webhooksPath and certificatesPath are those that the settings name, the latter as an example.
const certificatesPath = "secret/nphies/certificates"

func webhooksPath(t *testing.T) string {
	t.Helper()
	for _, s := range config.Settings() {
		switch s.Name {
		case "NPHIES_CLIENT_VAULT_PATH":
			require.Contains(t, s.Doc, certificatesPath)
		case "TEAMS_WEBHOOK_VAULT_PATH":
			return s.Default
		}
	}
	t.Fatal("no TEAMS_WEBHOOK_VAULT_PATH")
	return ""
}

// policyToken makes a token that may do what a policy of deploy/vault allows, and not even what Vault's policy default does.
func policyToken(t *testing.T, root *api.Client, name string) string {
	t.Helper()
	body, err := os.ReadFile("../../deploy/vault/" + name + ".hcl")
	require.NoError(t, err)
	require.NoError(t, root.Sys().PutPolicyWithContext(t.Context(), "nphiesq-"+name, string(body)))
	s, err := root.Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"nphiesq-" + name}, NoDefaultPolicy: true, TTL: "1m"})
	require.NoError(t, err)
	return s.Auth.ClientToken
}

func inMount(path string) string { return strings.TrimPrefix(path, "secret/") }

// TestWorkerPolicy: with deploy/vault/worker.hcl and nothing else a worker logs in, reads certificates and webhooks, renews its token and
// sees the seal; it reads nothing else, and writes nothing.
func TestWorkerPolicy(t *testing.T) {
	s := testenv.Vault(t)
	root, hooks := s.Root(t), webhooksPath(t)
	for path, value := range map[string]string{certificatesPath + "/1000": "p12", hooks: "https://hook", "secret/other": "x", "secret/teams/other": "x"} {
		_, err := root.KVv2("secret").Put(t.Context(), inMount(path), map[string]any{"value": value})
		require.NoError(t, err)
	}
	token := policyToken(t, root, "worker")
	v := newVault(t, secrets.Options{Address: s.Addr, Login: secrets.Token(token)})
	run(t, v)
	for path, want := range map[string]string{certificatesPath + "/1000": "p12", hooks: "https://hook"} {
		values, _, err := v.ReadKV(t.Context(), path)
		require.NoError(t, err)
		require.Equal(t, want, values["value"])
	}
	seal, err := v.Seal(t.Context())
	require.NoError(t, err)
	require.False(t, seal.Sealed)
	testenv.Eventually(t, func() bool { return !v.Status().RenewedAt.IsZero() }, "the token is not renewed")
	require.NoError(t, v.Status().Err)

	for _, path := range []string{"secret/other", "secret/teams/other", "secret/nphies", "secret/teams/webhooks/more"} {
		_, _, err := v.ReadKV(t.Context(), path)
		require.True(t, fault.Is(err, fault.Config), "%s: %v", path, err)
		require.ErrorContains(t, err, "the policy needs read")
	}
	c := s.Root(t)
	c.SetToken(token)
	for _, path := range []string{hooks, certificatesPath + "/1000"} {
		_, err := c.KVv2("secret").Put(t.Context(), inMount(path), map[string]any{"value": "mine"})
		require.ErrorContains(t, err, "permission denied", path)
	}
	_, err = c.Logical().ListWithContext(t.Context(), "secret/metadata/nphies/certificates")
	require.ErrorContains(t, err, "permission denied")
	_, err = c.Sys().ListPoliciesWithContext(t.Context())
	require.ErrorContains(t, err, "permission denied")
}

// TestRotatePolicy: with deploy/vault/rotate.hcl a person puts in what is new, a key of the webhooks alone, too, and reads nothing.
func TestRotatePolicy(t *testing.T) {
	s := testenv.Vault(t)
	root, hooks := s.Root(t), webhooksPath(t)
	_, err := root.KVv2("secret").Put(t.Context(), inMount(hooks), map[string]any{"sre": "before", "pmo": "stays"})
	require.NoError(t, err)
	c := s.Root(t)
	c.SetToken(policyToken(t, root, "rotate"))
	_, err = c.KVv2("secret").Patch(t.Context(), inMount(hooks), map[string]any{"sre": "after"}, api.WithMergeMethod(api.KVMergeMethodPatch))
	require.NoError(t, err)
	_, err = c.KVv2("secret").Put(t.Context(), inMount(certificatesPath)+"/2000", map[string]any{"pkcs12": "new"})
	require.NoError(t, err)
	kept, err := root.KVv2("secret").Get(t.Context(), inMount(hooks))
	require.NoError(t, err)
	require.Equal(t, map[string]any{"sre": "after", "pmo": "stays"}, kept.Data)

	for _, path := range []string{hooks, certificatesPath + "/2000"} {
		_, err := c.KVv2("secret").Get(t.Context(), inMount(path))
		require.ErrorContains(t, err, "permission denied", path)
		_, err = c.KVv2("secret").GetMetadata(t.Context(), inMount(path))
		require.NoError(t, err, path)
	}
	_, err = c.KVv2("secret").Put(t.Context(), "other", map[string]any{"value": "mine"})
	require.ErrorContains(t, err, "permission denied")
}
