"""Connections that are led to a decoy: a contained container's reach it and nobody else's, see whom they asked for, and what it was sent ends with the incident."""
import contextlib
import io
import json
import os
import pathlib
import socket
import subprocess
import tarfile

import central_env
import pytest
from docker_env import die_with_parent, wait_for
from test_response import Listener, assert_cut, box, host_end, isolated, kernel_leftovers, listener, release, respond, stream  # noqa: F401 (fixtures)

IMAGE = "bh-test-decoy"
PORT = 7000
RULE = """- rule: Attacker at work
  desc: what makes an incident
  condition: evt.type in (execve, execveat) and proc.args contains at-work
  output: somebody is at work
  priority: ERROR
  tags: [mitre_execution]
"""


@pytest.fixture(scope="module")
def sensor(build, docker, central, backend, tmp_path_factory):
    rules = tmp_path_factory.mktemp("rules") / "rules.yaml"
    rules.write_text(RULE)
    with central_env.connected_sensor(build, docker, central, backend, "--no-default-rules", "--no-web", "--rules", str(rules)) as s:
        yield s


@pytest.fixture(scope="module")
def decoy(build, docker, sensor):  # noqa: F811
    """The decoy in its own container, as docs/response.md starts it: an image of one file, no root, no capability, writing into the sensor's data."""
    program = pathlib.Path(build) / "src" / "decoy" / "bulkhead-decoy"
    if b"statically" not in _file(program):
        pytest.skip("a decoy that was built with sanitizers needs libraries beside it")
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as t:
        t.add(program, "bulkhead-decoy")
    docker.docker("import", "--change", 'ENTRYPOINT ["/bulkhead-decoy"]', "-", IMAGE, input=tar.getvalue(), text=False)
    name = f"decoy-{docker.tag}"
    folder = pathlib.Path(sensor.data_dir) / "decoy"
    folder.mkdir()
    folder.chmod(0o777)
    docker.run("-d", "--name", name, "--user", "65534:65534", "--cap-drop", "ALL", "--read-only", "--security-opt", "no-new-privileges", "-v", f"{folder}:/recordings", IMAGE, "--dir", "/recordings", "--listen", str(PORT), "--idle", "20")
    d = Decoy(docker.inspect(name)["NetworkSettings"]["IPAddress"], folder, name)
    wait_for(lambda: _answers(d.address), 20, "the decoy listens")
    yield d
    docker.remove(name)


def _file(program):
    """Whether it has an interpreter, as `file` says it."""
    return b"" if b"/lib64/ld-linux" in program.read_bytes() else b"statically"


def _answers(address):
    with contextlib.suppress(OSError), socket.create_connection((address, PORT), 1):
        return True
    return False


