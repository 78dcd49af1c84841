# SPDX-License-Identifier: Apache-2.0
"""A small service with a hole: /calc evaluates what it is given. Everything else is what such services do: documents, uploads, a cache, a log that is rotated."""
import http.server
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid

DATA, LOG = "/var/lib/app", "/var/log/app"


def redis(command):
    address = open("/peers/redis").read().split()[0]
    with socket.create_connection((address, 6379), 2) as s:
        s.sendall(command.encode() + b"\r\n")
        return s.recv(200)


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, form, *args):
        with open(f"{LOG}/access-{time.strftime('%Y-%m-%d')}.log", "a") as f:
            f.write(form % args + "\n")

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        q = dict(urllib.parse.parse_qsl(url.query))
        try:
            if url.path == "/calc":
                self.answer(str(eval(q["e"])).encode())
            elif url.path == "/doc":
                with open(f"{DATA}/docs/{q['name']}", "rb") as f:
                    self.answer(f.read(4096))
            elif url.path == "/cache":
                self.answer(redis(f"INCR visits:{q.get('n', '1')}"))
            elif url.path == "/key":
                self.answer(subprocess.run(["/usr/bin/openssl", "rand", "-hex", "8"], capture_output=True).stdout)
            else:
                self.answer(b"ok")
        except Exception as e:  # whatever was asked for: a service answers
            self.send_error(500, type(e).__name__)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with tempfile.NamedTemporaryFile(delete=False) as f:
            f.write(body)
        os.replace(f.name, f"{DATA}/uploads/{uuid.uuid4()}.bin")
        self.answer(b"kept")


def tidy():
    while True:
        time.sleep(45)
        files = sorted(os.scandir(f"{DATA}/uploads"), key=lambda e: e.stat().st_mtime)
        for e in files[:-20]:
            os.unlink(e.path)


for d in (f"{DATA}/docs", f"{DATA}/uploads", LOG):
    os.makedirs(d, exist_ok=True)
for n in range(40):
    with open(f"{DATA}/docs/doc-{n}.txt", "w") as f:
        f.write("text " * n)
if "2" in sys.argv[1:]:  # the next version: it has a second configuration, and a file of its own
    with open(f"{DATA}/schema-v2.json", "w") as f:
        f.write("{}")
    subprocess.run(["/usr/bin/openssl", "version", "-a"], capture_output=True)
threading.Thread(target=tidy, daemon=True).start()
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
