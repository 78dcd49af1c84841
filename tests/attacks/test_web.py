"""Web attacks against a small service with holes (ATTACKS.md A1, A2): each is a finding, joined to what the process did while it served the request, with fifty other requests in flight."""
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import urllib.parse

import central_env
import docker_env
import pytest
from docker_env import wait_for

HERE = pathlib.Path(__file__).resolve().parent
PORT = 8000
IN_FLIGHT = 50
METADATA = "169.254.169.254"
PHP = "<?php system($_GET['c']); ?>"

# name, (method, target, headers, body), class of the web finding, (rule of the act's finding, what its text must have)
ATTACKS = [
    ("command injection", ("GET", "/ping?host=" + urllib.parse.quote("127.0.0.1;cat /etc/passwd"), {}, ""), "rce", ("Program run by a web attack", "127.0.0.1;cat /etc/passwd")),
    ("SQL injection", ("GET", "/items?id=" + urllib.parse.quote("1 UNION SELECT 1; ATTACH DATABASE '/tmp/www/stolen.db' AS e; CREATE TABLE e.t(x)"), {}, ""), "sqli",
     ("File reached by a web attack", "/tmp/www/stolen.db")),
    ("Log4Shell", ("GET", "/", {"X-Api-Version": "${jndi:ldap://127.0.0.1:1389/a}"}, ""), "java", ("Connection made by a web attack", "127.0.0.1:1389")),
    ("request to the metadata address", ("GET", "/fetch?url=" + urllib.parse.quote(f"http://{METADATA}/latest/meta-data/"), {}, ""), "rfi", ("Connection made by a web attack", METADATA)),
    ("upload of a web shell", ("POST", "/upload?name=cmdshell.php", {"Content-Type": "application/x-www-form-urlencoded"}, "x=" + urllib.parse.quote(PHP)), "php",
     ("File reached by a web attack", "/tmp/www/cmdshell.php")),
    ("use of a web shell", ("GET", "/files/cmdshell.php?c=" + urllib.parse.quote("cat /etc/passwd;uname -a"), {}, ""), "rce", ("Program run by a web attack", "cat /etc/passwd;uname -a")),
]


def kernel():
    return tuple(int(n) for n in os.uname().release.split(".")[:2])


@pytest.fixture(scope="module")
def sensor(build, docker, central, backend):
    # --fold-ms 0: folding takes a file that was given the inode of one removed within the window for that one, and SQLite removes its journal just before
    with central_env.connected_sensor(build, docker, central, backend, "--fold-ms", "0", web=True) as s:
        yield s


class Victim:
    """The service in a container; requests come from the host, within the container's network."""

    def __init__(self, docker, mode):
        self.docker, self.name = docker, f"victim-{mode}"
        docker.run("-d", "--name", self.name, "-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro", "-v", f"{HERE}:/victim:ro", docker_env.BASE_IMAGE,
                   "/usr/bin/python3", "/victim/web_victim.py", mode, str(PORT), "/tmp/www")
        self.pid = docker.inspect(self.name)["State"]["Pid"]
        self.id = docker.inspect(self.name)["Id"]
        self.inside("ip", "link", "set", "lo", "up")
        self.inside("ip", "addr", "add", f"{METADATA}/32", "dev", "lo")
        wait_for(lambda: docker_env.listens(f"/proc/{self.pid}/ns/net", PORT), 30, "the service listens")

    def inside(self, *argv):
        subprocess.run(["nsenter", "-t", str(self.pid), "-n", *argv], check=True, capture_output=True, timeout=30)

    def connect(self):
        """A connection made in the container's network namespace by a process of the host."""
        ours, theirs = socket.socketpair()
        code = ("import socket, sys\n"
                f"s = socket.create_connection(('127.0.0.1', {PORT}), timeout=60)\n"
                "c = socket.socket(fileno=int(sys.argv[1]))\n"
                "socket.send_fds(c, [b'x'], [s.fileno()])\n")
        subprocess.run(["nsenter", "-t", str(self.pid), "-n", "/usr/bin/python3", "-c", code, str(theirs.fileno())], check=True, pass_fds=[theirs.fileno()], timeout=60)
        theirs.close()
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
        ours.close()
        s = socket.socket(fileno=fds[0])
        s.settimeout(60)
        return s

    def connect_many(self, n):
        """As many connections by one process: a start of Python each would take long."""
        ours, theirs = socket.socketpair()
        code = ("import socket, sys\n"
                "c = socket.socket(fileno=int(sys.argv[1]))\n"
                f"for i in range({n}):\n"
                f"    s = socket.create_connection(('127.0.0.1', {PORT}), timeout=60)\n"
                "    socket.send_fds(c, [b'x'], [s.fileno()])\n"
                "    s.close()\n")
        subprocess.run(["nsenter", "-t", str(self.pid), "-n", "/usr/bin/python3", "-c", code, str(theirs.fileno())], check=True, pass_fds=[theirs.fileno()], timeout=120)
        theirs.close()
        made = []
        for _ in range(n):
            _, fds, _, _ = socket.recv_fds(ours, 1, 1)
            made.append(socket.socket(fileno=fds[0]))
            made[-1].settimeout(60)
        ours.close()
        return made

    def close(self):
        self.docker.remove(self.name)


