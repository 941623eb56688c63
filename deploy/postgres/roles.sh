#!/usr/bin/env bash
# A role and a database for each service, when the data folder is made: no service can read another's database.
# Run by the entrypoint of the official image (/docker-entrypoint-initdb.d); passwords are files, see tools/entrypoint.py.
set -euo pipefail

for service in order activation scheduling fieldwork mypage gateway; do
    secret="${SECRETS_DIR:-/run/secrets}/${service^^}_DATABASE_PASSWORD"
    [ -s "$secret" ] || { echo "roles.sh: $secret is missing or empty" >&2; exit 1; }
    ROLE="oss_$service" SECRET="$secret" psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 \
        --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\getenv role ROLE
\set password `cat "$SECRET"`
create role :"role" login password :'password';
create database :"role" owner :"role";
revoke connect, temporary on database :"role" from public;
SQL
done
