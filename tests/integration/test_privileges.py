"""What the sensor and its children may do: no more than the table of the program says."""
import os
import pathlib
import re
import signal
import stat
import subprocess

import docker_env
import pytest
import sensor_env
from docker_env import BASE_IMAGE, wait_for
from test_inspector import query, send
from test_report import comm, parent

NUMBERS = {"CAP_DAC_OVERRIDE": 1, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SETPCAP": 8, "CAP_NET_ADMIN": 12, "CAP_SYS_CHROOT": 18, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21}


@pytest.fixture(scope="module")
def sensor(request, build, docker):
    with sensor_env.Sensor(build, docker_host=docker.host, backend=request.config.getoption("--backend")) as s:
        wait_for(lambda: s.status()["inspector"]["state"] == "ready", 10, "the inspector is ready")
        yield s


def kept():
    text = (sensor_env.REPO / "src" / "sensor" / "privileges.tbl.h").read_text()
    return set(re.findall(r"^BH_KEEP\((CAP_\w+),", text, re.M))


def status(path):
    return dict(line.split(":\t", 1) for line in pathlib.Path(path).read_text().splitlines() if ":\t" in line)


def names(mask):
    value = int(mask, 16)
    known = {n for n, bit in NUMBERS.items() if value >> bit & 1}
    rest = value & ~sum(1 << NUMBERS[n] for n in known)
    return known | ({f"others {rest:x}"} if rest else set())


def children(pid, name):
    return [int(p) for p in os.listdir("/proc") if p.isdigit() and os.path.exists(f"/proc/{p}/stat") and parent(p) == pid and comm(p).startswith(name)]


def test_every_thread_of_the_sensor_has_the_capabilities_of_the_table_alone(sensor):
    tasks = sorted(pathlib.Path(f"/proc/{sensor.pid}/task").iterdir())
    assert len(tasks) > 8, f"expected its threads, saw {len(tasks)}"
    for task in tasks:
        s = status(task / "status")
        for field in ("CapPrm", "CapEff", "CapBnd"):
            assert names(s[field]) == kept(), f"expected {sorted(kept())} in {field} of {s['Name']}, saw {sorted(names(s[field]))}"
        assert int(s["CapInh"], 16) == int(s["CapAmb"], 16) == 0, f"saw {s['CapInh']} {s['CapAmb']}"
        assert s["NoNewPrivs"] == "1"


def test_documented_table_is_the_programs(sensor):
    text = (sensor_env.REPO / "SECURITY.md").read_text()
    assert set(re.findall(r"^\| `(CAP_\w+)` \|", text, re.M)) == kept()


def test_what_it_keeps_and_listens_on_is_closed_to_others(sensor):
    """Directories keep others out; and each file and socket would by itself. The central's part is its own user's: test_central.py."""
    kinds = set()
    for top in (sensor.run_dir, sensor.data_dir):
        assert top.stat().st_uid == 0 and stat.S_IMODE(top.stat().st_mode) & 0o022 == 0, f"expected {top} to be root's to change, saw {top.stat()}"
        for path in top.rglob("*"):
            if path.is_relative_to(sensor.run_dir / "bpf") or path.is_symlink():
                continue
            st = path.stat()
            kinds.add((stat.S_IFMT(st.st_mode), path.parent == top))
            assert st.st_uid == 0 and not st.st_mode & 0o022, f"expected nobody else to change {path}, saw {st}"
            closed = [p for p in (path, *path.parents) if p.is_relative_to(top) and not stat.S_IMODE(p.stat().st_mode) & 0o077]
            assert closed, f"expected {path} to be closed to others, saw {oct(st.st_mode)}"
            if stat.S_ISSOCK(st.st_mode):
                assert not stat.S_IMODE(st.st_mode) & 0o077, f"expected the socket {path} to be root's alone, saw {oct(st.st_mode)}"
    assert {k for k, _ in kinds} >= {stat.S_IFSOCK, stat.S_IFREG, stat.S_IFDIR}, kinds
    assert not stat.S_IMODE((sensor.run_dir / "bpf").stat().st_mode) & 0o077, "the pinned programs"


def test_canary_has_no_more_than_the_sensor(sensor):
    for pid in children(sensor.pid, "bulkhead-canary"):
        s = status(f"/proc/{pid}/status")
        assert names(s["CapPrm"]) <= kept() and names(s["CapBnd"]) <= kept() and s["NoNewPrivs"] == "1"


def test_guard_may_send_signals_and_nothing_else(sensor):
    guards = children(sensor.pid, "bulkhead-guard")
    assert len(guards) == 1, guards
    s = status(f"/proc/{guards[0]}/status")
    assert names(s["CapPrm"]) == names(s["CapEff"]) == {"CAP_KILL"} and s["NoNewPrivs"] == "1", s
    assert sorted(os.listdir(f"/proc/{guards[0]}/fd")) == ["3"], "its socket, and nothing of the sensor's"


def test_inspector_has_nothing_and_all_layers(sensor, build):
    sanitized = b"__asan_init" in (build / "src" / "inspect" / "bulkhead-inspect").read_bytes()  # whose own calls no filter could list
    layers = 1 | 2 | 4 | (0 if sanitized else 8) | 32 | 64
    assert sensor.status()["inspector"]["layers"] & layers == layers, f"saw {sensor.status()['inspector']}"
    s = status(f"/proc/{sensor.status()['inspector']['pid']}/status")
    assert int(s["CapPrm"], 16) == int(s["CapEff"], 16) == int(s["CapBnd"], 16) == 0, f"saw {s}"
    assert s["Uid"].split() == ["65534"] * 4 and s["Gid"].split() == ["65534"] * 4 and s["NoNewPrivs"] == "1"
    assert sanitized or s["Seccomp"] == "2"


def test_a_replaced_canary_still_sees_every_hook(sensor):
    effective = {h["type"]: h["effective"] for h in sensor.status()["hooks"]}
    old = children(sensor.pid, "bulkhead-canary")[0]
    os.kill(old, signal.SIGKILL)
    sensor.wait_events(lambda evs: [e for e in evs if e.get("action") == "canary_back"], 10, "another canary", type="sensor")
    now = {h["type"]: h["effective"] for h in sensor.status()["hooks"]}
    assert now == effective, f"expected the same hooks to have an effect, saw {[t for t in now if now[t] != effective[t]]}"


def test_a_hung_inspector_can_be_ended(sensor, docker):
    """It runs as another user: without CAP_KILL it could not be."""
    cid = docker.run("-d", BASE_IMAGE, "sleep", "1000")
    before = sensor.status()["inspector"]
    os.kill(before["pid"], signal.SIGSTOP)
    try:
        send(cid, query("hang.example.com"), pause=0.01).wait(10)
        wait_for(lambda: (sensor.status()["inspector"]["starts"] > before["starts"], sensor.status()["inspector"]), 60, "another inspector")  # what it has in hand may be an ELF file, which may take five seconds, and five times that on the clock
        assert not pathlib.Path(f"/proc/{before['pid']}").exists()
        assert sensor.status()["inspector"]["lost"]["hung"] >= 1
    finally:
        docker.remove(cid)
        try:
            os.kill(before["pid"], signal.SIGKILL)
        except ProcessLookupError:
            pass


def test_kernel_side_is_restored_with_what_is_left(sensor):
    pins = sensor.run_dir / "bpf"
    before = {p.name for p in pins.iterdir()}
    subprocess.run(["umount", "-l", pins], check=True, env=docker_env.system_env())
    sensor.wait_events(lambda evs: [e for e in evs if e.get("action") == "pins_restored"], 15, "the pins again", type="sensor")
    assert {p.name for p in pins.iterdir()} == before
