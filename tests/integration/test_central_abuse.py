"""Callers who have a login and mean harm: what a viewer can take from the others, from the log, and from the machine."""
import contextlib
import socket
import sqlite3
import threading
import time

import pytest
from central_env import Central, finding, proto
from docker_env import patience, wait_for


@pytest.fixture(scope="module")
def central():
    with Central() as c:
        c.session = c.admin()
        yield c


@pytest.fixture
def admin(central):
    return central.session


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) // 1024 for line in f if line.startswith("VmRSS"))


def test_answers_that_nobody_reads_do_not_fill_the_memory(central, admin):
    viewer = central.token(central.user(admin, "greedy", "viewer"))
    node = central.node("large")
    for n in range(40):
        node.publish("finding", finding(f"large-{n}", "large", f14=[proto(f1="proc.cmdline", f2="x" * 200_000)]))
        node.wait_acked()  # the window is small
    first = viewer.get("/api/v1/findings?node=large")
    assert 4_000_000 < len(first.body) < 9_000_000 and first.json["next"], f"{len(first.body)} bytes"
    before, held = resident(central.pid), []
    try:
        for _ in range(48):
            s = central.tls().wrap_socket(socket.create_connection(("127.0.0.1", central.port), timeout=30), server_hostname="127.0.0.1")
            s.sendall(f"GET /api/v1/findings?node=large HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {viewer.token}\r\n\r\n".encode())
            held.append(s)
            s.recv(16)  # and not more
        assert "\nbulkhead_http_refused_answers_total 0\n" not in admin.get("/metrics").body.decode(), "expected some answers to be refused"
        refused = viewer.get("/api/v1/findings?node=large")
        assert refused.status == 503 and refused.code == "answers_too_large" and refused.headers["Retry-After"], refused
        assert viewer.get("/api/v1/me").status == 200
        time.sleep(1)
        assert resident(central.pid) < before + 400, f"{before} MiB before, {resident(central.pid)} MiB now"
    finally:
        for s in held:
            s.close()
    wait_for(lambda: viewer.get("/api/v1/findings?node=large").status == 200, 10, "there is room again")


def test_a_page_is_bounded_in_bytes_and_the_next_one_goes_on(central, admin):
    """What the store bounds, its texts, and what only the answer shows: each of these bytes becomes six."""
    node = central.node("wide")
    for n in range(60):
        node.publish("finding", finding(f"wide-{n}", "wide", f14=[proto(f1="proc.cmdline", f2="\x01" * 40_000)]))
        node.wait_acked()
    with contextlib.closing(sqlite3.connect(central.db)) as db, db:  # as the store takes them from older versions: 16 MiB of text
        db.execute("UPDATE findings SET output = replace(hex(zeroblob(130000)), '0', char(1)) WHERE node = 'wide'")
    url, seen, sizes = "/api/v1/findings?node=wide&limit=1000", [], []
    cursor = ""
    while cursor is not None:
        answer = admin.get(url + (f"&cursor={cursor}" if cursor else ""))
        assert answer.status == 200, answer
        sizes.append(len(answer.body))
        seen += [f["id"] for f in answer.json["findings"]]
        cursor = answer.json["next"]
    assert seen == [f"wide-{n}" for n in reversed(range(60))], "each once, and none left out"
    assert len(sizes) > 5 and max(sizes) < (8 << 20) + 6 * 260_000 + 300_000, sizes


def test_a_question_that_takes_too_long_is_given_up(central, admin):
    assert admin.put("/api/v1/settings/query.seconds", {"value": 1}).status == 204
    with contextlib.closing(sqlite3.connect(central.db)) as db, db:  # a question without an end
        db.execute("ALTER TABLE losses RENAME TO kept")
        db.execute("CREATE VIEW losses AS SELECT * FROM kept UNION ALL SELECT kept.* FROM kept RIGHT JOIN (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                   "SELECT i FROM n WHERE i < 0) ON 1")
    try:
        began = time.monotonic()
        answer = admin.get("/api/v1/losses")
        took = time.monotonic() - began
        assert answer.status == 504 and answer.code == "query_too_long" and "ask for less" in answer.json["error"]["message"], answer
        assert 0.9 < took < 8 * patience(), took
        assert admin.get("/api/v1/containers").status == 200, "the store goes on"
    finally:
        with contextlib.closing(sqlite3.connect(central.db)) as db, db:
            db.execute("DROP VIEW losses")
            db.execute("ALTER TABLE kept RENAME TO losses")
        assert admin.put("/api/v1/settings/query.seconds", {"value": 10}).status == 204
    assert admin.get("/api/v1/losses").status == 200


