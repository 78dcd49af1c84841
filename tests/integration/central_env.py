"""A real bulkhead-central with scratch directories, clients for it, and a node that speaks the bus by hand.

    with Central() as central:
        admin = central.admin()                 # logged in, password changed
        assert admin.get("/api/v1/me").json["role"] == "admin"

Leaving the block stops it with SIGTERM and fails when it did not end with status 0. No Docker, no sensor.
"""
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import urllib.parse
import weakref

import sensor_env
from docker_env import die_with_parent, stop_process, system_env, tail, wait_for
from sensor_env import REPO, SANITIZER_MARKS, Sensor, build_dir

FALLBACK_UID = 64055
COOKIE = "__Host-bulkhead"
DEVICE_COOKIE = "__Host-bulkhead-device"


def program(build=None):
    path = pathlib.Path(build or build_dir()) / "src" / "central" / "bulkhead-central"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not built: run ./dev build")
    return str(path)


class Route:
    """One operation of api/openapi.yaml."""

    def __init__(self, method, path):
        self.method, self.path = method, path
        self.role = self.audit = None
        self.stream = self.body = False

    def __repr__(self):
        return f"{self.method} {self.path}"

    def url(self, value="nothing-of-that-name"):
        return re.sub(r"\{\w+\}", value, self.path)


def routes():
    """The contract's operations. The layout of the file is fixed (a unit test reads it, too), so no parser is needed."""
    found, path, route, inside = [], None, None, False
    for line in (REPO / "api" / "openapi.yaml").read_text().splitlines():
        if line and not line.startswith(" "):
            inside = line == "paths:"
        if not inside:
            continue
        if m := re.fullmatch(r"  (/\S*):", line):
            path = m[1]
        elif m := re.fullmatch(r"    (get|post|put|patch|delete):", line):
            route = Route(m[1].upper(), path)
            found.append(route)
        elif m := re.fullmatch(r"      x-role: (\w+)", line):
            route.role = m[1]
        elif m := re.fullmatch(r"      x-audit: (\S+)", line):
            route.audit = m[1]
        elif line == "      x-stream: true":
            route.stream = True
        elif line == "      requestBody:":
            route.body = True
    return found


def parameters():
    """(method, path) -> the names that a route's query may have, from the program's own table, which a unit test holds against the contract."""
    text = (REPO / "src" / "central" / "routes.tbl.h").read_text()
    rows = re.findall(r'^BH_ROUTE\((\w+), "([^"]+)", \w+, \d+, "([^"]*)"', text, re.M)
    return {(method, path): names.split(",") if names else [] for method, path, names in rows}


class Answer:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = response.headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """Of an error."""
        return self.json["error"]["code"]

    def set_cookie(self, name=COOKIE):
        """The whole header that sets this cookie."""
        return next((v for v in self.headers.get_all("Set-Cookie", []) if v.startswith(f"{name}=")), None)

    def cookie(self, name=COOKIE):
        value = self.set_cookie(name)
        return value.split(";")[0].split("=", 1)[1] if value else None

    def __repr__(self):
        return f"{self.status} {self.body[:400]!r}"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout, log):
        super().__init__("localhost", timeout=timeout)
        self.path, self.log = str(path), log

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        try:
            self.sock.connect(self.path)  # with a timeout, a full backlog would be an error and not a wait
        except (FileNotFoundError, ConnectionRefusedError) as e:
            raise type(e)(e.errno, f"{e.strerror}: no central answers at {self.path}; the end of its log {self.log}:\n{tail(self.log)}") from None
        self.sock.settimeout(self.timeout)


