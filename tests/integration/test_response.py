"""Responses end to end: a real container is cut off, frozen, blocked and killed by order, and let go again; what is in force outlives the sensor."""
import contextlib
import json
import os
import pathlib
import signal
import socket
import statistics
import struct
import subprocess
import threading
import time

import central_env
import pytest
from boxes import Box
from docker_env import patience, system_env, wait_for

TICK = b"tick\n"


class Listener:
    """A TCP server at the bridge: which ticks came, by the peer's address."""

    def __init__(self, address):
        self.sock = socket.create_server((address, 0))
        self.port = self.sock.getsockname()[1]
        self.got = {}
        self.conns = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                conn, peer = self.sock.accept()
            except OSError:
                return
            self.conns.append(conn)
            threading.Thread(target=self._read, args=(conn, peer[0]), daemon=True).start()

    def _read(self, conn, peer):
        self.got.setdefault(peer, 0)
        try:
            while data := conn.recv(65536):
                self.got[peer] += len(data)
        except OSError:
            pass

    def ticks(self, peer):
        return self.got.get(peer, 0) // len(TICK)

    def close(self):
        self.sock.close()
        for c in self.conns:
            c.close()


@pytest.fixture(scope="module")
def sensor(build, docker, central, backend):
    with central_env.connected_sensor(build, docker, central, backend, "--no-default-rules", "--no-web") as s:
        yield s


@pytest.fixture(scope="module")
def listener(docker):
    server = Listener(docker.subnet.replace(".0/24", ".1"))
    yield server
    server.close()


@pytest.fixture
def box(docker, central):
    made = []

    def make(name, *options):
        b = Box(docker, f"{name}-{docker.tag}", *options)
        made.append(b)
        root = central.root()
        wait_for(lambda: root.get(f"/api/v1/containers/{b.id}").status == 200, 10, f"the central knows {b.name}")
        b.ip = docker.inspect(b.name)["NetworkSettings"]["IPAddress"]
        return b
    yield make
    for b in made:
        b.close()


def respond(central, action, target, **more):
    return central.root().post("/api/v1/responses", {"action": action, "container": target, **more})


def isolated(central, action, target, **more):
    answer = respond(central, action, target, **more)
    assert answer.status == 200 and answer.json["state"] == "active", answer.json
    return answer.json


def release(central, r):
    answer = central.root().post(f"/api/v1/responses/{r['id']}/release", {})
    assert answer.status == 200 and answer.json["state"] == "released", answer.json


def becomes(central, r, state):
    """The response, once the ledger has it in this state."""
    root = central.root()

    def is_so():
        told = root.get(f"/api/v1/responses/{r['id']}").json
        return told["state"] == state, told
    return wait_for(is_so, 60, f"response {r['id']} is {state}", every=0.2)


def stream(listener, b):
    """Ticks from the container, for as long as it lives."""
    before = listener.ticks(b.ip)
    b.start(f"(while :; do echo tick; sleep 0.02; done) | nc {listener.sock.getsockname()[0]} {listener.port} &")
    wait_for(lambda: listener.ticks(b.ip) > before + 3, 10, f"ticks of {b.name}")


def while_neighbour(listener, neighbour, n=15):
    """Until so many ticks of the neighbour came: it is not cut off, and time has passed."""
    before = listener.ticks(neighbour.ip)
    wait_for(lambda: listener.ticks(neighbour.ip) >= before + n, 20, "ticks of the neighbour go on")


def assert_cut(listener, b, neighbour):
    while_neighbour(listener, neighbour, 3)  # what was under way when the order came
    before = listener.ticks(b.ip)
    while_neighbour(listener, neighbour)
    assert listener.ticks(b.ip) == before, "expected no byte of an isolated container"


class Frames:
    """IPv4 frames with this sender's hardware address that come by at an interface."""

    def __init__(self, interface, mac):
        self.mac = bytes.fromhex(mac.replace(":", ""))
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self.sock.bind((interface, 0x0800))
        self.sock.setblocking(False)

    def seen(self):
        n = 0
        while True:
            try:
                n += self.sock.recv(2048)[6:12] == self.mac
            except BlockingIOError:
                return n


def pings(address):
    return subprocess.run(["/bin/busybox", "ping", "-c", "1", "-W", "1", address], capture_output=True, env=system_env()).returncode == 0


