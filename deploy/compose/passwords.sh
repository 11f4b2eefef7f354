#!/bin/sh
# Run by the image of PostgreSQL after roles.sql, when the data folder is made: the passwords of the roles.
set -eu
psql -v ON_ERROR_STOP=1 -q -U postgres -d nphiesq -v owner="$OWNER_PASSWORD" -v app="$APP_PASSWORD" -v read="$READ_PASSWORD" -v grafana="$GRAFANA_PASSWORD" <<'SQL'
ALTER ROLE nphiesq_owner PASSWORD :'owner';
ALTER ROLE nphiesq_app PASSWORD :'app';
ALTER ROLE nphiesq_read PASSWORD :'read';
SELECT format('ALTER ROLE %I PASSWORD %L', rolname, :'grafana') FROM pg_roles WHERE rolname = 'nphiesq_grafana' \gexec
SQL
