#!/usr/bin/python3
"""What a container sends all the time, for the tests of isolation; and who counts what came.

    stream.py HOST TCP NEW UDP      one of each, again and again: bytes of an open connection, a new connection, a datagram, an echo request by a raw socket, a question for a name
    stream.py HOST count UDP UNTIL         numbered datagrams until there is a file UNTIL; prints how many were sent
"""
import os
import socket
import struct
import sys
import time

PAUSE = 0.002


def echo_request():
    head = struct.pack("!BBHHH", 8, 0, 0, 1, 1)
    return struct.pack("!BBHHH", 8, 0, 0xffff - sum(struct.unpack("!4H", head)) % 0xffff, 1, 1)


def tried(call, *args):
    try:
        call(*args)
    except OSError:
        pass


def count(host, port, until):
    s, n = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0
    while not os.path.exists(until):
        s.sendto(struct.pack("!Q", n), (host, port))
        n += 1
        time.sleep(PAUSE)
    print(n)


def stream(host, tcp, new, udp):
    kept = socket.create_connection((host, tcp))
    kept.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    kept.setblocking(False)
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04left\x04test\x00\x00\x01\x00\x01"
    while True:
        tried(kept.send, b"tick")
        one = socket.socket()
        one.setblocking(False)
        tried(one.connect, (host, new))
        tried(datagrams.sendto, b"tick", (host, udp))
        tried(datagrams.sendto, question, (host, 53))
        tried(raw.sendto, echo_request(), (host, 0))
        time.sleep(PAUSE)
        one.close()


if sys.argv[2] == "count":
    count(sys.argv[1], int(sys.argv[3]), sys.argv[4])
else:
    stream(sys.argv[1], *map(int, sys.argv[2:5]))