def kernel_leftovers(sensor, b, link):
    """What of a response is in the kernel."""
    left = []
    if f" {sensor.run_dir}/enforce " in pathlib.Path("/proc/self/mountinfo").read_text():
        left.append("pins")
    shown = subprocess.run(["tc", "qdisc", "show", "dev", link], capture_output=True, text=True, env=system_env()).stdout
    if "clsact" in shown:
        left.append(shown)
    mount = next(line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in line)
    programs = subprocess.run(["bpftool", "-j", "cgroup", "show", f"{mount}/docker/{b.id}"], capture_output=True, text=True, env=system_env()).stdout
    left += [p["name"] for p in json.loads(programs.strip() or "[]") if p["name"].startswith("bh_")]
    return left


def host_end(b):
    """Name of the host's end of the container's interface."""
    index = int(b.run("cat /sys/class/net/eth0/iflink"))
    return next(p.name for p in pathlib.Path("/sys/class/net").iterdir() if int((p / "ifindex").read_text()) == index)


def test_isolation_cuts_all_and_outlives_the_sensor(central, sensor, docker, listener, box):
    a, neighbour = box("cut"), box("free")
    host, port = listener.sock.getsockname()
    link = host_end(a)
    mac = docker.inspect(a.name)["NetworkSettings"]["MacAddress"]
    frames = Frames(docker.bridge, mac)
    stream(listener, a)
    stream(listener, neighbour)
    dhcp = "udhcpc -i eth0 -n -q -t 2 -T 1 -s /bin/true"
    frames.seen()
    assert pings(a.ip)

    r = isolated(central, "isolate", a.name, reason="test")
    assert r["actor"] and r["reason"] == "test" and r["detail"]["interfaces"] == 1 and r["detail"]["open"] == [], r
    assert_cut(listener, a, neighbour)
    accepted = len(listener.conns)
    a.run(f"nc -w 1 {host} {port} </dev/null", ok=(1,))
    a.run(f"ping -c 1 -W 1 {host}", ok=(1, 2))
    a.run(f"echo x | nc -u -w 1 {host} {port}", ok=None)
    frames.seen()
    a.run(dhcp, ok=(1,))
    assert frames.seen() == 0, "expected no frame of a packet socket"
    assert not pings(a.ip), "expected no answer of the kernel for an isolated container"
    assert len(listener.conns) == accepted and pings(neighbour.ip)

    sensor.kill()
    assert_cut(listener, a, neighbour)
    a.run(f"nc -w 1 {host} {port} </dev/null", ok=(1,))
    sensor.start()
    wait_for(lambda: (sensor.status()["bus"]["state"] == "connected", sensor.status()["bus"]), 20, "the sensor is connected again")
    assert sensor.status()["responses"]["held"] == 1
    assert_cut(listener, a, neighbour)
    assert not pings(a.ip)

    assert kernel_leftovers(sensor, a, link), "expected to find in the kernel what is in force: else it proves nothing that there is none of it afterwards"

    before = listener.ticks(a.ip)
    release(central, r)
    wait_for(lambda: listener.ticks(a.ip) > before + 5, 60, "the connection of before goes on")  # after its next retransmission
    assert pings(a.ip)
    frames.seen()
    a.run(dhcp, ok=(1,))
    assert frames.seen() > 0, "expected frames of a packet socket without isolation: else the test above proves nothing"
    assert kernel_leftovers(sensor, a, link) == []
    assert central.root().post(f"/api/v1/responses/{r['id']}/release", {}).status == 409
    audit = [(x["action"], x["outcome"]) for x in central.root().get("/api/v1/audit?search=" + r["id"]).json["audit"]]
    assert ("response.create", "ok") in audit and ("response.release", "ok") in audit, audit


def test_what_is_allowed_remains(central, sensor, listener, box, docker):
    a, neighbour = box("some"), box("other")
    host, port = listener.sock.getsockname()
    second = Listener(host)
    stream(listener, a)
    stream(listener, neighbour)
    r = isolated(central, "isolate", a.name, allow=f"{host}:{port}/tcp")
    before = listener.ticks(a.ip)
    while_neighbour(listener, neighbour)
    wait_for(lambda: listener.ticks(a.ip) > before + 3, 10, "the allowed peer is served")
    a.run(f"nc -w 1 {host} {second.port} </dev/null", ok=(1,))
    a.run(f"ping -c 1 -W 1 {host}", ok=(1, 2))
    release(central, r)
    a.run(f"echo | timeout 2 nc -w 1 {host} {second.port}", ok=None)
    wait_for(lambda: second.conns, 10, "a connection after the release")
    second.close()


