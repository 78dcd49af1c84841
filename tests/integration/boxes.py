"""Containers that run commands on demand without a new `docker exec`, and the kernel's own counts for them.

A runtime's exec makes acts of its own in the container's cgroup (dozens of opens, of changing number), so that exact counts cannot be compared.
A Box is a shell in a container that reads command lines from a FIFO: what it adds to a command is the same each time, and can be measured with
a command that does nothing.
"""
import json
import os
import pathlib
import subprocess
import tempfile

import docker_env
from docker_env import wait_for

STEP_ACTS = {"exec": "exec", "connect": "connect", "setuid": "creds", "delete_module": "module_unload"}


class Box:
    """A container with a shell in it; run() gives what a command printed. .cgroup(sensor) is the id of its cgroup."""

    def __init__(self, docker, name, *options, image=docker_env.BASE_IMAGE):
        self.docker, self.name = docker, name
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bhbox-", dir=os.environ.get("BH_TEST_DIR", "/tmp")))
        os.chmod(self.dir, 0o777)
        os.mkfifo(self.dir / "in")
        self._in = os.open(self.dir / "in", os.O_RDWR | os.O_CLOEXEC)
        self._n = 0
        self.id = docker.run("-d", "--name", name, "-v", f"{self.dir}:/ctl", *options, image, "sh", "-c",
                             "while read -r n line; do sh -c \"$line\" >/ctl/out.$n 2>/ctl/err.$n; echo $? >/ctl/status.$n; done </ctl/in")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def start(self, command):
        """Begins a command line; wait() with what this gave."""
        self._n += 1
        os.write(self._in, f"{self._n} {command}\n".encode())
        return self._n

    def wait(self, n, deadline=60.0, ok=(0,)):
        status = self.dir / f"status.{n}"
        wait_for(lambda: status.exists() and status.read_text().endswith("\n"), deadline, f"command {n} in {self.name} ends")
        out, err = (self.dir / f"out.{n}").read_text(errors="replace"), (self.dir / f"err.{n}").read_text(errors="replace")
        got = int(status.read_text())
        assert ok is None or got in ok, f"expected status {ok}, saw {got}\n{out[-2000:]}{err[-2000:]}"
        return out

    def run(self, command, deadline=60.0, ok=(0,)):
        return self.wait(self.start(command), deadline, ok)

    def json(self, command, deadline=60.0, ok=(0, 3)):
        """The JSON lines that a command printed."""
        return [json.loads(line) for line in self.run(command, deadline, ok).splitlines()]

    def cgroup(self, sensor):
        mount = sensor.status()["cgroup"]["mount"]
        return os.stat(f"{mount}/docker/{self.id}").st_ino

    def close(self):
        os.close(self._in)
        self.docker.docker("rm", "-f", "-v", self.name, check=False)
        for f in self.dir.iterdir():
            if not f.is_dir():
                f.unlink()
        self.dir.rmdir()


def dump(sensor, name):
    """A pinned map of the sensor as bpftool tells it."""
    r = subprocess.run(["bpftool", "-j", "map", "dump", "pinned", f"{sensor.run_dir}/bpf/{name}"], capture_output=True, text=True, env=docker_env.system_env())
    assert r.returncode == 0, f"bpftool map dump {name}: {r.stdout}{r.stderr}"
    return json.loads(r.stdout)


def acct(sensor, cgroup):
    """{type number: {generated, delivered, folded, over, lost: [..]}} of one cgroup, summed over processors, read from the kernel itself."""
    out = {}
    for row in dump(sensor, "acct"):
        key = bytes(int(b, 16) for b in row["key"])
        if int.from_bytes(key[:8], "little") != cgroup:
            continue
        n = [0] * 9
        for v in row["values"]:
            data = bytes(int(b, 16) for b in v["value"])
            assert len(data) == 72, f"expected the acct value that record.h describes, saw {len(data)} bytes"
            n = [x + int.from_bytes(data[8 * i:8 * i + 8], "little") for i, x in enumerate(n)]
        out[int.from_bytes(key[8:12], "little")] = {"generated": n[0], "delivered": n[1], "folded": n[2], "over": n[3], "lost": n[5:9]}
    return out


def type_numbers(sensor):
    """Event type name → number, from the table that both sides are built from."""
    import re
    text = (pathlib.Path(__file__).resolve().parents[2] / "bpf" / "include" / "event_types.tbl.h").read_text()
    return {m[2]: int(m[1]) for m in re.finditer(r'^BH_EVENT_TYPE\((\d+), \w+, "(\w+)"', text, re.M)}


def step_key(event):
    """(act, number) if the event is one of `acts steps`' numbered acts, else None."""
    t = event["type"]
    if t == "exec":
        args = event.get("proc.args", [])
        if len(args) == 3 and args[2].startswith("step-"):
            return "exec", int(args[2][5:])
    elif t == "connect":
        port = event.get("net.rport", 0)
        if 20000 < port < 40000:
            return "connect", port - 20000
    elif t == "creds" and event.get("cred.ruid", 0) > 100000:
        return "setuid", event["cred.ruid"] - 100000
    elif t == "module_unload" and event.get("name", "").startswith("bh_step_"):
        return "delete_module", int(event["name"][8:])
    return None


def missing_steps(told, events):
    """What `acts steps` told and the events lack, and what they have more than once: two lists of (act, number)."""
    want = {(s["act"], s["step"]) for s in told if s["act"] in STEP_ACTS}
    seen = {}
    for e in events:
        key = step_key(e)
        if key in want:
            seen[key] = seen.get(key, 0) + e["count"]
    return sorted(want - set(seen)), sorted(k for k, n in seen.items() if n > 1)


def lost_steps(sensor, cgroup, missing):
    """Those of the missing steps that the kernel's losses of that cgroup and kind cannot explain."""
    numbers, counts = type_numbers(sensor), acct(sensor, cgroup)
    left = {kind: sum(counts.get(numbers[kind], {"lost": [0]})["lost"]) for kind in set(STEP_ACTS.values())}
    out = []
    for act, step in missing:
        left[STEP_ACTS[act]] -= 1
        if left[STEP_ACTS[act]] < 0:
            out.append((act, step))
    return out


def rss_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def sensor_events(events, action):
    return [e for e in events if e["type"] == "sensor" and e.get("action") == action]
