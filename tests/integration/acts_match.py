"""Compares what the acts program says it did (one JSON line per act) with the events that the sensor gave.

An act matches an event of its type, by the same process, within the act's time. Every fact that an act tells is either
compared with a field of the event (FACTS, and BY_TYPE where a kind gives a fact another place) or named in UNTOLD with
the facts that are no event's business; a fact in neither fails, so that none is forgotten. A field that a fact asks for
and the event does not have is a difference too.

What a backend cannot see by design is in DIFFERENCES with the reason. The table is strict in both directions: a
difference that is not in it fails, and so does a row whose act was performed and agrees.
"""
import base64
import fnmatch
import json
import os
import socket

# Between the act's clock reading and the kernel's own; and what may come after the act: a connection's last packets.
SLACK_NS = 50_000_000
AFTER_NS = {"net_close": 3_000_000_000}

# About the act's line itself.
ABOUT = {"act", "form", "type", "syscall", "arch", "seq", "pid", "tid", "ret", "errno", "counts", "t0", "t1", "supported", "why"}
# Facts for people and for other tests: the act's own check that it worked, or state of an object that no event tells.
UNTOLD = {"nlink", "status", "resolve", "dirfd", "thread", "groups", "before_groups", "socket", "file", "writable_addr", "changed",
          "peer_ok", "peer_status", "writer", "reply_bytes", "bytes_read", "query", "answer", "datagrams", "io_uring_op", "asked_family",
          "asked_addr", "asked_port", "asked_unix", "ns_mnt", "ns_uts", "ns_ipc", "ns_user", "ns_pid", "ns_net", "ns_cgroup", "ns_time", "family_"}

OPEN_FLAGS = (("O_TMPFILE", os.O_TMPFILE), ("O_SYNC", os.O_SYNC), ("O_CREAT", os.O_CREAT), ("O_EXCL", os.O_EXCL), ("O_NOCTTY", os.O_NOCTTY),
              ("O_TRUNC", os.O_TRUNC), ("O_APPEND", os.O_APPEND), ("O_NONBLOCK", os.O_NONBLOCK), ("O_DIRECTORY", os.O_DIRECTORY),
              ("O_NOFOLLOW", os.O_NOFOLLOW), ("O_CLOEXEC", os.O_CLOEXEC), ("O_PATH", os.O_PATH))
CLONE_FLAGS = (("CLONE_NEWNS", 0x20000), ("CLONE_NEWCGROUP", 0x2000000), ("CLONE_NEWUTS", 0x4000000), ("CLONE_NEWIPC", 0x8000000),
               ("CLONE_NEWUSER", 0x10000000), ("CLONE_NEWPID", 0x20000000), ("CLONE_NEWNET", 0x40000000), ("CLONE_NEWTIME", 0x80),
               ("CLONE_PARENT", 0x8000), ("CLONE_INTO_CGROUP", 0x200000000))
