"""Evasions (ATTACKS.md B) by files and names, and the rule that must tell each all the same: played in real containers on this kernel (test_rules_evasions.py) and on stock kernels (tests/vm).

Also what is in their image. Nothing but data, and what Python brings: the machines of tests/vm have no more.
"""
LOADER = "/lib64/ld-linux-x86-64.so.2"
FILES = ["etc/shadow", "var/run/secrets/kubernetes.io/serviceaccount/token", "var/run/secrets/kubernetes.io/serviceaccount/ca.crt", "root/.ssh/id_rsa", "root/.ssh/id_rsa.pub", "root/.ssh/known_hosts",
         "root/.ash_history", "root/history", "root/.profile", "var/log/app.log", "var/log/wtmp", "opt/empty", "etc/cron.d/empty", "etc/systemd/system/empty", "etc/app/empty", "mnt/empty", "cg/empty", "cg2/empty", "var/lib/app/empty"]


def image_files(build, text):
    """(path in the image, path here) of what comes to the base image: files that rules are about, and programs under the names of others. `text`: a file with some text."""
    busybox, visit = "/bin/busybox", build / "tests" / "attacks" / "visit"
    files = [("acts", build / "tests" / "bpf" / "acts"), ("usr/bin/visit", visit), ("usr/bin/bash", visit), ("usr/sbin/nginx", visit), (LOADER, LOADER)]
    files += [(name, busybox) for name in ("usr/bin/tool", "usr/bin/kubectl")] + [("usr/bin/apt-get", visit)]
    return files + [(name, text) for name in FILES]


# What a container that was there before the sensor does then.
BEFORE = "/usr/bin/visit held /tmp/go >/dev/null 2>&1 & /usr/bin/visit listen 4713"
# Rules that are off, and are switched on here as a user does it: their acts are in the list.
OFF = ["Memory made executable after it was written", "Memory file mapped to be written and run"]
SWITCH = "".join(f"- rule: {rule}\n  enabled: true\n  override: {{enabled: replace}}\n" for rule in OFF)