def test_a_blocked_destination_is_refused_and_its_connection_ends(central, sensor, listener, box):
    a, neighbour = box("blocked"), box("beside")
    host, port = listener.sock.getsockname()
    second = Listener(host)
    stream(listener, a)
    stream(listener, neighbour)
    r = isolated(central, "block", a.name, deny=f"{host}:{port}")
    assert_cut(listener, a, neighbour)
    a.run(f"nc -w 1 {host} {port} </dev/null", ok=(1,))
    a.run(f"ping -c 1 -W 1 {host}")
    a.run(f"echo | timeout 2 nc -w 1 {host} {second.port}", ok=None)
    wait_for(lambda: second.conns, 10, "a connection to another port")
    release(central, r)
    second.close()


def block_leftovers(sensor):
    """What refuses programs and is in the kernel."""
    left = ["pins"] if f" {sensor.run_dir}/block " in pathlib.Path("/proc/self/mountinfo").read_text() else []
    links = json.loads(subprocess.run(["bpftool", "-j", "link", "show"], capture_output=True, text=True, env=system_env()).stdout or "[]")
    programs = {p["id"]: p.get("name") for p in json.loads(subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, text=True, env=system_env()).stdout or "[]")}
    return left + [programs.get(link["prog_id"]) for link in links if programs.get(link["prog_id"]) in ("tp_prepare", "tp_run", "lsm_run", "fm_run", "lsm_map", "fm_map")]


def no_block_leftovers(sensor):
    """The kernel lets go of what was attached a moment after its pin is gone; and a sensor that starts beside this one tries for a moment what refuses programs."""
    wait_for(lambda: (lambda left: (left == [], left))(block_leftovers(sensor)), 20, "nothing is left that refuses programs")


def test_programs_are_blocked_and_stay_so_without_the_sensor(central, sensor, box):
    """/opt/busybox is a copy that the container made: a file of its own, which is not from the image."""
    a, neighbour = box("blocked"), box("unblocked")
    copy = "mkdir /opt /opt/x && cp /bin/busybox /opt/busybox && ln /opt/busybox /opt/x/busybox && ln -s busybox /opt/busybox-link && printf '#!/opt/busybox echo\\n' >/opt/script && chmod +x /opt/script"
    for b in (a, neighbour):
        b.run(copy)
        assert b.run("/opt/busybox echo ran") == "ran\n" and "script" in b.run("/opt/script")
    no_block_leftovers(sensor)

    refused = respond(central, "block", a.name, deny="exec:opt/busybox")
    assert refused.status == 400 and "slash" in refused.json["error"]["message"], refused.json
    nowhere = respond(central, "block", a.name, deny="exec:/nowhere/at/all").json
    assert nowhere["state"] == "failed" and "/nowhere/at" in nowhere["result"], nowhere
    r = isolated(central, "block", a.name, deny="exec:/opt/busybox", reason="not ours")
    assert "2 names" in r["detail"]["notes"][0], r
    ways = ("/opt/busybox echo ran", "/opt/x/busybox echo ran", "/opt/busybox-link echo ran", "/opt/script", "cd /opt && ./busybox echo ran", "mv /opt/x/busybox /opt/busybox-other && /opt/busybox-other echo ran")

    def assert_blocked():
        for way in ways[:5]:
            assert a.run(way, ok=range(1, 256)) == "", f"expected that {way} is refused"
            assert neighbour.run(way), f"expected that {way} runs in the other container"
        assert a.run("echo goes on") == "goes on\n"
    assert_blocked()
    sensor.kill()
    assert_blocked()
    sensor.start()
    wait_for(lambda: (sensor.status()["bus"]["state"] == "connected", sensor.status()["bus"]), 20, "the sensor is connected again")
    assert_blocked()
    assert a.run(ways[5], ok=range(1, 256)) == ""
    assert block_leftovers(sensor), "expected to find in the kernel what is in force: else it proves nothing that there is none of it afterwards"

    row = wait_for(lambda: (lambda rows: (any("busybox" in f["output"] and r["id"] in f["output"] for f in rows), rows))(central.root().get("/api/v1/findings?search=Blocked").json["findings"]), 20, "a finding that names the response")
    assert row
    release(central, r)
    assert a.run("/opt/busybox echo ran") == "ran\n" and a.run("/opt/busybox-other echo ran") == "ran\n"
    no_block_leftovers(sensor)

    r = isolated(central, "block", a.name, deny="exec-not-in-image")
    assert a.run("/opt/busybox echo ran", ok=range(1, 256)) == "" and a.run("cp /bin/busybox /tmp/busybox; /tmp/busybox echo ran", ok=range(1, 256)) == ""
    assert a.run("/bin/busybox echo from the image") == "from the image\n"
    assert a.docker.docker("exec", a.name, "/bin/busybox", "echo", "by the runtime").stdout == "by the runtime\n"
    release(central, r)
    assert a.run("/opt/busybox echo ran") == "ran\n"
    no_block_leftovers(sensor)


