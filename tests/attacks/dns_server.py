#!/usr/bin/python3
"""A DNS server for the tests: an address for hosts, a text for TXT, nothing for names in .com of fourteen letters, in cluster.local and of block lists. Over UDP and TCP."""
import re
import socket
import struct
import threading



def answer_to(m):
    at, labels = 12, []
    while m[at]:
        labels.append(m[at + 1:at + 1 + m[at]])
        at += 1 + m[at]
    question, name = m[12:at + 5], b".".join(labels).decode("latin-1")
    kind = struct.unpack(">H", m[at + 1:at + 3])[0]
    missing = re.fullmatch(r"[a-z]{14}\.com", name) or name.endswith((".cluster.local", ".blocklist.example"))
    data = {1: b"\xc0\x00\x02\x01", 28: bytes(16), 16: b"\x04text"}.get(kind)
    answer = b"" if missing or data is None else b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
    return m[:2] + struct.pack(">HHHHH", 0x8183 if missing else 0x8180, 1, 1 if answer else 0, 0, 0) + question + answer


def serve(c):
    with c, c.makefile("rb") as f:
        while len(head := f.read(2)) == 2:
            answer = answer_to(f.read(struct.unpack(">H", head)[0]))
            c.sendall(struct.pack(">H", len(answer)) + answer)


def accept(listener):
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", 53))
threading.Thread(target=accept, args=(socket.create_server(("127.0.0.1", 53)),), daemon=True).start()
print("ready", flush=True)
while True:
    m, who = s.recvfrom(4096)
    s.sendto(answer_to(m), who)