def send(s, method, target, headers, body):
    lines = [f"{method} {target} HTTP/1.1", "Host: shop.example", "User-Agent: test", "Accept: */*", *(f"{k}: {v}" for k, v in headers.items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    s.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())


def receive(s):
    data = b""
    while b"\r\n\r\n" not in data:
        more = s.recv(65536)
        assert more, f"expected an answer, the service closed after {data!r}"
        data += more
    return int(data.split(b" ", 2)[1])


def findings(root, container):
    answer = root.get("/api/v1/findings?" + urllib.parse.urlencode({"limit": 500, "kind": "web", "container": container}))
    assert answer.status == 200, answer
    return answer.json["findings"]


@pytest.mark.deadline(300)
@pytest.mark.parametrize("mode", ["threads", "loop", "workers"])
def test_attack_is_found_and_joined_to_what_it_did(root, sensor, docker, mode):
    with contextlib.closing(Victim(docker, mode)) as victim, contextlib.ExitStack() as opened:
        made = victim.connect_many(IN_FLIGHT + len(ATTACKS))
        for s in made:
            opened.callback(s.close)
        before = sensor.status()["web"]["served"]
        for i, s in enumerate(made[:IN_FLIGHT]):
            send(s, "GET", "/slow?s=120", {"X-Number": str(i)}, "")
        wait_for(lambda: (sensor.status()["web"]["served"] >= before + IN_FLIGHT, sensor.status()["web"]), 60, "the requests in flight are seen")
        for s, (name, request, _, _) in zip(made[IN_FLIGHT:], ATTACKS):
            send(s, *request)
            status = receive(s)
            assert status in (200, 500), f"{name}: expected the service to take it, saw {status}"

        def complete():
            got, missing = findings(root, victim.name), []
            for name, (method, target, _, _), klass, (act_rule, act_text) in ATTACKS:
                path = target.split("?")[0]
                web = [f for f in got if f["rule"].startswith("Web attack:") and f["output_fields"]["web.path"] == path and f["output_fields"]["web.class"] == klass]
                act = [f for f in got if f["rule"] == act_rule and act_text in f["output_fields"]["web.act"] and f["output_fields"]["web.path"] == path]
                if not web:
                    missing.append(f"{name}: the finding of the request")
                if not act:
                    missing.append(f"{name}: the finding of what it did")
            return not missing, (missing, [f["output"] for f in got], sensor.status()["web"])
        wait_for(complete, 60, f"all attacks are found ({mode})")

        got = findings(root, victim.name)
        for name, (method, target, _, _), klass, (act_rule, act_text) in ATTACKS:
            path = target.split("?")[0]
            web = next(f for f in got if f["rule"].startswith("Web attack:") and f["output_fields"]["web.path"] == path and f["output_fields"]["web.class"] == klass)
            act = next(f for f in got if f["rule"] == act_rule and act_text in f["output_fields"]["web.act"] and f["output_fields"]["web.path"] == path)
            fields, did = web["output_fields"], act["output_fields"]
            assert fields["web.source"] == "127.0.0.1" and fields["web.method"] == method and fields["web.status"] == 200, (name, fields)
            assert web["container_id"] == victim.id and act["container_id"] == victim.id, (name, web, act)
            assert did["web.basis"] == "bytes of the request found in the act" and did["web.candidates"] == 1, (name, did)
            assert did["web.finding"] == web["id"], (name, did["web.finding"], web["id"])
            assert act["priority"] == "critical", (name, act)
            assert root.get(f"/api/v1/findings/{act['id']}").json["lineage"], (name, act)
        # HTTP facts: what was served, answered how, with which parameters; an attack teaches none
        with contextlib.closing(victim.connect()) as s:
            send(s, "GET", "/items?id=17", {}, "")
            assert receive(s) == 200

        def facts():
            answer = root.get("/api/v1/endpoints?" + urllib.parse.urlencode({"side": "server", "search": "/items", "limit": 100}))
            mine = [e for e in answer.json["endpoints"] if e["container_id"] == victim.id]
            return any([(p["name"], p["what"]) for p in e["parameters"]] == [("id", "query number, up to 4 bytes")] for e in mine), answer
        wait_for(facts, 60, "the endpoint and its parameter are told")
        (endpoint,) = [e for e in facts()[1].json["endpoints"] if e["container_id"] == victim.id]
        assert (endpoint["method"], endpoint["path"]) == ("GET", "/items") and "python" in endpoint["program"] and endpoint["timed"] >= 1, endpoint
        assert endpoint["statuses"]["2xx"] >= 1 and endpoint["response_bytes"] > 0 and endpoint["latency_max_us"] > 0, endpoint
        # nothing else is a finding: the requests in flight are none
        others = [f["output"] for f in got if f["output_fields"]["web.path"] == "/slow"]
        assert not others, others


def test_events_and_rules_know_the_request(root, sensor, docker):
    with contextlib.closing(Victim(docker, "threads")) as victim, contextlib.closing(victim.connect()) as s:
        send(s, "GET", "/ping?host=" + urllib.parse.quote("127.0.0.1;nc -l -p 4444 -w 1 </dev/null"), {}, "")
        assert receive(s) == 200
        # the shell and what it runs; its arguments have the request in them, those of the programs that it runs need not
        events = sensor.wait_events(lambda all: any(e["proc.args"][:1] == ["nc"] for e in all if "proc.args" in e), 20, "the listener's exec", type="exec", container=victim.name)
        nc = next(e for e in events if e.get("proc.args", [""])[0] == "nc")
        assert nc["web.request.method"] == "GET" and nc["web.request.path"] == "/ping" and nc["web.request.source"] == "127.0.0.1", nc
        assert nc["web.request.rule"].startswith("932") and nc["web.request.candidates"] == 1, nc
        assert nc["web.request.basis"] == "bytes of the request found in the act", nc
        found = sensor.cli("events", "--container", victim.name, "--filter", "evt.type = execve and bh.web.rule contains rce and bh.web.path = /ping", "--json").stdout
        assert '"nc"' in found, found


def test_a_workload_can_be_left_out(root, sensor, docker):
    before = sensor.status()["web"]["switched_off"]
    docker.run("-d", "--name", "victim-off", "--label", "bulkhead.web=off", "-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro", "-v", f"{HERE}:/victim:ro", docker_env.BASE_IMAGE,
               "/usr/bin/python3", "/victim/web_victim.py", "threads", str(PORT), "/tmp/www")
    victim = Victim.__new__(Victim)
    victim.docker, victim.name, victim.pid = docker, "victim-off", docker.inspect("victim-off")["State"]["Pid"]
    with contextlib.closing(victim):
        wait_for(lambda: docker_env.listens(f"/proc/{victim.pid}/ns/net", PORT), 30, "the service listens")
        wait_for(lambda: any(c["name"] == victim.name for c in sensor.containers()), 30, "the container's labels are known")
        with contextlib.closing(victim.connect()) as s:
            send(s, "GET", "/ping?host=" + urllib.parse.quote("127.0.0.1;cat /etc/passwd"), {}, "")
            assert receive(s) == 200
            wait_for(lambda: (sensor.status()["web"]["switched_off"] > before, sensor.status()["web"]), 20, "the container's traffic is passed over")
            # a finding would come within the time that an answer is waited for
            assert not findings(root, victim.name), findings(root, victim.name)


@pytest.mark.deadline(300)
def test_after_a_kill_attacks_are_found_again_by_the_programs_that_it_left(root, sensor, docker):
    """Of a container that runs on, on a connection that is open meanwhile; what the killed one had not taken is counted. Twice: also what was taken over is left again."""
    with contextlib.closing(Victim(docker, "threads")) as victim, contextlib.closing(victim.connect()) as s:
        for host in ("127.0.0.1;cat /etc/hostname", "127.0.0.1;cat /etc/shadow"):
            send(s, "GET", "/items?id=1", {}, "")
            assert receive(s) == 200
            os.kill(sensor.pid, signal.SIGSTOP)
            send(s, "GET", "/items?id=2", {}, "")
            assert receive(s) == 200
            sensor.kill()
            assert [p for p in (sensor.run_dir / "bpf").iterdir() if p.name.startswith("kept_payload_")], "expected the web programs to be left"
            send(s, "GET", "/items?id=3", {}, "")
            assert receive(s) == 200
            sensor.start()
            wait_for(lambda: (sensor.status()["web"]["state"] == "ready" and sensor.status()["bus"]["state"] == "connected", sensor.status()["web"]), 60, "web traffic is looked at again")
            capture = sensor.status()["web"]["capture"]
            assert capture["adopted"] or kernel() < (5, 13), capture
            assert capture["unread"] > 0 or kernel() < (5, 13), capture
            send(s, "GET", "/ping?host=" + urllib.parse.quote(host), {}, "")
            assert receive(s) == 200
            # equal findings within the minute are one: that each sensor found its own is in its counts
            wait_for(lambda: (sensor.status()["web"]["attacks"] > 0, sensor.status()["web"]), 60, f"the attack with {host!r} is found")
            wait_for(lambda: (any(f["rule"].startswith("Web attack:") for f in findings(root, victim.name)), findings(root, victim.name)), 60, "its finding is told")
