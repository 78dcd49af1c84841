#!/bin/bash
# PostgreSQL: makes the shop's database at the first start.
set -euo pipefail
data=/var/lib/postgresql/data
if [ "$(id -u)" -eq 0 ]; then
  mkdir -p "$data"
  chown postgres:postgres "$data" /var/run/postgresql
  chmod 700 "$data"
  exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0"
fi
if [ ! -s "$data/PG_VERSION" ]; then
  initdb -D "$data" -U postgres --auth-local=trust --auth-host=scram-sha-256 --no-sync --no-instructions -E UTF8 --locale=C.UTF-8 >/dev/null
  cat >>"$data/postgresql.conf" <<END
listen_addresses = '*'
shared_buffers = 32MB
max_connections = 60
jit = off
autovacuum_naptime = 15s
END
  echo "host all all all scram-sha-256" >>"$data/pg_hba.conf"
  # Nobody sees it before it is complete.
  pg_ctl -D "$data" -w -s -o "-c listen_addresses=" start
  psql -q -v ON_ERROR_STOP=1 -U postgres -v password="$DB_PASSWORD" -v office="$OFFICE_PASSWORD" -f /srv/schema.sql
  pg_ctl -D "$data" -w -s -m fast stop
fi
exec postgres -D "$data"
