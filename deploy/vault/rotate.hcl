# For whoever changes certificates and webhooks: puts new ones in, and cannot read the present ones.
# vault policy write nphiesq-rotate deploy/vault/rotate.hcl
path "secret/data/nphies/certificates/*" { capabilities = ["create", "update", "patch"] }
path "secret/data/teams/webhooks" { capabilities = ["create", "update", "patch"] }

# Which versions there are, and who may be using them: no values.
path "secret/metadata/nphies/certificates/*" { capabilities = ["read", "list"] }
path "secret/metadata/teams/webhooks" { capabilities = ["read"] }