def test_quarantine_freezes_takes_a_snapshot_and_ends_by_itself(central, sensor, box):
    a = box("frozen")
    a.start("(i=0; while :; do i=$((i+1)); echo $i >/ctl/count; sleep 0.01; done) &")
    count = a.dir / "count"

    def number():
        text = count.read_text() if count.exists() else ""
        return int(text) if text.endswith("\n") else 0
    wait_for(lambda: number() > 3, 10, "it counts")
    r = isolated(central, "quarantine", a.name, ttl=3, reason="looks odd")
    before = number()
    processes = r["detail"]["snapshot"]["processes"]
    assert any("sleep" in p["arguments"] or "sh" in p["arguments"] for p in processes) and all(p["pid"] for p in processes), processes
    assert [p for p in processes if p["exe"] == "/bin/busybox" and p["files"]], processes
    time.sleep(0.3)
    assert number() == before or number() == 0, "expected nothing to happen in a frozen container"
    wait_for(lambda: number() > before + 3, 20, "it counts again when its time is over")
    told = becomes(central, r, "released")
    assert told["result"] == "its time was over" and told["detail"]["snapshot"]["processes"], told


def test_limits_protection_and_what_cannot_be_undone(central, sensor, docker, box):
    labels = ("--label", "com.docker.compose.project=resp", "--label", "com.docker.compose.service=web")
    a, b, guarded = box("one", *labels), box("two", *labels), box("guarded", "--label", "bulkhead.protected=true")
    for wrong, code in (({"action": "melt"}, "bad_action"), ({"action": "isolate", "allow": "example.com"}, "bad_peer"), ({"action": "block"}, "bad_peer"), ({"action": "kill"}, "not_confirmed"),
                        ({"action": "kill", "confirm": "another"}, "not_confirmed"), ({"action": "stop", "ttl": 5}, "bad_ttl")):
        answer = central.root().post("/api/v1/responses", {"container": a.name, **wrong})
        assert answer.status == 400 and answer.json["error"]["code"] == code, (wrong, answer.json)
    tried = respond(central, "isolate", a.name, dry_run=True).json
    assert tried["state"] == "dry_run" and a.id in tried["detail"]["cgroup"], tried
    refused = respond(central, "isolate", guarded.name).json
    assert refused["state"] == "failed" and "protected" in refused["result"], refused
    r = isolated(central, "isolate", a.name)
    answer = respond(central, "isolate", b.name)
    assert answer.status == 409 and answer.json["error"]["code"] == "blast_radius", answer.json
    second = isolated(central, "isolate", b.name, force=True)
    release(central, r)
    release(central, second)
    answer = respond(central, "kill", b.name, confirm=b.name)
    assert answer.status == 200 and answer.json["state"] == "done", answer.json
    wait_for(lambda: not docker.inspect(b.name)["State"]["Running"], 10, "it is dead")
    r = isolated(central, "isolate", a.name)
    docker.docker("rm", "-f", "-v", a.name)
    becomes(central, r, "gone")
    assert sensor.status()["responses"]["held"] == 0