class Events:
    """A server-sent event stream, read in the background: .events are (id, event, data)."""

    def __init__(self, response, connection):
        self.events = []
        self.ended = threading.Event()
        self._response, self._connection = response, connection
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        ident, event, data = None, "message", []
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException, AttributeError):
            for raw in self._response:
                line = raw.decode().rstrip("\n")
                if not line:
                    if data:
                        self.events.append((ident, event, json.loads("\n".join(data))))
                    ident, event, data = None, "message", []
                elif line.startswith("id: "):
                    ident = int(line[4:])
                elif line.startswith("event: "):
                    event = line[7:]
                elif line.startswith("data: "):
                    data.append(line[6:])
        self.ended.set()

    def wait(self, match, deadline=10.0, what="an event"):
        def look():
            hits = [e for e in list(self.events) if match(*e)]
            return (True, hits) if hits else (False, f"{len(self.events)} events, the last: {self.events[-3:]}")
        return wait_for(look, deadline, what)

    def close(self):
        with contextlib.suppress(OSError, AttributeError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        self._thread.join(5)


class Client:
    """Calls of one caller. `cookie` and `csrf` of a session, or `token`; neither: nobody. One connection, made anew when it was closed."""

    def __init__(self, central, cookie=None, csrf=None, token=None, local=False, name=None):
        self.central, self.cookie, self.csrf, self.token, self.local, self.name = central, cookie, csrf, token, local, name
        self._connection = None

    def connect(self, timeout=20):
        if self.local:
            return UnixConnection(self.central.run_dir / "central" / "api.sock", timeout, self.central.log)
        return http.client.HTTPSConnection("127.0.0.1", self.central.port, timeout=timeout, context=self.central.tls())

    def _headers(self, method, headers):
        out = {}
        if self.token:
            out["Authorization"] = f"Bearer {self.token}"
        if self.cookie:
            out["Cookie"] = f"{COOKIE}={self.cookie}"
            if method != "GET" and self.csrf:
                out["X-Bulkhead-CSRF"] = self.csrf
        out.update(headers or {})
        return {k: v for k, v in out.items() if v is not None}

    def call(self, method, url, body=None, headers=None):
        """`body`: an object becomes JSON, bytes are sent as they are."""
        out = self._headers(method, headers)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            out.setdefault("Content-Type", "application/json")
            out = {k: v for k, v in out.items() if v}
        for again in (True, False):
            try:
                if self._connection is None:
                    self._connection = self.connect()
                self._connection.request(method, url, body=body, headers=out)
                response = self._connection.getresponse()
                answer = Answer(response, response.read())
                if response.will_close:
                    self.close()
                return answer
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
                self.close()
                if not again:
                    raise
        return None

    def get(self, url, headers=None):
        return self.call("GET", url, headers=headers)

    def post(self, url, body=None, headers=None):
        return self.call("POST", url, {} if body is None else body, headers)

    def put(self, url, body, headers=None):
        return self.call("PUT", url, body, headers)

    def patch(self, url, body, headers=None):
        return self.call("PATCH", url, body, headers)

    def delete(self, url, headers=None):
        return self.call("DELETE", url, headers=headers)

    def stream(self, url, headers=None):
        """An open stream as Events; an Answer when it was refused."""
        connection = self.connect(timeout=60)
        connection.request("GET", url, headers=self._headers("GET", headers))
        response = connection.getresponse()
        if response.status != 200:
            answer = Answer(response, response.read())
            connection.close()
            return answer
        events = Events(response, connection)
        self.central.streams.append(events)
        return events

    def close(self):
        if self._connection:
            self._connection.close()
        self._connection = None


class Central:
    """One central. `port`, `url` and, after the first start, `password` come from the line that it prints."""

    def __init__(self, build=None, args=(), base_dir=None, as_uid=None, env=None):
        self.build = build
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bhc-", dir=base_dir or os.environ.get("BH_TEST_DIR", "/tmp")))
        self.dir.chmod(0o711)  # the central's user passes it
        self.run_dir, self.data_dir = self.dir / "run", self.dir / "data"
        self.log = self.dir / "central.log"
        self.args, self.as_uid, self.env = list(args), as_uid, dict(env or {})
        self.proc = self.password = self.url = self.port = self.announced = None
        self.streams, self.nodes, self.clients = [], [], weakref.WeakSet()  # one that nobody has any more closes its connection
        if as_uid is not None:
            os.chown(self.dir, as_uid, as_uid)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, exc_type, exc, tb):
        try:
            if exc_type is None and self.alive:
                self.stop()
            self.check_sanitizers()
        finally:
            self.close()

    # Process --------------------------------------------------------------------------------------------------

    @property
    def db(self):
        return self.data_dir / "central" / "bulkhead.db"

    @property
    def pid(self):
        return self.proc.pid

    @property
    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def argv(self, *more):
        argv = [program(self.build), "--run-dir", str(self.run_dir), "--data-dir", str(self.data_dir), *self.args, *more]
        if "--listen" not in argv:
            argv += ["--listen", f"127.0.0.1:{self.port or 0}"]
        if "--ui" not in argv:
            argv += ["--ui", str(self.dir / "no-ui")]
        return argv

    def _environment(self):
        env = system_env()
        # the leak checker needs ptrace, which the sandbox kills for
        env.setdefault("ASAN_OPTIONS", "detect_leaks=0:abort_on_error=0:exitcode=99:detect_stack_use_after_return=1")
        env.setdefault("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1:exitcode=99")
        env["G_DEBUG"] = "fatal-criticals"
        env.update(self.env)
        return env

    def _before(self):
        die_with_parent()
        if self.as_uid is not None:
            os.setgroups([])
            os.setresgid(self.as_uid, self.as_uid, self.as_uid)
            os.setresuid(self.as_uid, self.as_uid, self.as_uid)

    def start(self, deadline=30.0):
        if self.alive:
            raise RuntimeError("the central runs already")
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen(self.argv(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=self._environment(),
                                         preexec_fn=self._before, cwd="/")
        timer = threading.Timer(deadline, self.proc.kill)
        timer.start()
        line = self.proc.stdout.readline()
        timer.cancel()
        if not line:
            self.proc.wait(10)
            raise AssertionError(f"expected the central to say that it is ready, it ended with status {self.proc.returncode}\n"
                                 f"log {self.log}:\n{tail(self.log)}")
        self.announced = json.loads(line)
        self.url = self.announced["url"]
        self.port = urllib.parse.urlsplit(self.url).port
        self.password = self.announced.get("password", self.password)
        return self

    def run(self, *more, timeout=30):
        """To its end: for starts that fail, and --set-password."""
        return subprocess.run(self.argv(*more), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, env=self._environment(),
                              preexec_fn=self._before, cwd="/")

    def stop(self, sig=signal.SIGTERM, deadline=15.0, status=0):
        self.proc.send_signal(sig)
        try:
            got = self.proc.wait(deadline)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait(10)
            raise AssertionError(f"expected the central to end within {deadline:g} s of signal {sig}, it did not\nlog:\n{tail(self.log)}") from None
        finally:
            rest = self.proc.stdout.read()
            self.proc.stdout.close()
        assert got == status, f"expected exit status {status}, saw {got}\nlog:\n{tail(self.log)}"
        assert not rest, f"expected nothing more on standard output, saw {rest!r}"

    def kill(self):
        self.proc.kill()
        self.proc.wait(10)
        self.proc.stdout.close()

    def restart(self):
        if self.alive:
            self.stop()
        return self.start()

    def close(self):
        for s in [*self.streams, *self.nodes, *self.clients]:
            s.close()
        if self.alive:
            stop_process(self.proc, 10)
        if self.proc and self.proc.stdout and not self.proc.stdout.closed:
            self.proc.stdout.close()
        logs = os.environ.get("BH_TEST_LOGS")
        if logs and self.log.exists():
            os.makedirs(logs, exist_ok=True)
            shutil.copy(self.log, pathlib.Path(logs) / f"{self.dir.name}.log")
        shutil.rmtree(self.dir, ignore_errors=True)

    def check_sanitizers(self):
        text = self.log.read_text(errors="backslashreplace") if self.log.exists() else ""
        for mark in SANITIZER_MARKS:
            assert mark not in text, f"expected no sanitizer report, saw {mark!r}\nlog:\n{tail(self.log, 80)}"

    def log_text(self):
        return self.log.read_text(errors="backslashreplace")

    # Clients --------------------------------------------------------------------------------------------------

    def tls(self):
        """Trusts this central's certificate and nothing else, and checks its names."""
        return ssl.create_default_context(cafile=self.data_dir / "central" / "tls" / "cert.pem")

    def client(self, **how):
        c = Client(self, **how)
        self.clients.add(c)
        return c

    def cli(self, *args, status=0):
        """`bulkhead ARGS` by root on this central's machine, which must end with this status."""
        argv = [sensor_env.program(self.build or build_dir(), "bulkhead"), "--run-dir", self.run_dir, "--data-dir", self.data_dir, *map(str, args)]
        r = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=system_env())
        assert r.returncode == status, f"expected bulkhead {' '.join(argv[5:])} to end with {status}, saw {r.returncode}\n{r.stdout[-2000:]}{r.stderr[-2000:]}"
        return r

    def set(self, settings):
        root = self.root()
        for key, value in settings.items():
            answer = root.put(f"/api/v1/settings/{key}", {"value": value})
            assert answer.status == 204, (key, answer)

    def login(self, user, password):
        """A session, or the Answer of the refusal."""
        c = self.client(name=user)
        answer = c.post("/api/v1/login", {"user": user, "password": password})
        if answer.status != 200:
            return answer
        c.cookie, c.csrf = answer.cookie(), answer.json["csrf"]
        return c

    def admin(self, password="the first admin's own"):
        """The first user's session; changes the printed password."""
        c = self.login("admin", self.password)
        if c.get("/api/v1/me").json["must_change_password"]:
            answer = c.post("/api/v1/me/password", {"current": self.password, "new": password})
            assert answer.status == 204, answer
            self.password = password
        return c

    def user(self, admin, name, role, password="a password of twelve"):
        """A new user's session; the given password was changed to `password`."""
        made = admin.post("/api/v1/users", {"name": name, "role": role})
        assert made.status == 201, made
        c = self.login(name, made.json["password"])
        answer = c.post("/api/v1/me/password", {"current": made.json["password"], "new": password})
        assert answer.status == 204, answer
        return c

    def token(self, session, name="test", **body):
        """A token of the session's user, as a client with `.id`."""
        made = session.post("/api/v1/tokens", {"name": name, **body})
        assert made.status == 201, made
        c = self.client(token=made.json["secret"])
        c.id = made.json["token"]["id"]
        return c

    def root(self):
        return self.client(local=True)

    def raw(self, data, timeout=5.0, half_close=False):
        """All that the server answers to these bytes over TLS, until it closes or nothing comes for `timeout`."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as plain, \
                self.tls().wrap_socket(plain, server_hostname="127.0.0.1") as s:
            out = b""
            with contextlib.suppress(OSError):
                s.sendall(data)
                while chunk := s.recv(65536):
                    out += chunk
            return out

    def node(self, name="node-1", **how):
        n = Node(self.run_dir / "central" / "bus.sock", name, **how)
        self.nodes.append(n)
        return n


def statuses(raw):
    """The status codes of all answers in these bytes."""
    return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3}) ", raw)]


# The bus, by hand: an independent reading of api/bus.proto ---------------------------------------------------------

HELLO, WELCOME, MESSAGE, ACK, REQUEST, CHUNK, CREDIT, END, PING, PONG = range(1, 11)


def varint(n):
    out = b""
    n &= (1 << 64) - 1
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def proto(**fields):
    """proto(f1=…, f13=[…]): ints as varints, texts and bytes with their length."""
    out = b""
    for key, value in fields.items():
        number = int(key[1:])
        for v in value if isinstance(value, list) else [value]:
            if isinstance(v, int):
                out += varint(number << 3) + varint(v)
            else:
                v = v.encode() if isinstance(v, str) else v
                out += varint(number << 3 | 2) + varint(len(v)) + v
    return out


def parse(data):
    """{number: [value, …]}"""
    out, i = {}, 0

    def number():
        nonlocal i
        n = shift = 0
        while True:
            b = data[i]
            i += 1
            n |= (b & 127) << shift
            shift += 7
            if b < 128:
                return n
    while i < len(data):
        tag = number()
        if tag & 7 == 0:
            value = number()
        elif tag & 7 == 2:
            n = number()
            value = data[i:i + n]
            i += n
        elif tag & 7 == 1:
            value = struct.unpack("<Q", data[i:i + 8])[0]
            i += 8
        else:
            value = struct.unpack("<I", data[i:i + 4])[0]
            i += 4
        out.setdefault(tag >> 3, []).append(value)
    return out


class Node:
    """A publisher on the bus. `have` is what the central said that it has; requests go to `serve`: {name: function(node, stream, body)}."""

    def __init__(self, path, name, ident=None, serve=None, version="test"):
        self.name, self.serve, self.seq = name, serve or {}, 0
        self.acked = 0
        self.credit = {}
        self.cancelled = set()
        self._lock = threading.Lock()
        self._moved = threading.Condition(self._lock)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(path))
        self.closed = False
        self.ident = ident or os.urandom(16)
        self.send(f1=HELLO, f5=proto(f1=1, f2=self.ident, f3=name, f4=version))
        frame = parse(self._read())
        assert frame[1] == [WELCOME], frame
        self.have = self.seq = self.acked = frame.get(3, [0])[0]
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def _read(self):
        def exactly(n):
            out = b""
            while len(out) < n:
                piece = self.sock.recv(n - len(out))
                if not piece:
                    raise ConnectionError("the central closed the bus")
                out += piece
            return out
        return exactly(struct.unpack("<I", exactly(4))[0])

    def send(self, **fields):
        data = proto(**fields)
        with self._lock:
            self.sock.sendall(struct.pack("<I", len(data)) + data)

    def _loop(self):
        with contextlib.suppress(OSError, ConnectionError, ValueError):
            while True:
                self._handle(parse(self._read()))
        with self._lock:
            self.closed = True
            self._moved.notify_all()

    def _handle(self, frame):
        kind, stream = frame[1][0], frame.get(2, [0])[0]
        if kind == PING:
            self.send(f1=PONG)
        elif kind == ACK:
            with self._lock:
                self.acked = max(self.acked, frame.get(3, [0])[0])
                self._moved.notify_all()
        elif kind == CREDIT:
            with self._lock:
                self.credit[stream] = self.credit.get(stream, 0) + frame.get(8, [0])[0]
                self._moved.notify_all()
        elif kind == END:
            with self._lock:
                self.cancelled.add(stream)
                self._moved.notify_all()
        elif kind == REQUEST:
            name = frame[4][0].decode()
            with self._lock:
                self.credit[stream] = frame.get(8, [0])[0]
            if name in self.serve:
                threading.Thread(target=self.serve[name], args=(self, stream, frame.get(5, [b""])[0]), daemon=True).start()
            else:
                self.send(f1=END, f2=stream, f6="not served")

    def chunk(self, stream, body, dropped=0, timeout=10):
        """Waits for credit; False when the answer is not wanted any more."""
        with self._lock:
            end = time.monotonic() + timeout
            while not self.credit.get(stream) and stream not in self.cancelled and not self.closed and time.monotonic() < end:
                self._moved.wait(0.1)
            if not self.credit.get(stream) or stream in self.cancelled or self.closed:
                return False
            self.credit[stream] -= 1
        self.send(f1=CHUNK, f2=stream, f5=body, f7=dropped)
        return True

    def end(self, stream, error=None):
        self.send(f1=END, f2=stream, **({"f6": error} if error else {}))

    def publish(self, topic, body, seq=None):
        self.seq = seq or self.seq + 1
        self.send(f1=MESSAGE, f3=self.seq, f4=f"{topic}.{self.name}", f5=body)
        return self.seq

    def latest(self, topic, body):
        self.send(f1=MESSAGE, f4=f"{topic}.{self.name}", f5=body)

    def wait_acked(self, seq=None, deadline=10):
        wanted = seq or self.seq

        def look():
            return self.acked >= wanted, f"acknowledged up to {self.acked}, closed {self.closed}"
        return wait_for(look, deadline, f"the central acknowledges {wanted}")

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


@contextlib.contextmanager
def connected_sensor(build, docker, central, backend, *args, web=False):
    """A Sensor on this engine that is connected to this central; `web`: and looks at what web services are sent."""
    with Sensor(build, docker_host=docker.host, backend=backend, args=["--bus", f"unix:{central.run_dir}/central/bus.sock", *args]) as s:
        wait_for(lambda: (s.status()["bus"]["state"] == "connected", s.status()["bus"]), 20, "the sensor is connected")
        if web:
            wait_for(lambda: (s.status()["web"]["state"] == "ready", s.status()["web"]), 90, "web traffic is looked at")
        yield s


def container(ident, name="web", image="shop/web:1", state="running", application="shop", workload="web", labels=(), **more):
    return proto(f1=ident, f2=name, f3=image, f6="docker", f7=state, f8="full", f9=workload, f10=application,
                 f13=[proto(f1=k, f2=v) for k, v in labels], **more)


def inventory(node, containers, full=False):
    return proto(f1=node, f2="boot-1", f3="container", f4=list(containers), f5=int(full), f6=time.time_ns())


def finding(ident, node, rule="Shell in a container", priority="warning", **more):
    return proto(f1=ident, f2=time.time_ns(), f3=rule, f4=priority, f5="syscall", f6="a shell was started", f7=node, **more)


def observation(node, subject, workload="web", application="shop", count=1, kind="exec", container="c" * 64, digest="", **more):
    return proto(f1=node, f2=container, f3=workload, f4=application, f5=digest, f6=kind, f7=subject, f8="/sbin/init", f9=count, f10=time.time_ns(),
                 f11=time.time_ns(), **more)


def event(n, kind=1, node="node-1"):
    """A bulkhead.v1.Event: id, time (fixed64), type, node."""
    return proto(f1=n) + varint(2 << 3 | 1) + struct.pack("<Q", 1_700_000_000_000_000_000 + n) + proto(f3=kind, f5=node)


def batch(*events):
    return b"".join(struct.pack("<I", len(e)) + e for e in events)
