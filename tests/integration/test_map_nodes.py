"""The map of two nodes that are one Swarm against the truth: replicas on both, joined by an overlay network, each node with a sensor and one central.

Both nodes are engines in network namespaces of this machine's one kernel, so each sensor sees everybody's processes and both ends of each connection. What a node of its own would
not see is taken out between sensor and central by Relay: the other node's containers, host processes that have its address, and who is at the far end of what goes to it. What is left are
addresses as each node sees them, of which the central has to make one connection.

The overlay is vxlan of the kernel, which the machines of these tests have; IPVS they have not, so services are in endpoint mode dnsrr.
"""
import ipaddress
import json
import os
import random
import re
import socket
import struct
import subprocess
import threading
import time

import central_env
import pytest
from central_env import parse, varint
from docker_env import make_base_image_tar, system_env, wait_for
from map_place import IMAGE, LOAD, UNCOUNTED, load_program
from map_truth import HOST, Truth, wait_equal
from test_resources import one
from test_resources_nodes import ADDRESSES, NamedSensor, joined

NAMES = ("one", "two")
MESSAGE = 3
PUBLISHED = 17000
CONTAINER, LOCAL, PEER, PORT, DIALLED, DIALLED_PORT, PEER_CONTAINER, PEER_IS_HOST, PEER_EXE = 1, 5, 6, 7, 11, 12, 13, 14, 15  # of a Flow


def changed(raw, field, change):
    """A protobuf message with change(bytes) in the place of each value of a field, which may be bytes or a number; None: without it. Everything else as it was."""
    out, i = b"", 0

    def number(at):
        n = shift = 0
        while True:
            n |= (raw[at] & 127) << shift
            shift += 7
            at += 1
            if raw[at - 1] < 128:
                return n, at
    while i < len(raw):
        start = i
        tag, i = number(i)
        if tag & 7 == 2:
            n, i = number(i)
            value, i = raw[i:i + n], i + n
        else:
            begin = i
            i = number(i)[1] if tag & 7 == 0 else i + (8 if tag & 7 == 1 else 4)
            value = raw[begin:i]
        if tag >> 3 != field:
            out += raw[start:i]
        elif (new := change(value)) is not None:
            out += varint(tag) + (varint(len(new)) if tag & 7 == 2 else b"") + new
    return out


class Node:
    """An engine, its address, and what on this machine is its own."""

    def __init__(self, name, address, engine):
        self.name, self.address, self.engine = name, address, engine
        self.ids, self.listed, self.lock = set(), 0, threading.Lock()

    def has(self, ident, since):
        """Whether the engine has, or had, this container; it is asked anew unless it was after `since`."""
        with self.lock:
            if ident not in self.ids and self.listed < since:
                now = time.monotonic()
                # a listing fails while a container of it goes away
                self.ids |= set(wait_for(lambda: (lambda r: r.returncode == 0 and ["", *r.stdout.split()])(self.engine.docker("ps", "-aq", "--no-trunc", check=False)), 20, "a listing"))
                self.listed = now
            return ident in self.ids