SHADOW, DRIFT, ANYONE = "Password hashes read", "Program that is not part of the image run", "Program run from a directory that anyone can write to"
# (number in ATTACKS.md, what) : (kind of container, command, rules of which one must tell it, reason why the fallback cannot or None)
# Kinds: plain; tmpfs: /tmp is a memory file system; mighty: all capabilities, and the node's root at /host; run: a container for this command alone; before: one that was there before the sensor; forged: one
# with the name, the image's name and the labels of what others leave in peace.
EVASIONS = {
    ("B1", "path changed while it is opened"): ("plain", "/usr/bin/visit swap 300", [SHADOW], None),
    ("B5", "symlinked file"): ("plain", "ln -s /etc/shadow /tmp/l; /bin/cat /tmp/l", [SHADOW], None),
    ("B5", "symlinked parent"): ("plain", "ln -s /etc /tmp/e; /bin/cat /tmp/e/shadow", [SHADOW], None),
    ("B5", "root through proc"): ("plain", "/bin/cat /proc/self/root/etc/shadow", [SHADOW], None),
    ("B5", "working directory through proc"): ("plain", "cd /etc; /bin/cat /proc/self/cwd/shadow", [SHADOW], None),
    ("B5", "descriptor through proc"): ("plain", "exec 3</etc; /bin/cat /proc/self/fd/3/shadow", [SHADOW], None),
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
    ("B6", "builtin of the shell"): ("plain", "while read -r l; do :; done </etc/shadow", [SHADOW], None),
    ("B6", "tool inside the shell"): ("plain", "cat /etc/shadow", [SHADOW], None),
    ("B7", "forged task name and first argument"): ("plain", "cp /bin/busybox /opt/b7f; /usr/bin/visit forged /opt/b7f; true", [DRIFT], None),
    ("B7", "double fork"): ("plain", "cp /bin/busybox /opt/b7; (setsid /bin/sh -c '(sleep 1; /opt/b7 true) &' &); sleep 2", [DRIFT], None),
    ("B7", "re-parented below a server"): ("plain", "/usr/sbin/nginx sh '(setsid /bin/sh -c \"sleep 1; /bin/id\" &) ; true'; sleep 2", ["Server program started a shell"], None),
    ("B8", "names and labels of an innocent one"): ("forged", "/bin/cat /etc/shadow", [SHADOW], None),
    ("B8", "program with the name of the runtime"): ("forged", "mkdir -p /usr/local/sbin; cp /bin/busybox /usr/local/sbin/runc; /usr/local/sbin/runc true", [DRIFT], None),
    ("B9", "control characters and quotes in the name"): ("plain", "d=$(printf '/opt/a\\033[2Jb\\nc\"d'); cp /bin/busybox \"$d\"; \"$d\" true", [DRIFT], None),
    ("B9", "bytes that are no UTF-8 in the name"): ("plain", "d=$(printf '/opt/\\377\\376'); cp /bin/busybox \"$d\"; \"$d\" true", [DRIFT], None),
    ("B9", "very long arguments"): ("plain", "cp /bin/busybox /opt/b9; /opt/b9 true $(head -c 90000 /dev/zero | tr '\\0' 'a ')", [DRIFT], None),
    ("B10", "pipe and network tool"): ("plain", "mkfifo /tmp/f; (/bin/cat /tmp/f | /bin/sh | /bin/nc -w 1 127.0.0.1 9 >/tmp/f; true)", ["Network tool run in a container"], None),
    ("B10", "payload of its own"): ("plain", "cp /usr/bin/visit /opt/elf; /opt/elf tcp 9", ["Program that is not part of the image opened a connection"], None),
    ("B10", "terminal of its own"):
        ("plain", "[ -c /dev/ptmx ] || { mkdir -p /dev/pts; mount -t devpts -o newinstance,ptmxmode=666 devpts /dev/pts; ln -s pts/ptmx /dev/ptmx; }; /usr/bin/visit pty true", ["Shell with a terminal in a container"], None),
    ("B11", "own memory through proc"): ("plain", "/bin/dd if=/dev/zero of=/proc/self/mem bs=1 count=1 conv=notrunc; true", ["Code written into another process"], None),
    ("B11", "memory file"): ("plain", "/acts --dir /tmp exec.execveat_memfd", ["Program run from memory"], None),
    ("B11", "deleted executable"): ("plain", "/acts --dir /tmp exec.deleted", ["Deleted program run"], None),
    ("B11", "file without a name that got one"): ("plain", "/usr/bin/visit tmpfile /ctl/b11; /ctl/b11 true; rm /ctl/b11", [DRIFT, ANYONE, "Program run from a volume"], None),
    ("B11", "by its descriptor alone"): ("plain", "/acts --dir /tmp exec.execveat_empty_path", [ANYONE, DRIFT], None),
    ("B12", "memory file system"): ("tmpfs", "cp /bin/busybox /tmp/x; /tmp/x true", [ANYONE], None),
    ("B12", "volume"): ("plain", "cp /bin/busybox /ctl/x; /ctl/x true; rm /ctl/x", [DRIFT, ANYONE, "Program run from a volume"], None),
    ("B13", "thread that is not the leader"): ("plain", "cp /bin/busybox /opt/b13; /usr/bin/visit thread /opt/b13; true", [DRIFT], None),
    ("B13", "namespaces inside of the container"): ("mighty", "unshare -m -u -i -n -p -f /bin/cat /etc/shadow", [SHADOW], None),
    ("B17", "container that ends at once"): ("run", "/bin/busybox shred /none", ["Wiping tool run in a container"], None),
    ("B17", "process that was there before"): ("before", "/bin/cat /etc/shadow", [SHADOW], None),
    ("B17", "connection that was there before"): ("before", "touch /tmp/go; while [ -e /tmp/go ]; do sleep 0.1; done", ["Standard input or output put on a network connection"], None),
    ("B17", "directory that was open before"): ("before", "touch /tmp/go; while [ -e /tmp/go ]; do sleep 0.1; done", [SHADOW], None),
    ("B19", "memory file mapped twice"): ("plain", "/acts --dir /tmp mmap.memfd_double_mapping", OFF[1:], None),
    ("B19", "memory written, then run"): ("plain", "/acts --dir /tmp mprotect.anon_written", OFF[:1], None),
    ("B19", "file mapped twice"): ("plain", "/acts --dir /tmp mmap.double_mapping", ["File mapped to be written and run"], None),
}
