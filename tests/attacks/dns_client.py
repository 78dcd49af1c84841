#!/usr/bin/python3
"""What a program in a container asks DNS for, for the tests.

    dns_client.py busy N        N different hosts, with what resolvers and content networks add
    dns_client.py transfer N    N bytes in names, hexadecimal, asked for as TXT
    dns_client.py generated N   N domains that nobody has
"""
import random
import socket
import struct
import sys

rng = random.Random(5)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.1", 53))
s.settimeout(5)
WORDS = "shop news cloud garden river market travel photo north silver green media books health music daily house studio smart global first world forest stone sport coffee design family".split()
TYPES = {"A": 1, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33}


def ask(name, kind="A"):
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0" + struct.pack(">HH", TYPES[kind], 1)
    s.send(struct.pack(">HHHHHH", rng.randrange(65536), 0x0100, 1, 0, 0, 0) + question)
    s.recv(4096)


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
print("done")
