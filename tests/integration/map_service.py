"""A service of the map's tests, inside a container: it writes down each connection that it makes, as its own program sees it.

It serves what MAP_SERVES says ("http:8000 udp:8125 sink:2525"), does what lines of JSON in the FIFO /ctl/HOSTNAME.in say, and writes lines of JSON to
/ctl/HOSTNAME.out: one for each connection that has ended (or is held), {"done": n} after the n-th command. An HTTP request makes it use what
MAP_DEPS says ("redis:cache pg:db http:pay:8080 udp:metrics:8125 sink:mail:2525") first, then it answers with as many bytes as the query asks for.
"""
import http.server
import json
import os
import socket
import struct
import sys
import threading
import urllib.parse

HOST = socket.gethostname()
OUT = os.open(f"/ctl/{HOST}.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
HELD = []


def write(**record):
    os.write(OUT, json.dumps(record).encode() + b"\n")


class Counted:
    """A TCP connection that counts what the program sends and gets."""

    def __init__(self, host, port, protocol):
        self.out = self.got = 0
        self.protocol, self.result, self.buffer = protocol, "ok", b""
        self.address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
        self.sock = socket.socket()
        self.sock.settimeout(30)
        try:
            self.sock.connect(self.address)
        except ConnectionRefusedError:
            self.result = "refused"
        except TimeoutError:
            self.result = "timed_out"
        except OSError as e:
            self.result = "unreachable" if e.errno == 113 else "failed"

    def send(self, data):
        self.sock.sendall(data)
        self.out += len(data)

    def recv(self, size=65536):
        data = self.sock.recv(size)
        self.got += len(data)
        return data

    def line(self):
        while b"\r\n" not in self.buffer:
            data = self.recv()
            if not data:
                raise EOFError("the server closed")
            self.buffer += data
        one, self.buffer = self.buffer.split(b"\r\n", 1)
        return one

    def exactly(self, size):
        while len(self.buffer) < size:
            data = self.recv()
            if not data:
                raise EOFError("the server closed")
            self.buffer += data
        one, self.buffer = self.buffer[:size], self.buffer[size:]
        return one

    def to_end(self):
        while self.recv():
            pass

    def close(self):
        self.sock.close()
        self.tell()

    def tell(self, **more):
        write(proto="tcp", ip=self.address[0], port=self.address[1], out=self.out, got=self.got, result=self.result, protocol=self.protocol, **more)


def http_get(host, port, path="/", body=0, **_):
    c = Counted(host, port, "http/1")
    if c.result == "ok":
        head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: map/1.0 (a test of the map)\r\nConnection: close\r\n"
        c.send((head + (f"Content-Length: {body}\r\n" if body else "") + "\r\n").encode() + b"x" * body)
        c.to_end()
    c.close()


def redis_command(c, *words):
    c.send(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
    answer = c.line()
    if answer[:1] == b"$" and answer != b"$-1":
        return c.exactly(int(answer[1:]) + 2)
    return answer


def redis(host, port=6379, size=200, **_):
    c = Counted(host, port, "redis")
    if c.result == "ok":
        key = b"key-%d" % threading.get_ident()
        redis_command(c, b"SET", key, b"v" * size)
        redis_command(c, b"GET", key)
    c.close()


def hold(host, port=6379, size=200, **_):
    """A connection to redis that stays; "use" uses it again, "drop" ends it."""
    c = Counted(host, port, "redis")
    HELD.append(c)
    use_one(c, size)
    c.result = "held"
    c.tell(open=1)


def use_one(c, size):
    redis_command(c, b"SET", b"held", b"v" * size)
    redis_command(c, b"GET", b"held")


def use(size=200, **_):
    for c in HELD:
        out, got = c.out, c.got
        use_one(c, size)
        write(proto="tcp", ip=c.address[0], port=c.address[1], out=c.out - out, got=c.got - got, result="held", protocol="redis")


def drop(**_):
    for c in HELD:
        c.sock.close()
        write(proto="tcp", ip=c.address[0], port=c.address[1], out=0, got=0, result="ok", open=-1, protocol="redis")
    HELD.clear()


def pg(host, rows=100, **_):
    """libpq's own connection; the kernel says what it moved, and at its end libpq says goodbye by five bytes."""
    import psycopg2
    c = psycopg2.connect(host=socket.getaddrinfo(host, None, socket.AF_INET)[0][4][0], dbname="shop", user="shop", password=os.environ["DB_PASSWORD"],
                         sslmode="disable", gssencmode="disable", connect_timeout=20)
    with c, c.cursor() as cursor:
        cursor.execute("SELECT n, repeat('x', 40) FROM generate_series(1, %s) n", (rows,))
        assert len(cursor.fetchall()) == rows
    sock = socket.socket(fileno=os.dup(c.fileno()))
    info, peer = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), sock.getpeername()
    c.close()
    sock.close()
    got, = struct.unpack_from("Q", info, 128)
    sent, again = struct.unpack_from("QQ", info, 200)
    write(proto="tcp", ip=peer[0], port=peer[1], out=sent - again + 5, got=got, result="ok", protocol="postgresql")


def udp(host, port, size=100, reply=0, **_):
    address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)[0][4]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(20)
        s.connect(address)
        s.send(b"%06d" % reply + b"x" * (size - 6))
        got = len(s.recv(65536)) if reply else 0
    write(proto="udp", ip=address[0], port=address[1], out=size, got=got, result="ok")


