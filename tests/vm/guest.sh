#!/bin/bash
# Runs inside the VM: what the tests need of the machine, then the checks. BH_BUILD names the build (same path as outside).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
echo "# kernel $(uname -r), security modules $(cat /sys/kernel/security/lsm 2>/dev/null || echo unknown)"
exec /usr/bin/python3 "$here/guest_check.py" "$@"
