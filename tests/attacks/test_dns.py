"""Data that leaves in DNS names (ATTACKS.md A8) and generated names are findings within 30 seconds; a busy client of DNS is none."""
import contextlib
import pathlib
import subprocess
import time
import urllib.parse

import central_env
import docker_env
import pytest
from docker_env import wait_for

HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def sensor(build, docker, central, backend):
    with central_env.connected_sensor(build, docker, central, backend, web=True) as s:
        yield s


@contextlib.contextmanager
def resolving(docker, name):
    """A container that waits for a name server in its network namespace, which is a process of the host."""
    docker.run("-d", "--name", name, "-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro", "-v", f"{HERE}:/tests:ro", docker_env.BASE_IMAGE, "sleep", "1000")
    pid = docker.inspect(name)["State"]["Pid"]
    net = ["nsenter", "-t", str(pid), "-n"]
    subprocess.run([*net, "ip", "link", "set", "lo", "up"], check=True)
    server = subprocess.Popen([*net, "/usr/bin/python3", str(HERE / "dns_server.py")], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "ready\n"
        yield lambda *argv: docker.docker("exec", name, "/usr/bin/python3", "/tests/dns_client.py", *argv, timeout=200)
    finally:
        server.kill()
        server.wait()
        docker.remove(name)


def findings(root, container):
    answer = root.get("/api/v1/findings?" + urllib.parse.urlencode({"limit": 100, "kind": "dns", "container": container}))
    assert answer.status == 200, answer
    return answer.json["findings"]


@pytest.mark.parametrize("how", [[], ["--tcp"], ["--pipelined"]], ids=["udp", "tcp", "tcp-pipelined"])
def test_transfer_in_names_is_found(root, sensor, docker, how):
    name = "-".join(["dns-transfer", *(h.strip("-") for h in how)])
    with resolving(docker, name) as ask:
        begin, before = time.monotonic(), sensor.status()["web"]["dns"]
        ask("transfer", "6000", *how)
        wait_for(lambda: (len(findings(root, name)) == 1, (findings(root, name), sensor.status()["web"]["dns"])), 30, "the transfer is found")
        assert time.monotonic() - begin < 30 * docker_env.patience()
        after = sensor.status()["web"]["dns"]
        # each question and its answer, at the client: the server is a process of the host
        assert after["messages"] - before["messages"] == (400 if how else 0) and after["refused"] == after["not_understood"] == 0, (before, after)
        f = findings(root, name)[0]
        fields = f["output_fields"]
        assert f["rule"] == "Data leaves in DNS names" and f["priority"] == "error" and "T1071.004" in f["tags"] and "T1048" in f["tags"], f
        assert fields["dns.domain"] == "evil.example" and fields["dns.bytes"] >= 2048 and "python" in fields["proc.exe"], fields
        assert root.get(f"/api/v1/findings/{f['id']}").json["lineage"], f


def test_generated_names_are_found(root, sensor, docker):
    with resolving(docker, "dns-generated") as ask:
        ask("generated", "60")
        wait_for(lambda: (len(findings(root, "dns-generated")) == 1, findings(root, "dns-generated")), 30, "the names are found")
        assert findings(root, "dns-generated")[0]["rule"] == "Generated DNS names"


@pytest.mark.deadline(200)
def test_busy_client_is_not_found(root, sensor, docker):
    with resolving(docker, "dns-busy") as ask:
        ask("busy", "1300")
        ask("busy", "200", "--pipelined")
        # what comes after it is found, so it was looked at
        ask("transfer", "6000")
        wait_for(lambda: (findings(root, "dns-busy"), sensor.status()["inspector"]["dns"]), 60, "the transfer after the busy time is found")
        assert [f["output_fields"]["dns.domain"] for f in findings(root, "dns-busy")] == ["evil.example"], findings(root, "dns-busy")
        assert sensor.status()["inspector"]["dns"]["messages"] > 9000, sensor.status()["inspector"]
