"""Responses that name peers as DNS does: what the container was answered is what is refused, or allowed."""
import json
import socket
import struct
import threading

import pytest
from docker_env import wait_for
from test_response import Listener, box, isolated, listener, release, respond, sensor, stream  # noqa: F401


class NameServer:
    """Answers for the names that it has, with a time to live of a second."""

    def __init__(self, address):
        self.names, self.answered = {}, []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((address, 53))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            query, peer = self.sock.recvfrom(512)
            if not query:
                return
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode())
                at += 1 + query[at]
            end, name = at, ".".join(labels).lower()
            address = self.names.get(name) if query[end + 1:end + 3] == b"\0\1" else None  # A
            head = query[:2] + struct.pack(">HHHHH", 0x8180, 1, 1 if address else 0, 0, 0)
            answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + socket.inet_aton(address) if address else b""
            self.sock.sendto(head + query[12:end + 5] + answer, peer)
            if address:
                self.answered.append(name)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self.sock.getsockname())
        self.thread.join()
        self.sock.close()


@pytest.fixture
def names(listener):  # noqa: F811
    try:
        server = NameServer(listener.sock.getsockname()[0])
    except OSError as e:  # a resolver of the machine's that listens at all addresses
        pytest.skip(f"nobody else can listen at port 53: {e}")
    yield server
    server.close()


@pytest.fixture
def second(listener):  # noqa: F811
    server = Listener(listener.sock.getsockname()[0])
    yield server
    server.close()


def ask(b, server, name):
    """The container looks a name up, as programs do. (nslookup of busybox reads the answer like a file, which not all kernels tell of.)"""
    before = server.answered.count(name.lower())
    b.run(f"nc -w 1 {name} 9 </dev/null", ok=None)
    assert server.answered.count(name.lower()) > before, f"expected {b.name} to ask for {name}"


def connects(b, server):
    before = len(server.conns)
    b.run(f"echo | timeout 3 nc -w 1 {server.sock.getsockname()[0]} {server.port}", ok=None)
    return len(server.conns) > before


def until(b, server, wanted):
    wait_for(lambda: (connects(b, server) == wanted, None), 20, f"{b.name} {'reaches' if wanted else 'does not reach'} port {server.port}")


def test_names_are_refused_by_what_the_container_was_answered(central, sensor, box, listener, second, names):  # noqa: F811
    host = listener.sock.getsockname()[0]
    a, neighbour = box("named", "--dns", host), box("unnamed", "--dns", host)
    names.names = {"early.example": host, "late.bad.example": host}
    ask(a, names, "Early.example")
    stream(second, a)
    refused = respond(central, "block", a.name, deny="peer:10.0.0.1")
    assert refused.status == 400 and "peer:www.example.com" in refused.json["error"]["message"], refused.json
    r = isolated(central, "block", a.name, deny=f"peer:early.example:{listener.port}\npeer:*.bad.example:{second.port}/tcp")
    assert "DNS over TLS" in r["detail"]["notes"][0], r

    until(a, listener, False)  # from before the block
    assert connects(a, second) and connects(neighbour, listener)
    ask(neighbour, names, "late.bad.example")  # another's
    assert connects(a, second)
    ask(a, names, "late.bad.example")
    until(a, second, False)
    before = second.ticks(a.ip)
    assert connects(neighbour, second) and connects(neighbour, listener)
    assert second.ticks(a.ip) <= before + 1, "expected the connection of before to be cut"

    told = sensor.status()["responses"]["resolved"][r["id"]]
    assert [n["addresses"] for n in told["names"]] == [[host], [host]] and not told["left_out"], told
    bound = sensor.data_dir / "responses" / f"{r['id']}.json"
    wait_for(lambda: (len(json.loads(bound.read_text())["bound"]) == 2, None), 20, "the node's ledger has the addresses")
    sensor.kill()
    assert not connects(a, listener) and not connects(a, second)
    sensor.start()
    wait_for(lambda: (sensor.status()["bus"]["state"] == "connected", sensor.status()["bus"]), 20, "the sensor is connected again")
    assert not connects(a, listener) and not connects(a, second)
    release(central, r)
    assert connects(a, listener) and connects(a, second)


def test_names_are_allowed_by_answers_of_a_server_that_is_allowed(central, sensor, box, listener, second, names):  # noqa: F811
    host = listener.sock.getsockname()[0]
    a = box("collecting", "--dns", host)
    names.names = {"collector.example": host}
    ask(a, names, "collector.example")
    refused = respond(central, "isolate", a.name, allow=f"peer:collector.example:{listener.port}")
    assert refused.status == 400 and "name server" in refused.json["error"]["message"], refused.json
    r = isolated(central, "isolate", a.name, allow=f"peer:collector.example:{listener.port} {host}:53/udp", best_effort=True)
    assert "name server's name" in str(r["detail"]["open"]), r
    assert not connects(a, listener), "expected that what was answered before is not believed"
    ask(a, names, "collector.example")
    until(a, listener, True)
    assert not connects(a, second)
    release(central, r)
