#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A database of its own at each first start.
set -e
bin=/usr/lib/postgresql/15/bin data=/var/lib/postgresql/db
if [ ! -e $data/PG_VERSION ]; then
  $bin/initdb -D $data --no-sync -A trust >/dev/null
  echo "host all all all trust" >> $data/pg_hba.conf
  echo "CREATE TABLE orders (n int, t timestamptz);" | $bin/postgres --single -D $data postgres >/dev/null
fi
exec $bin/postgres -D $data -c listen_addresses='*' -c unix_socket_directories=/tmp -c shared_buffers=8MB -c fsync=off -c autovacuum_naptime=15
