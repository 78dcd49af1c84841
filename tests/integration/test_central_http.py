"""bulkhead-central as an HTTP server: forms of smuggling over a raw connection, traversal, slow and many clients, the web interface's files."""
import concurrent.futures
import gzip
import os
import socket
import ssl
import threading
import time
import warnings

import pytest
from central_env import Central, statuses
from docker_env import wait_for

INDEX = "<!doctype html><title>index</title>"


class Slow(threading.Thread):
    """A client that sends `first` and then a byte now and then. `.lasted` is after how many seconds it was cut off."""

    def __init__(self, central, first, drip=b"x", tls=True):
        super().__init__(daemon=True)
        self.central, self.first, self.drip, self.tls, self.lasted = central, first, drip, tls, None
        self.start()

    def run(self):
        began = time.monotonic()
        try:
            s = socket.create_connection(("127.0.0.1", self.central.port), timeout=10)
            if self.tls:
                s = self.central.tls().wrap_socket(s, server_hostname="127.0.0.1")
            s.sendall(self.first)
            s.settimeout(0.5)
            while time.monotonic() - began < 40:
                try:
                    if s.recv(4096) == b"":
                        break
                except (TimeoutError, ssl.SSLWantReadError):
                    pass
                if self.drip:
                    s.sendall(self.drip)
        except OSError:
            pass
        self.lasted = time.monotonic() - began


