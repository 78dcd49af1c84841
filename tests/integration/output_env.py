"""Servers that take alerts, and findings as a sensor's rules would publish them."""
import contextlib
import json
import http.server
import pathlib
import socket
import ssl
import subprocess
import threading
import time

from central_env import container, event, proto
from docker_env import wait_for

HOSTILE = b"\x1b]0;x\x07\nFAKE <13>1 line\r\x00\xff\xfe \xe2\x80\xae\xc2\x9b \"quoted\" \\back"


def field(name, **value):
    """An OutputField: text=, number=, truth=, many=, or null."""
    if "text" in value:
        return proto(f1=name, f2=1, f3=value["text"])
    if "number" in value:
        return proto(f1=name, f2=2, f4=value["number"])
    if "truth" in value:
        return proto(f1=name, f2=4, f6=int(value["truth"]))
    if "many" in value:
        return proto(f1=name, f2=6, f8=list(value["many"]))
    return proto(f1=name)


def process(pid, exe, *args, ppid=1, container_id="c" * 64):
    return proto(f1=pid, f2=pid % 100, f3=ppid, f4=pid * 10, f5=1_700_000_000_000_000_000, f6=container_id, f8=exe.rsplit("/", 1)[-1], f9=exe, f10="".join(a + "\0" for a in args),
                 f11=0, f13="root")


def rule_finding(ident, node="node-1", rule="Terminal shell in container", priority="Critical", output="A shell was started", key=None, when=None, **more):
    """A whole finding of a rule. `key`: what makes it equal to others; None: nothing does."""
    fields = {
        "f1": ident, "f2": when or time.time_ns(), "f3": rule, "f4": priority, "f5": "syscall", "f6": output, "f7": node,
        "f12": ["T1059", "mitre_execution"], "f13": event(7, node=node), "f16": "A shell in a container that has none to give.", "f17": "Look at who started it.",
        "f20": key or f"only {ident}", "f21": "host.example",
        "f22": container("c" * 64, name="web", labels=[("tier", "front")]),
        "f23": [process(42, "/bin/sh", "sh", "-c", "id", ppid=41), process(41, "/usr/sbin/nginx", "nginx", ppid=1)],
        "f25": [field("proc.name", text="sh"), field("proc.pid", number=42), field("fd.name"), field("proc.is_vpgid_leader", truth=True), field("proc.aexepath", many=["/bin/sh", "/sbin/init"])],
    }
    fields.update(more)
    return proto(**fields)


def set_output(client, name, **config):
    """Makes or changes it, and waits until alerts go there."""
    answer = client.put(f"/api/v1/outputs/{name}", config)
    assert answer.status in (200, 201), answer
    wait_for(lambda: ((o := client.get(f"/api/v1/outputs/{name}").json)["status"] is not None, o), 20, f"the notifier knows {name}")
    return answer.json


def status_of(client, name):
    return client.get(f"/api/v1/outputs/{name}").json["status"] or {}


def wait_status(client, name, match, deadline=30, what="the output's status"):
    return wait_for(lambda: (bool((s := status_of(client, name)) and match(s)), s), deadline, what)


def certificate(where, name="localhost"):
    """A self-signed certificate and its key, as paths."""
    where = pathlib.Path(where)
    cert, key = where / f"{name}.pem", where / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={name}",
                    "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


def server_tls(cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


class Syslog:
    """A syslog server: .messages are bytes without framing. `kind`: udp, tcp, tls."""

    def __init__(self, kind, tls=None, port=0):
        self.kind, self.tls, self.messages, self.problems = kind, tls, [], []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", port))
        self.port = self.sock.getsockname()[1]
        self.peers = []
        self.closed = False
        if kind != "udp":
            self.sock.listen(16)
        threading.Thread(target=self._datagrams if kind == "udp" else self._accept, daemon=True).start()

    def _datagrams(self):
        with contextlib.suppress(OSError):
            while True:
                self.messages.append(self.sock.recv(70000))

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.sock.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        try:
            if self.tls:
                peer = self.tls.wrap_socket(peer, server_side=True)
            self.peers.append(peer)
            with peer.makefile("rb") as f:
                while True:
                    digits = b""
                    while (c := f.read(1)) not in (b" ", b""):
                        assert c.isdigit() and len(digits) < 7, f"{digits + c!r} is no MSG-LEN of RFC 6587"
                        digits += c
                    if not digits:
                        return
                    assert digits[:1] != b"0", digits
                    body = f.read(int(digits))
                    if len(body) < int(digits):
                        return
                    self.messages.append(body)
        except AssertionError as e:
            self.problems.append(str(e))
        except (OSError, ValueError):
            pass

    def close(self):
        for s in [self.sock, *self.peers]:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                s.close()


class Hook:
    """A webhook's server. `script` has what it does with one POST after the other: a status, (status, headers), "hang" or "drop"; then 200. .taken are
    (time, id, body) of those that it answered with 200, .all of all."""

    def __init__(self, script=(), tls=None, port=0):
        self.script, self.all, self.taken = list(script), [], []
        self.lock = threading.Lock()
        self.released = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                entry = (time.monotonic(), self.headers["Bulkhead-Delivery-Id"], body, dict(self.headers), self.path)
                with outer.lock:
                    outer.all.append(entry)
                    what = outer.script.pop(0) if outer.script else 200
                if what == "hang":
                    outer.released.wait(60)
                    what = "drop"
                if what == "drop":
                    self.close_connection = True
                    with contextlib.suppress(OSError):
                        self.connection.shutdown(socket.SHUT_RDWR)
                    return
                status, headers = what if isinstance(what, tuple) else (what, {})
                if status == 200:
                    with outer.lock:
                        outer.taken.append(entry)
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    for k, v in headers.items():
                        self.send_header(k, v)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"ok")

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 64

            def handle_error(self, request, client_address):
                pass
        self.server = Server(("127.0.0.1", port), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    @property
    def ids(self):
        return [e[1] for e in self.taken]

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


def falco_alerts(text):
    """The lines of a file as alerts; each must have Falco's members, in order."""
    out = []
    for line in text.splitlines():
        alert = json.loads(line)
        assert list(alert) == ["time", "rule", "priority", "source", "hostname", "output", "tags", "output_fields"], line
        out.append(alert)
    return out
