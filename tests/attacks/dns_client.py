#!/usr/bin/python3
"""What a program in a container asks DNS for, for the tests.

    dns_client.py busy N        N different hosts, with what resolvers and content networks add
    dns_client.py transfer N    N bytes in names, hexadecimal, asked for as TXT
    dns_client.py generated N   N domains that nobody has

With --tcp at the end over one connection instead, as resolvers do with long answers; with --pipelined ten questions at a time before their answers are read.
"""
import random
import socket
import struct
import sys

rng = random.Random(5)
tcp, pipelined = "--tcp" in sys.argv or "--pipelined" in sys.argv, 10 if "--pipelined" in sys.argv else 1
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
s.connect(("127.0.0.1", 53))
s.settimeout(5)
pending = []
WORDS = "shop news cloud garden river market travel photo north silver green media books health music daily house studio smart global first world forest stone sport coffee design family".split()
TYPES = {"A": 1, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33}


def ask(name, kind="A"):
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0" + struct.pack(">HH", TYPES[kind], 1)
    m = struct.pack(">HHHHHH", rng.randrange(65536), 0x0100, 1, 0, 0, 0) + question
    if not tcp:
        s.send(m)
        s.recv(4096)
        return
    pending.append(struct.pack(">H", len(m)) + m)
    if len(pending) == pipelined:
        flush()


def exactly(n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        assert more, "the server closed"
        data += more
    return data


def flush():
    s.sendall(b"".join(pending))
    for _ in pending:
        exactly(struct.unpack(">H", exactly(2))[0])
    pending.clear()


mode, n = sys.argv[1], int(sys.argv[2])
if mode == "busy":
    for i in range(n):
        host = f"www.{rng.choice(WORDS)}{rng.choice(WORDS)}{rng.randrange(100)}.com"
        ask(host + ".default.svc.cluster.local")
        ask(host)
        ask(host, "AAAA")
        ask("d%013x.cloudfront.net" % rng.randrange(16 ** 13))
        ask("%d.%d.%d.%d.in-addr.arpa" % tuple(rng.randrange(256) for _ in range(4)), "PTR")
        ask("%d.%d.%d.%d.zen.blocklist.example" % tuple(rng.randrange(256) for _ in range(4)))
        if i % 10 == 0:
            ask("_http._tcp.registry.example.com", "SRV")
            ask("%032x.frame.cdn.example" % rng.randrange(16 ** 32))
elif mode == "transfer":
    for at in range(0, n, 30):
        ask(rng.randbytes(30).hex() + ".x.evil.example", "TXT")
elif mode == "generated":
    for i in range(n):
        ask("".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(14)) + ".com")
if pending:
    flush()
print("done")