class Relay:
    """Between a sensor and the central: passes on what a kernel of the node's own would have shown. One connection at a time is enough for one sensor; it may come again."""

    def __init__(self, path, upstream, mine, others):
        self.path, self.upstream, self.mine, self.others = str(path), str(upstream), mine, others
        self.judged = {}
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        self.server.listen(8)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.server.close()
        os.unlink(self.path)

    def _accept(self):
        try:
            while True:
                below, _ = self.server.accept()
                above = socket.socket(socket.AF_UNIX)
                above.connect(self.upstream)
                threading.Thread(target=self._up, args=(below, above), daemon=True).start()
                threading.Thread(target=self._down, args=(above, below), daemon=True).start()
        except OSError:
            pass

    @staticmethod
    def _end(*sockets):
        for s in sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _down(self, above, below):
        try:
            while data := above.recv(1 << 16):
                below.sendall(data)
        except OSError:
            pass
        self._end(above, below)

    def _up(self, below, above):
        stream = below.makefile("rb")
        try:
            while len(head := stream.read(4)) == 4:
                frame = stream.read(struct.unpack("<I", head)[0])
                f = parse(frame)
                if f.get(1) == [MESSAGE] and 5 in f:
                    body = self.filtered(f[4][0].decode().split(".")[0], f[5][0])
                    frame = changed(frame, 5, lambda _: body)
                above.sendall(struct.pack("<I", len(frame)) + frame)
        except (OSError, AssertionError):  # the engine is taken down
            pass
        self._end(above, below)

    def filtered(self, topic, body):
        self.since = time.monotonic()
        if topic == "flow":
            return changed(body, 7, self.flow)
        if topic in ("inventory", "listeners"):
            return changed(body, 4, lambda row: None if self.is_foreign(text(row, 1)) else row)
        return body  # nothing of the others is looked at

    def is_foreign(self, ident):
        """Of a container that is not this node's: the other's, or of whoever else works on this machine. An engine has a container before the kernel does."""
        if ident and ident not in self.judged:
            self.judged[ident] = not self.mine.has(ident, self.since)
        return self.judged.get(ident, False)

    def flow(self, row):
        fields = parse(row)
        container, local, peer, dialled = text(row, CONTAINER), *(str(ipaddress.ip_address(a)) if a else "" for a in (fields.get(n, [b""])[0] for n in (LOCAL, PEER, DIALLED)))
        others = {o.address for o in self.others}
        if self.is_foreign(container) if container else local in others:
            return None
        if dialled in others:
            # where the other node's published port leads is that node's knowledge
            row = changed(row, PEER, lambda _: fields[DIALLED][0])
            row = changed(row, PORT, lambda _: varint(fields[DIALLED_PORT][0]))
            for field in (DIALLED, DIALLED_PORT):
                row = changed(row, field, lambda _: None)
        if peer in others or dialled in others or self.is_foreign(text(row, PEER_CONTAINER)):
            # a process of this kernel is at the far end, but not one of this node
            for field in (PEER_CONTAINER, PEER_IS_HOST, PEER_EXE):
                row = changed(row, field, lambda _: None)
        return row


def text(row, field):
    return parse(row).get(field, [b""])[0].decode()


@pytest.fixture(scope="module")
def nodes(build):
    image = make_base_image_tar([(LOAD, load_program(build))])

    def prepare(engine):
        engine.docker("import", "--change", "ENV PATH=/bin", "-", IMAGE, input=image, text=False)
    with joined(prepare) as engines:
        yield [Node(*row) for row in zip(NAMES, ADDRESSES, engines)]


class Stack:
    def __init__(self, nodes, build):
        self.nodes, self.manager, self.build = nodes, nodes[0].engine, build
        self.name = f"span{random.randrange(1 << 16):x}"
        self.network = f"{self.name}_net"
        self.services = []
        self.truth = Truth()
        self.tasks = {}  # (service, node's name) -> (id, address)

    def __enter__(self):
        self.manager.docker("network", "create", "-d", "overlay", "--label", f"com.docker.stack.namespace={self.name}", self.network)
        return self

    def __exit__(self, *exc):
        for service in self.services:
            self.manager.docker("service", "rm", service, check=False)
        wait_for(lambda: self.manager.docker("network", "rm", self.network, check=False).returncode == 0, 40, "the network can be removed")

    def service(self, short, *command, options=()):
        """Two replicas, one on each node."""
        label = f"com.docker.stack.namespace={self.name}"
        self.manager.docker("service", "create", "--detach", "--no-resolve-image", "--name", f"{self.name}_{short}", "--label", label, "--container-label", label, "--replicas", "2",
                            "--replicas-max-per-node", "1", "--endpoint-mode", "dnsrr", "--network", f"name={self.network},alias={short}", "--stop-grace-period", "1s", *options, IMAGE, *command)
        self.services.append(f"{self.name}_{short}")

    def wait(self):
        for service in self.services:
            for node in self.nodes:
                def task():
                    ids = node.engine.docker("ps", "-q", "--no-trunc", "--filter", f"label=com.docker.swarm.service.name={service}", "--filter", "status=running").stdout.split()
                    at = ids and node.engine.inspect(ids[0])["NetworkSettings"]["Networks"].get(self.network, {}).get("IPAddress")
                    return bool(at), (ids[0] if ids else None, at)
                ident, address = self.tasks[service.split("_")[1], node.name] = wait_for(task, 60, f"a task of {service} on node {node.name}")
                self.truth.container(ident, self.name, service)

    def drive(self, source, node, target, at, proto, port, count, address=None, dialled=None):
        """Connections of a task to a task, written down as their maker counted them. at: the target's node; source HOST: a process of that node."""
        ident, own = self.tasks[target, at.name]
        words = [load_program(self.build) if source == HOST else LOAD, "client", proto, address or own, dialled or port, count, 0, 200, 300, 0]
        if source == HOST:
            out = subprocess.run(["nsenter", f"--net={node.engine.netns}", *map(str, words)], check=True, capture_output=True, text=True, timeout=60, env=system_env()).stdout
        else:
            out = node.engine.docker("exec", self.tasks[source, node.name][0], *words, timeout=60).stdout
        got = json.loads(out)
        assert got["ok"] == count, f"expected {count} connections of {source} on {node.name} to {target} on {at.name}, saw {got}"
        self.truth.add(HOST if source == HOST else Truth.of(self.tasks[source, node.name][0]), Truth.of(ident), proto, port, client=str(words[0].resolve()) if source == HOST else LOAD,
                       # the other node sees all that comes from this one with one address, and its part goes to the edges of this one's containers
                       server=None if source == HOST else LOAD,
                       connections=got["ok"], bytes_out=got["bytes_out"], bytes_in=got["bytes_in"], loose=UNCOUNTED.get(proto, ()))


