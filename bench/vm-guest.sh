#!/bin/bash
# Runs inside the VM of bench/vm: vm-guest.sh cost LOADS SUBJECTS | programs. Results go to /out, which is the directory outside.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mount -t tmpfs tmpfs /tmp # not on the overlay, whose lower half is outside
chmod 1777 /tmp
ip link set lo up
uname -r > /out/release
case $1 in
  cost) "$here/cost" --seconds 0.1 --rounds 1 --repeats 3 --seed 1 --loads "$2" --subjects "$3" --json /out/cost.json;;
  programs)
    for backend in preferred fallback; do
      "$here/hooks" --seconds 0.05 --count 3 --acts getppid,talk,open --backend "$backend" --json "/out/hooks-$backend.json"
    done;;
  *) echo "vm-guest.sh: nothing to do for '$1'"; exit 2;;
esac
