"""Exact accounting under flood: what a program did = what was delivered + folded + lost, and the rare acts beside the flood all arrive."""
import itertools
import json
import os
import pathlib
import subprocess
import sys
import time

import pytest
import sensor_env
from boxes import STEP_ACTS, Box, acct, missing_steps, rss_kib, type_numbers
from docker_env import wait_for

# kind of flood → what it counts that is an event, by its word in the program's output
FLOODS = {
    "open": {"open": "open"},
    "chmod": {"chmod": "chmod"},
    "paths": {"open": "open", "unlink": "unlink"},
    "connect": {"socket": "socket", "connect": "connect"},
    "sockets": {"socket": "socket", "connect": "connect"},
    "udp": {"send": "send", "socket": "socket"},
    "fork": {"fork": "fork", "exit": "exit"},
    "exec": {"fork": "fork", "exec": "exec", "exit": "exit"},
}
STEPS = 20
ROUND = itertools.count()


def deltas(before, after):
    zero = {"generated": 0, "delivered": 0, "folded": 0, "over": 0, "lost": [0] * 4}
    out = {}
    for t, a in after.items():
        b = before.get(t, zero)
        out[t] = {k: a[k] - b[k] for k in ("generated", "delivered", "folded", "over")}
        out[t]["lost"] = sum(a["lost"]) - sum(b["lost"])
    return out


def counted(events, kind):
    return sum(e["count"] for e in events if e["type"] == kind)


def troubles(sensor):
    """What may explain a missing event: losses by kind, ring use, sensor events."""
    status = sensor.status()
    lost = {h["type"]: {k: n for k, n in h["lost"].items() if n} for h in status["hooks"] if any(h["lost"].values())}
    return {"lost": lost, "rings": status["rings"], "events": status["events"],
            "said": [(e["action"], e.get("attributes")) for e in sensor.events(type="sensor")][-5:]}


def check_equation(status):
    for h in status["hooks"]:
        lost = sum(h["lost"].values())
        assert h["generated"] == h["delivered"] + h["folded"] + lost, f"expected generated = delivered + folded + lost, saw {h}"


def steps_beside_the_flood(sensor, kind, seconds, threads, loud, quiet):
    """Numbered steps beside the flood, in its container and in another; all must be recorded, once. What the flood says of itself."""
    first = 1 + 100 * next(ROUND)
    n = loud.start(f"/acts flood {kind} --seconds {seconds + 2} --threads {threads} >/ctl/flood.json & sleep 0.5; "
                   f"/acts steps --count {STEPS} --first {first} --interval-ms {1000 * seconds // STEPS}; wait")
    m = quiet.start(f"sleep 0.5; /acts steps --count {STEPS} --first {1000 + first} --interval-ms {1000 * seconds // STEPS}")
    told = [json.loads(line) for line in loud.wait(n).splitlines()]
    others = [json.loads(line) for line in quiet.wait(m).splitlines()]

    # a flood of one kind may fold that kind's own steps, and nothing else
    own = set(FLOODS[kind].values())
    told = [s for s in told if STEP_ACTS.get(s["act"]) not in own]
    for name, steps in ((loud.name, told), (quiet.name, others)):
        events = []

        def arrived():
            events[:] = sensor.events(container=name)
            missing = missing_steps(steps, events)[0]
            return not missing, f"missing {missing} of {len(events)} events; {troubles(sensor)}"
        wait_for(arrived, 10, f"all numbered steps of {name} are recorded\nlog {sensor.log}", every=0.3)
        time.sleep(1.2)  # repeats come when their window is swept
        twice = missing_steps(steps, sensor.events(container=name))[1]
        assert not twice, f"expected each step of {name} once, saw again: {twice[:10]}"
    return json.loads((loud.dir / "flood.json").read_text())


