#!/bin/sh
# Runs once, when the PostgreSQL volume is empty, after bootstrap.sql has made the roles.
set -eu
psql --username postgres --dbname cognitionos --set=ON_ERROR_STOP=1 \
  --set=app="$APP_PASSWORD" --set=owner="$OWNER_PASSWORD" <<'SQL'
ALTER ROLE cognitionos_app PASSWORD :'app';
ALTER ROLE cognitionos_owner PASSWORD :'owner';
SQL
