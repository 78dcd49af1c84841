#!/bin/bash
# A clock for jobs, with seconds for minutes: the real ones would not run once while one looks.
set -u
period=${CRON_SECONDS:-20}
trap 'exit 0' TERM
n=0
while :; do
  sleep "$period" & wait $!
  n=$((n + 1))
  /srv/jobs/report || echo "report failed"
  if ((n % 2 == 1)); then /srv/jobs/backup || echo "backup failed"; fi
  if ((n % 3 == 0)); then /srv/jobs/vacuum || echo "vacuum failed"; fi
done
