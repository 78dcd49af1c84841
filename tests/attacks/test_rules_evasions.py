"""Evasions (ATTACKS.md B) against the default rules: for each, the rule that must tell it all the same. How calls are varied (B1-B4, B13) is test_rules_families.py.

As in test_rules_default.py all are done once, and the recording is replayed. What the fallback backend cannot see has the kernel's reason beside it and must not be seen, so that the test fails when it
starts to work.
"""
import json
import time

import pytest
import sensor_env
from boxes import Box
from test_rules_default import IMAGE, KINDS, RULES, make_image

SHADOW, DRIFT, ANYONE = "Password hashes read", "Program that is not part of the image run", "Program run from a directory that anyone can write to"
# (number in ATTACKS.md, what) : (kind of container, command, rules of which one must tell it, reason why the fallback cannot or None)
EVASIONS = {
    ("B5", "symlinked file"): ("plain", "ln -s /etc/shadow /tmp/l; /bin/cat /tmp/l", [SHADOW], None),
    ("B5", "symlinked parent"): ("plain", "ln -s /etc /tmp/e; /bin/cat /tmp/e/shadow", [SHADOW], None),
    ("B5", "root through proc"): ("plain", "/bin/cat /proc/self/root/etc/shadow", [SHADOW], None),
    ("B5", "working directory through proc"): ("plain", "cd /etc; /bin/cat /proc/self/cwd/shadow", [SHADOW], None),
    ("B5", "descriptor through proc"): ("plain", "exec 3</etc/group; /bin/cat /proc/self/fd/3/../../../../etc/shadow /dev/fd/3 2>/dev/null; exec 4</etc/shadow", [SHADOW], None),
    ("B5", "dots and slashes"): ("plain", "/bin/cat /etc/../var/..//etc/./shadow", [SHADOW], None),
    ("B5", "relative after chdir"): ("plain", "cd /etc; /bin/cat shadow", [SHADOW], None),
    ("B5", "hard link"): ("plain", "ln /etc/shadow /tmp/h; /bin/cat /tmp/h", [SHADOW, "Link to a sensitive file made"], None),
    ("B5", "bind mount"): ("mighty", "mkdir -p /mnt/b; mount --bind /etc /mnt/b; /bin/cat /mnt/b/shadow; umount /mnt/b", [SHADOW, "File system mounted in a container"], None),
    ("B5", "chroot"): ("mighty", "/bin/chroot /host /bin/true", ["Root directory changed to a mount of the node"], None),
    ("B6", "renamed copy"): ("plain", "cp /bin/busybox /opt/nginx; /opt/nginx true", [DRIFT], None),
    ("B6", "symlink of an innocent name to a copy"): ("plain", "cp /bin/busybox /opt/b6; ln -s /opt/b6 /opt/ls; /opt/ls true", [DRIFT], None),
    ("B6", "multi-call binary"): ("plain", "touch /tmp/w6; /bin/busybox shred /tmp/w6", ["Wiping tool run in a container"], None),
    ("B6", "dynamic loader"): ("plain", "/lib64/ld-linux-x86-64.so.2 --list /bin/busybox; true", ["Program run by way of the dynamic loader"], None),
    ("B6", "script"): ("plain", "printf '#!/opt/b6s sh\\ntrue\\n' >/opt/script; cp /bin/busybox /opt/b6s; chmod 755 /opt/script; /opt/script", [DRIFT], None),
    ("B7", "double fork"): ("plain", "cp /bin/busybox /opt/b7; (setsid /bin/sh -c '(sleep 1; /opt/b7 true) &' &); sleep 2", [DRIFT], None),
    ("B7", "re-parented below a server"): ("plain", "/usr/sbin/nginx sh '(setsid /bin/sh -c \"sleep 1; /bin/id\" &) ; true'; sleep 2", ["Server program started a shell"], None),
    ("B9", "control characters and quotes in the name"): ("plain", "d=$(printf '/opt/a\\033[2Jb\\nc\"d'); cp /bin/busybox \"$d\"; \"$d\" true", [DRIFT], None),
    ("B9", "bytes that are no UTF-8 in the name"): ("plain", "d=$(printf '/opt/\\377\\376'); cp /bin/busybox \"$d\"; \"$d\" true", [DRIFT], None),
    ("B9", "very long arguments"): ("plain", "cp /bin/busybox /opt/b9; /opt/b9 true $(head -c 90000 /dev/zero | tr '\\0' 'a ')", [DRIFT], None),
    ("B10", "pipe and network tool"): ("plain", "mkfifo /tmp/f; (/bin/cat /tmp/f | /bin/sh | /bin/nc -w 1 127.0.0.1 9 >/tmp/f; true)", ["Network tool run in a container"], None),
    ("B11", "memory file"): ("plain", "/acts --dir /tmp exec.execveat_memfd", ["Program run from memory"], None),
    ("B11", "deleted executable"): ("plain", "/acts --dir /tmp exec.deleted", ["Deleted program run"], None),
    ("B12", "memory file system"): ("tmpfs", "cp /bin/busybox /tmp/x; /tmp/x true", [ANYONE], None),
    ("B12", "volume"): ("plain", "cp /bin/busybox /ctl/x; /ctl/x true; rm /ctl/x", [DRIFT, ANYONE, "Program run from a volume"], None),
    ("B17", "container that ends at once"): ("run", "/bin/busybox shred /none", ["Wiping tool run in a container"], None),
    ("B17", "process that was there before"): ("before", "/bin/cat /etc/shadow", [SHADOW], None),
}


@pytest.fixture(scope="module")
def played(request, docker, build):
    make_image(docker, build)
    boxes = {"before": Box(docker, "evades-before", image=IMAGE)}
    try:
        with sensor_env.Sensor(build, docker_host=docker.host, backend=request.config.getoption("--backend")) as sensor:
            for kind in ("plain", "tmpfs", "mighty"):
                boxes[kind] = Box(docker, f"evades-{kind}", *KINDS[kind], image=IMAGE)
            marks = {}
            for n, (what, (kind, command, _, _)) in enumerate(EVASIONS.items()):
                begin = time.time_ns()
                if kind == "run":
                    docker.docker("run", "--rm", "--name", f"evades-run-{n}", IMAGE, *command.split(), check=False)
                else:
                    boxes[kind].run(command, deadline=30, ok=None)
                marks[what] = (begin, time.time_ns())
            recording = sensor.data_dir / "recorder"
            sensor.stop()
            rules = [arg for path in sorted(RULES.glob("*.yaml")) for arg in ("--rules", path)]
            out = sensor.cli("replay", recording, *rules, "--all", "--json").stdout
        yield marks, out
    finally:
        for box in boxes.values():
            box.close()


@pytest.mark.deadline(240)
@pytest.mark.parametrize("what", sorted(EVASIONS), ids=" ".join)
def test_evasion_is_told(played, what, request):
    marks, out = played
    kind, _, rules, reason = EVASIONS[what]
    first, last = marks[what]
    seen = [f for f in map(json.loads, out.splitlines()) if str(f["output_fields"].get("container.name", "")).startswith(f"evades-{kind}")]
    mine = {f["rule"] for f in seen if first <= f["output_fields"]["evt.time"] <= last}
    if reason:
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    assert mine & set(rules), f"expected one of {rules}, saw {sorted(mine)}"
