"""Responses that name peers as DNS does: what the container was answered is what is refused, or allowed."""
import json
import socket
import struct
import threading

import pytest
from docker_env import wait_for
from test_response import Listener, becomes, box, isolated, listener, release, respond, sensor, stream  # noqa: F401


class NameServer:
    """Answers for the names that it has, with a time to live of a second."""

    def __init__(self, address):
        self.names = {}
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((address, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                query, peer = self.sock.recvfrom(512)
            except OSError:
                return
            end = query.index(b"\0", 12)
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode())
                at += 1 + query[at]
            address = self.names.get(".".join(labels).lower())
            head = query[:2] + struct.pack(">HHHHH", 0x8180, 1, 1 if address else 0, 0, 0)
            answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + socket.inet_aton(address) if address else b""
            self.sock.sendto(head + query[12:end + 5] + answer, peer)

    def close(self):
        self.sock.close()


@pytest.fixture
def names(listener):  # noqa: F811
    server = NameServer(listener.sock.getsockname()[0])
    yield server
    server.close()


@pytest.fixture
def second(listener):  # noqa: F811
    server = Listener(listener.sock.getsockname()[0])
    yield server
    server.close()


def ask(b, server, name):
    """The container asks, and reads the answer."""
    query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0" + b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0\0\x01\0\x01"
    text = "".join(f"\\{c:03o}" for c in query)
    assert b.run(f"printf '{text}' | timeout 3 nc -u -w 1 {server.sock.getsockname()[0]} 53 | wc -c", ok=None).strip() != "0", f"expected an answer about {name}"


def connects(b, server):
    before = len(server.conns)
    b.run(f"echo | timeout 3 nc -w 1 {server.sock.getsockname()[0]} {server.port}", ok=None)
    return len(server.conns) > before


def until(b, server, wanted):
    wait_for(lambda: (connects(b, server) == wanted, None), 20, f"{b.name} {'reaches' if wanted else 'does not reach'} port {server.port}")


def test_names_are_refused_by_what_the_container_was_answered(central, sensor, box, listener, second, names):  # noqa: F811
    a, neighbour = box("named"), box("unnamed")
    host = listener.sock.getsockname()[0]
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

    row = wait_for(lambda: (lambda row: (row["detail"].get("resolved", {}).get("names", [{}])[-1].get("known") == 1, row))(central.root().get(f"/api/v1/responses/{r['id']}").json), 20, "the ledger tells what is known")
    assert [n["addresses"] for n in row["detail"]["resolved"]["names"]] == [[host], [host]], row
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
    a = box("collecting")
    host = listener.sock.getsockname()[0]
    names.names = {"collector.example": host}
    ask(a, names, "collector.example")
    refused = respond(central, "isolate", a.name, allow=f"peer:collector.example:{listener.port}")
    assert refused.status == 400 and "name server" in refused.json["error"]["message"], refused.json
    r = isolated(central, "isolate", a.name, allow=f"peer:collector.example:{listener.port} {host}:53/udp")
    assert not connects(a, listener), "expected that what was answered before is not believed"
    ask(a, names, "collector.example")
    until(a, listener, True)
    assert not connects(a, second)
    release(central, r)
