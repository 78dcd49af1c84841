#!/bin/sh
# nginx, and beside it what rotates its log.
set -eu
rotate() {
  while sleep "${ROTATE_SECONDS:-20}"; do
    mv /var/log/nginx/access.log /var/log/nginx/access.log.1
    kill -USR1 "$(cat /run/nginx.pid)"
    sleep 0.2
    gzip -f /var/log/nginx/access.log.1
  done
}
rotate &
exec nginx