@pytest.mark.deadline(400)
@pytest.mark.parametrize("kind", FLOODS)
def test_flood_is_counted_exactly_and_hides_nothing(new_sensor, docker, full, kind, capsys):
    sensor = new_sensor()
    number = type_numbers(sensor)
    seconds = 20 if full else 2
    threads = max(2, os.cpu_count())
    with Box(docker, f"flood-{kind}", "--pids-limit", "4000") as loud, Box(docker, f"quiet-{kind}") as quiet:
        cgroup = loud.cgroup(sensor)
        # what the shell and the program add, whatever the number of acts: measured with none
        loud.json(f"/acts flood {kind} --max 0 --threads {threads}")
        before = acct(sensor, cgroup)
        loud.json(f"/acts flood {kind} --max 0 --threads {threads}")
        base = deltas(before, acct(sensor, cgroup))

        # alone: the counts
        before = acct(sensor, cgroup)
        flood = loud.json(f"/acts flood {kind} --seconds {seconds} --threads {threads}")[0]
        after = deltas(before, acct(sensor, cgroup))
        for word, event in FLOODS[kind].items():
            t = number[event]
            got, acts = after[t], flood["counts"][word]
            extra = base.get(t, {"generated": 0})["generated"]
            assert got["generated"] - extra == acts, f"expected {acts} {event} acts to be counted, saw {got['generated']} less {extra}: {got}"
            assert got["generated"] == got["delivered"] + got["folded"] + got["lost"], f"{event}: {got}"

        for again in (True, True, False):
            stalls = sensor.status()["events"]["stalls"]
            try:
                both = steps_beside_the_flood(sensor, kind, seconds, threads, loud, quiet)
                break
            except AssertionError:
                # The machine did not run the sensor for half a second and more: that says nothing about the flood. It is counted all the same.
                if not again or sensor.status()["events"]["stalls"] == stalls:
                    raise

        own = set(FLOODS[kind].values())

        # what the recorder has: counts of all events together are the acts, when nothing was lost
        total = acct(sensor, cgroup)
        status = sensor.status()
        check_equation(status)
        lost = {e: sum(total[number[e]]["lost"]) for e in own}

        def sums():
            events = sensor.events(container=loud.name)
            got = {e: counted(events, e) for e in own}
            want = {e: total[number[e]]["generated"] for e in own if not lost[e]}
            return all(got[e] == want[e] for e in want), {"recorded": got, "generated": want, "lost": lost}
        wait_for(sums, 12, "the counts of the recorded events add up to the acts", every=0.5)
        # the whole machine's: some are on their way while others of its processes go on
        delivered = {h["type"]: h["delivered"] for h in sensor.status()["hooks"] if h["type"] in own}

        def received():
            now = [h for h in sensor.status()["hooks"] if h["type"] in own]
            return all(delivered[h["type"]] <= h["received"] <= h["delivered"] for h in now), (delivered, now)
        wait_for(received, 5, "what was delivered was received, and no more")
        with capsys.disabled():
            print(f"\n  flood {kind}: {flood['per_second']:,} acts/s alone, {both['per_second']:,} with steps; "
                  + ", ".join(f"{e} {after[number[e]]}" for e in sorted(own)) + f"; sensor {rss_kib(sensor.pid) // 1024} MiB")
    if not sensor_env.sanitized(sensor.build):  # a sanitizer's own memory is most of what is resident then
        assert rss_kib(sensor.pid) < 256 * 1024, f"expected less than 256 MiB resident, saw {rss_kib(sensor.pid)} KiB"


BATCH = r"""
import ctypes, os, socket, struct, sys
n = 2000
with open(sys.argv[1] + "/cgroup.procs", "w") as f:
    f.write("0")
r, s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
r.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
r.bind(("127.0.0.1", 0))
s.connect(r.getsockname())
for i in range(n):
    s.send(b"x")
iov, buf, headers = (ctypes.c_uint64 * (2 * n))(), ctypes.create_string_buffer(n * 8), ctypes.create_string_buffer(n * 64)
for i in range(n):
    iov[2 * i], iov[2 * i + 1] = ctypes.addressof(buf) + 8 * i, 8
    struct.pack_into("QIIQQQQI", headers, 64 * i, 0, 0, 0, ctypes.addressof(iov) + 16 * i, 1, 0, 0, 0)
print(ctypes.CDLL(None).syscall(299, r.fileno(), headers, n, 0, None))
"""


