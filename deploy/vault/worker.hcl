# What a worker reads from Vault, and nothing else: vault policy write nphiesq-worker deploy/vault/worker.hcl
# For a mount secret (KV version 2) and the paths of the settings' examples. Monitor and enqueue read nothing from Vault.

# NPHIES_CLIENT_VAULT_PATH: a client certificate per provider licence.
path "secret/data/nphies/certificates/*" { capabilities = ["read"] }

# TEAMS_WEBHOOK_VAULT_PATH: addresses of channels, and a login where a trigger demands one.
path "secret/data/teams/webhooks" { capabilities = ["read"] }

# Its own token. Vault's policy default allows the same.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
