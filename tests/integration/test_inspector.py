"""What the sandboxed inspector reads for the sensor: DNS messages, and the names of users and groups in containers."""
import os
import secrets
import signal
import struct
import subprocess
import sys
import threading
import time

import docker_env
import pytest
import sensor_env
from boxes import Box
from docker_env import BASE_IMAGE, wait_for
from test_containers import hierarchy


@pytest.fixture(scope="module")
def sensor(request, build, docker):
    with sensor_env.Sensor(build, docker_host=docker.host, backend=request.config.getoption("--backend"), args=["--no-bus"]) as s:
        wait_for(lambda: (inspector(s)["state"] == "ready", inspector(s)), 10, "the inspector is ready")
        yield s


def inspector(sensor):
    return sensor.status()["inspector"]


@pytest.fixture
def start(docker):
    made = []

    def run(*command, options=()):
        cid = docker.run("-d", "--name", f"bh-{secrets.token_hex(4)}", *options, BASE_IMAGE, *(command or ("sleep", "1000")))
        made.append(cid)
        return cid
    yield run
    for cid in made:
        docker.docker("rm", "-f", "-v", cid, check=False)


def name(text):
    return b"".join(bytes([len(p)]) + p for p in text.encode().split(b".")) + b"\0"


def query(text, qtype=1, ident=1):
    return struct.pack(">HHHHHH", ident, 0x0100, 1, 0, 0, 0) + name(text) + struct.pack(">HH", qtype, 1)


def response(text, *records, rcode=0, qtype=1):
    """records: (type, data); each of the question's name."""
    out = struct.pack(">HHHHHH", 1, 0x8180 | rcode, 1, len(records), 0, 0) + name(text) + struct.pack(">HH", qtype, 1)
    for kind, data in records:
        out += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
    return out


SEND = """
import os, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
for line in sys.stdin:
    pause, data = line.split()
    for _ in range(3):
        try:
            s.sendto(bytes.fromhex(data), ("127.0.0.1", 53))
            break
        except ConnectionRefusedError:
            pass  # of the one before
    time.sleep(float(pause))
"""


def send(container, *messages, pause=0.0):
    """Sends datagrams to port 53 from a process in the container's cgroup; gives the process."""
    procs = hierarchy() / "docker" / container / "cgroup.procs"

    def enter():
        docker_env.die_with_parent()
        procs.write_text(str(os.getpid()))
    p = subprocess.Popen([sys.executable, "-c", SEND], stdin=subprocess.PIPE, preexec_fn=enter)
    data = "".join(f"{pause} {m.hex()}\n" for m in messages).encode()
    threading.Thread(target=lambda: (p.stdin.write(data), p.stdin.close()), daemon=True).start()
    return p


def dns_of(sensor, container, pid, count, deadline=15):
    """The first `count` sent messages of that process."""
    def mine(evs):
        return [e for e in evs if e.get("proc.pid") == pid]
    return mine(sensor.wait_events(lambda evs: len(mine(evs)) >= count, deadline, f"{count} DNS events", type="dns", container=container))


# ---- DNS ----

def test_dns_messages_are_read(sensor, start):
    cid = start()
    messages = [
        query("www.example.com"),
        query("b\x1b[2J.example.com", qtype=16),
        response("web.example.com", (5, name("alias.example.com")), (1, bytes([192, 0, 2, 1])), (28, bytes(15) + b"\1"), (16, b"\5hello\3a\nb")),
        response("gone.example.com", rcode=3),
        query("mal.example.com")[:20],
        b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1",
        b"short",
    ]
    p = send(cid, *messages)
    events = dns_of(sensor, cid, p.pid, len(messages))
    assert p.wait(10) == 0
    seen = [{k[4:]: v for k, v in e.items() if k.startswith("dns.")} for e in events]
    assert seen == [
        {"type": "query", "question": "www.example.com", "qtype": "A"},
        {"type": "query", "question": "b\\\\027[2J.example.com", "qtype": "TXT"},
        {"type": "response", "question": "web.example.com", "qtype": "A", "rcode": "NOERROR", "ttl": 60,
         "answers": ["CNAME alias.example.com", "A 192.0.2.1", "AAAA ::1", "TXT helloa\\\\010b"]},
        {"type": "response", "question": "gone.example.com", "qtype": "A", "rcode": "NXDOMAIN"},
        {"type": "query", "problem": "cut"},
        {"type": "query", "problem": "malformed"},
        {"problem": "malformed"},
    ], f"saw {seen}"
    times = [e["time"] for e in events]
    assert times == sorted(times), "expected the order of time"
    text = sensor.cli("events", "--type", "dns", "--container", cid).stdout
    assert "www.example.com" in text and "\x1b" not in text