PROT = (("PROT_READ", 1), ("PROT_WRITE", 2), ("PROT_EXEC", 4))
FAMILIES = {socket.AF_UNIX: "unix", socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6", socket.AF_NETLINK: "netlink", socket.AF_PACKET: "packet"}
SKIP = object()
TYPES = {1: "stream", 2: "dgram", 3: "raw"}


# ---- how a fact reads in an event: convert(value, act, pids) gives the expected value of the field ----

def same(value, act, pids):
    return value


def hexadecimal(value, act, pids):
    return hex(value & (0xffffffff if act["arch"] == "i386" else 0xffffffffffffffff))


def hex_text(value, act, pids):
    return hex(int(value, 16))


def names_of(table, value):
    out = set()
    for name, bits in table:
        if value & bits == bits:
            out.add(name)
            value &= ~bits
    return out


def open_flags(value, act, pids):
    out = names_of(OPEN_FLAGS, value)
    return out if value & os.O_PATH else out | {("O_RDONLY", "O_WRONLY", "O_RDWR")[value & 3]}


def pid(value, act, pids):
    return pids.get(value, value)


def path(value, act, pids):
    """As the kernel has it, without what readlink adds for files that have no name any more; sockets have an inode only."""
    return SKIP if value.startswith(("socket:[", "pipe:[")) else value.removesuffix(" (deleted)")


def local(value, act, pids):
    """An address that the kernel has not chosen yet is not told. A bind tells what was asked for."""
    if act["type"] == "bind" and act["errno"]:
        return act["asked_addr"] if isinstance(value, str) else act["asked_port"]
    if act["type"] == "bind":
        value = act["asked_addr"] if isinstance(value, str) else act["asked_port"] or value
    return None if value in ("0.0.0.0", "::", 0) else value


def protocol(value, act, pids):
    if act.get("family") == socket.AF_PACKET:
        return socket.ntohs(value)
    if value == 0 and act.get("family") in (socket.AF_INET, socket.AF_INET6):
        return {1: socket.IPPROTO_TCP, 2: socket.IPPROTO_UDP}[act["sock_type"]]
    return value


def unix_path(value, act, pids):
    return value or SKIP


def vector(value, act, pids):
    """What the kernel makes of an argument vector: a script's interpreter in front, and since 5.18 never an empty one."""
    if "interpreter" in act:
        return [act["interpreter"], "true", act["arg"], *value[1:]]
    return value


def listener(value, act, pids):
    """Who called listen(2): in these acts the act's process itself."""
    return pids.get(act["pid"], act["pid"]) if act["family"] == socket.AF_UNIX else None


def of_poke(value, act, pids):
    return hexadecimal(value, act, pids) if act["form"] in ("poketext", "pokedata") else SKIP


def of_pidfd(value, act, pids):
    return pid(value, act, pids) if act["form"] == "pidfd" else None


def if_done(value, act, pids):
    return SKIP if act["errno"] else value


def done_bytes(value, act, pids):
    return 0 if act["errno"] else value


def one_namespace(value, act, pids):
    return SKIP if act["form"] == "pidfd" else value


def nth(n):
    return lambda value, act, pids: int(value.split()[n])


NONE = ()
# fact: ((field, convert), …)
FACTS = {
    "path": (("path", path),),
    "path2": (("path2", same),),
    "put_old": (("path2", same),),
    "arg": (("name", same),),
    "name": (("name", same),),
    "fstype": (("name", same),),
    "dev": (("dev", same),),
    "ino": (("ino", same),),
    "mode": (("mode", same),),
    "new_mode": (("mode", lambda v, a, p: v),),
    "fd": (("fd", lambda v, a, p: SKIP if v < 0 else v),),
    "old_fd": (("old_fd", same),),
    "new_fd": (("fd", same),),
    "targetfd": (("old_fd", same),),
    "open_flags": (("open_flags", open_flags),),
    "op_flags": (("op_flags", hexadecimal),),
    "ns_flags": (("ns_flags", lambda v, a, p: names_of(CLONE_FLAGS, v)),),
    "clone_flags": (("clone_flags", lambda v, a, p: names_of(CLONE_FLAGS, v)),),
    "prot": (("prot", lambda v, a, p: names_of(PROT, v)),),
    "address": (("address", hexadecimal),),
    "bytes": (("bytes", same),),
    "bytes_in": (("net.bytes_in", same),),
    "bytes_out": (("net.bytes_out", same),),
    "operation": (("operation", same),),
    "subject": (("subject", same),),
    "signal": (("signal", same),),
    "target_pid": (("target.pid", pid),),
    "child_pid": (("child.pid", pid),),
    "exit_status": (("exit.status", same),),
    "exit_code": (("exit.code", lambda v, a, p: v if v >= 0 else None),),
    "owner_uid": (("owner_uid", same),),
    "owner_gid": (("owner_gid", same),),
    "argv": (("proc.args", vector),),
    "envp": (("proc.env", same),),
    "interpreter": (("proc.exe", same),),
    "target_cgroup": (("target.cgroup", lambda v, a, p: str(v)),),
    "family": (("net.family", lambda v, a, p: FAMILIES[v]),),
    "rfamily": (("net.family", lambda v, a, p: FAMILIES[v]),),
    "lfamily": (("net.family", lambda v, a, p: FAMILIES[v]),),
    "sock_type": (("net.type", lambda v, a, p: TYPES[v]),),
    "proto": (("net.proto", protocol),),
    "raddr": (("net.raddr", same),),
    "rport": (("net.rport", same),),
    "laddr": (("net.laddr", local),),
    "lport": (("net.lport", local),),
    "runix": (("path", unix_path),),
    "lunix": (("path", unix_path),),
    "backlog": (("net.backlog", same),),
    "ifindex": (("net.ifindex", same),),
    "payload": (("payload", lambda v, a, p: base64.b64encode(bytes.fromhex(v)).decode()),),
    "uid": tuple((f"cred.{n}uid", nth(i)) for i, n in enumerate("resf"[:3])) + (("cred.fsuid", nth(3)),),
    "gid": tuple((f"cred.{n}gid", nth(i)) for i, n in enumerate("res")) + (("cred.fsgid", nth(3)),),
    "before_uid": (("cred.old_ruid", nth(0)), ("cred.old_euid", nth(1))),
    "before_gid": (("cred.old_egid", nth(1)),),
    "cap_inh": (("cred.cap_inheritable", hex_text),),
    "cap_prm": (("cred.cap_permitted", hex_text),),
    "cap_eff": (("cred.cap_effective", hex_text),),
    "cap_bnd": (("cred.cap_bounding", hex_text),),
    "cap_amb": (("cred.cap_ambient", hex_text),),
    "before_cap_inh": (),
    "before_cap_prm": (("cred.old_cap_permitted", hex_text),),
    "before_cap_eff": (("cred.old_cap_effective", hex_text),),
    "before_cap_bnd": (),
    "before_cap_amb": (),
    "written": (("flags:written", if_done),),
    "pidfd": (),
}
BY_TYPE = {
    # of a script the interpreter is what runs
    "exec": {"path": (("proc.exe", lambda v, a, p: path(a.get("interpreter", v), a, p)),), "arg": (("proc.script", lambda v, a, p: asked_name(v, a)),),
             "dev": (("proc.exe_dev", same),), "ino": (("proc.exe_ino", lambda v, a, p: SKIP if "interpreter" in a else v),), "mode": (("proc.exe_mode", same),),
             "fd": NONE},
    "exit": {"signal": (("exit.signal", lambda v, a, p: v or None),)},
    "dup_stdio": {"fd": NONE, "mode": (("fd_mode", same),)},
    "setns": {**{f"ns_{n}": (("ino", one_namespace),) for n in ("mnt", "uts", "ipc", "pid", "net", "cgroup", "user", "time")},
              "target_pid": (("target.pid", of_pidfd),)},
    "chroot": {"mode": NONE, "fd": NONE}, "chdir": {"mode": NONE, "fd": NONE},
    "ptrace": {"address": (("address", of_poke),)},
    "pidfd_getfd": {"address": NONE, "bytes": NONE},
    "mem_write": {"path": NONE, "bytes": (("bytes", done_bytes),)}, "vm_write": {"bytes": (("bytes", done_bytes),)},
    # mode bits of others than the kinds that set them
    **{t: {"mode": NONE} for t in ("chmod", "chown", "setxattr", "rename", "unlink", "rmdir")},
    # made by way of a descriptor: what it was called before is not what the act tells
    "link": {"mode": NONE, "arg": NONE, "path": ((lambda a: "path2" if a["form"] == "tmpfile" else "path", path),)},
    "symlink": {"mode": NONE},
    "close_write": {"mode": NONE, "fd": NONE},
    "mprotect_exec": {"mode": NONE, "fd": NONE}, "mmap_exec": {"mode": NONE, "fd": NONE},
    "memfd_create": {"path": NONE, "mode": NONE},
    "module_load": {"mode": NONE}, "kexec": {"mode": NONE, "dev": NONE, "ino": NONE, "path": NONE},
    "bpf": {"fd": NONE}, "perf_event_open": {"fd": NONE},  # the result
    **{t: {"path": (("cgroup.path", lambda v, a, p: SKIP),)} for t in ("cgroup_create", "cgroup_remove", "cgroup_attach")},
    # a connection's bytes are told at its end, its peer where both ends are on this machine and local sockets
    "bind": {"asked_unix": (("path", same),)},
    "connect": {"bytes_in": NONE, "bytes_out": NONE, "target_pid": (("target.pid", listener),)},
    "accept": {"bytes_in": NONE, "bytes_out": NONE, "family": NONE,
               "target_pid": (("target.pid", lambda v, a, p: pid(v, a, p) if a["lfamily"] == socket.AF_UNIX else None),)},
    "net_close": {"fd": NONE, "old_fd": NONE, "target_pid": NONE},
    "send": {"target_pid": NONE, "bytes": (("bytes", lambda v, a, p: v // a.get("datagrams", 1)),)},
    "recv": {"target_pid": NONE}, "dns": {"target_pid": NONE, "fd": NONE},
}
# Kinds that tell what came of several calls, or where the kernel no longer knows how the call was made.
NO_MANNER = {"exec", "exit", "fork", "close_write", "net_close", "cgroup_create", "cgroup_remove", "cgroup_attach"}
# Kinds that are events only when something came of the call.
FAILED_IS_NONE = {"fork", "creds"}
# Kinds whose result is not the call's own: an open's descriptor, written or sent bytes have fields of their own.
NO_RESULT = {"cgroup_create", "cgroup_remove", "cgroup_attach", "open", "comm", "exec", "exit", "fork", "close_write", "net_close", "mmap_exec", "signal", "send", "recv", "dns"}


def asked_name(value, act):
    """The file name as it was asked for, where that is not the executable; of a descriptor the kernel makes up one."""
    if act["syscall"] == "execveat" and act["form"] != "execveat":
        return SKIP
    return None if value == act.get("interpreter", act["path"]) else value


def read_acts(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.strip()]


def title(act):
    return f"{act['act']}.{act['form']}"


def name(act):
    return f"{title(act)}/{act.get('arch', '?')}"


def expectations(act, pids):
    """(field, expected value) for every fact of the act. None: the field must not be there."""
    special = BY_TYPE.get(act["type"], {})
    out = []
    for fact, value in act.items():
        places = special.get(fact, FACTS.get(fact))
        if places is None:
            if fact not in ABOUT and fact not in UNTOLD:
                out.append((f"fact:{fact}", value))
            continue
        for field, convert in places:
            expected = convert(value, act, pids)
            if expected is not SKIP:
                out.append((field(act) if callable(field) else field, expected))
    flags = {}
    if act["type"] not in NO_MANNER:
        flags["io_uring"] = "io_uring_op" in act
        if "io_uring_op" not in act:  # a ring has no 32-bit form
            flags["compat"] = act["arch"] == "i386"
    if act["type"] not in NO_RESULT and act["ret"] is not None and act["ret"] >= 0:
        out.append(("result", act["ret"]))
    return out + [(f"flags:{flag}", on) for flag, on in flags.items()]


def agrees(field, expected, event):
    if field.startswith("flags:"):
        return (field[6:] in event.get("flags", ())) == bool(expected)
    seen = event.get(field)
    if expected == []:
        return seen in (None, [], [""])
    if field == "clone_flags":
        return expected <= set(seen or ())
    if field == "open_flags":
        return seen is not None and expected == {f for f in seen if isinstance(f, str)} - {"O_LARGEFILE"}
    if isinstance(expected, set):
        return seen is not None and expected == set(seen)
    if field == "proc.args" and "args_truncated" in event.get("flags", ()) or field == "proc.env" and "env_truncated" in event.get("flags", ()):
        return bool(seen) and all(e.startswith(s) for e, s in zip(expected, seen)) and len(seen) <= len(expected)
    return seen == expected


def differences(act, event, pids):
    """{field: "expected X, saw Y"} where the event says otherwise than the act."""
    out = {}
    for field, expected in expectations(act, pids):
        if field.startswith("fact:"):
            out[field] = "this fact of the act is compared with nothing: give it a place in acts_match.py"
        elif not agrees(field, expected, event):
            seen = event.get("flags", ()) if field.startswith("flags:") else event.get(field, "no such field")
            out[field] = f"expected {sorted(expected) if isinstance(expected, set) else expected!r}, saw {seen!r}"[:400]
    if act["ret"] is not None:
        if act["errno"] and event.get("error") != act["errno"]:
            out["error"] = f"expected {act['errno']}, saw {event.get('error')!r} (result {event.get('result')})"
        elif not act["errno"] and event.get("result", 0) < 0 and act["type"] != "net_close":  # whose result is why the connection ended
            out["error"] = f"expected success, saw {event['result']}"
    return out


def is_told(act):
    """Whether there should be an event: the act's own word, but for credentials that were not other than before."""
    changed = any(value != act.get(key[7:]) for key, value in act.items() if key.startswith("before_"))
    return act["counts"] and (act["type"] != "creds" or changed)


TWICE = "the act was told"
# What these do first, within their time, looks alike: the mount that is changed, the attribute that is removed, an address that may not be there, the
# directory that all opens begin with.
ALIKE = {"mount_setattr.mount_setattr", "removexattr.removexattr", "removexattr.lremovexattr", "removexattr.fremovexattr", "bind.inet6", "open.directory"}


class Matcher:
    """Events by type and process; check(act) for each act of the same time.

    container: only events of that id. namespace: the acts' process ids are those of the container's own pid namespace,
    proc.vpid; the fork events tell what the other processes that acts name are called on the node.
    """

    def __init__(self, events, container=None, namespace=False):
        self.namespace = namespace
        self.key = "proc.vpid" if namespace else "proc.pid"
        self.by_key = {}
        self.forks = {}
        for e in events:
            if container and e.get("container.id", e.get("origin.id")) != container:
                continue
            self.by_key.setdefault((e["type"], e.get(self.key)), []).append(e)
            if namespace and e["type"] == "fork" and "child.vpid" in e:
                self.forks.setdefault(e["child.vpid"], []).append((e["boottime"], e["child.pid"], e["proc.vpid"]))
        for of in self.forks.values():
            of.sort()

    def pids(self, act):
        """The host's process ids of those that the act names."""
        if not self.namespace:
            return {}
        out = {}
        for fact in ("target_pid", "child_pid", "pid"):
            made = [f for f in self.forks.get(act.get(fact), ()) if f[0] <= act["t1"] + SLACK_NS]
            mine = [f for f in made if f[2] == act["pid"]]
            if made:
                out[act[fact]] = (mine or made)[-1][1]
        if act.get("clone_flags", 0) & 0x20000000:  # it is the first of a pid namespace
            made = [f for f in self.forks.get(1, ()) if f[2] == act["pid"] and act["t0"] - SLACK_NS <= f[0] <= act["t1"] + SLACK_NS]
            if made:
                out[act["child_pid"]] = made[-1][1]
        return out

    def candidates(self, act):
        until = act["t1"] + AFTER_NS.get(act["type"], SLACK_NS)
        # an open file's bytes are told of the process that wrote them first
        seen = [e for p in {act["pid"], act.get("writer", act["pid"])} for e in self.by_key.get((act["type"], p), ())
                if act["t0"] - SLACK_NS <= e["boottime"] <= until]
        return [e for e in seen if e.get("error") == act["errno"]] or seen

    def check(self, act, known=()):
        """Problems of one act, [] when an event tells it rightly but for what `known` allows: rows of DIFFERENCES for it."""
        if act.get("crashed"):
            return [f"the act itself died: {act}"]
        seen = self.candidates(act)
        absent = [row for row in known if row.field == "event"]
        if act["type"] in FAILED_IS_NONE and act["errno"]:
            return [f"expected no {act['type']} event of a call that failed, saw {json.dumps(e)[:900]}" for e in seen[:1]]
        if not is_told(act):
            if act.get("written") is False:  # told, but not as memory that was written before
                seen = [e for e in seen if "written" in e.get("flags", ())]
            if absent:
                return [] if seen else [f"no longer differs, yet it is in DIFFERENCES: {absent[0].reason}"]
            return [f"expected no {act['type']} event, saw {json.dumps(e)[:900]}" for e in seen[:1]] + \
                ([f"act: {json.dumps(act)[:900]}"] if seen else [])
        if absent and "io_uring_op" in act:  # what the act does without the ring before is told
            seen = [e for e in seen if "io_uring" in e.get("flags", ())]
        if absent:
            return [f"an event is there, yet DIFFERENCES says that there is none: {absent[0].reason}"] if seen else []
        if not seen:
            near = sorted({t for t, p in self.by_key if p == act["pid"]})
            return [f"expected a {act['type']} event of process {act['pid']}, saw only {near} of it", f"act: {json.dumps(act)[:900]}"]
        if act["counts"] and "datagrams" in act and sum(e["count"] for e in seen) != act["datagrams"]:
            return [f"expected events of {act['datagrams']} datagrams, saw {[e['count'] for e in seen]}"]
        pids = self.pids(act)
        allowed = {row.field: row for row in known}
        best, right = None, []
        for e in seen:
            differ = differences(act, e, pids)
            problems = [f"{f}: {text}" for f, text in differ.items() if f not in allowed]
            asked = {f for f, _ in expectations(act, pids)} | {"error"}
            problems += [f"{f}: agrees, yet it is in DIFFERENCES: {row.reason}" for f, row in allowed.items() if f in asked - differ.keys()]
            if not problems:
                right.append(e)
            elif best is None or len(problems) < len(best[0]):
                best = problems, e
        during = [e for e in right if act["t0"] <= e["boottime"] <= act["t1"] and "repeats" not in e.get("flags", ())]  # not what prepares or clears away
        if len(during) > act.get("datagrams", 1) and name(act).split("/")[0] not in ALIKE:
            return [f"{TWICE} {len(during)} times: {json.dumps(e)[:900]}" for e in during[:3]]
        if right:
            return []
        return best[0] + [f"act:   {json.dumps(act)[:900]}", f"event: {json.dumps(best[1])[:1500]}"]


class Difference:
    """One row: acts by pattern of title/arch, per backend of the act's hook; `only` narrows it to kernels or places."""

    def __init__(self, backend, acts, field, reason, only=None):
        self.backend, self.acts, self.field, self.reason, self.only = backend, acts.split(), field, reason, only

    def holds(self, act, backend, place):
        return (self.backend in (backend, "any") and any(fnmatch.fnmatchcase(name(act), p) for p in self.acts)
                and (self.only is None or self.only(act, place)))


BY_NAME = ("rename.* link.* symlink.* unlink.unlink/* unlink.unlinkat/* unlink.int80/* rmdir.* mkdir.* mknod.* chmod.chmod/* chmod.setuid_bit/*"
           " chmod.fchmodat*/* chmod.int80/* chown.chown*/* chown.lchown/* chown.fchownat/* setxattr.*setxattr/* removexattr.*removexattr/*"
           " io_uring.renameat/* io_uring.unlinkat*/* io_uring.mkdirat/* io_uring.symlinkat/* io_uring.linkat/*")
DIFFERENCES = [
    *(Difference("fallback", BY_NAME, f, "the exit of a call by name has the caller's text and no kernel object any more",
                 only=lambda act, place: act["form"] not in ("fsetxattr", "fremovexattr")) for f in ("dev", "ino")),
    *(Difference("any", "open.nofollow_eloop/* open.eexist/* open.eacces/*", f, "an open that failed has no object: the caller's text is told") for f in ("dev", "ino", "mode")),
    Difference("preferred", "open.[!e]* io_uring.openat/* io_uring.openat_async/* io_uring.openat_sqpoll/* io_uring.openat2/*", "fd",
               "the file is open before it has a descriptor", only=lambda act, place: act["form"] not in ("nofollow_eloop", "by_handle")),
    Difference("preferred", "rename.noreplace_eexist/*", "dev", "refused before the file was looked at"),
    Difference("preferred", "rename.noreplace_eexist/*", "ino", "refused before the file was looked at"),
    *(Difference("preferred", "setxattr.setxattr/* setxattr.lsetxattr/* removexattr.removexattr/* removexattr.lremovexattr/*", f,
                 "attributes by path are seen as the call that sets them, whose object is gone at its exit") for f in ("dev", "ino")),
    Difference("any", "mprotect.file_cow/*", "dev", "a mapping's file is the one below the overlay", only=lambda act, place: place.get("overlay")),
    *(Difference("preferred", "io_uring.connect/* io_uring.connect_refused/*", f, "a ring connects without waiting: its first answer is told")
      for f in ("error",)),
    Difference("preferred", "io_uring.connect/*", "result", "a ring connects without waiting: its first answer is told"),
    Difference("any", "move_mount.fsmount/*", "name", "the mount's descriptor is told, not what is behind it"),
    Difference("any", "move_mount.open_tree/*", "path2", "the mount's descriptor is told, not what is behind it"),
    Difference("preferred", "io_uring.connect_refused/*", "net.laddr", "a ring connects without waiting, and its first answer has the address chosen for it",
               only=lambda act, place: place.get("kernel", (99,)) < (5, 15)),
    Difference("fallback", "udp.write_connected/*", "event", "write(2) on a socket is not looked at"),
    *(Difference("fallback", forms, field, "the tracepoints of io_uring do not say which request they are about before 5.19",
                 only=lambda act, place: place.get("kernel", (99,)) < (5, 19))
      for forms, field in (("io_uring.openat*/* io_uring.renameat/* io_uring.unlinkat*/* io_uring.connect*/* io_uring.send_udp/* io_uring.sendmsg_udp/*"
                            " io_uring.accept/*", "event"), ("io_uring.write_close/*", "bytes"))),
]


def known_differences(act, backend, place=None):
    return [d for d in DIFFERENCES if d.holds(act, backend, place or {})]