def test_batch_longer_than_the_kernel_programs_look_at_is_counted(new_sensor):
    sensor = new_sensor(args=["--no-docker"], backend="fallback")
    number = type_numbers(sensor)["recv"]
    group = pathlib.Path(sensor.status()["cgroup"]["mount"]) / "bulkhead-batch" / ("ba" * 32)
    group.mkdir(parents=True)
    try:
        cgroup = group.stat().st_ino
        got = int(subprocess.run([sys.executable, "-c", BATCH, group], capture_output=True, text=True, check=True).stdout)
        assert got == 2000, f"expected 2,000 messages at once, saw {got}"
        recv = acct(sensor, cgroup)[number]
        assert recv["generated"] == 2000 and sum(recv["lost"]) == 2000 - 1024, f"expected each message to be counted, and those beyond 1,024 as lost, saw {recv}"
        assert recv["generated"] == recv["delivered"] + recv["folded"] + sum(recv["lost"]), recv
    finally:
        group.rmdir()
        group.parent.rmdir()


HIGH = r"""
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
with open(sys.argv[1] + "/cgroup.procs", "w") as f:
    f.write("0")
for number, name in ((5000, "one"), (5001, "two"), (5000 + 2048, "three")):
    fd = os.open(f"{sys.argv[2]}/{name}", os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(fd, number)
    os.close(fd)
    os.write(number, b"x" * number)
"""


def test_files_behind_high_descriptors_are_told_or_counted(new_sensor, tmp_path):
    sensor = new_sensor(args=["--no-docker"], backend="fallback")
    number = type_numbers(sensor)["close_write"]
    group = pathlib.Path(sensor.status()["cgroup"]["mount"]) / "bulkhead-high" / ("bc" * 32)
    group.mkdir(parents=True)
    try:
        cgroup = group.stat().st_ino
        subprocess.run([sys.executable, "-c", HIGH, group, tmp_path], check=True)

        def told():
            events = sensor.events(type="close_write")
            return {pathlib.Path(e["path"]).name: e["bytes"] for e in events if e.get("path", "").startswith(str(tmp_path))}
        wait_for(lambda: (told() == {"one": 5000, "two": 5001}, told()), 5, "the two whose numbers have a place are told when the process ends")
        count = acct(sensor, cgroup)[number]
        assert count["lost"][2] == 1 and count["generated"] == count["delivered"] + count["folded"] + sum(count["lost"]), \
            f"expected the third, whose place is taken, to be counted as lost (state_full), saw {count}"
    finally:
        group.rmdir()
        group.parent.rmdir()


ELSEWHERE = r"""
import ctypes, os, socket, sys, threading, time
with open(sys.argv[1] + "/cgroup.procs", "w") as f:
    f.write("0")
libc, path = ctypes.CDLL(None, use_errno=True), sys.argv[2].encode()
listener = socket.socket(socket.AF_UNIX)
listener.bind(path.decode())
listener.listen(0)
first = socket.socket(socket.AF_UNIX)
first.connect(path.decode())  # the queue is full: the next one blocks
fd, got = socket.socket(socket.AF_UNIX).detach(), []
address = socket.AF_UNIX.to_bytes(2, "little") + path + b"\0"
blocked = threading.Thread(target=lambda: got.append(libc.connect(fd, address, len(address))))
blocked.start()
time.sleep(0.3)
keep = os.dup(fd)
os.close(fd)
assert os.open("/dev/null", os.O_RDONLY) == fd
listener.accept()
blocked.join()
print(got[0])
"""


def test_connect_whose_descriptor_leads_elsewhere_is_told(new_sensor, tmp_path):
    sensor = new_sensor(args=["--no-docker"], backend="fallback")
    group = pathlib.Path(sensor.status()["cgroup"]["mount"]) / "bulkhead-elsewhere" / ("bd" * 32)
    group.mkdir(parents=True)
    path = str(tmp_path / "s")
    try:
        got = subprocess.run([sys.executable, "-c", ELSEWHERE, group, path], capture_output=True, text=True, check=True).stdout.strip()
        assert got == "0", f"expected the blocked connect to succeed, saw {got}"

        def told():
            seen = [e for e in sensor.events(type="connect") if e.get("path") == path]
            return len(seen) == 2 and any("path_from_user" in e["flags"] and "unreadable" in e["flags"] for e in seen if "flags" in e), seen
        wait_for(told, 5, "both connects are told, the one whose descriptor is gone by what its caller gave")
    finally:
        group.rmdir()
        group.parent.rmdir()