@pytest.mark.deadline(300)
def test_killed_inspectors_cost_no_dns_event(sensor, start):
    """SIGKILL of the inspector 20 times under a load of DNS messages: each is recorded, in order; what was lost says so."""
    cid = start()
    count = 20000
    starts = inspector(sensor)["starts"]
    before = sensor.status()
    p = send(cid, *(query(f"n{i}.example.com", ident=i % 65536) for i in range(count)), pause=0.0005)
    killed = 0
    while killed < 20:
        pid = inspector(sensor)["pid"]
        if pid:
            try:
                os.kill(pid, signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                pass
        time.sleep(0.3)
        assert p.poll() is None or killed > 15, f"expected the load to last, it ended after {killed} kills"
    p.wait(120)
    wait_for(lambda: (inspector(sensor)["state"] == "ready", inspector(sensor)), 5, "an inspector again")
    events = dns_of(sensor, cid, p.pid, count, deadline=60)
    assert len(events) == count, f"expected {count} events, saw {len(events)}"
    ports = [e["payload"] for e in events]
    assert len(set(ports)) == count, "expected each message once"
    problems = {}
    for i, e in enumerate(events):
        if "dns.problem" in e:
            problems[e["dns.problem"]] = problems.get(e["dns.problem"], 0) + 1
        else:
            assert e["dns.question"] == f"n{i}.example.com", f"expected the order of sending, saw {e['dns.question']} as number {i}"
    print("problems", problems, "restarts", inspector(sensor)["starts"] - starts)
    assert set(problems) <= {"lost: died", "lost: late", "lost: expired"}, f"saw {problems}"
    assert sum(problems.values()) < count / 10, f"expected few to be lost, saw {problems}"
    after = sensor.status()
    assert inspector(sensor)["starts"] >= starts + 20
    assert after["lost"] == before["lost"], "expected no event to be lost in the kernel"
    said = [e for e in sensor.events(type="sensor") if e.get("action") == "inspector_lost"]
    assert len(said) >= 15, f"expected the deaths to be said, saw {len(said)}"


# ---- users and groups ----

def exec_as(sensor, docker, cid, *options, command=("/bin/true",)):
    tag = secrets.token_hex(4)
    docker.docker("exec", *options, cid, *command, tag, check=False)

    def mine(evs):
        return [e for e in evs if e["type"] == "exec" and e.get("proc.args", [""])[-1] == tag]
    return mine(sensor.wait_events(mine, 10, "the exec", type="exec", container=cid))[-1]


def write(docker, cid, path, text):
    r = docker.docker("exec", "-i", cid, "sh", "-c", f"mkdir -p /etc; cat > {path}", input=text)
    assert r.returncode == 0, r.stderr


def test_users_are_named_by_the_containers_own_files(sensor, docker, start):
    cid = start()
    write(docker, cid, "/etc/passwd", "root:x:0:0::/:/bin/sh\nmallory\x1b[2J:x:1000:1000::/:/bin/sh\nalice:x:1001:1001::/:/bin/sh\nbroken\nb:x:99999999999:0::/:\n")
    write(docker, cid, "/etc/group", "root:x:0:\nstaff:x:1001:alice\n")
    other = start()
    write(docker, other, "/etc/passwd", "zoe:x:1001:1001::/:/bin/sh\n")

    def named():
        e = exec_as(sensor, docker, cid, "--user", "1001:1001")
        return e.get("proc.user") == "alice", e
    wait_for(named, 15, "the user's name")
    e = exec_as(sensor, docker, cid, "--user", "1001:1001")
    assert (e["proc.user"], e["proc.group"]) == ("alice", "staff"), f"saw {e}"
    hostile = exec_as(sensor, docker, cid, "--user", "1000:1000")
    assert "proc.user" not in hostile, f"expected no name for a name with a control byte, saw {hostile['proc.user']!r}"
    assert exec_as(sensor, docker, cid, "--user", "0:0")["proc.user"] == "root"
    assert "proc.user" not in exec_as(sensor, docker, cid, "--user", "777:777")
    wait_for(lambda: (exec_as(sensor, docker, other, "--user", "1001:1001").get("proc.user") == "zoe",), 15, "the other container's own name")
    assert exec_as(sensor, docker, cid, "--user", "1001:1001")["proc.user"] == "alice"


def test_changed_files_are_read_again(sensor, docker, start):
    cid = start()
    write(docker, cid, "/etc/passwd", "before:x:1001:1001::/:/bin/sh\n")
    wait_for(lambda: (exec_as(sensor, docker, cid, "--user", "1001").get("proc.user") == "before",), 15, "the first name")
    write(docker, cid, "/etc/passwd", "afterwards:x:1001:1001::/:/bin/sh\n")
    wait_for(lambda: (exec_as(sensor, docker, cid, "--user", "1001").get("proc.user") == "afterwards",), 15, "the new name")


def test_first_exec_of_a_container_has_its_user(sensor, docker, start):
    """With an image that has the file: the exec waits for the names."""
    source = start()
    write(docker, source, "/etc/passwd", "first:x:1234:1234::/:/bin/sh\n")
    image = f"bh-names-{secrets.token_hex(4)}"
    docker.docker("commit", source, image)
    try:
        with_name = 0
        for _ in range(5):
            cid = docker.run("-d", "--user", "1234", image, "sleep", "1000")
            try:
                evs = sensor.wait_events(lambda evs: [e for e in evs if e.get("proc.args") == ["sleep", "1000"]], 10, "the first exec", type="exec", container=cid)
                first = [e for e in evs if e.get("proc.args") == ["sleep", "1000"]][0]
                assert first.get("proc.user", "first") == "first", f"saw {first['proc.user']}"
                with_name += "proc.user" in first
            finally:
                docker.remove(cid)
        assert with_name >= 3, f"expected the name on most first execs, saw it on {with_name} of 5"
    finally:
        docker.docker("rmi", "-f", image, check=False)


def test_links_devices_and_fifos_lead_nowhere(sensor, docker):
    """The container's shell makes them and execs: an engine's exec would read such a file itself."""
    with Box(docker, f"bh-ins-{secrets.token_hex(3)}", "--cap-add", "MKNOD") as box:
        for make in ("ln -sf ../../../../../etc/passwd /etc/passwd", "mknod /etc/passwd p", "mknod /etc/passwd c 1 5", "ln -sf /proc/1/environ /etc/passwd",
                     "mkdir /etc/passwd"):
            tag = secrets.token_hex(4)
            box.run(f"mkdir -p /etc; rm -rf /etc/passwd; {make}; sleep 5.2; /bin/true a; sleep 0.3; /bin/true {tag}")
            evs = sensor.wait_events(lambda evs: [e for e in evs if e["proc.args"][-1] == tag], 10, "the exec", type="exec", container=box.id)
            e = [e for e in evs if e["proc.args"][-1] == tag][0]
            assert "proc.user" not in e, f"expected no name with {make!r}, saw {e['proc.user']!r}"
        wait_for(lambda: (inspector(sensor)["names"]["busy"] == 0, inspector(sensor)), 5, "no reader is stuck")
        assert sensor.alive


def test_host_processes_are_named_by_the_hosts_files(sensor):
    tag = secrets.token_hex(4)

    def named():
        subprocess.run(["/bin/true", tag], check=True)
        evs = [e for e in sensor.events(type="exec", container="host") if e.get("proc.args", [""])[-1] == tag]
        return bool(evs) and evs[-1].get("proc.user") == "root", evs[-1:]
    wait_for(named, 15, "root's name")


def test_sensor_goes_on_without_its_inspector(new_sensor):
    s = new_sensor(args=["--no-bus", "--no-inspector"])
    assert s.status()["inspector"] == {"state": "off"}