@pytest.mark.deadline(240)
def test_two_nodes_are_one_map(build, nodes, tmp_path):
    with central_env.Central(build) as central:
        relays = [Relay(tmp_path / f"{n.name}.sock", f"{central.run_dir}/central/bus.sock", n, [o for o in nodes if o is not n]) for n in nodes]
        sensors = [NamedSensor(n.name, build, netns=n.engine.netns, docker_host=n.engine.host, args=["--bus", f"unix:{r.path}", "--no-containerd"]) for n, r in zip(nodes, relays)]
        with sensors[0], sensors[1], Stack(nodes, build) as stack:
            admin = central.root()
            first, second = nodes
            stack.service("ask", "sleep", "100000")
            stack.service("serve", LOAD, "serve", "tcp", "7000", options=["--publish", f"mode=host,target=7000,published={PUBLISHED}"])
            stack.service("count", LOAD, "serve", "udp", "7001")
            stack.wait()
            for n in nodes:
                one(admin, 30, kind="node", scope="node", source="docker", node=n.name)
                # both ends know the other's name for it: each node finds the tasks of both
                seen = n.engine.docker("exec", stack.tasks["ask", n.name][0], "nslookup", "serve").stdout
                assert {stack.tasks["serve", m.name][1] for m in nodes} <= set(re.findall(r"[0-9.]{7,}", seen)), seen
            for n in nodes:
                for m in nodes:
                    stack.drive("ask", n, "serve", m, "tcp", 7000, 40)
                    stack.drive("ask", n, "count", m, "udp", 7001, 30)
            # through a published port of the other node: where the client's address is hidden, and the server's is another one
            for n, m in ((first, second), (second, first)):
                stack.drive("ask", n, "serve", m, "tcp", 7000, 15, address=m.address, dialled=PUBLISHED)
            stack.drive(HOST, first, "serve", second, "tcp", 7000, 7, address=second.address, dialled=PUBLISHED)
            wait_equal(admin, stack.truth, deadline=30)
            # told by both of its ends, each by its own node
            edges = {(e["from"], e["to"], e["port"]): e for e in admin.get(f"/api/v1/graph?level=container&application={stack.name}&limit=1000").json["edges"]}
            for n in nodes:
                for m in nodes:
                    ends = [f"c:{x.name}/{stack.tasks[s, x.name][0]}" for s, x in (("ask", n), ("serve", m))]
                    assert edges[(*ends, 7000)]["sides"] == "both", edges[(*ends, 7000)]
        for r in relays:
            r.close()