def test_a_container_in_the_hosts_network_is_cut_by_its_cgroup(central, sensor, listener, box):
    a = box("hosted", "--network", "host")
    host, port = listener.sock.getsockname()
    accepted = len(listener.conns)
    refused = respond(central, "isolate", a.name).json
    assert refused["state"] == "failed" and "host's network" in refused["result"] and "--best-effort" in refused["result"], refused
    a.run(f"echo | timeout 2 nc -w 1 {host} {port}", ok=None)
    wait_for(lambda: len(listener.conns) > accepted, 10, "a connection: nothing was changed")
    r = isolated(central, "isolate", a.name, best_effort=True)
    assert len(r["detail"]["open"]) == 1, r
    accepted = len(listener.conns)
    a.run(f"nc -w 1 {host} {port} </dev/null", ok=(1,))
    a.run(f"nc -w 1 127.0.0.1 {port} </dev/null", ok=(1,))
    socket.create_connection((host, port), 5).close()
    wait_for(lambda: len(listener.conns) == accepted + 1, 10, "the host itself still connects")
    release(central, r)


PYTHON = ("-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro", "-v", f"{pathlib.Path(__file__).parent}:/tests:ro")


class Last(threading.Thread):
    """When the last frame of each kind came from this sender, by the kernel's clock: .last[kind], nanoseconds."""

    def __init__(self, interface, mac, tcp, new, udp):
        super().__init__(daemon=True)
        self.mac, self.last = bytes.fromhex(mac.replace(":", "")), {}
        self.kinds = {(6, tcp): "open connection", (6, new): "new connection", (17, udp): "UDP", (17, 53): "DNS"}
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.sock.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
        self.sock.bind((interface, 0x0800))
        self.start()

    def run(self):
        while True:
            try:
                frame, more, _, _ = self.sock.recvmsg(256, 64)
            except OSError:
                return
            if frame[6:12] != self.mac or len(frame) < 38:
                continue
            at = 14 + (frame[14] & 15) * 4
            kind = "raw" if frame[23] == 1 else self.kinds.get((frame[23], int.from_bytes(frame[at + 2:at + 4], "big")))
            seconds, nanoseconds = struct.unpack("qq", more[0][2][:16])
            self.last[kind] = seconds * 10**9 + nanoseconds


def read_all(sock, into):
    """As it comes, so that nothing is lost for want of room."""
    with contextlib.suppress(OSError):
        while True:
            into.add(sock.recv(64))


def test_all_kinds_stop_at_once_and_others_lose_nothing(central, sensor, docker, box):
    """The figures are printed, from the command to the last frame of each kind; and a neighbour's datagrams are all counted."""
    if not docker.bridge:
        pytest.skip("this kernel has no bridges")
    host = docker.subnet.replace(".0/24", ".1")
    a, neighbour = box("sends", *PYTHON), box("goes-on", *PYTHON)
    kept, new = Listener(host), Listener(host)
    silent, counted = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    counted.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE: what this process was too slow for is not lost on the way
    for s in (silent, counted):
        s.bind((host, 0))
    got = set()
    threading.Thread(target=read_all, args=(counted, got), daemon=True).start()
    last = Last(docker.bridge, docker.inspect(a.name)["NetworkSettings"]["MacAddress"], kept.port, new.port, silent.getsockname()[1])
    a.start(f"/usr/bin/python3 /tests/stream.py {host} {kept.port} {new.port} {silent.getsockname()[1]} &")
    sent = neighbour.start(f"/usr/bin/python3 /tests/stream.py {host} count {counted.getsockname()[1]} /ctl/until")
    kinds, took = ("open connection", "new connection", "UDP", "DNS", "raw"), {}
    for _ in range(10):
        since = time.time_ns()  # released: each goes on, the open connection after its next retransmission
        wait_for(lambda since=since: (all(last.last.get(k, 0) > since for k in kinds), last.last), 30, "each kind is sent")
        begin = time.time_ns()
        r = isolated(central, "isolate", a.name)
        done = time.time_ns()
        wait_for(lambda: (time.time_ns() - max(last.last.values()) > 10**8, last.last), 10, "nothing is sent any more")
        for k in kinds:
            took.setdefault(f"the last of {k}", []).append(max(0, last.last[k] - begin) / 1e6)
        took.setdefault("the answer", []).append((done - begin) / 1e6)
        release(central, r)
    (neighbour.dir / "until").touch()
    n = int(neighbour.wait(sent))
    wait_for(lambda: (len(got) >= n, len(got)), 10, "all datagrams of the neighbour")
    assert len(got) == n > 100, f"expected {n} datagrams of the neighbour, saw {len(got)}"
    for what, ms in took.items():
        print(f"isolate, from the command to {what}: median {statistics.median(ms):.1f} ms, longest {max(ms):.1f} ms")
    assert all(statistics.median(ms) < 100 * patience() for what, ms in took.items() if what != "the answer"), took
    for s in (kept, new, silent, counted, last.sock):
        s.close()


