#!/bin/bash
# Runs inside the VM of bench/vm: vm-guest.sh LOADS [hooks]; LOADS may be empty. Results go to /out, which is the directory outside.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mount -t tmpfs tmpfs /tmp # not on the overlay, whose lower half is outside
chmod 1777 /tmp
ip link set lo up
uname -r > /out/release
[ -z "$1" ] || "$here/cost" --seconds 0.1 --rounds 1 --seed 1 --loads "$1" --subjects none,preferred,fallback,auditd --json /out/cost.json
if [ "${2:-}" = hooks ]; then
  for backend in preferred fallback; do
    "$here/hooks" --seconds 0.05 --count 3 --acts getppid --backend "$backend" --json "/out/hooks-$backend.json"
  done
fi