@pytest.fixture(scope="module")
def central(tmp_path_factory):
    ui = tmp_path_factory.mktemp("ui")
    (ui / "assets").mkdir()
    (ui / "index.html").write_text(INDEX)
    (ui / "assets" / "app.3f2a1b9c.js").write_text("let app;" * 100)
    (ui / "assets" / "app.3f2a1b9c.js.gz").write_bytes(gzip.compress(b"let app;" * 100))
    (ui / "style.css").write_text("a{}")
    (ui / ".hidden.js").write_text("secret")
    (ui / "notes.md").write_text("not served")
    os.symlink("/etc/passwd", ui / "passwd.txt")
    (ui.parent / "outside.txt").write_text("outside")
    with Central(args=["--ui", str(ui)]) as c:
        c.session = c.admin()
        # they take as long as the server lets them: begun here, looked at by the last test
        c.slow = {
            "nothing": Slow(c, b"", drip=None, tls=False),
            "handshake": Slow(c, b"\x16\x03\x01\x02\x00", tls=False),
            "request line": Slow(c, b"GET /he"),
            "headers": Slow(c, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "),
            "body": Slow(c, b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n", b" "),
        }
        yield c


def get(path, extra=b"", method=b"GET", version=b"HTTP/1.1"):
    return method + b" " + path + b" " + version + b"\r\nHost: 127.0.0.1\r\n" + extra + b"\r\n"


AFTER = get(b"/healthz", b"Connection: close\r\n")
LOGIN = b"POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"

SMUGGLING = {
    "length and chunked": LOGIN + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": LOGIN + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "chunked": LOGIN + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "bad chunk size": LOGIN + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "chunk with LF": LOGIN + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    "huge chunk": LOGIN + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n{}\r\n0\r\n\r\n",
    "obscured chunked": LOGIN + b"Transfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\n{}",
    "tab before chunked": LOGIN + b"Transfer-Encoding:\tchunked\r\nContent-Length: 2\r\n\r\n{}",
    "identity and chunked": LOGIN + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    "two equal lengths": LOGIN + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths": LOGIN + b"Content-Length: 2\r\nContent-Length: 50\r\n\r\n{}",
    "lengths in a list": LOGIN + b"Content-Length: 2, 50\r\n\r\n{}",
    "signed length": LOGIN + b"Content-Length: +2\r\n\r\n{}",
    "negative length": LOGIN + b"Content-Length: -1\r\n\r\n{}",
    "hex length": LOGIN + b"Content-Length: 0x2\r\n\r\n{}",
    "blank in the length's name": LOGIN + b"Content-Length : 2\r\n\r\n{}",
    "folded length": LOGIN + b"Content-Length:\r\n 2\r\n\r\n{}",
    "folded header": get(b"/healthz", b"X: a\r\n b\r\n"),
    "body of a GET": get(b"/healthz", b"Content-Length: 40\r\n") + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * 6,
    "bare LF everywhere": b"GET /healthz HTTP/1.1\nHost: 127.0.0.1\n\n",
    "bare LF in the middle": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\nX: y\r\n\r\n",
    "bare LF at the end": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\n",
    "bare CR": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\rB: c\r\n\r\n",
    "NUL in a value": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\x00b\r\n\r\n",
    "NUL in the path": get(b"/healthz\x00/../x"),
    "NUL in a name": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX\x00Y: b\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\nX: y\r\n\r\n",
    "no host in 1.0": b"GET /healthz HTTP/1.0\r\n\r\n",
    "two hosts": get(b"/healthz", b"Host: evil\r\n"),
    "bad host": b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n",
    "absolute target": get(b"http://127.0.0.1/healthz"),
    "absolute target of another": get(b"https://evil.example/healthz"),
    "authority target": get(b"127.0.0.1:443", method=b"CONNECT"),
    "star": get(b"*", method=b"OPTIONS"),
    "two blanks": b"GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "blank in the target": get(b"/heal thz"),
    "tab in the target": get(b"/heal\tthz"),
    "no version": b"GET /healthz\r\nHost: x\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/2.0": get(b"/healthz", version=b"HTTP/2.0"),
    "HTTP/1.9": get(b"/healthz", version=b"HTTP/1.9"),
    "lower case version": get(b"/healthz", version=b"http/1.1"),
    "nameless header": get(b"/healthz", b": x\r\n"),
    "no colon": get(b"/healthz", b"nonsense\r\n"),
    "method in lower case": get(b"/healthz", method=b"get"),
    "TRACE": get(b"/healthz", method=b"TRACE"),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "blank first": b" GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("form", SMUGGLING)
def test_smuggling_forms_are_refused_and_nothing_behind_them_is_answered(central, form):
    got = central.raw(SMUGGLING[form] + AFTER, timeout=3)
    seen = statuses(got)
    # libmicrohttpd 0.9.75 says its own refusal of a length that is no number twice, and closes
    assert len(seen) <= 1 or (seen == [400, 400] and "length" in form and b"Connection: close" in got), (form, seen, got)
    assert all(400 <= s < 600 for s in seen), (form, seen, got[:300])
    assert b"ok\n" not in got, (form, got)


def test_well_formed_requests_in_one_piece_are_all_answered(central):
    assert statuses(central.raw(get(b"/healthz") * 3 + AFTER)) == [200] * 4
    body = b'{"user":"a","password":"b"}'
    mixed = LOGIN + b"Content-Length: %d\r\n\r\n" % len(body) + body + AFTER
    assert statuses(central.raw(mixed)) == [401, 200]
    # what of a body is not asked for is not taken for the next request
    early = b"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(AFTER)
    assert statuses(central.raw(early + AFTER)) == [401]
    waiting = LOGIN + b"Content-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n{}"
    assert statuses(central.raw(waiting)) == [100, 400]


TRAVERSAL = [b"/../etc/passwd", b"/..", b"/.", b"/./index.html", b"/assets/../../etc/passwd", b"/%2e%2e/etc/passwd", b"/%2E%2E%2Fetc/passwd", b"/..%2f..%2fetc/passwd",
             b"/%252e%252e/etc/passwd", b"/..%5c..%5cetc", b"/..\\..\\etc", b"//etc/passwd", b"/assets//app.js", b"/index.html/", b"/index.html%00.js", b"/%00",
             b"/%c0%ae%c0%ae/etc/passwd", b"/%uff0e%uff0e/", b"/....//etc/passwd", b"/assets/..;/x", b"/outside.txt", b"/../outside.txt", b"/passwd.txt", b"/.hidden.js", b"/notes.md",
             b"/assets", b"/assets/", b"/api/v1/../../index.html", b"/api/v1/containers/..", b"/api/v1/users/%2e%2e/x", b"/index.html\xff", b"/index.html#x"]


@pytest.mark.parametrize("path", TRAVERSAL)
def test_no_path_leaves_the_files_that_are_meant(central, path):
    got = central.raw(get(path, b"Connection: close\r\n"))
    assert b"root:" not in got and b"outside\n" not in got and b"secret" not in got and b"not served" not in got, got
    status = statuses(got)[0]
    # a last name without a dot is a place within the application
    assert status in (400, 404) or got.endswith(INDEX.encode()), (path, got[:200])


def test_heads_are_bounded(central):
    for head, expected in ((get(b"/" + b"a" * 5000), {414}), (get(b"/healthz", b"X: " + b"a" * 17000 + b"\r\n"), {431}), (get(b"/healthz", b"X: a\r\n" * 70), {431}),
                           (get(b"/healthz", b"X: " + b"a" * 200000 + b"\r\n"), {431, 413}), (get(b"/?" + b"&".join(b"p%d=1" % i for i in range(40))), {400}),
                           (get(b"/" + b"a/" * 40 + b"a"), {400})):
        seen = statuses(central.raw(head))
        assert not seen or set(seen) <= expected, (head[:60], seen)
    assert statuses(central.raw(get(b"/healthz", b"X: " + b"a" * 12000 + b"\r\nConnection: close\r\n"))) == [200]


def test_noise_leaves_it_alive(central):
    for noise in (b"\x00" * 5000, b"\xff" * 5000, b"\r\n" * 3000, os.urandom(20000), b"GET " + b"\n" * 100):
        central.raw(noise, timeout=1)
        with socket.create_connection(("127.0.0.1", central.port), timeout=2) as plain:
            plain.sendall(noise)
    assert central.session.get("/api/v1/me").status == 200


def test_old_tls_and_no_tls_get_nothing(central):
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        context = central.tls()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, version
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", central.port), timeout=5) as plain:
            context.wrap_socket(plain, server_hostname="127.0.0.1")
    with socket.create_connection(("127.0.0.1", central.port), timeout=5) as plain:
        plain.sendall(get(b"/healthz"))
        assert b"HTTP/1.1 200" not in plain.recv(4096)
    for name in ("localhost", "127.0.0.1", "::1", socket.gethostname()):
        with socket.create_connection(("127.0.0.1", central.port), timeout=5) as plain, central.tls().wrap_socket(plain, server_hostname=name) as s:
            assert s.version() in ("TLSv1.2", "TLSv1.3")


def test_the_interfaces_files_are_served_with_their_names(central):
    c = central.client()
    index = c.get("/")
    assert index.status == 200 and index.body.decode() == INDEX and index.headers["Content-Type"].startswith("text/html"), index
    assert index.headers["Cache-Control"] == "no-cache" and index.headers["ETag"]
    assert c.get("/containers/abc").body == index.body, "a place within the application"
    assert c.get("/missing.js").status == 404 and c.get("/api/v2/x").status == 404
    again = c.get("/", {"If-None-Match": index.headers["ETag"]})
    assert again.status == 304 and not again.body
    script = c.get("/assets/app.3f2a1b9c.js")
    assert "immutable" in script.headers["Cache-Control"] and "Content-Encoding" not in script.headers and script.headers["Content-Type"].startswith("text/javascript")
    packed = c.get("/assets/app.3f2a1b9c.js", {"Accept-Encoding": "br, gzip;q=0.5"})
    assert packed.headers["Content-Encoding"] == "gzip" and gzip.decompress(packed.body) == script.body
    assert "Content-Encoding" not in c.get("/assets/app.3f2a1b9c.js", {"Accept-Encoding": "gzip;q=0"}).headers
    head = c.call("HEAD", "/")
    assert head.status == 200 and head.headers["Content-Length"] == str(len(INDEX)) and not head.body
    assert c.post("/", {}).status == 404


def test_a_crowd_of_connections_leaves_room(central):
    held = []
    try:
        for _ in range(300):
            try:
                held.append(socket.create_connection(("127.0.0.1", central.port), timeout=2))
            except OSError:
                break
        # one address may have 128; root's own way in is another
        assert central.root().get("/api/v1/me").status == 200
        metrics = central.root().get("/metrics").body.decode()
        open_now = int(metrics.split("\nbulkhead_http_connections ")[1].split("\n")[0])
        assert open_now <= 160, open_now
    finally:
        for s in held:
            s.close()

    def answers():
        try:
            return central.client().get("/healthz").status == 200
        except OSError as e:  # still over the bound for one address
            return False, e
    wait_for(answers, 10, "the server answers again")


@pytest.mark.parametrize("uids", [1, 12], ids=["one uid", "many uids"])
def test_local_users_cannot_take_the_local_socket_from_root(central, uids):
    path = str(central.run_dir / "central" / "api.sock")
    held = []

    def connect_as(uid):
        # the credentials of a connection are those of the moment of connect()
        os.seteuid(uid)
        try:
            s = socket.socket(socket.AF_UNIX)
            s.connect(path)  # waits while the backlog is full
            s.settimeout(2)
            return s
        finally:
            os.seteuid(0)

    def refused():
        return int(central.root().get("/metrics").body.decode().split("\nbulkhead_http_refused_local_total ")[1].split("\n")[0])
    before = refused()
    try:
        for n in range(40 if uids == 1 else 16 * uids):
            held.append(connect_as(100_000 + n // 16 if uids > 1 else 65534))
        wait_for(lambda: refused() > before, 5, "some were refused")
        assert central.root().get("/api/v1/me").json["role"] == "admin"
    finally:
        for s in held:
            s.close()


def test_many_callers_at_once_get_their_own_answers(central):
    tokens = [central.token(central.session, name=f"caller {i}") for i in range(8)]

    def work(c):
        for _ in range(25):
            listed = c.get("/api/v1/tokens")
            assert listed.status == 200 and c.get(f"/api/v1/containers/{c.id}").status == 404
        return True
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, tokens))


def test_streams_of_one_user_are_bounded(central):
    streams = [central.session.stream("/api/v1/stream") for _ in range(17)]
    assert streams[-1].status == 429 and all(not hasattr(s, "status") for s in streams[:16]), streams
    for s in streams[:16]:
        s.close()


def test_slow_clients_are_cut_off(central):
    """The last test: they began with the first."""
    for name, slow in central.slow.items():
        slow.join(45)
        bound = 23 if name == "body" else 13
        assert slow.lasted is not None and slow.lasted < bound, f"{name}: expected to be cut off within {bound} s, lasted {slow.lasted}"
        assert slow.lasted > 4, f"{name}: cut off after {slow.lasted} s already"
    assert "\nbulkhead_http_timeouts_total 0\n" not in central.session.get("/metrics").body.decode()