def runs(name):
    """Processes of this script, wherever they are."""
    found = []
    for p in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if p.name.isdigit() and (p / "cmdline").read_bytes().split(b"\0")[1:3] == [b"/ctl/away", name.encode()]:
                found.append(int(p.name))
    return found


@pytest.fixture
def fights(docker, box):
    """A container whose process forked twice, began a session, left all control groups, and goes on leaving them."""
    b = box("fights", "--pid=host", "--security-opt", "apparmor=unconfined", "-v", "/sys/fs/cgroup:/cg")
    (b.dir / "away").write_text("while :; do for g in /cg/cgroup.procs /cg/*/cgroup.procs; do [ ! -e $g ] || echo $$ >$g; done; i=$((i+1)); echo $i >/ctl/count; sleep 0.02; done 2>/dev/null\n")
    b.run(f"(setsid sh -c 'sh /ctl/away {b.name} & exit' &) ; true")
    yield b
    for p in runs(b.name):
        with contextlib.suppress(ProcessLookupError):
            os.kill(p, signal.SIGKILL)


def group_of(b):
    """Of the version 2 hierarchy: processes in it, as often as it is called."""
    v2 = next(line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in line)
    return lambda: sorted(int(p) for f in pathlib.Path(v2, "docker", b.id).rglob("cgroup.procs") for p in f.read_text().split())


def counts(b):
    try:
        return int((b.dir / "count").read_text())
    except (FileNotFoundError, ValueError):
        return -1


def goes_on(b):
    before = counts(b)
    wait_for(lambda: (counts(b) > before + 3, counts(b)), 20, "it counts")


def test_a_fork_bomb_is_held_and_its_snapshot_is_complete(central, sensor, box):
    a = box("bomb")
    group = group_of(a)
    # as many as the machine bears, and each goes on forking
    (a.dir / "bomb").write_text("[ $1 = 0 ] || { sh /ctl/bomb $(($1-1)) & sh /ctl/bomb $(($1-1)) & }\nwhile :; do sleep 0.05; done\n")
    a.run("sh /ctl/bomb 5 >/dev/null 2>&1 & true")
    wait_for(lambda: (len(group()) > 100, len(group())), 20, "the fork bomb")
    r = isolated(central, "quarantine", a.name)
    held = group()
    snapshot = r["detail"]["snapshot"]
    assert sorted(p["pid"] for p in snapshot["processes"]) == held and snapshot["left_out"] == 0 and len(held) > 60, (snapshot, held)
    sensor.kill()
    time.sleep(0.3)
    assert group() == held, "expected nobody to fork in a frozen container"
    sensor.start()
    wait_for(lambda: (sensor.status()["bus"]["state"] == "connected", sensor.status()["bus"]), 20, "the sensor is connected again")
    assert group() == held
    release(central, r)
    wait_for(lambda: group() != held, 20, "it goes on")


def test_who_leaves_its_container_is_held_and_killed(central, sensor, docker, fights):
    a, group = fights, group_of(fights)
    goes_on(a)
    away, = wait_for(lambda: (lambda found: (len(found) == 1, found))(runs(a.name)), 20, "the one that leaves, while it forks nobody")
    assert away not in group(), "expected it to have left: else this proves nothing"
    r = isolated(central, "quarantine", a.name, best_effort=True)
    assert away in group() and r["detail"]["strays"] >= 1, (r["detail"], away, group())
    told = {p["pid"]: p for p in r["detail"]["snapshot"]["processes"]}
    assert "/ctl/away" in told[away]["arguments"] and told[away]["exe"] == "/bin/busybox", told
    before = counts(a)
    time.sleep(0.3)
    assert counts(a) == before, "expected nothing to happen in a frozen container"
    release(central, r)
    goes_on(a)

    # it kills the sensor while it is cut off, and leaves again and again: it is brought back, and that is told
    r = isolated(central, "isolate", a.name, best_effort=True)
    a.run(f"kill -9 {sensor.pid}")
    sensor.kill()
    sensor.start()
    wait_for(lambda: (lambda found: (any(r["id"] in f["output"] for f in found), found))(central.root().get("/api/v1/findings?rule=Processes%20left%20a%20held%20container").json["findings"]), 30, "that it left is a finding")
    answer = respond(central, "kill", a.name, confirm=a.name)
    assert answer.status == 200 and answer.json["state"] == "done" and not runs(a.name), answer.json
    wait_for(lambda: not docker.inspect(a.name)["State"]["Running"], 20, "it is dead")
    release(central, r)


