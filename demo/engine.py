"""A small client of the Docker Engine's API over its Unix socket, and sockets in an engine's network namespace. Any thread may call."""
import ctypes
import http.client
import json
import os
import queue
import socket
import struct
import threading
import urllib.parse

CLONE_NEWNET = 0x40000000
TIMEOUT = 120


class EngineError(RuntimeError):
    """The engine refused, or does not answer. .status is the HTTP status, 0 when there was none."""

    def __init__(self, text, status=0):
        super().__init__(text)
        self.status = status


class _Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Chunks:
    """A file to write to that sends what it gets as chunks of one request."""

    def __init__(self, connection):
        self._connection = connection

    def write(self, data):
        if data:
            self._connection.send(b"%x\r\n" % len(data) + bytes(data) + b"\r\n")
        return len(data)


class Engine:
    def __init__(self, address="/var/run/docker.sock"):
        self.path = str(address).removeprefix("unix://")
        self.host = f"unix://{self.path}"

    def _answer(self, connection, what):
        response = connection.getresponse()
        body = response.read()
        if response.status >= 400:
            try:
                text = json.loads(body)["message"]
            except (ValueError, KeyError):
                text = body.decode(errors="replace")
            raise EngineError(f"Docker Engine at {self.path}: {what}: {text.strip()}", response.status)
        return body

    def raw(self, method, path, body=None, timeout=TIMEOUT):
        """The answer's bytes. EngineError when it is not a success."""
        connection = _Connection(self.path, timeout)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
            return self._answer(connection, f"{method} {path}")
        except (OSError, http.client.HTTPException) as e:
            raise EngineError(f"Docker Engine at {self.path}: {method} {path}: {e}") from e
        finally:
            connection.close()

    def call(self, method, path, body=None, timeout=TIMEOUT, **query):
        """The answer's JSON (None when it is empty)."""
        if query:
            path += "?" + urllib.parse.urlencode({k: json.dumps(v) if isinstance(v, (dict, list)) else v for k, v in query.items()})
        answer = self.raw(method, path, body, timeout)
        return json.loads(answer) if answer.strip() else None

    def find(self, path, **query):
        """GET; None when there is no such thing."""
        try:
            return self.call("GET", path, **query)
        except EngineError as e:
            if e.status == 404:
                return None
            raise

    def remove(self, path, **query):
        """DELETE; a thing that is not there is removed already. True if it was there."""
        try:
            self.call("DELETE", path, **query)
            return True
        except EngineError as e:
            if e.status == 404:
                return False
            raise

    def upload(self, path, write):
        """POST of a tar that write(file) produces on the way."""
        connection = _Connection(self.path, 600)
        try:
            connection.putrequest("POST", path)
            connection.putheader("Content-Type", "application/x-tar")
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            write(_Chunks(connection))
            connection.send(b"0\r\n\r\n")
            body = self._answer(connection, f"POST {path}").decode(errors="replace")
        except (OSError, http.client.HTTPException) as e:
            raise EngineError(f"Docker Engine at {self.path}: POST {path}: {e}") from e
        finally:
            connection.close()
        if '"error"' in body:
            raise EngineError(f"Docker Engine at {self.path}: POST {path}: {body.strip()}")

    def execute(self, container, argv, env=(), timeout=TIMEOUT):
        """`docker exec`: (exit status, what it printed on either output)."""
        made = self.call("POST", f"/containers/{container}/exec", {"AttachStdout": True, "AttachStderr": True, "Cmd": list(argv), "Env": list(env)})
        stream = self.raw("POST", f"/exec/{made['Id']}/start", {"Detach": False, "Tty": False}, timeout)
        status = self.call("GET", f"/exec/{made['Id']}/json")["ExitCode"]
        return status, unframe(stream).decode(errors="replace")

    def logs(self, container):
        """What the container's main process printed on either output."""
        return unframe(self.raw("GET", f"/containers/{container}/logs?stdout=1&stderr=1")).decode(errors="replace")


def unframe(stream):
    """The payload of the engine's multiplexed stream."""
    out, at = [], 0
    while at + 8 <= len(stream):
        size = struct.unpack_from(">I", stream, at + 4)[0]
        out.append(stream[at + 8:at + 8 + size])
        at += 8 + size
    return b"".join(out)


class SocketMaker:
    """Makes TCP sockets in a network namespace (None: our own). A socket stays in the namespace that it was made in, so one thread
    that lives there makes them for all."""

    def __init__(self, netns=None):
        self._asked = queue.Queue()
        self._thread = None
        if netns:
            self._thread = threading.Thread(target=self._make, args=(str(netns),), daemon=True)
            self._thread.start()

    def _make(self, netns):
        problem = None
        try:
            fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(fd, CLONE_NEWNET) != 0:
                problem = OSError(ctypes.get_errno(), f"cannot enter the network namespace {netns}")
            os.close(fd)
        except OSError as e:
            problem = e
        while (answer := self._asked.get()) is not None:
            try:
                answer.put(problem or socket.socket())
            except OSError as e:
                answer.put(e)

    def __call__(self):
        if not self._thread:
            return socket.socket()
        answer = queue.Queue()
        self._asked.put(answer)
        made = answer.get()
        if isinstance(made, OSError):
            raise made
        return made

    def close(self):
        if self._thread:
            self._asked.put(None)
            self._thread.join()
            self._thread = None


class WebConnection(http.client.HTTPConnection):
    """An HTTP connection over a socket of `maker`."""

    def __init__(self, maker, address, port, timeout):
        super().__init__(address, port, timeout=timeout)
        self._maker = maker

    def connect(self):
        self.sock = self._maker()
        self.sock.settimeout(self.timeout)
        self.sock.connect((self.host, self.port))