class Decoy:
    def __init__(self, address, folder, name):
        self.address, self.folder, self.name = address, folder, name
        self.to = f"{address}:{PORT}"

    def lines(self):
        path = self.folder / "connections.jsonl"
        return [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []

    def recorded(self, what, deadline=20):
        """The line of the connection that sent this."""
        def has():
            for line in self.lines():
                if line["sha256"] and (self.folder / "bytes" / line["sha256"]).read_bytes() == what:
                    return line
            return None
        return wait_for(has, deadline, f"the decoy recorded {what!r}")


def leads(central, target, decoy, *destinations, **more):  # noqa: F811
    answer = respond(central, "decoy", target, lead="\n".join(destinations), to=decoy.to, **more)
    assert answer.status == 200 and answer.json["state"] == "active", answer.json
    return answer.json


def says(b, text, host, port, ok=None):
    """The decoy ends a connection when its other end does; a listener of the test does not."""
    b.run(f"printf '{text}' | timeout 2 nc -w 2 {host} {port}", ok=ok)


def came(listener, b, before):  # noqa: F811
    wait_for(lambda: listener.got.get(b.ip, 0) > before, 20, f"bytes of {b.name} at the true destination")


def ledger(central, r):
    return central.root().get(f"/api/v1/responses/{r['id']}").json


def test_a_contained_connection_is_led_and_the_neighbours_are_not(central, sensor, docker, listener, box, decoy):  # noqa: F811
    a, neighbour = box("led"), box("not-led")
    host, port = listener.sock.getsockname()
    second = Listener(host)
    link = host_end(a)
    stream(listener, a)
    stream(listener, neighbour)
    r = leads(central, a.name, decoy, f"{host}:{port}", reason="test")
    assert r["deny"] == [f"{host}:{port}"] and r["subject"] == decoy.to and r["detail"]["open"] == [], r

    a.run("echo at-work | env cat at-work", ok=None)
    # the connection of before is cut; a new one is led, and its end is in the recording
    assert_cut(listener, a, neighbour)
    before = listener.got[a.ip]
    says(a, "for the decoy", host, port)
    line = decoy.recorded(b"for the decoy")
    assert line["peer"].startswith(a.ip + ":") and line["port"] == PORT and line["bytes"] == 13 and line["left_out"] == 0 and line["end"] == "closed", line
    assert listener.got[a.ip] == before, "expected no byte of a contained container at the true destination"
    says(neighbour, "true", host, port)
    says(a, "other port", host, second.port)
    wait_for(lambda: second.got.get(a.ip) == len("other port"), 10, "another port is left alone")
    a.run(f"ping -c 1 -W 1 {host}")

    # what it sees, and what it does not reach
    shown = a.run(f"(sleep 2 | nc {host} {port} &) ; sleep 0.5; netstat -tn")
    assert decoy.to in shown, "netstat reads /proc, which tells the decoy's address: docs/response.md says so"
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((host, port))
    udp.settimeout(0.5)
    datagram = f"timeout 1 tftp -g -r asked -l /dev/null {host} {port}"
    a.run(datagram, ok=None)
    with pytest.raises(TimeoutError):
        udp.recv(64)
    neighbour.run(datagram, ok=None)
    assert b"asked" in udp.recv(64)
    udp.close()

    # it is told: the count, the last ones, a finding of the container, and evidence of it
    def told():
        d = ledger(central, r)["detail"]
        return d.get("led", {}).get("connections", 0) >= 1 and any(x["asked"] == f"{host}:{port}" and x["from"] == line["peer"] and x["comm"] == "nc" for x in d.get("last_led", [])), d
    wait_for(told, 20, "the ledger tells the connection")
    root = central.root()
    found = wait_for(lambda: [f for f in root.get("/api/v1/findings?limit=100").json["findings"] if f["rule"] == "Connection led to a decoy" and f["container_id"] == a.id], 20, "a finding of the container")
    assert found[0]["kind"] == "decoy" and f"asked for {host}:{port}" in found[0]["output"] and r["id"] in found[0]["output"], found

    def sealed():
        items = [i for i in root.get(f"/api/v1/evidence?container={a.id}&limit=200").json["evidence"] if i["kind"] == "decoy"]
        return [i for i in items if root.get(f"/api/v1/evidence/{i['id']}/data").body == b"for the decoy"], (items, sensor.status()["responses"]["recordings"])
    wait_for(sealed, 30, "what it was sent is evidence")

    def joined():
        incidents = [root.get(f"/api/v1/incidents/{i['id']}").json for i in root.get("/api/v1/incidents?limit=100").json["incidents"]]
        return [i for i in incidents if "Attacker at work" in json.dumps(i) and "Connection led to a decoy" in json.dumps(i)], [i["title"] for i in incidents]
    wait_for(joined, 60, "an incident with what was done before, and what was led")

    # it outlives the sensor, and is taken up
    sensor.kill()
    says(a, "without a sensor", host, port)
    decoy.recorded(b"without a sensor")
    sensor.start()
    wait_for(lambda: (sensor.status()["bus"]["state"] == "connected", sensor.status()["bus"]), 20, "the sensor is connected again")
    assert sensor.status()["responses"]["held"] == 1
    says(a, "by the successor", host, port)
    decoy.recorded(b"by the successor")
    wait_for(lambda: (lambda d: (d["led"]["connections"] >= 4, d))(ledger(central, r)["detail"]), 20, "the count goes on")
    assert kernel_leftovers(sensor, a, link), "expected to find in the kernel what is in force: else it proves nothing that there is none of it afterwards"

    before = listener.got[a.ip]
    release(central, r)
    says(a, "released", host, port)
    came(listener, a, before)
    assert kernel_leftovers(sensor, a, link) == []
    assert ledger(central, r)["detail"]["led"]["connections"] >= 4
    audit = [(x["action"], x["outcome"]) for x in root.get("/api/v1/audit?search=" + r["id"]).json["audit"]]
    assert ("response.create", "ok") in audit and ("response.release", "ok") in audit, audit
    second.close()


def test_an_isolated_container_reaches_the_decoy_and_nothing_else(central, sensor, docker, listener, box, decoy):  # noqa: F811
    a, neighbour = box("shut"), box("open")
    host, port = listener.sock.getsockname()
    second = Listener(host)
    stream(listener, neighbour)
    isolation = isolated(central, "isolate", a.name)
    says(a, "cut", host, port, ok=(1,))
    r = leads(central, a.name, decoy, f"{host}:{port}", "203.0.113.0/24", ttl=600)
    says(a, "isolated and led", host, port)
    decoy.recorded(b"isolated and led")
    says(a, "to a network", "203.0.113.77", 6379)
    decoy.recorded(b"to a network")
    wait_for(lambda: any(x["asked"] == "203.0.113.77:6379" for x in ledger(central, r)["detail"].get("last_led", [])), 20, "the ledger tells which of the network")
    says(a, "cut", host, second.port, ok=(1,))
    a.run(f"ping -c 1 -W 1 {host}", ok=(1, 2))
    a.run(f"ping -c 1 -W 1 {decoy.address}", ok=(1, 2))
    # a block of where the decoy is does not keep from it
    block = isolated(central, "block", a.name, deny=f"{decoy.address}\n{host}")
    says(a, "blocked and led", host, port)
    decoy.recorded(b"blocked and led")
    release(central, block)
    release(central, r)
    says(a, "cut", host, port, ok=(1,))
    release(central, isolation)
    before = listener.got.get(a.ip, 0)
    says(a, "free", host, port)
    came(listener, a, before)
    assert second.got.get(a.ip) is None
    second.close()


def test_an_order_that_cannot_be_is_refused(central, sensor, docker, box, decoy):  # noqa: F811
    a = box("refused")
    bad = [({"to": decoy.to}, "bad_decoy"), ({"lead": "10.0.0.9:6379"}, "bad_decoy"), ({"lead": "10.0.0.9:6379", "to": decoy.address}, "bad_decoy"), ({"lead": "10.0.0.9:6379", "to": "127.0.0.1:7000"}, "bad_decoy"),
           ({"lead": "exec:/bin/nc", "to": decoy.to}, "bad_decoy"), ({"lead": "10.0.0.9:53/udp", "to": decoy.to}, "bad_decoy"), ({"lead": "10.0.0.9:6379", "to": "[fd00::5]:7000"}, "bad_decoy"),
           ({"lead": "10.0.0.9:6379", "to": decoy.to, "allow": "10.0.0.1"}, "bad_peer")]
    for more, code in bad:
        answer = respond(central, "decoy", a.name, **more)
        assert answer.status == 400 and answer.json["error"]["code"] == code, (more, answer.json)
    assert respond(central, "block", a.name, deny="10.0.0.9", to=decoy.to).json["error"]["code"] == "bad_peer"
    own = respond(central, "decoy", a.name, lead="10.0.0.9:6379", to=f"{a.ip}:7000").json
    assert own["state"] == "failed" and "own address" in own["result"], own
    dry = respond(central, "decoy", a.name, lead="10.0.0.9:6379", to=decoy.to, dry_run=True).json
    assert dry["state"] == "dry_run" and "decoy" in dry["result"], dry
    r = leads(central, a.name, decoy, "10.0.0.9:6379")
    again = respond(central, "decoy", a.name, lead="10.0.0.8:6379", to=decoy.to).json
    assert again["state"] == "failed" and r["id"] in again["result"], again
    release(central, r)
    safe = box("safe", "--label", "bulkhead.protected=true")
    assert "protected" in respond(central, "decoy", safe.name, lead="10.0.0.9:6379", to=decoy.to).json["result"]


def test_commands(central, sensor, docker, listener, box, decoy):  # noqa: F811
    a = box("spoken")
    host, port = listener.sock.getsockname()

    def cli(*args, status=0):
        r = central.cli(*args, status=status)
        return r.stdout + r.stderr
    assert "would be done" in cli("respond", "decoy", a.name, "--lead", f"{host}:{port}", "--to", decoy.to, "--dry-run")
    assert "active" in cli("respond", "decoy", a.name, "--lead", f"{host}:{port}", "--lead", "203.0.113.0/24", "--to", decoy.to, "--ttl", "10m", "--reason", "by hand")
    row = json.loads(cli("responses", "--open", "--json", "--container", a.name))
    assert row["deny"] == [f"{host}:{port}", "203.0.113.0/24"] and row["subject"] == decoy.to and row["until"], row
    says(a, "by command", host, port)
    wait_for(lambda: (lambda shown: ("led to the decoy: 1 connections" in shown and f"asked for {host}:{port}" in shown, shown))(cli("responses", row["id"])), 20, "the ledger shows who was led")
    assert "released" in cli("respond", "release", a.name)
    assert "--to" in cli("respond", "decoy", a.name, "--lead", "10.0.0.9", status=2) and "go with decoy" in cli("respond", "isolate", a.name, "--to", decoy.to, status=2)


# ---- the decoy alone, on the machine

@contextlib.contextmanager
def alone(build, folder, *options):
    """bulkhead-decoy at a port of its own, as nobody."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    p = subprocess.Popen([pathlib.Path(build) / "src" / "decoy" / "bulkhead-decoy", "--dir", folder, "--listen", str(port), *options], stderr=subprocess.PIPE, preexec_fn=die_with_parent)
    try:
        wait_for(lambda: b"\nUid:\t65534\t65534" in pathlib.Path(f"/proc/{p.pid}/status").read_bytes() and (folder / "counts.json").exists(), 20, "the decoy is nobody")
        status = pathlib.Path(f"/proc/{p.pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status, status
        yield p, port
        assert p.poll() is None, p.stderr.read()
        p.terminate()
        assert p.wait(20) == 0
    finally:
        p.kill()
        p.wait()
        p.stderr.close()


@pytest.fixture
def folder(tmp_path):
    for d in (tmp_path, *tmp_path.parents):  # nobody has to find it
        if d.stat().st_mode & 0o077 == 0 and d.stat().st_uid == os.geteuid():
            d.chmod(d.stat().st_mode | 0o055)
    return tmp_path / "recordings"


def lines_of(folder):
    return [json.loads(x) for x in (folder / "connections.jsonl").read_text().splitlines()]


def counts_of(folder, **wanted):
    """counts.json, once it says so."""
    def told():
        n = json.loads((folder / "counts.json").read_text())
        return all(n[k] >= v for k, v in wanted.items()), n
    return wait_for(told, 30, f"counts.json has {wanted}")


def test_a_flood_of_connections_is_served_within_bounds(build, folder):
    with alone(build, folder, "--connections", "32", "--kib", "64", "--banner", "220 ready\\r\\n") as (p, port):
        first = socket.create_connection(("127.0.0.1", port), 10)
        assert first.recv(64) == b"220 ready\r\n"
        open_ones = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(200)]
        for i, s in enumerate(open_ones):
            with contextlib.suppress(OSError):
                s.sendall(b"%d" % i)
        wait_for(lambda: len(lines_of(folder)) >= 169, 30, "those that were quiet for longest made place")
        assert len(list(pathlib.Path(f"/proc/{p.pid}/fd").iterdir())) < 32 * 2 + 16
        memory = int(next(x for x in pathlib.Path(f"/proc/{p.pid}/status").read_text().splitlines() if x.startswith("VmRSS")).split()[1])
        assert memory < 32 << 10, f"expected less than 32 MiB, saw {memory} KiB"
        big = socket.create_connection(("127.0.0.1", port), 10)
        assert big.recv(64)  # what is not read makes the end a reset, which takes along what is under way
        for _ in range(80):
            big.sendall(b"x" * 65536)
        big.close()
        wait_for(lambda: any(x["bytes"] == 80 * 65536 for x in lines_of(folder)), 30, "the huge one is told")
        line = next(x for x in lines_of(folder) if x["bytes"] == 80 * 65536)
        assert line["left_out"] == 79 * 65536 and (folder / "bytes" / line["sha256"]).stat().st_size == 65536, line
        for s in (first, *open_ones):
            s.close()
        n = counts_of(folder, connections=202)
        assert n["connections"] == 202 and n["bytes"] == n["kept"] + n["left_out"] and not n["lost_lines"], n
    assert {x["end"] for x in lines_of(folder)} <= {"closed", "reset", "pushed out", "stopping"} and "pushed out" in {x["end"] for x in lines_of(folder)}
    assert not list(folder.glob("part-*"))


def test_quiet_connections_end_and_a_killed_decoy_loses_no_bytes(build, folder):
    with alone(build, folder, "--idle", "1") as (p, port), socket.create_connection(("127.0.0.1", port), 10) as s:
        s.sendall(b"and then nothing")
        assert s.recv(1) == b""
        wait_for(lambda: lines_of(folder) and lines_of(folder)[0]["end"] == "idle", 20, "it is told")
    with contextlib.suppress(AssertionError):
        with alone(build, folder) as (p, port), socket.create_connection(("127.0.0.1", port), 10) as s:
            s.sendall(b"to be continued")
            wait_for(lambda: any(x.read_bytes() == b"to be continued" for x in folder.glob("part-*")), 20, "it is on disk")
            p.kill()
            p.wait()
    with alone(build, folder):
        line = lines_of(folder)[-1]
        assert line["end"] == "unfinished" and (folder / "bytes" / line["sha256"]).read_bytes() == b"to be continued", line


def test_a_full_disk_is_counted_and_served_all_the_same(build, folder):
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=777", "tmpfs", folder], check=True)
    try:
        with alone(build, folder) as (_, port):
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", port), 10) as s:
                    s.sendall(os.urandom(60000))
            n = counts_of(folder, connections=5)
            assert n["write_errors"] and n["left_out"] and n["bytes"] == 300000 == n["kept"] + n["left_out"], n
    finally:
        subprocess.run(["umount", folder], check=True)
