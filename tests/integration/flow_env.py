"""Flows as a sensor tells them: a peer on the bus that keeps every batch, and adds up as a central would.

    with Hub(path) as hub, Sensor(..., args=["--bus", f"unix:{path}"]):
        flow = hub.wait_flow(exe="/usr/bin/curl", port=80, role="client")
"""
import contextlib
import ipaddress
import os
import socket
import struct
import threading

from central_env import parse, proto
from docker_env import wait_for

HELLO, WELCOME, MESSAGE, ACK, PING, PONG = 1, 2, 3, 4, 9, 10
COUNTERS = {30: "connections", 31: "refused", 32: "timed_out", 33: "unreachable", 34: "failed", 35: "reset", 36: "bytes_out", 37: "bytes_in",
            38: "packets_out", 39: "packets_in", 40: "duration_ns"}
NOW = {50: "open", 51: "half_open", 52: "open_bytes_out", 53: "open_bytes_in", 54: "open_packets_out", 55: "open_packets_in"}


def address(raw):
    return str(ipaddress.ip_address(raw)) if raw else ""


def text(frame, field):
    return frame.get(field, [b""])[0].decode(errors="surrogateescape")


class Flow(dict):
    """What one side told of a flow, added up. Keys are those of api/bus.proto; `role` is client or server."""

    IDENTITY = ("container", "exe", "role", "proto", "peer", "port", "path", "dialled", "dialled_port", "peer_container", "peer_host", "scan")

    def __init__(self, raw):
        f = parse(raw)
        one = lambda n: f.get(n, [0])[0]  # noqa: E731
        super().__init__(container=text(f, 1), exe=text(f, 2), role={1: "client", 2: "server"}.get(one(3)), proto=one(4), local=address(f.get(5, [b""])[0]),
                         peer=address(f.get(6, [b""])[0]), port=one(7), path=text(f, 8), dialled=address(f.get(11, [b""])[0]), dialled_port=one(12),
                         peer_container=text(f, 13), peer_host=bool(one(14)), peer_exe=text(f, 15), name=text(f, 16), network=text(f, 17),
                         protocol=text(f, 18), server_name=text(f, 19), ports=one(60), addresses=one(61), scan=bool(one(60) or one(61)))
        for table in (COUNTERS, NOW):
            for number, name in table.items():
                self[name] = one(number)
        self["first"], self["last"] = one(41), one(42)

    @property
    def key(self):
        return tuple(self[k] for k in self.IDENTITY)

    def add(self, more):
        for name in COUNTERS.values():
            self[name] += more[name]
        for name in (*NOW.values(), "ports", "addresses", "local"):
            self[name] = more[name]
        for name in ("peer_exe", "name", "network", "protocol", "server_name"):
            self[name] = more[name] or self[name]


class Hub:
    """The central's end of the bus: acknowledges everything, keeps flows and listeners, leaves out batches that it has had."""

    def __init__(self, path):
        self.path = str(path)
        self.lock = threading.Lock()
        self.seen = {}       # publisher → last seq
        self.batches = []    # (after, through, number of flows, full, repeated)
        self.flows = {}      # key → Flow
        self.listeners = []  # dicts, of the last list
        self.through = {}    # boot → of the last batch
        self.rest = 0
        self.problems = []
        self.hold = threading.Event()  # set: nothing is acknowledged
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        self.server.listen(8)
        self.closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.closed = True
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while not self.closed:
                sock, _ = self.server.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        def exactly(n):
            out = b""
            while len(out) < n:
                piece = sock.recv(min(n - len(out), 1 << 16))
                if not piece:
                    raise ConnectionError
                out += piece
            return out

        def send(**fields):
            data = proto(**fields)
            sock.sendall(struct.pack("<I", len(data)) + data)

        publisher = None
        with contextlib.suppress(OSError, ConnectionError):
            while True:
                frame = parse(exactly(struct.unpack("<I", exactly(4))[0]))
                kind = frame[1][0]
                if kind == HELLO:
                    publisher = parse(frame[5][0])[2][0]
                    send(f1=WELCOME, f3=self.seen.get(publisher, 0), f5=proto(f1=1, f2="test", f3=1024, f4=4 << 20))
                elif kind == PING:
                    send(f1=PONG)
                elif kind == MESSAGE:
                    seq = frame.get(3, [0])[0]
                    if seq and seq > self.seen.get(publisher, 0):
                        self.seen[publisher] = seq
                        self._take(frame[4][0].decode().split(".", 1)[0], frame.get(5, [b""])[0])
                        send(f1=ACK, f3=seq)
        sock.close()

    def _take(self, topic, body):
        try:
            if topic == "flow":
                self._take_flows(parse(body))
            elif topic == "listeners":
                m = parse(body)
                with self.lock:
                    self.listeners = [self._listener(x) for x in m.get(4, [])]
        except Exception as e:  # noqa: BLE001: a test must hear of it
            self.problems.append(repr(e))

    @staticmethod
    def _listener(raw):
        f = parse(raw)
        return dict(container=text(f, 1), exe=text(f, 2), pid=f.get(3, [0])[0], proto=f.get(4, [0])[0], ip=address(f.get(5, [b""])[0]), port=f.get(6, [0])[0],
                    path=text(f, 7), net_ns=f.get(10, [0])[0])

    def _take_flows(self, m):
        boot, after, through, full = text(m, 2), m.get(3, [0])[0], m.get(4, [0])[0], bool(m.get(5, [0])[0])
        with self.lock:
            repeated = through <= self.through.get(boot, -1)
            self.batches.append((after, through, len(m.get(7, [])), full, repeated))
            if full:
                for flow in self.flows.values():
                    for name in NOW.values():
                        flow[name] = 0
            if not repeated:
                if after != self.through.get(boot, after):
                    self.problems.append(f"a batch begins after {after}, the one before ended at {self.through[boot]}")
                self.rest += m.get(8, [0])[0]
            for raw in m.get(7, []):
                flow = Flow(raw)
                if repeated:
                    for name in COUNTERS.values():
                        flow[name] = 0
                if flow.key in self.flows:
                    self.flows[flow.key].add(flow)
                else:
                    self.flows[flow.key] = flow
            self.through[boot] = max(through, self.through.get(boot, 0))

    # ---- for tests

    def find(self, **wanted):
        with self.lock:
            return [dict(f) for f in self.flows.values() if all(f[k] == v for k, v in wanted.items())]

    def wait_flow(self, deadline=10, match=lambda f: True, **wanted):
        def look():
            hits = [f for f in self.find(**wanted) if match(f)]
            return (True, hits) if hits else (False, f"{self.find(**wanted) or [dict(f) for f in list(self.flows.values())[-8:]]}")
        return wait_for(look, deadline, f"a flow with {wanted}")[0]

    def wait_sum(self, name, expected, deadline=15, **wanted):
        """Waits until the counter of all such flows together is that, and says if it went beyond."""
        def look():
            n = sum(f[name] for f in self.find(**wanted))
            assert n <= expected, f"expected {expected} {name}, saw {n}: {self.find(**wanted)}"
            return n == expected, f"{n} {name}: {self.find(**wanted)}"
        return wait_for(look, deadline, f"{expected} {name} of {wanted}")

    def wait_listener(self, deadline=10, **wanted):
        def look():
            with self.lock:
                hits = [x for x in self.listeners if all(x[k] == v for k, v in wanted.items())]
            return (True, hits) if hits else (False, f"{len(self.listeners)} listeners: {self.listeners[:20]}")
        return wait_for(look, deadline, f"a listener with {wanted}")[0]