def sink(host, port, size=1000, **_):
    c = Counted(host, port, None)
    if c.result == "ok":
        c.send(b"%010d" % size + b"x" * (size - 10))
        c.exactly(100)
    c.close()


DO = {"http": http_get, "redis": redis, "pg": pg, "udp": udp, "sink": sink, "hold": hold, "use": use, "drop": drop}


def use_dependencies():
    for dep in os.environ.get("MAP_DEPS", "").split():
        what, host, *port = dep.split(":")
        DO[what](host=host, **({"port": int(port[0])} if port else {}), **({"path": "/dep?size=700"} if what == "http" else {}))


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        use_dependencies()
        body = b"y" * int(urllib.parse.parse_qs(url.query).get("size", ["300"])[0])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *args):
        pass


class Web(http.server.ThreadingHTTPServer):
    request_queue_size = 256


def serve_udp(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("", port))
        while True:
            data, peer = s.recvfrom(65536)
            if (size := int(data[:6])):
                s.sendto(b"z" * size, peer)


def sink_one(s):
    with s:
        left = int(s.recv(10, socket.MSG_WAITALL)) - 10
        while left > 0:
            left -= len(s.recv(min(left, 65536)))
        s.sendall(b"k" * 100)
        s.recv(1)


def serve_sink(port):
    listener = socket.create_server(("", port), backlog=256)
    while True:
        threading.Thread(target=sink_one, args=(listener.accept()[0],), daemon=True).start()


def main():
    for what in os.environ.get("MAP_SERVES", "").split():
        kind, port = what.split(":")
        call = {"http": lambda p: Web(("", p), Handler).serve_forever(), "udp": serve_udp, "sink": serve_sink}[kind]
        threading.Thread(target=call, args=(int(port),), daemon=True).start()
    fifo = f"/ctl/{HOST}.in"
    os.mkfifo(fifo)
    os.chmod(fifo, 0o666)
    with open(os.open(fifo, os.O_RDWR), "rb", closefd=True, buffering=0) as commands:
        write(ready=True)
        rest = b""
        done = 0
        while True:
            rest += commands.read(65536)
            while b"\n" in rest:
                line, rest = rest.split(b"\n", 1)
                order = json.loads(line)
                what, n = order.pop("do"), order.pop("n", 1)
                try:
                    for _ in range(n):
                        DO[what](**order)
                except Exception as e:  # noqa: BLE001 the test is told
                    write(error=f"{what} {order}: {type(e).__name__}: {e}")
                done += 1
                write(done=done)


if __name__ == "__main__":
    sys.exit(main())
