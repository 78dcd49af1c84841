#!/usr/bin/python3
"""Sends requests as they are, one connection each, from within a network namespace; for crs_live.py.

Reads lines of JSON {"source": address to send from, "port": PORT, "tls": bool, "request": base64}; for each writes a line with the status of the answer, 0 for none.
"""
import base64
import json
import re
import socket
import ssl
import sys

ANSWER_S = 2.0  # a request that is not whole is never answered


def ask(one, context):
    s = socket.socket()
    try:
        s.settimeout(30)
        s.bind((one["source"], 0))
        s.connect(("127.0.0.1", one["port"]))
        if one["tls"]:
            s = context.wrap_socket(s, server_hostname="localhost")
        s.sendall(base64.b64decode(one["request"]))
        s.settimeout(ANSWER_S)
        data = b""
        while b"\r\n" not in data and len(data) < 65536:
            more = s.recv(65536)
            if not more:
                break
            data += more
        found = re.match(rb"HTTP/\d(?:\.\d)? (\d{3})", data)
        return int(found[1]) if found else 0
    except OSError:
        return 0
    finally:
        s.close()


context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
for line in sys.stdin:
    print(ask(json.loads(line), context), flush=True)