def test_who_cannot_be_looked_up_now_is_not_told_to_log_in(central, admin):
    viewer = central.token(central.user(admin, "patient", "viewer"))
    assert admin.put("/api/v1/settings/query.seconds", {"value": 1}).status == 204
    with contextlib.closing(sqlite3.connect(central.db)) as db, db:
        db.execute("PRAGMA legacy_alter_table=ON")
        db.execute("ALTER TABLE tokens RENAME TO kept")
        db.execute("CREATE VIEW tokens AS SELECT kept.* FROM kept RIGHT JOIN (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0) ON 1")
    try:
        answer = viewer.get("/api/v1/me")
        assert answer.status == 504 and answer.code == "query_too_long", answer
    finally:
        with contextlib.closing(sqlite3.connect(central.db)) as db, db:
            db.execute("PRAGMA legacy_alter_table=ON")
            db.execute("DROP VIEW tokens")
            db.execute("ALTER TABLE kept RENAME TO tokens")
        assert admin.put("/api/v1/settings/query.seconds", {"value": 10}).status == 204
    assert viewer.get("/api/v1/me").status == 200


def test_a_viewer_cannot_flood_the_audit_log(central, admin):
    flooder = central.user(admin, "flooder", "viewer")
    before = admin.get("/api/v1/audit/verify").json["rows"]
    for _ in range(150):
        assert flooder.delete("/api/v1/users/admin").status == 403
    for _ in range(50):
        answer = flooder.post("/api/v1/tokens", {"name": "again"})
        assert answer.status in (201, 429), answer
    assert answer.status == 429 and answer.code == "too_many_acts" and int(answer.headers["Retry-After"]) >= 1, answer
    assert flooder.get("/api/v1/me").status == 200, "what goes into no log is not slowed down"
    grown = admin.get("/api/v1/audit/verify").json["rows"] - before
    assert grown < 100, f"{grown} rows"
    assert "\nbulkhead_audit_paced_total 0\n" not in admin.get("/metrics").body.decode()
    time.sleep(4.5)
    assert flooder.delete("/api/v1/users/admin").status == 403
    row = admin.get("/api/v1/audit?actor=flooder&outcome=denied&limit=1").json["audit"][0]
    assert "calls of this user before it were not put down" in row["detail"], row
    assert flooder.post("/api/v1/logout").status == 204, "to leave is never refused"


def test_readers_far_behind_do_not_keep_an_ended_session_on_its_stream(central, admin):
    viewer = central.user(admin, "lagging", "viewer")
    token = central.token(viewer)
    node = central.node("busy")
    for n in range(200):
        node.publish("finding", finding(f"busy-{n}", "busy", f14=[proto(f1="proc.cmdline", f2="x" * 800)]))
    node.wait_acked()
    with contextlib.closing(sqlite3.connect(central.db)) as db, db:
        last = db.execute("SELECT max(id) FROM changes").fetchone()[0]
        db.executemany("INSERT INTO changes (time_ns, kind, key) VALUES (1, 1, ?)", ((f"busy-{n % 200}",) for n in range(60_000)))
    behind = [token.stream(f"/api/v1/stream?after={last + n}") for n in range(12)]
    watch = viewer.stream("/api/v1/stream")
    watch.wait(lambda _id, event, _data: event == "hello")
    assert viewer.post("/api/v1/logout").status == 204
    assert watch.ended.wait(15), "expected the stream to end with its session, it goes on after 15 s"
    assert any(not s.ended.is_set() for s in behind), "the others were to be busy meanwhile"
    for s in behind:
        s.close()


def test_one_user_with_slow_questions_does_not_hold_all_workers(central, admin):
    viewer = central.token(central.user(admin, "curious", "viewer"))
    with contextlib.closing(sqlite3.connect(central.db)) as db, db:
        db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000) "
                   "INSERT INTO findings (id, received_ns, time_ns, rank, rule, priority, source, output, node, container_id, container_name, workload, application, tags, fields, event) "
                   "SELECT 'many' || i, 1, 1, 5, 'r', 'notice', 'syscall', hex(zeroblob(400)), 'n', 'c', 'c', 'w', 'a', '[]', '{}', x'' FROM n")
    seen, over = set(), threading.Event()

    def ask():
        client = central.client(token=viewer.token)
        while not over.is_set():
            with contextlib.suppress(OSError):
                seen.add(client.get("/api/v1/findings?search=zzz&count=true").status)
    askers = [threading.Thread(target=ask, daemon=True) for _ in range(20)]
    for t in askers:
        t.start()
    try:
        wait_for(lambda: 429 in seen, 20, "some are refused")
        for _ in range(5):
            began = time.monotonic()
            assert central.root().get("/api/v1/me").status == 200
            assert time.monotonic() - began < 3 * patience(), "root's call waited behind the viewer's"
    finally:
        over.set()
        for t in askers:
            t.join(30)
    assert seen <= {200, 429, 504}, seen  # the last where the machine is too slow for eight such at once