NAMES = r"""
import mmap, os, stat, sys
with open(sys.argv[1] + "/cgroup.procs", "w") as f:
    f.write("0")
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # what one processor sees is folded
os.chdir(sys.argv[2])


def make(name):
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, b"x")
    number = os.fstat(fd).st_ino
    os.close(fd)
    return number


for i in range(20):
    number = make(f"gone{i}")
    os.unlink(f"gone{i}")
    if make(f"new{i}") == number:
        break
else:
    i = -1
number = make("one")
os.link("one", "two")
for name in ("one", "two"):
    os.chmod(name, 0o640)
    fd = os.open(name, os.O_RDONLY)
    mmap.mmap(fd, 1, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC)
    os.close(fd)
for _ in range(50):
    os.close(os.open("one", os.O_RDONLY))
for name in ("a", "b"):
    os.mkdir(name)
    os.chdir(name)
    for call in (os.unlink, lambda missing: os.open(missing, os.O_RDONLY)):
        try:
            call("missing")
        except FileNotFoundError:
            pass
    os.chdir("..")
    os.rmdir(name)
for target in ("here", "there"):
    os.symlink(target, "link")
    os.unlink("link")
for minor in (3, 5):
    os.mknod("node", stat.S_IFCHR | 0o600, os.makedev(1, minor))
    os.unlink("node")
for name in ("from1", "from2"):
    make(name)
    os.rename(name, "to")
    os.unlink("to")
# as the loader of the next program opens it
with open("/proc/self/maps") as f:
    libc = next(line.split()[-1] for line in f if "/libc.so.6" in line)
print(i, libc, flush=True)
os.close(os.open(libc, os.O_RDONLY))
os.execv(sys.argv[3], ["cat", "/dev/null"])
"""


def test_an_act_on_another_name_or_of_another_program_is_no_repeat(new_sensor, tmp_path):
    sensor = new_sensor(args=["--no-docker"])
    group = pathlib.Path(sensor.status()["cgroup"]["mount"]) / "bulkhead-names" / ("be" * 32)
    group.mkdir(parents=True)
    try:
        cgroup = group.stat().st_ino
        cat = os.path.realpath("/bin/cat")
        i, libc = subprocess.run([sys.executable, "-c", NAMES, group, tmp_path, cat], capture_output=True, text=True, check=True).stdout.split()
        i = int(i)
        want = {(kind, name) for kind in ("open", "chmod", "mmap_exec") for name in ("one", "two")}
        want |= {(kind, f"{name}/missing") for kind in ("open", "unlink") for name in ("a", "b")}
        want |= {("rmdir", "a"), ("rmdir", "b"), ("symlink", "link", "here"), ("symlink", "link", "there"), ("rename", "from1", "to"), ("rename", "from2", "to")}
        want |= {("mknod", "node", 0x103), ("mknod", "node", 0x105), ("open", libc, cat)}
        if i >= 0:  # else the file system does not use an inode's number again
            want |= {(kind, f"{name}{i}") for kind in ("open", "close_write") for name in ("gone", "new")}

        def told():
            seen = set()
            for e in sensor.events():
                act = [e["type"]] + [e[k].removeprefix(f"{tmp_path}/") for k in ("path", "path2") if k in e]
                if e["type"] == "mknod":
                    act.append(e.get("rdev"))
                seen.add(tuple(act))
                if "repeats" not in e.get("flags", ()):
                    seen.add((*act, e.get("proc.exe")))
            return want <= seen, sorted(want - seen, key=str)
        wait_for(told, 5, "each act is told under the name of its own file")
        numbers = type_numbers(sensor)
        counts = acct(sensor, cgroup)
        assert counts[numbers["open"]]["folded"] >= 40, f"expected repeats under one name to be folded, saw {counts[numbers['open']]}"
        for kind in {w[0] for w in want}:
            n = counts[numbers[kind]]
            assert n["generated"] == n["delivered"] + n["folded"] + sum(n["lost"]) and not any(n["lost"]), f"{kind}: {n}"
    finally:
        group.rmdir()
        group.parent.rmdir()