def tracing(b):
    """Process → who traces it (0: nobody), of the tracer in this container and its child."""
    found = {}
    for p in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError, StopIteration):
            if p.name.isdigit() and f"/ctl/traced-{b.name}".encode() in (p / "cmdline").read_bytes().split(b"\0"):
                found[int(p.name)] = int(next(line.split()[1] for line in (p / "status").read_text().splitlines() if line.startswith("TracerPid:")))
    return found


def test_who_traces_another_is_held_with_it(central, sensor, docker, box):
    """A process lets its child, which it traces, go on at each of its system calls, and leaves its control group before each: both are frozen, told, and go on, and both are killed."""
    a = box("traces", "--pid=host", "--cap-add", "SYS_PTRACE", "--security-opt", "apparmor=unconfined", "--security-opt", "seccomp=unconfined", "-v", "/sys/fs/cgroup:/cg", *PYTHON)
    group, count = group_of(a), a.dir / f"traced-{a.name}"

    def number():
        text = count.read_text() if count.exists() else ""
        return int(text) if text.isdigit() else -1

    def goes():
        before = number()
        wait_for(lambda: (number() > before + 3, number()), 20, "the traced one counts")
    a.run(f"(setsid sh -c '/usr/bin/python3 /tests/tracer.py /ctl/{count.name} & exit' &) ; true")
    goes()
    both = wait_for(lambda: (lambda t: (len(t) == 2 and any(t.values()), t))(tracing(a)), 20, "a tracer and the one it traces")
    traced, tracer = next((p, by) for p, by in both.items() if by)
    assert tracer in both and tracer not in group(), "expected the tracer to have left: else this proves less"
    for action in ("quarantine", "pause"):
        r = isolated(central, action, a.name, best_effort=True)
        assert {traced, tracer} <= set(group()), (both, group())
        if action == "quarantine":
            told = {p["pid"]: p for p in r["detail"]["snapshot"]["processes"]}
            assert {traced, tracer} <= set(told) and "/tests/tracer.py" in told[tracer]["arguments"], told
        before = number()
        for _ in range(10):
            for sent in (signal.SIGCONT, signal.SIGTERM):  # as one outside would help it
                os.kill(tracer, sent)
            time.sleep(0.03)
        assert number() == before, "expected the traced process not to be let go on"
        assert tracing(a) == {traced: tracer, tracer: 0}
        release(central, r)
        goes()
    answer = respond(central, "kill", a.name, confirm=a.name)
    assert answer.status == 200 and answer.json["state"] == "done" and not tracing(a), (answer.json, tracing(a))


def test_commands(central, sensor, box):
    a = box("spoken")

    def cli(*args, status=0):
        r = central.cli(*args, status=status)
        return r.stdout + r.stderr
    assert "would be done" in cli("respond", "isolate", a.name, "--dry-run")
    assert "active" in cli("respond", "isolate", a.name, "--ttl", "10m", "--reason", "by hand", "--allow", "127.0.0.11")
    row = json.loads(cli("responses", "--open", "--json", "--container", a.name))
    assert row["allow"] == ["127.0.0.11"] and row["until"] and row["reason"] == "by hand", row
    assert "by hand" in cli("responses")
    assert a.name in cli("responses", row["id"])
    assert "released" in cli("respond", "release", a.name)
    assert "none that goes on" in cli("respond", "release", a.name, status=1)
    assert "--confirm" in cli("respond", "--help") and "confirm" in cli("respond", "kill", a.name, status=1)
    assert "takes what to do" in cli("respond", "melt", a.name, status=2)
