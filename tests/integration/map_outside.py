"""Hosts outside of the machine, without sockets: a TUN device in an engine's network namespace, and this process that answers its packets.

Everything that runs on the test's machine has sockets that a sensor can see. What is behind this device has none, so it is truly outside: NETWORK.x for
any x. Its TCP ports: OPEN answers each request of data with REPLY bytes, CLOSED refuses, SILENT never answers, RESETTING answers by a reset. UDP port 53
is a name server that knows every name below ZONE as SERVER; other UDP ports echo. connect() opens a connection from outside to the node.
"""
import fcntl
import os
import random
import select
import socket
import struct
import subprocess
import threading
import time

from docker_env import system_env

NETWORK = "198.51.100"
SERVER, RESOLVER, VISITOR = f"{NETWORK}.80", f"{NETWORK}.53", f"{NETWORK}.7"
ZONE = "outside.example"
OPEN, CLOSED, SILENT, RESETTING = 80, 81, 82, 83
REPLY = 700
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(source, target, proto, payload):
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), random.randrange(65536), 0, 64, proto, 0, source, target)
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def tcp(source, sport, target, dport, seq, ack, flags, data=b""):
    options = b"\x02\x04\x05\xb4" if flags & SYN else b""
    head = struct.pack(">HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, (5 + len(options) // 4) << 4, flags, 65535, 0, 0) + options
    total = checksum(source + target + struct.pack(">BBH", 0, 6, len(head) + len(data)) + head + data)
    return packet(source, target, 6, head[:16] + struct.pack(">H", total) + head[18:] + data)


def udp(source, sport, target, dport, data):
    head = struct.pack(">HHHH", sport, dport, 8 + len(data), 0)
    return packet(source, target, 17, head + data)


class Outside:
    """`with Outside(docker)`: the device is there, the node has a route to it."""

    def __init__(self, docker):
        self.netns, self.peers, self.visits = docker.netns, {}, {}
        self.name = f"bhout{docker.tag[:6]}"
        self._stop, self._thread, self.fd = threading.Event(), None, None
        self._lock = threading.Lock()

    def __enter__(self):
        made = {}

        def make():  # a device belongs to the namespace of the thread that makes it
            import ctypes
            with open(self.netns) as ns:
                assert ctypes.CDLL(None, use_errno=True).setns(ns.fileno(), 0x40000000) == 0, ctypes.get_errno()
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", self.name.encode(), IFF_TUN | IFF_NO_PI))
            made["fd"] = fd
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        self.fd = made["fd"]
        for args in (["addr", "add", f"{NETWORK}.1/24", "dev", self.name], ["link", "set", self.name, "up"]):
            subprocess.run(["nsenter", f"--net={self.netns}", "ip", *args], check=True, env=system_env())
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        self._thread.join()
        os.close(self.fd)  # the device goes with it

    def _run(self):
        while not self._stop.is_set():
            if select.select([self.fd], [], [], 0.1)[0]:
                data = os.read(self.fd, 65536)
                if data[0] >> 4 == 4:
                    self._packet(data)

    def _send(self, data):
        os.write(self.fd, data)

    def _packet(self, data):
        head = (data[0] & 15) * 4
        source, target, body = data[12:16], data[16:20], data[head:struct.unpack_from(">H", data, 2)[0]]
        if data[9] == 6:
            self._tcp(source, target, body)
        elif data[9] == 17:
            sport, dport, length = struct.unpack_from(">HHH", body)
            answer = self._name(body[8:length]) if dport == 53 else body[8:length]
            if answer:
                self._send(udp(target, dport, source, sport, answer))

    def _name(self, question):
        """An A record for each name of our zone."""
        at, labels = 12, []
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode(errors="replace"))
            at += 1 + question[at]
        kind, = struct.unpack_from(">H", question, at + 1)
        asked = question[12:at + 5]
        known = ".".join(labels).lower().endswith(ZONE)
        record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(SERVER) if known and kind == 1 else b""
        return question[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, 1 if record else 0, 0, 0) + asked + record

    def _tcp(self, source, target, body):
        sport, dport, seq, ack, offset, flags = struct.unpack_from(">HHIIBB", body)
        data = body[(offset >> 4) * 4:]
        key = target, dport, source, sport
        if key in self.visits:
            return self._visit(key, seq, ack, flags, data)
        if flags & SYN:
            if dport == SILENT:
                return None
            if dport == CLOSED:
                return self._send(tcp(target, dport, source, sport, 0, seq + 1, RST | ACK))
            self.peers[key] = [1000, seq + 1]
            return self._send(tcp(target, dport, source, sport, 999, seq + 1, SYN | ACK))
        state = self.peers.get(key)
        if not state or flags & RST:
            self.peers.pop(key, None)
            return None
        if seq != state[1]:  # again, or a hole: only the packets in their order count
            return self._send(tcp(target, dport, source, sport, state[0], state[1], ACK))
        state[1] += len(data)
        if data and dport == RESETTING:
            del self.peers[key]
            return self._send(tcp(target, dport, source, sport, state[0], state[1], RST | ACK))
        if data:
            self._send(tcp(target, dport, source, sport, state[0], state[1], PSH | ACK, b"o" * REPLY))
            state[0] += REPLY
        if flags & FIN:
            state[1] += 1
            self._send(tcp(target, dport, source, sport, state[0], state[1], FIN | ACK))
            del self.peers[key]
        return None

    # ---- from outside to the node ----

    def connect(self, address, port, request, deadline=15.0, source=VISITOR):
        """A whole connection from outside: sends `request`, reads until the other closes. Returns what came."""
        key = socket.inet_aton(source), random.randrange(20000, 60000), socket.inet_aton(address), port
        v = {"seq": 5000, "ack": 0, "request": request, "got": b"", "state": "syn", "done": threading.Event()}
        self.visits[key] = v
        end = time.monotonic() + deadline
        while not v["done"].is_set():
            assert time.monotonic() < end, f"expected an answer from {address}:{port} to the outside, saw {v['state']} and {len(v['got'])} bytes"
            if v["state"] == "syn":
                self._send(tcp(*key[:2], *key[2:], v["seq"], 0, SYN))
            v["done"].wait(1)
        return v["got"]

    def _visit(self, key, seq, ack, flags, data):
        v = self.visits[key]
        if flags & RST:
            v["state"] = "reset"
            v["done"].set()
            return
        if flags & SYN and v["state"] == "syn":
            v["state"], v["seq"], v["ack"] = "open", v["seq"] + 1, seq + 1
            self._send(tcp(*key[:2], *key[2:], v["seq"], v["ack"], PSH | ACK, v["request"]))
            v["seq"] += len(v["request"])
            return
        if seq == v["ack"] and (data or flags & FIN):
            v["got"] += data
            v["ack"] += len(data)
            if flags & FIN and v["state"] == "open":
                v["ack"] += 1
                v["state"] = "closed"
                self._send(tcp(*key[:2], *key[2:], v["seq"], v["ack"], FIN | ACK))
                v["seq"] += 1
                v["done"].set()
                return
        if data or flags & FIN:
            self._send(tcp(*key[:2], *key[2:], v["seq"], v["ack"], ACK))
